"""The journal in a DuckDB file: an asyncio front, one writer thread and one reader thread.

Group commit without a timer: what was appended while one group was being committed is the next group, and is written as
one autocommitted flush. So one run alone pays one commit a record, and a thousand runs share one. The loop's thread only
puts units into a queue; a group's callbacks come back in one call on the loop.

The writer repeats a commit that fails until it succeeds: nothing is dropped and nothing overtakes. Jobs of other kinds (the
projection, a checkpoint) travel in the same queue, so they see exactly the rows that were appended before them. One that
fails is not repeated: whoever asked for it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import duckdb

from wfkit.core.state import UNFINISHED, RunState
from wfkit.errors import EngineClosed, JournalCorrupt, WfkitError
from wfkit.journal.backup import write_backup
from wfkit.journal.filters import RunFilter
from wfkit.journal.lock import READER_WAIT_SECONDS
from wfkit.journal.port import Row, RunRow
from wfkit.journal.store import CHECKPOINT_BYTES, FATAL, Store, StoredRow, explain
from wfkit.journal.views import list_runs

T = TypeVar("T")
_Unit: TypeAlias = tuple[Sequence[Row], Callable[[], None] | None]


@dataclass(frozen=True, slots=True)
class _Job:
    act: Callable[[], None]
    done: asyncio.Future[None]


_Item: TypeAlias = "_Unit | _Job | None"
"""What the writer is given: rows, something else to do, or None to stop."""

_LAZY_SECONDS = 0.05
_RETRY_SECONDS = 1.0
"""Between two attempts at a commit that fails: an attempt takes about 1 ms, and whoever made room sees it go on at once."""
_IDLE_SECONDS = 5.0
"""So long must nothing be appended before a checkpoint is made in passing."""
_NEW_IDS_MAX = 10_000
"""So many hashes of ids are kept in a set, at 70 bytes each, before they move into the sorted array, at 8."""
_IDLE_CHECKPOINT_BYTES = 4 * 1024 * 1024
_GROUP_ROWS_MAX = 10_000
"""About 50 ms of writing; a longer group makes everyone in it wait without being quicker per row."""
_GROUP_BYTES_MAX = 32 * 1024 * 1024

_HISTORY = "SELECT run, seq, kind, t, body FROM entries WHERE run = ? AND seq > ? ORDER BY seq"
_SINCE = "SELECT run, seq, kind, t, body FROM entries WHERE pos > ? ORDER BY pos"


async def open_journal(
    path: str | Path, *, reader_wait_seconds: float = READER_WAIT_SECONDS, checkpoint_bytes: int = CHECKPOINT_BYTES
) -> DuckDBJournal:
    """Open the journal at `path` for writing, or create it.

    Args:
        path: the file; its folder is made if it is missing.
        reader_wait_seconds: how long to wait for commands that read the file just now.
        checkpoint_bytes: length of the log at which a commit moves it into the file.

    Raises:
        JournalLocked: another process writes it, or readers do not let go.
        JournalTooNew: a newer wfkit or DuckDB wrote it. It is untouched.
        JournalCorrupt: it is damaged. A torn last commit is not damage: it is cut off, and `notice` says so.
        JournalFull: there is no room to create or to open it.
        JournalUnusable: the path cannot be written, or is no journal.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="wfkit-journal-reader")
    opening = reader.submit(_open, Path(path), reader_wait_seconds, checkpoint_bytes)
    try:
        store, ids = await asyncio.wrap_future(opening)
    except BaseException:
        opening.add_done_callback(_close_unclaimed)
        reader.shutdown(wait=False)
        raise
    return DuckDBJournal(store, ids, reader)


class DuckDBJournal:
    """A journal file, open for writing; made by `open_journal`. See `port.Journal` for the contract."""

    def __init__(self, store: Store, ids: array[int], reader: ThreadPoolExecutor) -> None:
        self.path = store.path
        self.epoch = store.epoch
        self.last_run = store.last_run
        self.notice = store.notice
        """What was mended when the file was opened, for people; None if it was whole."""
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._put = self._queue.put
        self._appended = 0
        self._reported = 0
        self._watchers: list[Callable[[WfkitError | None], None]] = []
        self._trouble: WfkitError | None = None
        """Why commits fail just now."""
        self._closed = False
        self._jobs: set[asyncio.Future[None]] = set()
        self._apart: set[duckdb.DuckDBPyConnection] = set()
        """Connections of queries that take their time."""
        self._projecting: set[asyncio.Future[None]] = set()
        self._ids = ids
        self._new_ids: set[int] = set()
        self._writer = _Writer(store, self._queue, self._on_loop, self._report, self._tell)
        self._writer.start()

    # -- the port ----------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Row], durable: Callable[[], None] | None = None) -> None:
        if self._closed:
            raise EngineClosed(f"the journal is closed: {self.path}")
        self._appended += 1
        self._put((rows, durable))

    def watch(self, changed: Callable[[WfkitError | None], None]) -> None:
        self._watchers.append(changed)

    async def history(self, run: int, after: int = 0) -> list[Row]:
        await self._all_durable()
        rows = await self.read(_fetch, _HISTORY, [run, after])
        return [Row._make(row) for row in rows]

    async def find(self, id: str) -> RunRow | None:
        if not self._may_hold(id):
            return None
        found = await self._runs("FROM runs WHERE id = ? ORDER BY generation DESC LIMIT 1", [id])
        return found[0] if found else None

    async def stored(self, run: int) -> RunRow | None:
        found = await self._runs("FROM runs WHERE run = ?", [run])
        return found[0] if found else None

    async def unfinished(self) -> list[RunRow]:
        return await self._runs("FROM runs WHERE status IN (SELECT unnest(?)) ORDER BY run", [sorted(UNFINISHED)])

    async def since_projection(self) -> list[Row]:
        await self._all_durable()
        rows = await self.read(_fetch, _SINCE, [self._store.projected])
        return [Row._make(row) for row in rows]

    async def project(self, rows: Sequence[RunRow]) -> None:
        if self._trouble is not None:
            raise self._trouble.with_traceback(None)
        self._new_ids.update(hash(row.id) for row in rows)
        written = self._give(lambda: self._store.project(rows, self._store.last_pos))
        self._projecting.add(written)
        written.add_done_callback(self._projecting.discard)
        await written
        if len(self._new_ids) > max(_NEW_IDS_MAX, len(self._ids) // 4):
            self._ids = array("q", sorted({*self._ids, *self._new_ids}))
            self._new_ids.clear()

    async def list_runs(self, wanted: RunFilter, limit: int) -> list[RunState]:
        await self._all_durable()
        return await self.read(functools.partial(list_runs, limit=limit), wanted)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        for own in list(self._apart):
            with contextlib.suppress(duckdb.Error):  # its query has just ended, and it is closed
                own.interrupt()
        await asyncio.shield(self._loop.run_in_executor(self._reader, self._writer.join))
        self._reader.shutdown()
        if self._writer.failed is not None:
            for job in self._jobs:
                job.cancel()
            raise self._writer.failed

    @property
    def last_pos(self) -> int:
        """The position of the last row that is durable."""
        return self._store.last_pos

    # -- beyond the port ---------------------------------------------------------------------------------------------

    async def read(self, query: Callable[..., T], *arguments: object) -> T:
        """Call `query` with a connection and the arguments, in the reader's thread, beside running commits.

        Raises:
            EngineClosed: the journal is closed.
            JournalCorrupt: the file is damaged where it was read.
        """
        if self._closed:
            raise EngineClosed(f"the journal is closed: {self.path}")
        try:
            try:
                return await self._loop.run_in_executor(self._reader, self._call, query, arguments)
            except FATAL:
                await self._write(self._store.check)  # has the writer open the file again
                return await self._loop.run_in_executor(self._reader, self._call, query, arguments)
        except (duckdb.Error, OSError) as error:
            raise explain(error, self.path) from error

    async def read_apart(self, query: Callable[..., T], *arguments: object) -> T:
        """Like `read`, with a connection and a thread of its own: a query that takes long holds up nobody.

        It is interrupted when the journal is closed.

        Raises:
            EngineClosed: the journal is closed.
            JournalCorrupt: the file is damaged where it was read.
        """
        if self._closed:
            raise EngineClosed(f"the journal is closed: {self.path}")
        try:
            return await asyncio.to_thread(self._call_apart, query, arguments)
        except (duckdb.Error, OSError) as error:
            if self._closed:
                raise EngineClosed(f"the journal was closed: {self.path}") from None
            raise explain(error, self.path) from error

    async def backup(self, target: str | Path) -> Path:
        """Write a copy of the journal as it is now, while it is in use, and return its path.

        Raises:
            JournalUnusable: `target` exists, or cannot be written.
            JournalFull: there is no room for it.
        """
        await self._all_durable()
        return await self.read(write_backup, self._store.exports, Path(target))

    async def checkpoint(self) -> None:
        """Move the log into the file now."""
        await self._write(self._store.checkpoint)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _call(self, query: Callable[..., T], arguments: tuple[object, ...]) -> T:
        with self._store.reading() as connection:
            return query(connection, *arguments)

    def _call_apart(self, query: Callable[..., T], arguments: tuple[object, ...]) -> T:
        with self._store.reading() as connection:
            own = connection.cursor()
        with contextlib.closing(own):
            self._apart.add(own)
            try:
                return query(own, *arguments)
            finally:
                self._apart.discard(own)

    async def _runs(self, query: str, parameters: list[object]) -> list[RunRow]:
        rows = await self.read(_fetch, query, parameters)
        return [RunRow._make(row) for row in rows]

    def _may_hold(self, id: str) -> bool:
        """Whether the projection may hold a run of this id. Most starts are of a new id, and need no query then."""
        number = hash(id)
        if number in self._new_ids:
            return True
        at = bisect_left(self._ids, number)
        return at < len(self._ids) and self._ids[at] == number

    async def _all_durable(self) -> None:
        if self._appended != self._reported:
            await self._write(lambda: None)

    async def _write(self, act: Callable[[], None]) -> None:
        """Let the writer do something, after all that was appended before. Raises what prevents it."""
        await self._give(act)

    def _give(self, act: Callable[[], None]) -> asyncio.Future[None]:
        if self._closed:
            raise EngineClosed(f"the journal is closed: {self.path}")
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.add(done)
        done.add_done_callback(self._jobs.discard)
        self._put(_Job(act, done))
        return done

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        # If the loop is closed, nobody is left to hear it, and what was written stays written.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def _report(self, units: Sequence[_Unit]) -> None:
        self._reported += len(units)
        for _, durable in units:
            if durable is not None:
                try:
                    durable()
                except Exception as error:  # noqa: BLE001 (one caller's error must not silence the others)
                    self._loop.call_exception_handler({"message": "a journal callback failed", "exception": error})

    def _tell(self, error: WfkitError | None) -> None:
        self._trouble = error
        if error is not None:
            for written in list(self._projecting):
                _settle(written, error)
        for changed in self._watchers:
            changed(error)


class _Writer(threading.Thread):
    """Takes units and jobs from the queue in order, and stays at a unit until it is durable."""

    def __init__(
        self,
        store: Store,
        items: queue.SimpleQueue[_Item],
        on_loop: Callable[..., None],
        report: Callable[[Sequence[_Unit]], None],
        tell: Callable[[WfkitError | None], None],
    ) -> None:
        super().__init__(name="wfkit-journal-writer", daemon=True)
        self.failed: WfkitError | None = None
        """Why not everything could be written before the writer had to stop."""
        self._store = store
        self._items = items
        self._held: list[_Item] = []
        self._on_loop, self._report, self._tell = on_loop, report, tell
        self._stopping = threading.Event()
        self._written_since_checkpoint = False

    def stop(self) -> None:
        self._stopping.set()
        self._items.put(None)

    def run(self) -> None:
        try:
            while self.failed is None and (item := self._next()) is not None:
                if isinstance(item, tuple):
                    self._commit(self._gather(item))
                else:
                    self._on_loop(_settle, item.done, self._try(item.act))
        finally:
            self._store.close()

    def _next(self) -> _Item:
        if self._held:
            return self._held.pop()
        while True:
            try:
                return self._items.get(timeout=_IDLE_SECONDS if self._written_since_checkpoint else None)
            except queue.Empty:
                self._checkpoint_in_passing()

    def _gather(self, first: _Unit) -> list[_Unit]:
        """Return the units that are waiting. If none of them is urgent, wait a little for one that is."""
        units = [first]
        row_count, byte_count = _measure(first)
        urgent = first[1] is not None
        deadline = time.monotonic() + _LAZY_SECONDS
        while row_count < _GROUP_ROWS_MAX and byte_count < _GROUP_BYTES_MAX:
            try:
                item = self._items.get_nowait() if urgent else self._items.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if not isinstance(item, tuple):
                self._held.append(item)
                break
            units.append(item)
            rows, size = _measure(item)
            row_count, byte_count = row_count + rows, byte_count + size
            urgent = urgent or item[1] is not None
        return units

    def _commit(self, units: list[_Unit]) -> None:
        pos = self._store.last_pos
        rows: list[StoredRow] = []
        for unit, _ in units:
            for row in unit:
                pos += 1
                rows.append((pos, *row))
        if rows:
            self._insist(lambda: self._append(rows))
            self._written_since_checkpoint = True
        if self.failed is None:
            self._on_loop(self._report, units)

    def _append(self, rows: list[StoredRow]) -> None:
        durable = self._store.last_pos
        if durable == rows[-1][0]:
            return  # the commit that seemed to fail had reached the disk
        if durable != rows[0][0] - 1:
            raise JournalCorrupt(f"{self._store.path} ends at position {durable}, where {rows[0][0] - 1} was acknowledged")
        self._store.append(rows)

    def _insist(self, act: Callable[[], None]) -> None:
        """Do it again and again until it succeeds; if the journal is being closed, give up instead and say why."""
        told = False
        while (problem := self._try(act)) is not None:
            if not told:
                self._on_loop(self._tell, problem)
                told = True
            if self._stopping.is_set():
                self.failed = problem
                return
            self._stopping.wait(_RETRY_SECONDS)
        if told:
            self._on_loop(self._tell, None)

    def _try(self, act: Callable[[], None]) -> WfkitError | None:
        """Do it, once more if the database failed for good meanwhile, and return what prevents it."""
        for again in (True, False):
            try:
                if not self._store.connected:
                    self._store.reconnect()
                act()
            except Exception as error:  # noqa: BLE001 (a writer that dies would leave everybody waiting)
                fatal = isinstance(error, FATAL)
                if fatal:
                    self._store.disconnect()
                if not (fatal and again):
                    return error if isinstance(error, WfkitError) else explain(error, self._store.path)
            else:
                break
        return None

    def _checkpoint_in_passing(self) -> None:
        self._written_since_checkpoint = False
        if self._store.connected and self._store.log_bytes >= _IDLE_CHECKPOINT_BYTES:
            try:
                self._store.checkpoint()
            except FATAL:
                self._store.disconnect()  # whatever comes next opens it again, and sees what is durable
            except (duckdb.Error, OSError):
                pass  # somebody reads just now, or the folder is gone; the log stays as it is


def _measure(unit: _Unit) -> tuple[int, int]:
    rows = unit[0]
    return len(rows), sum([len(row[4]) for row in rows])


def _settle(done: asyncio.Future[None], problem: WfkitError | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(problem)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[object]) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()


def _open(path: Path, reader_wait_seconds: float, checkpoint_bytes: int) -> tuple[Store, array[int]]:
    store = Store(path, reader_wait_seconds=reader_wait_seconds, checkpoint_bytes=checkpoint_bytes)
    try:
        with store.reading() as connection:
            ids = array("q", sorted(hash(id) for (id,) in _fetch(connection, "SELECT DISTINCT id FROM runs", [])))
    except BaseException:
        store.close()
        raise
    return store, ids


def _close_unclaimed(opening: Future[tuple[Store, array[int]]]) -> None:
    """Close what was opened for somebody who has not waited for it."""
    if not opening.cancelled() and opening.exception() is None:
        store, _ = opening.result()
        store.close()
