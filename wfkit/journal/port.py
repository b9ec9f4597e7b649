"""The journal's port: what an engine needs of storage, and nothing more.

A journal is one ordered sequence of rows. A row is one record of one run (`core.records`), numbered in its run by
`seq` and in the journal by `pos`. Its writer is one process at a time; each `open` takes a new epoch, and a journal
object of an older epoch refuses to append.

`RunRow` is the projection: what rows add up to, written lazily, and always allowed to be older than the rows. Whoever
reads it folds the rows after it (`since`) on top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from wfkit.core.state import RunState
from wfkit.errors import WfkitError
from wfkit.journal.filters import RunFilter


class Row(NamedTuple):
    """One record as it is stored."""

    run: int
    seq: int
    """Number of the record in its run, from 1."""
    kind: int
    """`core.entries.KINDS` of its entry."""
    t: int
    """Microseconds since the epoch, UTC."""
    body: bytes
    """`core.records.encode_record`."""


class RunRow(NamedTuple):
    """One run in the projection. `state` is `core.state.encode_state`; the other columns are for queries."""

    run: int
    id: str
    generation: int
    workflow: str
    status: str
    started: int
    updated: int
    seq: int
    wake_at: int | None
    state: bytes


class Journal(Protocol):
    """Durable storage of rows, for one writer. All calls come from one event loop, the one that opened it."""

    epoch: int
    """Number of this opening, from 1."""
    last_run: int
    """The highest run number in the journal when it was opened; 0 if there was none."""

    def append(self, rows: Sequence[Row], durable: Callable[[], None] | None = None) -> None:
        """Queue rows as one atomic unit: after a crash all of them are there, or none.

        Units become durable in the order of the calls. `durable` is called on the loop when the unit is; a unit
        without it is not urgent and may wait for the next urgent one (at most 50 ms).

        Raises:
            JournalLocked: a newer epoch has taken the journal over.
            EngineClosed: the journal is closed.
        """
        ...

    def watch(self, changed: Callable[[WfkitError | None], None]) -> None:
        """Call `changed` with the error when commits begin to fail (disk full, damage), and with None when they go on.

        While they fail, units stay queued in order and nothing is reported durable.
        """
        ...

    async def history(self, run: int, after: int = 0) -> list[Row]:
        """Return the rows of a run with `seq > after`, in order, including all that were appended before the call."""
        ...

    async def find(self, id: str) -> RunRow | None:
        """Return the projection's row of the newest generation of a run id, if the projection holds one."""
        ...

    async def stored(self, run: int) -> RunRow | None:
        """Return the projection's row of a run."""
        ...

    async def unfinished(self) -> list[RunRow]:
        """Return the projection's rows of runs that have not ended, by run number."""
        ...

    async def since_projection(self) -> list[Row]:
        """Return all rows that the projection does not include, in the order of their `pos`. Called once, after open."""
        ...

    async def project(self, rows: Sequence[RunRow]) -> None:
        """Bring the projection up to date with all rows appended before this call.

        `rows` must hold every run that has changed since the last call that returned. It is tried once: a journal whose
        commits fail, or begin to fail before it is done, does not keep its caller waiting, since nothing is lost by it.

        Raises:
            JournalFull, JournalCorrupt, JournalUnusable: why it could not be written. Commits are tried on regardless,
                and the same call may be made again.
        """
        ...

    async def list_runs(self, wanted: RunFilter, limit: int) -> list[RunState]:
        """Return the runs that a filter accepts, each generation for itself, the one that started last first."""
        ...

    async def close(self) -> None:
        """Make all that was appended durable, and let the journal go.

        Raises:
            JournalFull, JournalCorrupt, JournalUnusable: why not all of it is durable. It was tried once more, what was
                reported durable is, and the journal is closed.
        """
        ...
