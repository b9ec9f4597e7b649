"""The runs in memory, and how others are brought back.

Three temperatures. A *hot* run has its code in memory, at its last entry. A *warm* one has only its state: what its
records add up to. A *cold* one is in the journal alone; a timer or the index of waits knows its number.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Raw

from wfkit.core.entries import KINDS, Fed, Record
from wfkit.core.machine import Machine
from wfkit.core.records import encode_record
from wfkit.core.state import Pending, RunState, decode_state, encode_state
from wfkit.journal.port import Journal, Row, RunRow
from wfkit.journal.values import LARGE_BYTES, RunValues

if TYPE_CHECKING:
    from wfkit.engine.scheduler import Unit


class LiveRun:
    """A run in memory. `state` is always that of all its records, durable or about to be."""

    __slots__ = (
        "arrived",
        "cautious",
        "deadline_left",
        "left",
        "machine",
        "number",
        "over",
        "rebuilding",
        "state",
        "unit",
        "value",
        "values",
        "waiters",
    )

    def __init__(self, number: int, state: RunState) -> None:
        self.number = number
        self.state = state
        self.machine: Machine | None = None
        self.over = state.finished
        """It has ended, and that is durable."""
        self.rebuilding: asyncio.Task[None] | None = None
        self.arrived: dict[int, Fed] | None = None
        """Entries that went into the inbox since the history was read for a rebuild, by number."""
        self.unit: Unit | None = None
        """The unit that this run is tied to, while that waits for another run to be loaded."""
        self.cautious = False
        """The process died under it: entries become durable before they are activated."""
        self.values: RunValues | None = None
        """What is known of the large values that its history holds, once it has any."""
        self.left: tuple[tuple[int, Pending], ...] = ()
        """What was open when it ended, by command number."""
        self.deadline_left = False
        """Its deadline was armed when it ended."""
        self.value: Raw | None = None
        """The result, once it completed in this process."""
        self.waiters: list[asyncio.Future[None]] | None = None
        """Who waits for its end."""

    def record(self, record: Record) -> Row:
        """Fold the next record into the state and return its row."""
        self.state.apply(record)
        entry = record.entry
        body = encode_record(record)
        if len(body) > LARGE_BYTES:
            self.values = self.values or RunValues()
            body = self.values.encode(record)
        return Row(self.number, self.state.seq, KINDS[type(entry)], entry.t, body)

    def keep_left(self) -> None:
        """Keep what is open, just before the record that ends the run: its end is to be told to all of these."""
        self.left = tuple(self.state.open.items())
        self.deadline_left = self.state.deadline is not None

    def read(self, rows: Sequence[Row]) -> list[Record]:
        """Return the records of the run's whole history."""
        self.values = RunValues()
        records = [self.values.decode(row.body) for row in rows]
        self.values.end_reading()
        return records

    def row(self) -> RunRow:
        """Return the run's row in the projection."""
        state = self.state
        return RunRow(
            self.number,
            state.id,
            state.generation,
            state.workflow,
            state.status,
            state.started,
            state.updated,
            state.seq,
            state.wake_at,
            encode_state(state),
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is going on that needs the run in memory."""
        return self.rebuilding is None and self.unit is None and not self.waiters and not self.cautious


class Runs:
    """The table of runs.

    Args:
        journal: where cold runs are.
        hot_max: how many runs keep their code in memory; the least recently used one is evicted first.
    """

    def __init__(self, journal: Journal, hot_max: int) -> None:
        self._journal = journal
        self._hot_max = hot_max
        self._hot: OrderedDict[int, None] = OrderedDict()
        self._by_number: dict[int, LiveRun] = {}
        self._by_id: dict[str, LiveRun] = {}
        self._last = journal.last_run
        self.changed: dict[int, None] = {}
        """Runs whose row in the projection is out of date."""
        self.appended = 0
        """How many units were appended; it only grows."""
        self.bus = LiveRun(0, RunState(0))
        self.dropped = 0
        """How often a run has left memory for the journal alone."""

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(list(self._by_number.values()))

    def __len__(self) -> int:
        return len(self._by_number)

    def new(self, id: str) -> LiveRun:
        """Add a run of a new number; its first record gives it its contents."""
        self._last += 1
        run = LiveRun(self._last, RunState(self._last, id=id))
        self.add(run)
        return run

    def add(self, run: LiveRun) -> None:
        self._by_number[run.number] = run
        known = self._by_id.get(run.state.id)
        if known is None or known.number < run.number:
            self._by_id[run.state.id] = run
        self._last = max(self._last, run.number)

    def replace(self, run: LiveRun) -> None:
        """Put a run in the place of the one of the same number."""
        old = self._by_number.get(run.number)
        if run.number == self.bus.number:
            self.bus = run
        elif old is not None:
            if self._by_id.get(old.state.id) is old:
                del self._by_id[old.state.id]
            self.add(run)

    def holds(self, run: LiveRun) -> bool:
        """Whether this object is the run of its number."""
        return self._by_number.get(run.number) is run or run is self.bus

    def get(self, number: int) -> LiveRun | None:
        """Return a run that is in memory."""
        return self._by_number.get(number)

    def named(self, id: str) -> LiveRun | None:
        """Return the newest generation of a run id, if it is in memory."""
        return self._by_id.get(id)

    async def load(self, number: int) -> LiveRun | None:
        """Return a run by number, from memory or from the journal."""
        run = self._by_number.get(number)
        if run is None:
            row = await self._read(lambda: self._journal.stored(number))
            run = None if row is None else self._adopt(row)
        return run

    async def find(self, id: str) -> LiveRun | None:
        """Return the newest generation of a run id, from memory or from the journal."""
        run = self._by_id.get(id)
        if run is None:
            row = await self._read(lambda: self._journal.find(id))
            run = self._by_id.get(id)  # its next generation may have been started meanwhile
            if run is None and row is not None:
                run = self._by_id[id] = self._adopt(row)
        return run

    async def _read(self, read: Callable[[], Awaitable[RunRow | None]]) -> RunRow | None:
        """Read a row that is not older than what has left memory since the reading began."""
        while True:
            dropped = self.dropped
            row = await read()
            if dropped == self.dropped:
                return row

    def _adopt(self, row: RunRow) -> LiveRun:
        """Take up a run by its number alone: whether it is the newest generation of its id, only `find` knows."""
        run = self._by_number.get(row.run)  # it may have been loaded by somebody else meanwhile
        if run is None:
            run = self._by_number[row.run] = LiveRun(row.run, decode_state(row.state))
        return run

    def warm(self, run: LiveRun, machine: Machine) -> None:
        """Give a run its code. One that is being rebuilt is not evicted until that is done."""
        run.machine = machine
        if run.rebuilding is None:
            self.touch(run)

    def touch(self, run: LiveRun) -> None:
        """Note that a hot run was used, and evict the least recently used one if there are too many."""
        self._hot[run.number] = None
        self._hot.move_to_end(run.number)
        while len(self._hot) > self._hot_max:
            number, _ = self._hot.popitem(last=False)
            other = self._by_number.get(number)
            if other is not None:
                self.cool(other)

    def cool(self, run: LiveRun) -> None:
        """Evict a run's code."""
        self._hot.pop(run.number, None)
        if run.machine is not None:
            machine, run.machine = run.machine, None
            machine.evict()

    def drop(self, run: LiveRun) -> None:
        """Forget a run whose row in the projection is up to date."""
        self.dropped += 1
        self.cool(run)
        self._by_number.pop(run.number, None)
        if self._by_id.get(run.state.id) is run:
            del self._by_id[run.state.id]
