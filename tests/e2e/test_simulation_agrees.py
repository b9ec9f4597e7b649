"""What a simulation tells of a crash is what happens: the same schedules, with a real journal, processes and SIGKILL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.agreement import points_of, real, simulated
from tests.e2e.subjects import SUBJECTS
from wfkit.sim.faults import Point, parse_point

Deaths = tuple[Point, ...]
AT_ONCE = 2
READ_AGAIN = parse_point("journal.read:history")


def disagreements(name: str, schedules: Sequence[Deaths], folder: Path) -> dict[Deaths, list[str]]:
    """Return in what the simulation and the processes differ, by schedule; two schedules at a time."""
    gate, found, numbers = asyncio.Semaphore(AT_ONCE), {}, count()

    async def compare(deaths: Deaths) -> None:
        async with gate:
            apart = folder / str(next(numbers))
            apart.mkdir()
            found[deaths] = simulated(name, deaths).differences(await real(name, apart, deaths))

    async def compare_all() -> None:
        async with asyncio.TaskGroup() as group:
            for deaths in schedules:
                group.create_task(compare(deaths))

    asyncio.run(compare_all())
    return {deaths: differences for deaths, differences in found.items() if differences}


def one_of_each_phase(name: str) -> list[Deaths]:
    """Return one death for each phase that no subject before has: now at an early point of that phase, now at a late one."""
    subjects = list(SUBJECTS)
    covered = {point.phase for other in subjects[: subjects.index(name)] for point in points_of(other)}
    by_phase: dict[str, list[Point]] = {}
    for point in points_of(name):
        if point.phase not in covered:
            by_phase.setdefault(point.phase, []).append(point)
    return [(points[index * 5 % len(points)],) for index, points in enumerate(by_phase.values())]


@pytest.mark.parametrize("name", SUBJECTS)
def test_without_a_death_both_tell_the_same(name: str, tmp_path: Path) -> None:
    """Down to the points that are passed."""
    assert disagreements(name, [()], tmp_path) == {}


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_death_in_each_phase_has_the_simulated_end(name: str, tmp_path: Path) -> None:
    """Ends, effects with their keys, commands, attempts, and the points that are passed on the way."""
    deaths = one_of_each_phase(name)
    assert len(deaths) >= 5
    assert disagreements(name, deaths, tmp_path) == {}


def test_a_second_death_in_the_recovery_has_the_simulated_end(tmp_path: Path) -> None:
    """The process dies under a compensation, and again as the run is read."""
    schedule = (parse_point("5:comp.call.after:cancel"), READ_AGAIN)
    assert disagreements("saga", [schedule], tmp_path) == {}


def test_an_engine_that_acts_before_the_commit_disagrees(tmp_path: Path) -> None:
    """What was lost is done again: the flight is booked twice, which the simulated engine never does."""
    schedule = (parse_point("2:call.after:book"),)
    told = simulated("saga", schedule).differences(asyncio.run(real("saga", tmp_path, schedule, bug="hasty")))
    assert any(line.startswith("effects") for line in told)


@pytest.mark.torture
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_death_at_each_point_has_the_simulated_end(name: str, tmp_path: Path) -> None:
    """And a second one, wherever the recovery reads a history."""
    singles: list[Deaths] = [(point,) for point in points_of(name)]
    pairs = [(*deaths, READ_AGAIN) for deaths in singles if READ_AGAIN in points_of(name, deaths)]
    assert len(pairs) > len(singles) / 2
    assert disagreements(name, [*singles, *pairs], tmp_path) == {}
