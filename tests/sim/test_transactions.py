"""A crash rolls back what was not committed, as a database does whose client is gone; and it may come between two commits."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import shop
from wfkit import Workflow, run_step, step, step_info, workflow
from wfkit.sim.faults import parse_fault
from wfkit.sim.services import FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject, replace
from wfkit.testing import verify

database: Any = None


class World:
    """A shop, and a database that remembers what was booked there."""

    replaces = {f"{__name__}:database": lambda world: world.database}  # noqa: RUF012  # as worlds are written

    def __init__(self) -> None:
        self.shop = FakeService("shop")
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE done (key TEXT PRIMARY KEY)")
        self.database.execute("CREATE TABLE points (key TEXT)")
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


# -- between two commits ------------------------------------------------------------------------------------------------


def marks() -> bool:
    with database:
        return is_new("o-1")


def earns() -> None:
    with database:
        database.execute("INSERT INTO points VALUES ('o-1')")


def by_statement() -> None:
    if marks():
        earns()


def by_cursor() -> None:
    cursor = database.cursor()
    cursor.execute("INSERT OR IGNORE INTO done VALUES ('o-1')")
    fresh = cursor.rowcount
    database.commit()
    if fresh:
        cursor.executemany("INSERT INTO points VALUES (?)", [("o-1",)])
        database.commit()


def by_itself() -> None:
    database.isolation_level = None  # each statement is a transaction
    if is_new("o-1"):
        database.execute("INSERT INTO points VALUES ('o-1')")


async def in_the_loop() -> None:
    by_statement()


def as_libraries_do() -> None:
    try:
        by_statement()
    except Exception:
        raise
    except BaseException:  # whoever knows nothing of it takes the connection for lost
        database.close()
        raise


def by_begin_and_commit() -> None:
    database.isolation_level = None
    for statement in ("INSERT OR IGNORE INTO done VALUES ('o-1')", "INSERT INTO points VALUES ('o-1')"):
        database.execute("BEGIN IMMEDIATE")
        fresh = database.execute(statement).rowcount
        database.execute("COMMIT")
        if not fresh:
            return


def by_fetching() -> None:
    database.isolation_level = None
    if database.execute("INSERT OR IGNORE INTO done VALUES ('o-1') RETURNING key").fetchall():
        database.execute("INSERT INTO points VALUES ('o-1')")


def by_a_cursor_of_ones_own() -> None:
    cursor = database.cursor(MyCursor)
    if cursor.execute("INSERT OR IGNORE INTO done VALUES ('o-1')").rowcount:
        database.commit()
        cursor.execute("INSERT INTO points VALUES ('o-1')")
        database.commit()


class MyCursor(sqlite3.Cursor):
    """A user's own."""


def by_autocommit_off() -> None:
    database.autocommit = False  # as the documentation of Python recommends, from 3.12 on
    by_statement()


def tries_again_when_it_is_locked() -> None:
    fresh = marks()
    for _ in range(3):
        with suppress(sqlite3.OperationalError):
            if fresh:
                earns()
            return


def at_once() -> None:
    with database:
        if is_new("o-1"):
            database.execute("INSERT INTO points VALUES ('o-1')")


def logs_that_it_failed() -> None:
    try:
        at_once()
        database.execute("SELECT count(*) FROM points")
    except sqlite3.Error:
        with database:
            database.execute("INSERT INTO points VALUES ('failed')")


def takes_it_back() -> None:
    at_once()
    database.execute("INSERT INTO points VALUES ('o-2')")
    database.execute("ROLLBACK")
    and_looks()


def and_looks() -> None:
    at_once()
    assert database.execute("SELECT count(*) FROM points").fetchone() == (1,)


@workflow
async def booking(does: str) -> None:
    await run_step("books", globals()[does])


def each_order_earns(world: World) -> bool:
    done, points = (world.database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("done", "points"))
    return bool(done == points)


WAYS = [
    "by_statement",
    "by_cursor",
    "by_itself",
    "by_begin_and_commit",
    "by_fetching",
    "by_a_cursor_of_ones_own",
    "tries_again_when_it_is_locked",
    "in_the_loop",
    "as_libraries_do",
    *(["by_autocommit_off"] if sys.version_info >= (3, 12) else []),
]


@pytest.mark.parametrize("does", WAYS)
def test_a_crash_between_two_commits_of_a_step_is_tried(does: str) -> None:
    """Its second attempt finds the first half done, and does not do the other one."""
    report = verify(booking, does, world=World, faults=["crash"], invariants=[each_order_earns], budget="0.1s")
    [finding] = report.findings
    assert finding.faults == ("crash@1:commit:books",)
    assert "worker crashed after books() committed to its database, before its next statement" in report.text()


@pytest.mark.parametrize("does", ["at_once", "and_looks", "logs_that_it_failed", "takes_it_back"])
def test_what_is_committed_at_once_has_no_halves(does: str) -> None:
    """Whatever the step reads or takes back afterwards, and whatever it would do about an error if it still lived."""
    verify(booking, does, world=World, faults=["crash"], invariants=[each_order_earns], budget="0.1s").assert_ok()


def test_ordinary_connections_are_as_they_were() -> None:
    """Outside of a simulation nobody asks what is committed, not even of a connection that was opened in one."""
    left = Simulation(Subject(booking, ("at_once",), World)).run().world.database
    left.execute("INSERT INTO points VALUES ('o-2')")
    left.commit()
    assert left.execute("SELECT count(*) FROM points").fetchone() == (2,)
    assert type(sqlite3.connect(":memory:")) is sqlite3.Connection


class MyConnection(sqlite3.Connection):
    """A user's own."""


class WithMine(World):
    """A database by a class of the user's."""

    def __init__(self) -> None:
        super().__init__()
        mine = sqlite3.connect(":memory:", check_same_thread=False, factory=MyConnection)
        self.database.backup(mine)
        self.database = mine


def test_a_connection_of_a_users_class_is_one_of_that_class() -> None:
    """And a crash between its commits is tried as well."""
    assert isinstance(Simulation(Subject(booking, ("at_once",), WithMine)).run().world.database, MyConnection)
    report = verify(booking, "by_statement", world=WithMine, faults=["crash"], invariants=[each_order_earns], budget="0.1s")
    assert [finding.faults for finding in report.findings] == [("crash@1:commit:books",)]
