"""Several processes execute the schedules of one search: it comes further, and to nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from wfkit import SimulationBounds, resource, step, step_info, workflow
from wfkit.sim import bounds
from wfkit.sim.campaign import Campaign, Terms
from wfkit.sim.explore import Explored, search
from wfkit.sim.faults import parse_fault
from wfkit.sim.passes.fault_free import fault_free
from wfkit.sim.processes import Gone, Processes, ProcessesGone
from wfkit.sim.services import FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject, replace

EXHAUSTIVE = ("points", "effects", "single_run", "single_total", "states", "closed", "closure_runs", "not_run", "schedules")
HERE = os.getpid()


class World:
    def __init__(self) -> None:
        self.banks = {name: FakeService(name) for name in ("north", "south", "west")}


@resource
async def banks() -> AsyncIterator[dict[str, FakeService]]:
    yield {}


@step
async def charge(name: str) -> None:
    await banks.get()[name].call("charge", idempotency_key=step_info().idempotency_key)


@step
async def charge_without_a_key() -> None:
    await banks.get()["north"].call("charge")


@step
async def is_busy(name: str) -> bool:
    await banks.get()[name].call("ask", idempotency_key=step_info().idempotency_key)
    return step_info().attempt > 1


@workflow
async def sound() -> None:
    await charge("north")
    await charge("south")


@workflow
async def careless() -> None:
    await charge("north")
    await charge_without_a_key()


@workflow
async def careless_when_all_are_busy() -> None:
    busy = [await is_busy(name) for name in ("north", "south", "west")]
    if all(busy):
        await charge_without_a_key()
        await charge_without_a_key()


def subject(workflow: Any, **terms: Any) -> Subject:
    return Subject(workflow, (), World, [replace(banks, lambda world: world.banks)], **terms)


def told(explored: Explored) -> list[tuple[Any, ...]]:
    return sorted((*found.violation.signature, found.faults, found.times) for found in explored.found)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that schedules were executed in, as far as it is this one."""
    seen: list[int] = []
    run = Simulation.run

    def counted(simulation: Simulation) -> Any:
        seen.append(os.getpid())
        return run(simulation)

    monkeypatch.setattr(Simulation, "run", counted)
    return seen


@pytest.mark.parametrize("workflow", [sound, careless], ids=lambda workflow: str(workflow.name))
def test_what_is_found_and_counted_does_not_depend_on_their_number(workflow: Any, executed: list[int]) -> None:
    """Where a pass has an end of its own; and most of it is done elsewhere."""
    searches = []
    for jobs in (1, 2, 3):
        executed.clear()
        explored = search(subject(workflow), Terms(faults=["crash", "fail", "lost_ack", "zombie"], budget=0, jobs=jobs))
        searches.append((told(explored), [getattr(explored.coverage, name) for name in EXHAUSTIVE]))
        here, schedules = len(executed), explored.coverage.schedules
        assert schedules is not None
        assert here == schedules if jobs == 1 else here < schedules / 3
    assert searches[0] == searches[1] == searches[2]
    assert bool(searches[0][0]) == (workflow is careless)


def test_lines_that_ran_elsewhere_have_run() -> None:
    """What a campaign keeps of every schedule comes back."""
    one, two = (search(subject(sound), Terms(faults=["crash"], budget=0, jobs=jobs)).coverage for jobs in (1, 2))
    assert two.lines_run == one.lines_run
    assert two.lines_total == one.lines_total


def test_random_plans_find_what_takes_three_faults() -> None:
    """One alone and two do not show it. Found elsewhere, it is shown here, with its schedule."""
    explored = search(subject(careless_when_all_are_busy), Terms(faults=["fail", "lost_ack"], budget=20, limit=20, jobs=2))
    errors = [found for found in explored.found if found.violation.severity == "error"]
    assert errors
    for found in errors:
        assert len(found.faults) >= 3
        again = Simulation(explored.subject, found.faults, seed=found.seed, base=explored.base).run()
        assert again.digest == found.recording.digest
    assert explored.coverage.random_run


def test_they_go_on_where_a_loop_is_running() -> None:
    """Which they have not: it stays in the process that they were forked from."""

    async def test() -> Explored:
        return search(subject(sound), Terms(faults=["crash"], budget=0, jobs=2))

    assert asyncio.run(test()).coverage.closed


def test_it_is_refused_to_search_with_none() -> None:
    """A number of processes that makes no sense is told at once."""
    with pytest.raises(ValueError, match="jobs=0"):
        search(subject(sound), Terms(jobs=0))


# -- what goes wrong -----------------------------------------------------------------------------------------------------


class Deadly(World):
    """The first that is made in another process ends that one."""

    marker = Path()

    def __init__(self) -> None:
        super().__init__()
        if os.getpid() != HERE:
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


class DeadlyToAll(World):
    def __init__(self) -> None:
        super().__init__()
        if os.getpid() != HERE:
            os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_had_to_do_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other goes on, and the report names how much is missing."""
    monkeypatch.setattr(Deadly, "marker", tmp_path / "killed")
    tried = Subject(sound, (), Deadly, [replace(banks, lambda world: world.banks)])
    coverage = search(tried, Terms(faults=["crash"], budget=0, jobs=2)).coverage
    assert coverage.single_total is not None
    assert coverage.single_run is not None
    missing = coverage.single_total - coverage.single_run
    assert 0 < missing < coverage.single_total
    assert coverage.not_run[0] == f"single faults: {missing} of them, since a process was ended by SIGKILL"
    assert coverage.closed


def test_nothing_hangs_when_all_of_them_are_killed() -> None:
    """Then nothing is run, and every pass says so."""
    tried = Subject(sound, (), DeadlyToAll, [replace(banks, lambda world: world.banks)])
    coverage = search(tried, Terms(faults=["crash"], budget=0, jobs=2)).coverage
    assert coverage.not_run == [
        f"single faults: {coverage.single_total} of them, since a process was ended by SIGKILL",
        "crashes in any number: stopped after 0, since a process was ended by SIGKILL",
    ]
    assert coverage.single_run == 0
    assert not coverage.closed


def fails_elsewhere(world: World) -> bool:
    return os.getpid() == HERE


def test_what_only_another_process_shows_is_a_warning() -> None:
    """It would not be found again; to say nothing of it would be wrong."""
    [found] = search(subject(sound, invariants=[fails_elsewhere]), Terms(faults=["crash"], budget=0, jobs=2)).found
    assert (found.violation.oracle, found.violation.severity, found.faults) == ("resource", "warning", ())
    assert found.violation.evidence[1] == "found once, and not again: fails_elsewhere: it does not hold"


def divides(campaign: Campaign, plan: Any) -> Any:
    return 1 / 0


def test_an_error_is_raised_by_the_process_that_searches() -> None:
    """With its own traceback, wherever it came first."""
    fault = parse_fault("crash@1:step.before:charge")
    campaign = Campaign(subject(sound), Terms(jobs=2))
    fault_free(campaign)
    try:
        with pytest.raises(ZeroDivisionError):
            list(campaign.try_all([(fault,)], divides))
    finally:
        campaign.end()


_tickets: SimpleQueue[int] = SimpleQueue()
_tickets.put(1)


@step
async def charge_with_a_lock() -> None:
    ticket = _tickets.get()
    await charge.fn("north")
    _tickets.put(ticket)


@workflow
async def locking() -> None:
    await charge_with_a_lock()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_lock_that_is_never_released_ends_the_search(jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash leaves it so, where it is written in C. Nobody waits for ever, in whatever process."""
    monkeypatch.setattr(bounds, "BLOCKED_SECONDS_MAX", 1.0)
    try:
        with pytest.raises(SimulationBounds, match="for a lock"):
            search(subject(locking), Terms(faults=["crash"], budget=0, jobs=jobs))
    finally:
        _tickets.put(1)


# -- the processes themselves ------------------------------------------------------------------------------------------------


def double(how: int, job: int) -> int:
    if job == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return how * job


def pids(processes: Processes[Any, Any, Any]) -> list[int]:
    return [process._pid for process in processes._all]


def test_answers_come_in_the_order_of_the_jobs() -> None:
    """However many there are, and also if one of the processes dies."""
    processes = Processes(3, double)
    try:
        answers = list(processes.answers(2, range(100)))
        lost = [job for job, answer in answers if isinstance(answer, Gone)]
        assert [job for job, _ in answers] == [*range(100)]
        assert 13 in lost
        assert all(answer == 2 * job for job, answer in answers if job not in lost)
        assert len(lost) <= 8
    finally:
        processes.end()


def test_jobs_that_nobody_is_left_for_are_told() -> None:
    """Instead of waiting for ever."""
    processes = Processes(1, double)
    try:
        with pytest.raises(ProcessesGone, match="SIGKILL"):
            list(processes.answers(2, [13, *range(100, 200)]))
    finally:
        processes.end()


def test_they_end_when_their_answers_are_not_wanted_any_more() -> None:
    """And others take their place when there is something to do again."""
    processes = Processes(2, double)
    answers = processes.answers(2, range(100, 10_000))
    next(answers)
    first = pids(processes)
    answers.close()
    assert [pid for pid in first if Path(f"/proc/{pid}").exists()] == []
    assert [answer for _, answer in processes.answers(3, [1, 2])] == [3, 6]
    second = pids(processes)
    processes.end()
    assert [pid for pid in second if Path(f"/proc/{pid}").exists()] == []
