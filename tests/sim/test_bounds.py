"""What never ends, or takes too much, is ended."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from wfkit import SimulationBounds, Workflow, resource, sleep, step, workflow
from wfkit.sim import bounds
from wfkit.testing import FakeService, replace, simulate, verify

turnstile = threading.Lock()
tickets: SimpleQueue[int] = SimpleQueue()
tickets.put(1)


@resource
async def till() -> Any:
    yield None


class World:
    def __init__(self) -> None:
        self.till = FakeService("till")


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "STUCK_SECONDS_MAX", 0.5)
    monkeypatch.setattr(bounds, "BLOCKED_SECONDS_MAX", 1.0)
    monkeypatch.setattr(bounds, "MEMORY_BYTES_MAX", 1 << 28)
    monkeypatch.setattr("wfkit.sim.endless.ENTRIES_MAX", 1_000)


@step
def spins() -> None:
    while True:
        pass


@step
async def swallows() -> None:
    while True:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001  # what is tested
            pass


@step
def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


@step
def passes() -> None:
    ticket = tickets.get()
    till.get().call_sync("pay")
    tickets.put(ticket)


@step
async def passes_in_the_loop() -> None:
    turnstile.acquire()


@step
def imports() -> None:
    importlib.import_module("heavy_to_import")


@step
async def nothing() -> None: ...


@workflow
async def one(what: str) -> None:
    match what:
        case "spins":
            await spins()
        case "swallows":
            await swallows()
        case "eats":
            await eats()
        case "computes":
            while True:
                pass
        case "imports":
            await imports()
        case "yields":
            while True:
                await asyncio.sleep(0)
        case "passes_in_the_loop":
            await passes_in_the_loop()


@workflow
async def steps() -> None:
    while True:
        await nothing()


@workflow
async def beats() -> None:
    while True:
        await sleep("1 day")


@workflow
async def locks() -> None:
    await passes()


@pytest.mark.parametrize("what", ["spins", "swallows", "computes", "yields"])
def test_what_computes_for_ever_is_ended_and_its_line_told(what: str) -> None:
    """In steps and in workflows, and whatever exceptions they catch; a loop that only yields may be met between two turns."""
    began = time.perf_counter()
    with pytest.raises(
        SimulationBounds,
        match=r"a schedule has been computing for 0.5 s, and came no further"
        + (r", at .*test_bounds.py" if what != "yields" else ""),
    ):
        simulate(one, what)
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize("what", ["spins", "computes"])
def test_what_comes_after_it_may_be_traced(what: str) -> None:
    """By a debugger, or for its coverage: a function that is traced begins. Where it does not, this never ends."""
    with pytest.raises(SimulationBounds):
        simulate(one, what)

    traced = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        str(Path())  # which Python executes
    finally:
        sys.settrace(traced)


def test_what_computes_for_ever_from_point_to_point_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, since it might come to an end."""
    monkeypatch.setattr(bounds, "CPU_SECONDS_MAX", 0.5)
    monkeypatch.setattr(bounds, "STUCK_SECONDS_MAX", 60.0)
    with pytest.raises(SimulationBounds, match=r"a schedule has been computing for 0.5 s, at .* in spins"):
        simulate(one, "spins")


def test_an_import_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is imported where it is used may compute for seconds, once."""
    monkeypatch.syspath_prepend(tmp_path)
    heavy = "import time\nuntil = time.thread_time() + 1.2\nwhile time.thread_time() < until: pass\n"
    tmp_path.joinpath("heavy_to_import.py").write_text(heavy)
    assert simulate(one, "imports").status == "completed"


def test_what_eats_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the machine is."""
    monkeypatch.setattr(bounds, "STUCK_SECONDS_MAX", 60.0)  # so that a slow machine meets the other bound first
    with pytest.raises(SimulationBounds, match=r"a schedule has taken .* of memory, at .* in eats"):
        simulate(one, "eats")


def test_what_a_dead_step_holds_for_ever_is_told_as_that() -> None:
    """A crash of a real process takes it; a simulated one cannot, where it is written in C."""
    began = time.perf_counter()
    with pytest.raises(SimulationBounds, match=r"has been waiting .* in passes") as caught:
        simulate(locks, world=World, resources=[replace(till, lambda world: world.till)], faults="crash@1:call.before:pay")
    assert "outlives a simulated crash" in caught.value.help
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize(
    "handler", [signal.default_int_handler, signal.SIG_IGN, lambda *_: None], ids=["as usual", "in the background", "debugged"]
)
def test_a_lock_taken_in_the_loop_itself_is_told_too(handler: Any) -> None:
    """There only a signal wakes it; whoever has Ctrl-C for himself does not matter."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        with turnstile, pytest.raises(SimulationBounds, match=r"has been waiting .* in passes_in_the_loop"):
            simulate(one, "passes_in_the_loop")
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("workflow", "told"), [(steps, "it wrote more than 1,000 records"), (beats, "it had not come to rest after 400 days")]
)
def test_a_workflow_without_an_end_is_told_how_to_bound_it(workflow: Workflow[..., Any], told: str) -> None:
    """Both where time stands still and where it goes on. Faults are not tried: there is nothing to compare with."""
    report = verify(workflow)
    assert [finding.title for finding in report.findings] == [
        f"without any fault {workflow.name} does not come to rest: {told}"
    ]
    assert "until=" in report.findings[0].story
    assert "not run: faults" in str(report)
    assert simulate(beats, until="30 days").status == "running"


@workflow
async def loops_when_it_fails() -> None:
    try:
        await nothing()
    except ConnectionError:
        while True:
            pass


def test_what_computes_for_ever_under_a_fault_is_a_finding_with_its_fault() -> None:
    """The schedule is known, and the other schedules are executed all the same."""
    report = verify(loops_when_it_fails, budget=0, faults=["fail_n@1:call.before:nothing"])
    [finding] = [finding for finding in report.findings if finding.oracle == "liveness"]
    assert finding.severity == "error"
    assert finding.faults == ("fail_n@1:call.before:nothing",)
    assert "it has been computing for 0.5 s, and came no further" in finding.title


def test_the_watching_thread_ends_when_there_is_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no thread that a test suite would complain of."""
    monkeypatch.setattr(bounds, "IDLE_LOOKS_MAX", 1)
    simulate(one, "")
    deadline = time.monotonic() + 30
    while bounds._thread is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bounds._thread is None
