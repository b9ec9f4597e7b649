"""How the schedules with one fault went is counted by kind and by what it struck."""

from __future__ import annotations

import pytest

from fixtures.shop.careless import restock
from fixtures.shop.fakes import World
from fixtures.shop.orders import Delivery
from wfkit import step, workflow
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.sim.faults import KINDS
from wfkit.sim.subject import Subject

DELIVERY = Delivery("delivery-1", "lamp", 5)


@step
async def note() -> None: ...


@workflow
async def takes_note() -> None:
    await note()


def subject() -> Subject:
    return Subject(workflow=restock, args=(DELIVERY,), world=World, resources=World.resources)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_kind_that_fails_somewhere_is_told_from_one_that_never_does(jobs: int) -> None:
    """A kind that fails somewhere is told from one that never does."""
    struck = search(subject(), Terms(budget=0.1, jobs=jobs)).coverage.struck
    assert struck is not None
    cells = {(cell.kind, cell.at): cell for cell in struck}
    assert cells["crash", "shelve"].failed == 1 < cells["crash", "shelve"].schedules
    assert cells["crash", "shelve"].severity == "error"
    assert cells["fail", "count_in"].failed == 0 < cells["fail", "count_in"].schedules
    assert list(dict.fromkeys(at for _, at in cells))[:3] == ["restock", "shelve", "count_in"]


def test_what_is_counted_are_the_schedules_with_one_fault() -> None:
    """Of several faults in one schedule nothing says which is to blame."""
    coverage = search(subject(), Terms(budget=0.1, faults=["fail"])).coverage
    assert coverage.struck
    assert sum(cell.schedules for cell in coverage.struck) == coverage.single_run


def test_a_schedule_that_several_passes_come_to_is_counted_once() -> None:
    """Crashes are tried one by one, and each of them is the first of many where crashes are followed."""
    explored = search(Subject(takes_note), Terms(budget=0, faults=["crash"]))
    assert explored.coverage.closed
    assert explored.coverage.struck
    points = [point for point in explored.base.trace if point.phase in KINDS["crash"].phases]
    assert sum(cell.schedules for cell in explored.coverage.struck) == len(points)
