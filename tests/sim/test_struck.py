"""How the schedules with one fault went is counted by kind and by what it struck."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.shop.careless import restock
from fixtures.shop.fakes import World
from fixtures.shop.orders import Delivery
from wfkit.sim.explore import search
from wfkit.sim.subject import Subject

DELIVERY = Delivery("delivery-1", "lamp", 5)


def subject() -> Subject:
    return Subject(workflow=restock, args=(DELIVERY,), world=World, resources=World.resources)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_kind_that_fails_somewhere_is_told_from_one_that_never_does(jobs: int) -> None:
    struck: list[dict[str, Any]] = search(subject(), budget=0.1, jobs=jobs).coverage["struck"]
    cells = {(cell["kind"], cell["at"]): cell for cell in struck}
    assert cells["crash", "shelve"]["failed"] == 1 < cells["crash", "shelve"]["schedules"]
    assert cells["crash", "shelve"]["severity"] == "error"
    assert cells["fail", "count_in"]["failed"] == 0 < cells["fail", "count_in"]["schedules"]
    assert list(dict.fromkeys(at for _, at in cells))[:3] == ["restock", "shelve", "count_in"]


def test_what_is_counted_are_the_schedules_with_one_fault() -> None:
    explored = search(subject(), budget=0.1, faults=["fail"])
    counted = sum(cell["schedules"] for cell in explored.coverage["struck"])
    assert counted == explored.coverage["single_run"] > 0
