"""Replays in other processes: what they find, and that nothing that user code does there harms the campaign."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.sim.strays import (
    World,
    by_setting,
    environment_at_import,
    only_logged,
    own_chance,
    parent,
    seen_before,
    set_of_objects,
    set_of_tasks,
    set_of_text,
    sorted_set,
)
from wfkit import Workflow, sleep, workflow
from wfkit.sim import hash_seeds
from wfkit.sim.findings import Violation
from wfkit.sim.hash_seeds import HashSeeds
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject

Written = Callable[[str], ModuleType]

HEAD = """
import os, sys, time
from wfkit import sleep, step, workflow
OTHER_PROCESS = os.environ.get("REGION") == "elsewhere"  # that of hash seed 1
"""
TAIL = """
@step
async def note(what: str) -> str:
    return what

@workflow
async def notes(n: int) -> None:
    for what in {"eu", "us", "ap", "sa", "af"}:
        await note(what)
        await sleep(len(what + "x" * ord(what[0])))
"""


def replays_of(
    workflow: Workflow[..., Any], limit_seconds: float = 20.0, world: Callable[[], Any] | None = None
) -> tuple[list[Violation], HashSeeds]:
    subject = Subject(workflow, (1,), world)
    seeds = HashSeeds(limit_seconds)
    seeds.start(subject)
    recording = Simulation(subject).run()
    assert recording.status == "completed"
    seeds.feed(recording)
    return [shown.violation for shown in seeds.collect()], seeds


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return what loads a source as a module that its name does not lead to."""

    def load(source: str) -> ModuleType:
        file = tmp_path / "written_for_a_test.py"
        file.write_text(HEAD + textwrap.dedent(source) + TAIL)
        spec = importlib.util.spec_from_file_location("written_for_a_test", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("workflow", [set_of_text, set_of_objects], ids=lambda value: value.name)
def test_iteration_over_a_set_is_found(workflow: Workflow[..., Any]) -> None:
    """The order of a set of texts is the process's own, so only another process shows that a replay depends on it."""
    (violation,), seeds = replays_of(workflow)

    assert (violation.oracle, violation.severity, violation.workflow) == ("replay", "error", workflow.name)
    assert "order of a set" in violation.why
    assert "sorted(" in violation.fix
    assert "strays.py:" in violation.line
    assert violation.evidence[-1].startswith("replayed with PYTHONHASHSEED=")
    assert seeds.seeds == (0, 1, 2)
    assert seeds.not_run == []


def test_state_of_a_module_is_found_where_it_is_fresh() -> None:
    """Recorded with what an earlier run left behind, it replays alike in the same process."""
    Simulation(Subject(seen_before, (1,))).run()
    (violation,), _ = replays_of(seen_before)

    assert violation.severity == "error"
    assert "SEEN" in violation.why


def test_a_variable_of_the_environment_that_was_read_at_import_is_found() -> None:
    """What was read at import is settled before a replay in this process can disturb it."""
    (violation,), _ = replays_of(environment_at_import)

    assert violation.severity == "error"


@pytest.mark.parametrize("workflow", [sorted_set, set_of_tasks, only_logged, own_chance], ids=lambda value: value.name)
def test_correct_code_is_clean(workflow: Workflow[..., Any]) -> None:
    """A correct workflow that is accused once is a reason to switch the pass off."""
    violations, seeds = replays_of(workflow)

    assert violations == []
    assert seeds.seeds == (0, 1, 2)


def test_what_the_world_replaces_is_replaced_there() -> None:
    """A world that another process can load stands in for the same globals."""
    violations, seeds = replays_of(by_setting, world=World)

    assert (violations, seeds.seeds, seeds.not_run) == ([], (0, 1, 2), [])


def test_a_world_that_cannot_be_loaded_there_is_told() -> None:
    """Where the workflow's code does not depend on it, it is not missed."""

    class Local(World):
        pass

    violations, seeds = replays_of(by_setting, world=Local)

    assert (violations, seeds.seeds) == ([], ())
    assert "by_setting names what its world replaces, and other processes cannot load" in seeds.not_run[0]
    assert replays_of(sorted_set, world=Local)[1].not_run == []


def test_children_are_replayed_by_their_own_code() -> None:
    """The blame falls on the workflow that goes another way, not on the one that started it."""
    (violation,), _ = replays_of(parent)

    assert violation.workflow == "unsafe_clock"


def test_a_local_workflow_is_told_as_not_run() -> None:
    """A pass that cannot run must not look like one that found nothing."""

    @workflow
    async def local(n: int) -> None:
        await sleep("1h")

    violations, seeds = replays_of(local)

    assert (violations, seeds.seeds) == ([], ())
    assert seeds.not_run == ["hash seeds: local is local to a function, so other processes cannot load it"]


def test_a_module_that_its_name_does_not_lead_to_is_loaded_by_its_file(written: Written) -> None:
    """A test module that pytest imported by its path is in no other process's reach by name."""
    violations, seeds = replays_of(written("").notes)

    assert [violation.workflow for violation in violations] == ["notes"]
    assert seeds.not_run == []


def test_modules_of_one_name_are_kept_apart(written: Written) -> None:
    """Processes live on between campaigns; the second of two `test_flow.py` must not be judged by the first's code."""
    first, _ = replays_of(written("").notes)
    second, seeds = replays_of(written("sorted_notes = 1").notes)

    assert [len(first), len(second), seeds.not_run] == [1, 1, []]


def test_what_is_printed_there_disturbs_nothing(written: Written) -> None:
    """User code that prints at import, or reads its standard input, must not break the pipe that carries the verdicts."""
    source = """
    if OTHER_PROCESS:
        print("x" * 100_000, flush=True)
        os.write(1, b"y" * 100_000)
        os.write(2, b"z" * 100_000)
        assert sys.stdin.read() == ""
    """
    violations, seeds = replays_of(written(source).notes)

    assert [violation.workflow for violation in violations] == ["notes"]
    assert (seeds.seeds, seeds.not_run) == ((0, 1, 2), [])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("sys.exit(3)", "hash seed 1: written_for_a_test does not load by itself: SystemExit: 3"),
        ("1 / 0", "hash seed 1: written_for_a_test does not load by itself: ZeroDivisionError: division by zero"),
        ("os._exit(3)", "hash seed 1: the code ended its process with status 3"),
        ("os.kill(os.getpid(), 9)", "hash seed 1: its process was killed by signal 9"),
        ("time.sleep(600)", "hash seed 1: it took too long"),
        ("while True: pass", "hash seed 1: it took too long"),
    ],
)
def test_code_that_does_not_load_there_is_told_as_not_run(written: Written, source: str, told: str) -> None:
    """One process that fails, ends or hangs costs its own seed; the others still judge, within the time limit."""
    began = time.monotonic()
    violations, seeds = replays_of(written(f"if OTHER_PROCESS:\n    {source}").notes, limit_seconds=1)

    assert seeds.not_run == [told]
    assert seeds.seeds == (0, 2)
    assert [violation.workflow for violation in violations] == ["notes"]
    assert time.monotonic() - began < 10


def test_a_process_that_is_gone_is_told_and_started_anew() -> None:
    """Processes are kept for many campaigns, and one that was killed must not spoil all that follow."""
    replays_of(set_of_text)
    hash_seeds._processes[2]._process.kill()
    hash_seeds._processes[2]._process.wait()
    again, seeds = replays_of(set_of_text)
    assert (len(again), seeds.seeds) == (1, (0, 1, 2))

    subject = Subject(set_of_text, (1,))
    seeds = HashSeeds()
    seeds.start(subject)
    hash_seeds._processes[2]._process.kill()
    seeds.feed(Simulation(subject).run())

    assert len(seeds.collect()) == 1
    assert seeds.not_run == ["hash seed 2: its process is gone"]


def test_a_process_that_hangs_is_ended() -> None:
    """A process that does not answer is told, and does not outlive the wait for it."""
    seeds = HashSeeds(0.5)
    subject = Subject(set_of_text, (1,))
    seeds.start(subject)
    seeds.feed(Simulation(subject).run())
    seeds.collect()
    process = hash_seeds._processes[0]._process
    process.send_signal(19)  # SIGSTOP
    began = time.monotonic()
    _, late = replays_of(set_of_text, 0.5)

    assert late.not_run == ["hash seed 0: there was no answer in time"]
    assert time.monotonic() - began < 10
    assert process.poll() is not None


def test_campaigns_do_not_wait_for_each_others_histories() -> None:
    """Campaigns share the processes; answers must reach the one that asked, in whatever order they are collected."""
    subjects = [Subject(set_of_text, (1,)), Subject(sorted_set, (1,))]
    campaigns = [HashSeeds() for _ in subjects]
    for subject, seeds in zip(subjects, campaigns, strict=True):
        seeds.start(subject)
    for subject, seeds in zip(subjects, campaigns, strict=True):
        seeds.feed(Simulation(subject).run())

    assert [len(seeds.collect()) for seeds in reversed(campaigns)] == [0, 1]


def test_nobody_waits_for_processes_that_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreters load while pass 0 runs; these here would never come to an end of it."""
    hash_seeds._end_all()
    monkeypatch.setattr(hash_seeds, "_START", "import time; time.sleep(600)")
    monkeypatch.setattr(hash_seeds, "_GRACE_SECONDS", 0.1)
    seeds = HashSeeds(0.1)
    seeds.start(Subject(set_of_text, (1,)))

    assert seeds.collect() == []
    assert seeds.not_run == ["hash seed 0, 1, 2: there was no answer in time"]


SCRIPT = """
import os, sys
from wfkit import step, workflow
from wfkit.sim import hash_seeds
from wfkit.sim.hash_seeds import HashSeeds
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject

@step
async def note(what: str) -> str:
    return what

@step
async def load(what: str) -> str:
    return what

@workflow
async def notes(n: int) -> None:
    for what in {"eu", "us", "ap", "sa", "af"}:
        await (load if what in ("eu", "us") else note)(what)

if __name__ == "__main__":
    with open("ran", "a") as ran:
        ran.write("main\\n")
    seeds = HashSeeds()
    subject = Subject(notes, (1,))
    seeds.start(subject)
    seeds.feed(Simulation(subject).run())
    print(len(seeds.collect()), seeds.seeds, seeds.not_run, flush=True)
    print(*(process._process.pid for process in hash_seeds._processes.values()), flush=True)
    if "wait" in sys.argv:
        import time
        time.sleep(60)
"""


@pytest.mark.parametrize("arguments", [["script.py"], ["-m", "script"]], ids=["script", "module"])
def test_a_script_is_loaded_without_what_it_does_as_main(tmp_path: Path, arguments: list[str]) -> None:
    """A script that verifies at its end would otherwise start a campaign in every process that it starts."""
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    told, pids = ran.stdout.splitlines()

    assert told == "1 (0, 1, 2) []"
    assert (tmp_path / "ran").read_text() == "main\n"
    assert not [pid for pid in pids.split() if is_running(pid)]
    assert ran.stderr == ""


def test_they_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """A killed test run must leave no interpreters behind."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py", "wait"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        pids = process.stdout.readline().split()
    assert len(pids) == 3
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.01)

    assert not [pid for pid in pids if is_running(pid)]


def is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_script_that_verifies_as_it_is_loaded_is_loaded_once_a_seed(tmp_path: Path) -> None:
    """Without `if __name__ == "__main__"` each process would start three others, without end."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        textwrap.dedent(HEAD + TAIL)
        + textwrap.dedent("""
            from pathlib import Path
            from wfkit.testing import verify
            with Path("loads").open("a") as loads:
                loads.write("once\\n")
            report = verify(notes, 1, budget=0.1)
            print([(finding.oracle, finding.severity) for finding in report.findings], report.coverage["not_run"])
        """)
    )
    ran = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "('replay', 'error')" in ran.stdout or "('replay', 'warning')" in ran.stdout
    assert (tmp_path / "loads").read_text().count("once") == 1 + len(hash_seeds.ELSEWHERE)
