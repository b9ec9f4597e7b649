"""A world for engines: a disk and a wall clock that outlive them, time that costs nothing, and crashes.

A *life* is one engine, from its opening to its close or its crash. It runs on an event loop of its own, whose time is
virtual: nobody waits for a timer, and two runs of one test are alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from wfkit.api.attempt import Attempt
from wfkit.api.definitions import Step, Workflow
from wfkit.api.registry import Registry
from wfkit.core.commands import SendSignal, StartChild
from wfkit.core.entries import Activated, ChildEnded, Record, SignalReceived, StepCompleted, StepFailed, TimerFired
from wfkit.core.machine import Machine, activations
from wfkit.core.state import RunState
from wfkit.engine.engine import Engine, running
from wfkit.engine.ports import Ended, Running
from wfkit.engine.runner import HostRunner
from wfkit.journal.memory import MemoryDisk, MemoryJournal
from wfkit.journal.port import Row, RunRow
from wfkit.journal.values import RunValues

T = TypeVar("T")
Story = Callable[[Engine], Awaitable[T]]

START = 1_800_000_000_000_000
"""The wall clock at the beginning of every world, microseconds UTC."""
LIFE_SECONDS_MAX = 900.0
"""Virtual time after which a life is held to be hung."""
REAL_SECONDS = 0.02
"""So long a step in a thread may take before each jump of the virtual time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        self.virtual = 0.0
        self.in_threads = 0  # steps that run in a thread now
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.virtual


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if self._loop.in_threads:  # they live in real time, of which a busy machine may give them little
            events = super().select(REAL_SECONDS)
            if events:
                return events
        if timeout is None:
            raise AssertionError("this life is hung: nothing will ever happen")
        self._loop.virtual += timeout
        if self._loop.virtual > LIFE_SECONDS_MAX:
            raise AssertionError(f"this life is hung: nothing has come of it in {LIFE_SECONDS_MAX} s")
        return events


class WorldRunner(HostRunner):
    """The ordinary step runner, which tells the loop how many of its steps are in a thread."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self._virtual = loop

    def run(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, ended: Ended) -> Running:
        def counted(result: Any, error: BaseException | None) -> None:
            self._virtual.in_threads -= not step.is_async
            ended(result, error)

        self._virtual.in_threads += not step.is_async
        return super().run(step, args, kwargs, now, counted)


class WorldClock:
    """The wall clock of a world: it goes with the time of its lives, and jumps when told."""

    look_seconds = 5.0

    def __init__(self) -> None:
        self.base = START
        self.loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> int:
        return self.base + (round(self.loop.time() * 1e6) if self.loop is not None else 0)

    def jump(self, seconds: float) -> None:
        self.base += round(seconds * 1e6)


class WorldEntropy:
    """Chance that is the same in every run of a test."""

    def __init__(self) -> None:
        self._random = Random(0)

    def bits(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


class Disk(MemoryDisk):
    """A disk that can crash at one write: before unit `crash_before`, counted from 0, or after it and before anybody hears."""

    def __init__(self) -> None:
        super().__init__()
        self.units: list[Sequence[Row]] = []
        self.crash_before: int | None = None
        self.crash_after: int | None = None

    def _write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        if len(self.units) == self.crash_before:
            self._die()
        super()._write(rows)
        self.units.append(rows)
        if len(self.units) - 1 == self.crash_after:
            self._die()

    def _die(self) -> None:
        self.crash_before = self.crash_after = None
        raise Killed


class Killed(KeyboardInterrupt):
    """The process dies here: the only kind of exception that leaves an event loop at once."""


class SlowDisk(Disk):
    """A disk from which reading takes a moment, of a length by chance: others come in between."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = Random(seed)

    def open(self) -> MemoryJournal:
        self.crash()
        self.epoch += 1
        self._journal = _SlowJournal(self)
        return self._journal


class _SlowJournal(MemoryJournal):
    _disk: SlowDisk

    async def _moment(self) -> None:
        await asyncio.sleep(self._disk.chance.choice((0, 0, 0.001, 0.003, 0.01, 0.03)))

    async def history(self, run: int, after: int = 0) -> list[Row]:
        found = await super().history(run, after)
        await self._moment()
        return list(found)

    async def find(self, id: str) -> RunRow | None:
        found = await super().find(id)
        await self._moment()
        return found

    async def stored(self, run: int) -> RunRow | None:
        found = await super().stored(run)
        await self._moment()
        return found


class World:
    """A disk and a clock, and the lives that pass over them."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.clock = WorldClock()
        self.entropy = WorldEntropy()
        self._engine: Engine | None = None

    def live(self, story: Story[T], *workflows: Workflow[..., Any], **options: Any) -> T:
        """Open an engine, let the story happen, close the engine, and return what the story returns."""

        async def life() -> T:
            self.clock.loop = asyncio.get_running_loop()
            async with running(self.disk.open(), Registry(workflows), **self._world(options)) as engine:
                return await story(engine)

        return self._run(life)

    def crash(self, story: Story[T], *workflows: Workflow[..., Any], **options: Any) -> T:
        """Open an engine, let the story happen, and crash at its end: what is not durable then is lost."""
        return self._run(lambda: self._told(story, workflows, options), crash=True)

    def crash_at_write(self, story: Story[object], *workflows: Workflow[..., Any], **options: Any) -> bool:
        """As `crash`, but at the write that the disk is told; returns False if the story came to its end before."""
        try:
            self.crash(story, *workflows, **options)
        except Killed:
            return True
        return False

    async def _told(self, story: Story[T], workflows: Sequence[Workflow[..., Any]], options: dict[str, Any]) -> T:
        self.clock.loop = asyncio.get_running_loop()
        engine = self._engine = Engine(self.disk.open(), Registry(workflows), **self._world(options))
        await engine.recover()
        engine.keep_projection()
        told = await story(engine)
        self.disk.crash()  # at this very moment: the loop still turns once before it stops, and would flush
        return told

    def _world(self, options: dict[str, Any]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return {"clock": self.clock, "entropy": self.entropy, "runner": WorldRunner(loop), **options}

    def _run(self, life: Callable[[], Coroutine[Any, Any, T]], *, crash: bool = False) -> T:
        loop = VirtualLoop()
        try:
            with asyncio.Runner(loop_factory=lambda: loop) if not crash else contextlib.nullcontext() as runner:
                return loop.run_until_complete(life()) if runner is None else runner.run(life())
        finally:
            now = self.clock.now()
            self.clock.loop = None
            self.clock.base = now
            if crash:
                self._bury(loop)

    def _bury(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lose all that a killed process loses. Nothing of it runs any more, but for what closing a coroutine runs."""
        self.disk.crash()
        self.disk.crash_before = self.disk.crash_after = None
        loop.set_exception_handler(lambda _loop, _context: None)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # else each of them complains
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        if self._engine is not None:
            for run in self._engine._runs:
                self._engine._runs.cool(run)
            self._engine._executor._runner.close()
            self._engine = None
        loop.close()

    def histories(self) -> dict[int, list[Record]]:
        """Return all records by run number, from what is durable."""
        return {run: _read(rows) for run, rows in self.disk._histories.items()}

    def history(self, id: str) -> list[Record]:
        """Return the records of the newest generation of a run."""
        found = [history for history in self.histories().values() if getattr(history[0].entry, "id", None) == id]
        return found[-1]


def _read(rows: Sequence[Row]) -> list[Record]:
    values = RunValues()
    return [values.decode(row.body) for row in rows]


# -- what must hold of every journal ------------------------------------------------------------------------------------


def check_journal(rows: Sequence[Row], *workflows: Workflow[..., Any]) -> None:
    """Check all histories of a journal, given in the order of their `pos`: gapless, exactly once, and replayable."""
    by_run: dict[int, list[Row]] = {}
    for row in rows:
        history = by_run.setdefault(row.run, [])
        assert row.seq == len(history) + 1, f"run {row.run}: row {row.seq} follows row {len(history)}"
        history.append(row)
    registry = Registry(workflows)
    histories = {run: _read(history) for run, history in by_run.items()}
    for run, records in histories.items():
        if run:
            _check_history(run, records, registry)
    _check_deliveries(histories)


def _check_history(run: int, history: list[Record], registry: Registry) -> None:
    state, t = RunState(run), 0
    settled: Counter[int] = Counter()
    for record in history:
        entry = record.entry
        state.apply(record)
        if not isinstance(entry, Activated):
            assert entry.t >= t, f"run {state.id}: time goes back at entry {state.seq}"
            t = entry.t
        if isinstance(entry, StepCompleted | StepFailed | TimerFired | ChildEnded):
            settled[entry.n] += 1
    assert not [n for n, times in settled.items() if times > 1], f"run {state.id}: settled more than once: {settled}"
    machine = Machine(registry.workflow(state.workflow))
    assert machine.replay(activations(history), length=len(history)) == []
    machine.evict()


def _check_deliveries(histories: dict[int, list[Record]]) -> None:
    ids = {run: history[0].entry.id for run, history in histories.items() if run}  # type: ignore[union-attr]  # a start
    generations = Counter((history[0].entry.id, history[0].entry.generation) for run, history in histories.items() if run)  # type: ignore[union-attr]  # as above
    assert max(generations.values(), default=1) == 1, f"two runs of one id: {generations}"
    got = {
        run: Counter(
            record.entry.dedupe for record in history if isinstance(record.entry, SignalReceived) and record.entry.dedupe
        )
        for run, history in histories.items()
    }
    for run, counts in got.items():
        assert max(counts.values(), default=1) == 1, f"run {ids[run]} got a signal twice: {counts}"
    known = set(ids.values())
    arrived = {(ids[run], dedupe) for run, counts in got.items() for dedupe in counts}
    over = {ids[run] for run, history in histories.items() if run and _folded(run, history).finished}
    for run, history in histories.items():
        for record in history:
            for command in record.commands or ():
                if isinstance(command, SendSignal) and command.run_id in known - over:
                    generation = history[0].entry.generation  # type: ignore[union-attr]  # as above
                    assert (command.run_id, f"{ids[run]}/{generation}/{command.n}") in arrived, f"{command} was lost"
                if isinstance(command, StartChild):
                    assert command.id in known, f"{command} was lost"


def _folded(run: int, history: list[Record]) -> RunState:
    state = RunState(run)
    for record in history:
        state.apply(record)
    return state


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
