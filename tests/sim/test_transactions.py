"""A crash rolls back what was not committed, as a database does whose client is gone."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tests.sim.judging import shop
from wfkit import Workflow, step, step_info, workflow
from wfkit.sim.faults import parse_fault
from wfkit.sim.services import FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject, replace

database: Any = None


class World:
    """A shop, and a database that remembers what was booked there."""

    replaces = {f"{__name__}:database": lambda world: world.database}  # noqa: RUF012  # as worlds are written

    def __init__(self) -> None:
        self.shop = FakeService("shop")
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE done (key TEXT PRIMARY KEY)")
        self.database.commit()


def is_new(key: str) -> bool:
    return bool(database.execute("INSERT OR IGNORE INTO done VALUES (?)", (key,)).rowcount)


@step
def book() -> None:
    key = step_info().idempotency_key
    with database:
        if is_new(key):
            shop.get().call_sync("book", idempotency_key=key)


@step
async def book_in_the_loop() -> None:
    key = step_info().idempotency_key
    with database:
        if is_new(key):
            await shop.get().call("book", idempotency_key=key)


@workflow
async def books() -> None:
    await book()


@workflow
async def books_in_the_loop() -> None:
    await book_in_the_loop()


@pytest.mark.parametrize("booking", [books, books_in_the_loop], ids=["def", "async def"])
def test_what_a_dead_step_had_not_committed_is_not_there(booking: Workflow[[], None]) -> None:
    """The next attempt does not find the marker of the one that died before it had acted."""
    subject = Subject(booking, (), World, [replace(shop, lambda world: world.shop)])
    base = Simulation(subject).run()
    recording = Simulation(subject, [parse_fault("crash@1:call.before:book")], base=base).run()

    assert recording.lives == 2
    assert [effect.name for effect in recording.effects] == ["book"]
    assert recording.world.database.execute("SELECT count(*) FROM done").fetchone() == (1,)
