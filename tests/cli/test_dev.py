"""`wfkit dev` as a command: what it prints where, how it ends, and what it leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.conftest import Wfkit, call_in
from tests.dev.developing import APP, STUCK, children, developing, wait_until_gone
from wfkit.dev.supervisor import LET_GO_SECONDS


def test_what_the_code_prints_goes_where_it_says_and_the_rest_to_stderr(tmp_path: Path) -> None:
    """Also a last line without an end; and it is told which app was found."""
    prints = 'import sys\nprint("to stdout")\nprint("to stderr", file=sys.stderr)\nsys.stdout.write("no end")\n'
    with developing(tmp_path, app=prints + APP) as developer:
        assert developer.err.all[0] == "found app.py"
        developer.err.wait_for("to stderr")
    assert developer.out.end().splitlines() == ["to stdout", "no end"]
    assert developer.err.all[-1] == "stopped"


def test_a_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Once, clearly, and the first goes on."""
    with developing(tmp_path) as developer:
        second = developer.wfkit("dev", "--no-tui")
        assert second.status == 4
        assert re.search(r"error\[WF051\]: journal is in use by `wfkit dev app.py` \(pid \d+\)", second.err)
        assert "Traceback" not in second.err
        assert developer.wfkit("start", "purchase", '"order-1"', "--id", "order-1").status == 0


def test_it_stops_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """No process, no socket, no lock; what was acknowledged is in the journal."""
    with developing(tmp_path) as developer:
        developer.wfkit("start", "purchase", '"order-1"', "--id", "order-1")
        started = children(developer.process.pid)
        assert len(started) >= 3  # the worker, and the next one with its checker
        began = time.monotonic()
        assert developer.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < LET_GO_SECONDS
        wait_until_gone(started)
        assert not (tmp_path / ".wfkit" / "engine.sock").exists()
        assert call_in(tmp_path)("runs", "-q").out == "order-1\n"


def test_when_it_is_killed_its_children_end(tmp_path: Path) -> None:
    """Also one that is stuck in the user's code."""
    with developing(tmp_path, app=STUCK) as developer:
        developer.start("purchase", "order-1", "stuck")
        time.sleep(0.3)
        started = children(developer.process.pid)
        developer.process.kill()
        developer.process.wait()
        wait_until_gone(started)


def test_asked_twice_it_waits_for_nothing(tmp_path: Path) -> None:
    """A worker that is stuck in the user's code does not end in good order."""
    with developing(tmp_path, app=STUCK) as developer:
        developer.start("purchase", "order-1", "stuck")
        time.sleep(0.3)
        developer.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        began = time.monotonic()
        assert developer.stop() == 0
        assert time.monotonic() - began < LET_GO_SECONDS
        assert "it is killed" in developer.err.end()


def test_an_ephemeral_journal_is_reached_by_other_commands_and_deleted(tmp_path: Path) -> None:
    """By the variable that is told."""
    with developing(tmp_path, "--ephemeral") as developer:
        folder = developer.err.wait_for("export WFKIT_ENGINE=").rpartition("=")[2]
        assert developer.wfkit("start", "purchase", '"order-1"', "--id", "order-1", WFKIT_ENGINE=folder).out == "order-1\n"
    assert not Path(folder).exists()
    assert not (tmp_path / ".wfkit").exists()


def test_what_it_cannot_begin_with_is_an_error_of_usage(folder: Path, wfkit: Wfkit) -> None:
    """A file that is not there, and options that exclude each other."""
    missing = wfkit("dev", "nowhere.py")
    assert (missing.status, "there is no file nowhere.py" in missing.err) == (2, True)
    both = wfkit("dev", "app.py", "--ephemeral", "--store", "other.duckdb")
    assert (both.status, "--ephemeral" in both.err) == (2, True)
    (folder / "app.py").unlink()
    nothing = wfkit("dev")
    assert (nothing.status, "defines a workflow" in nothing.err) == (2, True)


def test_the_checker_loads_neither_the_database_nor_a_server() -> None:
    """It is to be quick, and it touches no journal."""
    program = "import sys, wfkit.dev.checker; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert {"duckdb", "starlette", "uvicorn", "typer", "watchfiles"}.isdisjoint(loaded)
    assert "msgspec" in loaded


# -- the app to begin with -----------------------------------------------------------------------------------------------


def judged(folder: Path) -> str:
    """Return what pytest says of the starter app's test, with less chance tried than its default of some seconds."""
    test = folder / "test_app.py"
    test.write_text(test.read_text().replace("        invariants=", '        budget="0.5s",\n        invariants='))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--wfkit-no-files"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_starter_app_is_verified_and_runs(tmp_path: Path) -> None:
    """By the commands that `wfkit init` tells."""
    here = call_in(tmp_path)
    written = here("init", "shop")
    assert (written.status, written.out) == (0, "shop/app.py\nshop/test_app.py\n")
    assert "cd shop" in written.err
    shop = tmp_path / "shop"
    assert "1 passed" in judged(shop)
    app = (shop / "app.py").read_text()
    with developing(shop, app=app) as developer:
        told = [line.strip().partition(" #")[0].strip() for line in written.err.splitlines()]
        assert "wfkit start purchase '[\"order-7\", 4900]' --id order-7" in told
        assert "wfkit send packed '\"box-3\"' --run order-7" in told
        developer.wfkit("start", "purchase", '["order-7", 4900]', "--id", "order-7")
        developer.wfkit("send", "packed", '"box-3"', "--run", "order-7")
        assert developer.wfkit("runs", "result", "order-7").json.startswith("parcel-")
    assert developer.out.end().splitlines() == ["taking 4900 cents for order-7", "shipping order-7 in box-3"]


def test_the_way_into_the_new_folder_can_be_copied(tmp_path: Path) -> None:
    """Whatever its name is."""
    assert "\n  cd 'a b/ü'\n" in call_in(tmp_path)("init", "a b/ü").err


def test_the_test_of_the_starter_app_finds_a_bug(tmp_path: Path) -> None:
    """A step without the idempotency key is what people write first."""
    call_in(tmp_path)("init")
    app = (tmp_path / "app.py").read_text()
    careless = app.replace("idempotency_key=step_info().idempotency_key", 'idempotency_key=f"{step_info().attempt}"')
    assert careless != app
    (tmp_path / "app.py").write_text(careless)
    assert "1 failed" in judged(tmp_path)


def test_init_overwrites_nothing(folder: Path, wfkit: Wfkit) -> None:
    """Nor does it write the other file."""
    before = (folder / "app.py").read_text()
    refused = wfkit("init")
    assert (refused.status, refused.out) == (1, "")
    assert "error: app.py exists already" in refused.err
    assert (folder / "app.py").read_text() == before
    assert not (folder / "test_app.py").exists()
