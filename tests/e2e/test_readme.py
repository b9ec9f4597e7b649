"""What the README shows is what happens: its commands, their output, and its snippets."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dev.developing import developing

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
WFKIT = (sys.executable, "-m", "wfkit")
SLEEP_SECONDS = 4


def wfkit(*arguments: str, folder: Path) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run([*WFKIT, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_first_workflow_goes_on_after_a_kill_as_shown(tmp_path: Path) -> None:
    """The workflow in the README, killed in its sleep, gives the payment number that the README shows."""
    found = re.search(r"```python\n(# app\.py\n.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "app.py").write_text(found[1].replace('sleep("20s")', f'sleep("{SLEEP_SECONDS}s")'))
    arguments = ["run", "app.py:purchase", '["order-7", 4900]', "--id", "order-7"]

    first = subprocess.Popen([*WFKIT, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wal = tmp_path / ".wfkit" / "journal.duckdb.wal"
    deadline = time.monotonic() + 30
    while b"StartTimer" not in (wal.read_bytes() if wal.exists() else b""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()

    why = wfkit("runs", "why", "order-7", folder=tmp_path)
    assert f"timer of {SLEEP_SECONDS}s" in why
    assert "app.py:21 in purchase" in why
    assert "app.py:21 in purchase" in README
    result = wfkit("run", "app.py:purchase", "--id", "order-7", folder=tmp_path)
    assert result == '"payment-cbbe72"\n'
    assert result in README
    assert "charge" in wfkit("runs", "history", "order-7", folder=tmp_path)


def test_the_ten_minutes_go_as_init_tells(tmp_path: Path) -> None:
    """The commands are those that it prints."""
    (console,) = [text for text in consoles() if text.startswith("$ wfkit init ")]
    done = run("wfkit", "init", "shop", folder=tmp_path)
    assert [line.removeprefix("$ ") for line in console.splitlines()[1:]] == list(map(str.strip, done.stderr.splitlines()[2:]))


@pytest.fixture
def approvals(tmp_path: Path) -> Iterator[Path]:
    """Return a folder where `wfkit serve approvals.py` runs, as the README shows it."""
    (tmp_path / "approvals.py").write_text(snippet("approvals.py"))
    assert "$ wfkit serve approvals.py &\n" in README
    command = [*WFKIT, "serve", "approvals.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as served:
        try:
            assert served.stdout is not None
            assert served.stdout.readline().startswith("serving approvals.py")
            yield tmp_path
        finally:
            served.terminate()


def test_what_is_outside_starts_and_signals_runs_as_shown(approvals: Path) -> None:
    """By nothing but curl and the socket."""
    (console,) = [text for text in consoles() if "curl" in text]
    calls = re.findall(r"^\$ (curl|wfkit) (.*[^&])\n((?:[^$].*\n)*)", console, re.MULTILINE)
    assert [program for program, _, _ in calls] == ["curl", "curl", "wfkit"]
    for program, arguments, output in calls:
        command = [*(WFKIT if program == "wfkit" else ("curl", "-sS")), *shlex.split(arguments)]
        done = subprocess.run(command, cwd=approvals, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.rstrip("\n") == output.rstrip("\n")


def test_the_commands_do_the_same(approvals: Path) -> None:
    """Those that stand beside the calls of curl."""
    start, send = re.findall(r"`wfkit ((?:start article|send approved) [^`]*)`", README)
    wfkit(*shlex.split(start), folder=approvals)
    wfkit(*shlex.split(send), folder=approvals)
    assert wfkit("runs", "result", "draft-7", folder=approvals) == '"Lamps, approved by Ada"\n'


def test_an_edit_too_many_is_told_as_shown(tmp_path: Path) -> None:
    """Line by line, except for times; and the mended code goes on."""
    (console,) = [text for text in consoles() if text.startswith("$ wfkit dev ")]
    app = snippet("app.py")
    edited = app.replace('    await sleep("20s")', '    await mail(order, "thank you")\n    await sleep("20s")')
    with developing(tmp_path, app=app) as developer:
        developer.wfkit("start", "purchase", '["order-7", 4900]', "--id", "order-7")
        developer.wait_for_status("order-7", "waiting")
        developer.edit(app, edited, told="likely")
        developer.edit(edited, app, told="no longer blocked")
        told = [without_times(line) for line in developer.err.all]
        assert [line for line in console.splitlines()[1:] if without_times(line) not in told] == []


def without_times(line: str) -> str:
    return re.sub(r"\d+ ms", "some ms", line.rstrip())


def test_the_query_gives_what_is_shown(tmp_path: Path) -> None:
    """Of the run of the first workflow."""
    (tmp_path / "app.py").write_text(snippet("app.py").replace('sleep("20s")', 'sleep("10ms")'))
    wfkit("run", "app.py:purchase", '["order-7", 4900]', folder=tmp_path)
    ((arguments, table),) = shown("wfkit sql")
    answer = json.loads(wfkit(*arguments, "--json", folder=tmp_path))
    head, *rows = [line.split() for line in table.splitlines()]
    assert head == [column["name"] for column in answer["columns"]]
    assert rows == [[str(value) for value in row] for row in answer["rows"]]


def test_the_engine_in_a_program_is_used_as_shown(tmp_path: Path) -> None:
    """The snippet with Engine.open runs as it stands, around the workflow of the README."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    app = blocks[0].replace('sleep("20s")', 'sleep("10ms")')
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "program.py").write_text(blocks[1])
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "payment-cbbe72"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a folder with the examples, and without anything that was found before."""
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def consoles() -> list[str]:
    """Return what the README shows of terminals."""
    return re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def shown(command: str) -> list[tuple[list[str], str]]:
    """Return the arguments and the outputs of a command, each time that the README shows it."""
    told = [text.removeprefix("$ ").partition("\n") for text in consoles() if text.startswith(f"$ {command} ")]
    return [(shlex.split(line)[1:], output) for line, _, output in told]


def snippet(name: str) -> str:
    """Return the Python file of this name."""
    found = re.search(rf"```python\n(# {re.escape(name)}.*?)```", README, re.DOTALL)
    assert found is not None, name
    return found[1]


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_careless_delivery_is_found_out_as_shown(shop: Path) -> None:
    """To the letter; and when it is mended as the text says, nothing is found, and the failure file says so, too."""
    (arguments, story), (again, clean) = shown("wfkit verify")
    assert arguments == again
    code = (shop / "fixtures/shop/careless.py").read_text()
    assert re.search(r"```python\n(@step\ndef shelve.*?)```", README, re.DOTALL)[1] in code  # type: ignore[index]  # it is there

    found = run("wfkit", *arguments, folder=shop)
    assert (found.stdout, found.returncode) == (story, 1)

    mended = code.replace("uuid4().hex", "step_info().idempotency_key").replace("import step,", "import step, step_info,")
    (shop / "fixtures/shop/careless.py").write_text(mended)
    nothing = run("wfkit", *arguments, "--for", "8s", folder=shop)
    assert nothing.returncode == 0
    assert _without_chance(nothing.stdout) == _without_chance(clean)
    [file] = re.findall(r"--replay (\S+)", story)
    assert run("wfkit", "verify", "--replay", file, folder=shop).stdout.startswith("fixed: ")


def _without_chance(report: str) -> list[str]:
    """Return the lines of a report without what depends on the time that there was."""
    lines = re.sub(r"(?m)^2 faults: .*", "2 faults: some", report).splitlines()
    return [line for line in lines if not re.match("not run: .*out of time", line)]


def test_the_first_workflow_is_found_out_as_told(tmp_path: Path) -> None:
    """Its mail may be sent twice."""
    (tmp_path / "app.py").write_text(snippet("app.py"))
    found = re.search(r"`wfkit (verify app\.py:purchase [^`]*)`", README)
    assert found is not None
    done = run("wfkit", *shlex.split(found[1]), "--for", "0.5s", folder=tmp_path)
    assert done.returncode == 1
    assert "mail may happen twice" in done.stdout


@pytest.mark.parametrize("name", ["test_delivery.py", "test_review.py"])
def test_the_tests_pass(name: str, shop: Path) -> None:
    """As they stand."""
    (shop / name).write_text(snippet(name))
    done = run("pytest", name, folder=shop)
    assert done.returncode == 0, done.stdout


def test_the_code_that_one_has_fails_and_is_mended_as_told(tmp_path: Path) -> None:
    """It books twice; with the primary key that the README names, it does not."""
    billing, test = snippet("billing.py"), snippet("test_billing.py")
    (tmp_path / "billing.py").write_text(billing)
    (tmp_path / "test_billing.py").write_text(test)
    failed = run("pytest", "test_billing.py", folder=tmp_path)
    assert failed.returncode == 1
    assert "nothing_is_booked_twice: it does not hold" in failed.stdout
    assert "worker crashed after book() succeeded" in failed.stdout

    (tmp_path / "billing.py").write_text(billing.replace("INSERT INTO", "INSERT OR IGNORE INTO"))
    (tmp_path / "test_billing.py").write_text(test.replace("order_id,", "order_id PRIMARY KEY,"))
    passed = run("pytest", folder=tmp_path)
    assert passed.returncode == 0, passed.stdout
    assert "2 passed" in passed.stdout  # the failure file is a test, too
