"""Connections to SQLite that a schedule opens: they tell when a step has committed, and when it goes on with a database.

Between the two a crash leaves half of what the step does. There is nobody to ask there but the connection itself. What is done
by a plain `sqlite3.Cursor(connection)`, or by a factory that is no class, is not told.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal

from wfkit.sim.loop import Killed, epoch
from wfkit.sim.services import in_thread, surroundings

_REFUSED_MAX = 100
"""Statements of a dead process that fail like those of a connection that is lost; who still tries is ended."""


class Cursor(sqlite3.Cursor):
    """A cursor that tells of the statements that it executes."""

    connection: Connection

    def execute(self, *args: Any) -> Any:
        with _stated(self.connection, args):
            return super().execute(*args)

    def executemany(self, *args: Any) -> Any:
        with _stated(self.connection, args):
            return super().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        with _stated(self.connection, args):
            return super().executescript(*args)


class Connection(sqlite3.Connection):
    """A connection whose commits and statements are told."""

    changes_settled = 0
    """How many rows had been changed when a transaction ended last."""
    refused = 0
    """How many statements of a dead process have failed."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(telling(factory, Cursor))

    def execute(self, *args: Any) -> Any:
        with _stated(self, args):
            return super().execute(*args)

    def executemany(self, *args: Any) -> Any:
        with _stated(self, args):
            return super().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        with _stated(self, args):
            return super().executescript(*args)

    def commit(self) -> None:
        self.refuse_the_dead()
        super().commit()
        self.settle()

    def rollback(self) -> None:
        super().rollback()
        self.changes_settled = self.total_changes

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if cls is None:
            self.refuse_the_dead()
        super().__exit__(cls, error, trace)
        if cls is None:
            self.settle()
        else:
            self.changes_settled = self.total_changes
        return False

    def settle(self) -> None:
        """Tell that what was changed is there from now on, if anything was: an `INSERT OR IGNORE` may change no row."""
        host = surroundings.get()
        if self.total_changes > self.changes_settled:
            self.changes_settled = self.total_changes
            if host is not None:
                host.committed()

    def refuse_the_dead(self) -> None:
        """Let nobody write whose process has died.

        Raises:
            sqlite3.OperationalError: it has. Of anything else SQLAlchemy concludes that the connection is lost, and with it a
                database that is in memory.
            Killed: it has, and does not give up.
        """
        life = epoch.get()
        if life is not None and not life.alive:
            self.refused += 1
            if self.refused > _REFUSED_MAX:
                raise Killed
            raise sqlite3.OperationalError("its process has died")


@functools.lru_cache(maxsize=64)
def telling(factory: Any, by: type[Any]) -> Any:
    """Return a user's class of connections or cursors that tells as `by` does; whatever is no class as it is."""
    if not isinstance(factory, type) or issubclass(factory, by):
        return factory
    return by if issubclass(by, factory) else type(factory.__name__, (by, factory), {})


def has_open_work(database: sqlite3.Connection) -> bool:
    """Whether there is something that a crash takes back."""
    try:
        is_open = database.in_transaction
        return is_open and (not isinstance(database, Connection) or database.total_changes > database.changes_settled)
    except sqlite3.ProgrammingError:  # it is closed
        return False


@contextmanager
def _stated(database: sqlite3.Connection, args: tuple[Any, ...]) -> Iterator[None]:
    """Execute a statement. Outside of a transaction SQLite commits it by itself."""
    host = surroundings.get()
    if host is None or not isinstance(database, Connection):
        yield
        return
    database.refuse_the_dead()
    _settle(database)  # what came of the last one as its rows were fetched
    try:
        in_thread(host.querying())
    except Killed:
        database.refuse_the_dead()
        raise
    yield
    if str(args[0] if args else "").lstrip()[:8].upper() == "ROLLBACK" and not database.in_transaction:
        database.changes_settled = database.total_changes
    _settle(database)


def _settle(database: Connection) -> None:
    if not database.in_transaction:
        database.settle()
