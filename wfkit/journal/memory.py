"""The journal in memory: a disk that the simulator can crash.

`MemoryDisk` holds what is durable and outlives every engine. `MemoryJournal` is one opening of it: what was appended
but not flushed belongs to the journal, and is lost with it. Nothing here reads a clock or starts a thread: groups are
flushed by callbacks of the event loop, so the same loop gives the same order, in virtual time as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from wfkit.core.entries import BUS
from wfkit.core.state import UNFINISHED, RunState
from wfkit.errors import EngineClosed, InternalError, JournalFull, JournalLocked, WfkitError
from wfkit.journal.filters import RunFilter
from wfkit.journal.port import Row, RunRow
from wfkit.journal.values import RunValues

LAZY_SECONDS = 0.05
"""How long a unit that nobody waits for may stay unflushed; the port's promise, in the loop's own time."""
_FULL = "the disk is full"


class MemoryDisk:
    """What survives a crash: every flushed row and the projection."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        """In the order of `pos`; the row at index 0 has `pos` 1."""
        self.epoch = 0
        self.full = False
        self._histories: dict[int, list[Row]] = {}
        self._runs: dict[int, RunRow] = {}
        self._newest: dict[str, RunRow] = {}
        self._projected = 0
        self._journal: MemoryJournal | None = None

    def open(self) -> MemoryJournal:
        """Return a journal of a new epoch. One that was open before is fenced, and what it had not flushed is lost."""
        self.crash()
        self.epoch += 1
        self._journal = MemoryJournal(self)
        return self._journal

    def crash(self) -> None:
        """Lose what is not flushed, as a killed process does. The journal that was open can do nothing any more."""
        if self._journal is not None:
            self._journal._drop()
            self._journal = None

    def fill(self) -> None:
        """Let commits fail from now on, as a full disk does."""
        self.full = True

    def free(self) -> None:
        """Make room: what is queued is flushed and the journal goes on."""
        self.full = False
        if self._journal is not None:
            self._journal._make_urgent()

    def _write(self, rows: Sequence[Row]) -> None:
        self.rows += rows
        for row in rows:
            self._histories.setdefault(row.run, []).append(row)

    def _project(self, rows: Sequence[RunRow], pos: int) -> None:
        self._projected = pos
        for row in rows:
            self._runs[row.run] = row
            newest = self._newest.get(row.id)
            if newest is None or newest.generation <= row.generation:
                self._newest[row.id] = row


class MemoryJournal:
    """One opening of a `MemoryDisk`; see `port.Journal` for the contract of its methods."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.epoch = disk.epoch
        self.last_run = max(disk._histories, default=0)
        self._disk = disk
        self._units: list[tuple[Sequence[Row], Callable[[], None] | None]] = []
        self._queued_rows = 0
        self._last_seq: dict[int, int] = {}
        self._flush_at: asyncio.Handle | None = None
        self._urgent = False
        self._closed: type[WfkitError] | None = None
        self._failing = False
        self._tries: set[asyncio.Future[None]] = set()
        self._watchers: list[Callable[[WfkitError | None], None]] = []

    def append(self, rows: Sequence[Row], durable: Callable[[], None] | None = None) -> None:
        self._check_open()
        last_seq = self._last_seq
        for row in rows:
            last = last_seq.get(row.run)
            if last is None:
                last = len(self._disk._histories.get(row.run, ()))
            if row.seq != last + 1:
                raise InternalError(f"run {row.run}: record {row.seq} was appended after record {last}")
            last_seq[row.run] = row.seq
        self._units.append((rows, durable))
        self._queued_rows += len(rows)
        if durable is not None:
            if not self._urgent:
                self._make_urgent()
        elif self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(LAZY_SECONDS, self._flush)

    def watch(self, changed: Callable[[WfkitError | None], None]) -> None:
        self._watchers.append(changed)

    async def history(self, run: int, after: int = 0) -> list[Row]:
        await self._durable()
        return self._disk._histories.get(run, [])[after:]

    async def find(self, id: str) -> RunRow | None:
        self._check_open()
        return self._disk._newest.get(id)

    async def stored(self, run: int) -> RunRow | None:
        self._check_open()
        return self._disk._runs.get(run)

    async def unfinished(self) -> list[RunRow]:
        self._check_open()
        return [row for _, row in sorted(self._disk._runs.items()) if row.status in UNFINISHED]

    async def since_projection(self) -> list[Row]:
        return self._disk.rows[self._disk._projected :]

    async def project(self, rows: Sequence[RunRow]) -> None:
        self._check_open()
        pos = len(self._disk.rows) + self._queued_rows
        await self._flush_once()
        if self._disk.full:
            raise JournalFull(_FULL)
        self._disk._project(rows, pos)

    async def list_runs(self, wanted: RunFilter, limit: int) -> list[RunState]:
        await self._durable()
        found = []
        for run, rows in self._disk._histories.items():
            values = RunValues()
            records = [values.decode(row.body) for row in rows]
            state = RunState(run)
            for record in records:
                state.apply(record)
            if run != BUS and wanted.accepts(state) and all(any(map(test.accepts, records)) for test in wanted.holds):
                found.append(state)
        found.sort(key=lambda state: (state.started, state.run), reverse=True)
        return found[:limit]

    async def close(self) -> None:
        if self._closed is not None:
            return
        try:
            await self._flush_once()
        except JournalFull:
            self._let_go()
            raise
        self._let_go()

    def _check_open(self) -> None:
        if self._closed is not None:
            raise self._closed(f"the journal of epoch {self.epoch} is not open any more")

    async def _durable(self) -> None:
        """Wait until everything that was appended before this call is flushed."""
        self._check_open()
        if self._units:
            flushed = asyncio.Event()
            self.append((), flushed.set)
            await flushed.wait()

    async def _flush_once(self) -> None:
        """Wait until everything that was appended before this call is flushed.

        Raises:
            JournalFull: an attempt has failed.
        """
        if self._units:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._tries.add(flushed)
            flushed.add_done_callback(self._tries.discard)
            self.append((), lambda: None if flushed.done() else flushed.set_result(None))
            if self._flush_at is None:
                self._make_urgent()
            await flushed

    def _make_urgent(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
        self._urgent = True
        self._flush_at = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_at, self._urgent = None, False
        if self._disk.full and self._queued_rows:
            # Nobody comes back by a timer: `MemoryDisk.free` does, so that a simulation decides when.
            self._urgent = True
            for flushed in self._tries:
                if not flushed.done():
                    flushed.set_exception(JournalFull(_FULL))
            self._tell(JournalFull(_FULL))
            return
        units, self._units, self._queued_rows = self._units, [], 0
        for rows, _ in units:
            self._disk._write(rows)
        self._last_seq.clear()
        self._tell(None)
        for _, durable in units:
            if self._closed is not None and self._closed is not EngineClosed:
                return  # a callback crashed the disk: the process that would hear the rest is dead
            if durable is not None:
                try:
                    durable()
                except Exception as error:  # noqa: BLE001 (one caller's error must not silence the others)
                    context = {"message": "a journal callback failed", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(context)

    def _tell(self, error: WfkitError | None) -> None:
        if self._failing == (error is not None):
            return
        self._failing = error is not None
        for changed in self._watchers:
            changed(error)

    def _let_go(self) -> None:
        self._drop(EngineClosed)
        self._disk._journal = None

    def _drop(self, reason: type[WfkitError] = JournalLocked) -> None:
        self._closed = reason
        self._units, self._queued_rows = [], 0
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
