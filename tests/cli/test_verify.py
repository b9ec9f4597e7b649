"""`wfkit verify`: campaigns and replays from the command line."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SECONDS_MAX, Answer, Wfkit, call_here, call_in, environment
from wfkit.sim.findings import ERRORS

SHOP = """
import uuid
from dataclasses import dataclass
from wfkit import resource, step, step_info, workflow

print("the user's code prints")

@dataclass
class Order:
    id: str
    amount: int

@resource
async def bank():
    yield None

@step
async def charge(order: Order) -> str:
    return await bank.get().call("charge", idempotency_key={key}, order=order.id, amount=order.amount)

@step
async def look() -> None:
    import socket
    socket.create_connection(("127.0.0.1", 9))

@workflow
async def fulfil(order: Order) -> str:
    return await charge(order)

@workflow
async def reach() -> None:
    await look()
"""
FAKES = """
from shop import bank
from wfkit.testing import FakeService, replace

class Shop:
    resources = [replace(bank, lambda world: world.bank)]

    def __init__(self):
        self.bank = FakeService("bank")

class Strict(Shop):
    invariants = [lambda world: not world.bank.effects]

class Torn(Shop):
    async def script(run, world):
        await run.sleep("1 day")

class Asking(Shop):
    def __init__(self, name):
        super().__init__()

plain = 7
"""
LONG = """
from wfkit import Expect, step, workflow

@step(expect=Expect(read_only=True))
async def look(number: int) -> None:
    pass

@workflow
async def count(steps: int) -> None:
    for number in range(steps):
        await look(number)
"""
EXHAUSTIVE = ("points", "effects", "single_run", "single_total", "states", "closed", "closure_runs")
WRONG, RIGHT = "str(uuid.uuid4())", "step_info().idempotency_key"
ORDER = '{"id": "77", "amount": 49}'
FULFIL = ("verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:Shop", "--for", "0.1s")


def make_shop(folder: Path) -> Path:
    (folder / "fakes.py").write_text(FAKES, encoding="utf-8")
    write(folder, WRONG)
    return folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a workflow that charges twice when it is crashed."""
    return make_shop(tmp_path)


def write(folder: Path, key: str) -> None:
    (folder / "shop.py").write_text(SHOP.replace("{key}", key), encoding="utf-8")


@pytest.fixture
def verifying(shop: Path) -> Wfkit:
    """Calls `wfkit` in that folder."""
    return call_in(shop)


@pytest.fixture
def quickly(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wfkit:
    """Calls `wfkit` in that folder, but in this process."""
    return call_here(shop, monkeypatch, capsys)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """Such a folder in which `wfkit verify` has found something, and what it said of it; only to be read."""
    folder = make_shop(tmp_path_factory.mktemp("shop"))
    return folder, call_in(folder)(*FULFIL)


@pytest.fixture
def file(first: tuple[Path, Answer], shop: Path) -> Path:
    """The failure file of what was found, in a folder of the test's own."""
    shutil.copytree(first[0] / ".wfkit", shop / ".wfkit")
    (file,) = shop.glob(".wfkit/failures/*.json")
    return file


def test_a_finding_is_told_on_stdout(first: tuple[Path, Answer]) -> None:
    """As a story, with the command that replays it; and the exit status says no."""
    shop, answer = first
    assert answer.status == 1
    assert answer.out.startswith("WF063  fulfil: charge")
    assert "fix: use step_info().idempotency_key" in answer.out
    (file,) = shop.glob(".wfkit/failures/*.json")
    assert f"wfkit verify --replay .wfkit/failures/{file.name}\n" in answer.out
    assert answer.err == "the user's code prints\n"


def test_a_workflow_that_survives_ends_with_status_0(verifying: Wfkit, shop: Path) -> None:
    """And it is said how much was tried."""
    write(shop, RIGHT)
    answer = verifying(*FULFIL)
    assert answer.status == 0
    assert "1 fault: " in answer.out
    assert answer.out.endswith("\nnothing found\n")
    assert not (shop / ".wfkit/failures").exists()


def test_json_is_the_report(verifying: Wfkit, shop: Path) -> None:
    """The same that is kept in `.wfkit/reports`."""
    answer = verifying(*FULFIL, "--json")
    assert answer.status == 1
    assert (answer.json["file"], answer.json["ok"]) == ("wfkit-report", False)
    assert [finding["code"] for finding in answer.json["findings"]] == ["WF063"]
    assert answer.json == json.loads((shop / ".wfkit/reports/fulfil.json").read_text(encoding="utf-8"))


def test_faults_narrow_the_search(verifying: Wfkit) -> None:
    """To kinds, or to one whole fault."""
    assert verifying(*FULFIL, "--faults", "fatal").status == 0
    assert verifying(*FULFIL, "--faults", "fatal", "--faults", "crash").status == 1
    assert verifying(*FULFIL, "--faults", "crash@1:step.effect_done_not_journaled:charge").status == 1


def test_a_fault_that_is_none_is_refused(quickly: Wfkit) -> None:
    """With what could have been meant."""
    nonsense = quickly(*FULFIL, "--faults", "explosion")
    assert (nonsense.status, nonsense.out) == (2, "")
    assert "'explosion' is no fault" in nonsense.err
    assert "kinds of faults: crash, " in nonsense.err
    assert "did you mean crash?" in quickly(*FULFIL, "--faults", "crahs").err


def test_several_processes_make_one_report(verifying: Wfkit, shop: Path) -> None:
    """What they find is told once, and what they have tried is added up."""
    answer = verifying(*FULFIL, "--jobs", "2")
    assert (answer.status, answer.err) == (1, "the user's code prints\n")
    assert answer.out.count("WF063  fulfil: charge") == 1
    write(shop, RIGHT)
    narrow = (*FULFIL[:-1], "1s", "--faults", "crash", "--faults", "lost_ack", "--json")
    one, two = (verifying(*narrow, "--jobs", jobs).json["coverage"] for jobs in ("1", "2"))
    assert [one[key] for key in EXHAUSTIVE] == [two[key] for key in EXHAUSTIVE]


def test_a_time_to_search_is_heeded(verifying: Wfkit, shop: Path) -> None:
    """Also by what has an end of its own; then it is said that it did not come to it."""
    (shop / "long.py").write_text(LONG, encoding="utf-8")
    coverage = verifying("verify", "long.py:count", "60", "--for", "0.1s", "--json").json["coverage"]
    assert coverage["seconds"] < 20
    assert not coverage.get("closed")
    assert coverage["not_run"][-1].endswith("crashes in any number, pairs, random plans: out of time")


def test_what_the_world_says_is_heard(verifying: Wfkit) -> None:
    """Its invariants are those of the campaign."""
    answer = verifying("verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:Strict", "--for", "0.1s")
    assert answer.status == 1
    assert "WF072" in answer.out


def test_a_real_socket_needs_a_world(verifying: Wfkit) -> None:
    """It is no finding: nothing was tried."""
    answer = verifying("verify", "shop.py:reach")
    assert (answer.status, answer.out) == (2, "")
    assert "error[WF073]" in answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["verify"], 2, "no workflow is named"),
        (["verify", "shop.py"], 2, "does not name a workflow"),
        (["verify", "shop.py:other"], 3, "no workflow is named 'other'"),
        (["verify", "shop.py:fulfil"], 2, "order"),
        (["verify", "shop.py:fulfil", ORDER, "--for", "soon"], 2, "--for"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "Shop"], 2, "does not name a world"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:Mall"], 3, "there is no Mall in fakes.py"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:plain"], 2, "makes no world"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "shop.py:charge"], 2, "makes no world"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:Asking"], 2, "missing a required argument: 'name'"),
        (["verify", "shop.py:fulfil", ORDER, "--world", "fakes.py:Torn"], 2, "'Run' object has no attribute 'sleep', at "),
        (["verify", "shop.py:fulfil", "--replay", "x.json"], 2, "takes the workflow from the file"),
        (["verify", "--replay", "x.json"], 3, "x.json cannot be read"),
        (["verify", "--replay", "shop.py"], 3, "shop.py is damaged"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused(quickly: Wfkit, arguments: list[str], status: int, told: str) -> None:
    """In a line, with the status of its kind."""
    answer = quickly(*arguments)
    assert (answer.status, answer.out) == (status, "")
    assert told in answer.err


# -- replay --------------------------------------------------------------------------------------------------------------


def test_a_replay_says_whether_it_still_fails(verifying: Wfkit, shop: Path, file: Path) -> None:
    """From any folder, and with INPUT as it was then."""
    (shop / "elsewhere").mkdir()
    code = (shop / "shop.py").read_text(encoding="utf-8")
    (shop / "shop.py").write_text(
        code.replace("    return await bank", '    print("charging")\n    return await bank'), "utf-8"
    )
    failing = call_in(shop / "elsewhere")("verify", "--replay", f"../.wfkit/failures/{file.name}")
    assert (failing.status, "charging" in failing.err) == (1, False)
    assert failing.out.startswith("still fails: WF063  fulfil: charge")
    write(shop, RIGHT)
    mended = verifying("verify", "--replay", str(file))
    assert (mended.status, mended.out) == (0, "fixed: charge happened twice instead of once\n")
    assert verifying("verify", "--replay", str(file), "--json").json["verdict"] == "fixed"


SET = """
from wfkit import Expect, step, workflow

@step(expect=Expect(read_only=True))
async def look(name: str) -> str:
    return name

@workflow
async def look_at_all() -> None:
    for name in {first}"a", "b", "c", "d"{last}:
        await look(name)
"""


def test_what_only_another_process_shows_is_replayed_there(verifying: Wfkit, shop: Path) -> None:
    """Without a fault in its schedule, a file still fails for as long as the code does."""
    (shop / "looks.py").write_text(SET.format(first="{", last="}"), encoding="utf-8")
    assert verifying("verify", "looks.py:look_at_all", "--for", "0.1s").status == 1
    (file,) = shop.glob(".wfkit/failures/*.json")
    assert verifying("verify", "--replay", str(file)).out.startswith("still fails: WF062")
    (shop / "looks.py").write_text(SET.format(first="[ ", last=" ]"), encoding="utf-8")
    assert verifying("verify", "--replay", str(file)).out.startswith("fixed: ")


@pytest.mark.parametrize(
    "changes",
    [{"target": "this:run"}, {"target": "json.tool:main"}, {"world": "/tmp/fakes.py:Shop"}, {"world": "subprocess:Popen"}],
    ids=str,
)
def test_a_file_from_a_stranger_loads_nothing(verifying: Wfkit, file: Path, changes: dict[str, str]) -> None:
    """Only what is in this project is imported."""
    changed: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    changed["origin"]["wfkit"] |= changes
    file.write_text(json.dumps(changed), encoding="utf-8")
    answer = verifying("verify", "--replay", str(file))
    assert (answer.status, answer.out) == (3, "")
    assert "comes from elsewhere" in answer.err
    assert "Zen" not in answer.err


def test_a_file_that_does_not_name_all_it_takes_is_damaged(verifying: Wfkit, file: Path) -> None:
    """Whoever wrote in it is told what is missing, and no traceback."""
    changed: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    del changed["origin"]["wfkit"]["world"]
    file.write_text(json.dumps(changed), encoding="utf-8")
    answer = verifying("verify", "--replay", str(file))
    assert answer.status == 3
    assert "is damaged" in answer.err
    assert "`world`" in answer.err


# -- progress and interruption ----------------------------------------------------------------------------------------------


def test_progress_is_told_on_a_terminal_and_taken_away(shop: Path) -> None:
    """On stderr, in place, so that the report stands alone in the end."""
    write(shop, RIGHT)
    child, leader = _on_a_terminal(shop, *FULFIL[:-1], "1s")
    out, _ = child.communicate(timeout=SECONDS_MAX)
    told = _told(leader)
    assert child.returncode == 0
    assert "schedules" not in out
    assert " schedules" in told
    assert told.endswith("\r\x1b[K")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interruption_prints_what_was_found_until_then(shop: Path, jobs: str) -> None:
    """With the status of an interrupted program, and none of its processes goes on."""
    child, leader, others = _searching(shop, "--jobs", jobs)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=SECONDS_MAX)
    err = _told(leader)
    assert child.returncode == 130, err
    assert "1 fault: " in out
    assert "interrupted" in out
    # Where it strikes in a finalizer, Python itself tells of it, and goes on.
    assert "Traceback" not in re.sub(r"Exception ignored in: .*?KeyboardInterrupt: *\r?\n", "", err, flags=re.DOTALL)
    _end(others)


def test_processes_end_with_the_one_that_searches(shop: Path) -> None:
    """Also if that is killed, and cannot end them."""
    child, leader, others = _searching(shop, "--jobs", "2")
    assert len(others) >= 2
    child.kill()
    child.communicate(timeout=SECONDS_MAX)
    os.close(leader)
    _end(others)


def _searching(shop: Path, *options: str) -> tuple[subprocess.Popen[str], int, list[int]]:
    """Start a search that takes long, and return it with its terminal and the processes that it has started."""
    write(shop, RIGHT)
    child, leader = _on_a_terminal(shop, *FULFIL[:-1], "60s", *options)
    told = ""
    while not re.search(r" schedules  [\d,]+/s", told):  # told of a stage that has gone on for a while
        told += os.read(leader, 10_000).decode()
    return child, leader, [pid for pid, parent in _parents().items() if parent == child.pid]


def _on_a_terminal(shop: Path, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start `wfkit` with a terminal for its stderr, and return it with the other end of that."""
    leader, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "wfkit", *arguments],
        cwd=shop,
        env=environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    os.close(terminal)
    return child, leader


def _told(leader: int) -> str:
    """Return what a terminal shows whose process has ended, and close it."""
    try:
        return os.read(leader, 1_000_000).decode()
    finally:
        os.close(leader)


def _end(pids: list[int]) -> None:
    """Wait until processes have ended."""
    until = time.monotonic() + SECONDS_MAX
    while left := [pid for pid in pids if pid in _parents()]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def _parents() -> dict[int, int]:
    """Return the processes that have not ended, with their parents."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in told.splitlines())
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def test_each_code_of_a_finding_is_explained(wfkit: Wfkit) -> None:
    """A story begins with it."""
    told = {row[0] for row in wfkit("explain").rows}
    assert {error.code for error in ERRORS.values()} <= told
    answer = wfkit("explain", "WF063")
    assert answer.status == 0
    assert "step_info().idempotency_key" in answer.out
