"""How the schedules with one fault went is counted by kind and by what it struck."""

from __future__ import annotations

import pytest

from fixtures.shop.careless import restock
from fixtures.shop.fakes import World
from fixtures.shop.orders import Delivery
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.sim.subject import Subject

DELIVERY = Delivery("delivery-1", "lamp", 5)


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
