"""Connections to SQLite that a schedule opens: they tell when a step has committed, and when it goes on with a database.

Between the two a crash leaves half of what the step does. There is nobody to ask there but the connection itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal

from wfkit.sim.loop import Killed, epoch
from wfkit.sim.services import in_thread, surroundings


class Cursor(sqlite3.Cursor):
    """A cursor that tells of the statements that it executes."""

    def execute(self, *args: Any) -> Any:
        with _stated(self.connection):
            return super().execute(*args)

    def executemany(self, *args: Any) -> Any:
        with _stated(self.connection):
            return super().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        with _stated(self.connection):
            return super().executescript(*args)


class Connection(sqlite3.Connection):
    """A connection whose commits and statements are told."""

    changes_before = 0
    """How many rows it had changed before the transaction that is open now."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, *args: Any) -> Any:
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        return self.cursor().executescript(*args)

    def commit(self) -> None:
        with _told(self):
            super().commit()

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if cls is not None:
            return super().__exit__(cls, error, trace)  # it rolls back
        with _told(self):
            return super().__exit__(cls, error, trace)


def in_transaction(database: sqlite3.Connection) -> bool:
    """Whether there is something that a crash takes back."""
    try:
        return database.in_transaction
    except sqlite3.ProgrammingError:  # it is closed
        return False


@contextmanager
def _stated(database: sqlite3.Connection) -> Iterator[None]:
    """Execute a statement. Outside of a transaction SQLite commits it by itself."""
    host, life = surroundings.get(), epoch.get()
    if host is None:
        yield
        return
    was_alive = life is not None and life.alive
    try:
        in_thread(host.querying())
    except Killed:
        if not was_alive:
            raise
        # Of anything else SQLAlchemy concludes that the connection is lost, and with it a database that is in memory.
        raise sqlite3.OperationalError("its process has died") from None
    before = database.total_changes
    if isinstance(database, Connection) and not database.in_transaction:
        database.changes_before = before
    yield
    if database.total_changes > before and not database.in_transaction:
        host.committed()


@contextmanager
def _told(database: Connection) -> Iterator[None]:
    """Commit. What has changed no row, such as an `INSERT OR IGNORE` of what is there, is not told: nothing was written."""
    host = surroundings.get()
    ends = host is not None and in_transaction(database) and database.total_changes > database.changes_before
    yield
    if host is not None and ends:
        host.committed()
