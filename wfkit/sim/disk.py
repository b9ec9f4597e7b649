"""The journal of a simulation: in memory, with a named point before and after every write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from wfkit.core.commands import (
    AwaitSignal,
    CancelRun,
    CompleteRun,
    FailRun,
    RunStep,
    StartChild,
    StartTimer,
    Subscribe,
)
from wfkit.core.entries import (
    BUS,
    CancelRequested,
    ChildEnded,
    Record,
    RunStarted,
    SignalPublished,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.journal.memory import MemoryDisk, MemoryJournal
from wfkit.journal.port import Row
from wfkit.journal.values import RunValues
from wfkit.sim.faults import ATTEMPTS

Reach = Callable[[str, int, str, str], None]
"""Told of a point: the run's id, the number, the phase, the label. It raises `Killed` if the process dies there."""


class Known(NamedTuple):
    """What a command number stands for, for the names of points."""

    label: str
    compensation: bool = False
    endless: bool = False
    """A step that is retried until it succeeds."""
    attempts: int = 1
    """How often a step is tried at most, unless it is endless."""


class WritePoints:
    """The points around a write, by what is written.

    Args:
        reach: told of every point.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._values: dict[int, RunValues] = {}
        self.ids: dict[int, str] = {BUS: "bus"}
        """The ids of runs by their numbers."""
        self.known: dict[tuple[int, int], Known] = {}
        """What was asked for, by run and number."""
        self._numbers: dict[str, int] = {}
        """The numbers of runs by their ids; of several that had one id, the last one's."""

    def decode(self, rows: Sequence[Row]) -> list[tuple[int, Record]]:
        """Return the records of rows by run, and keep what they name. Takes every row once, in order."""
        decoded = [(row.run, self._values.setdefault(row.run, RunValues()).decode(row.body)) for row in rows]
        for run, record in decoded:
            self._note(run, record)
        return decoded

    def _note(self, run: int, record: Record) -> None:
        if isinstance(record.entry, RunStarted):
            self.ids[run] = record.entry.id
            self._numbers[record.entry.id] = run
        for command in record.commands or ():
            match command:
                case RunStep():
                    self.known[run, command.n] = Known(
                        command.name,
                        command.compensation,
                        command.retry.max_attempts is None,
                        command.retry.max_attempts or ATTEMPTS,
                    )
                case StartTimer():
                    self.known[run, command.n] = Known("sleep")
                case AwaitSignal() | Subscribe():
                    self.known[run, command.n] = Known(command.name)
                case StartChild():
                    self.known[run, command.n] = Known(command.workflow)
                case _:
                    pass

    def known_of(self, id: str, n: int) -> Known | None:
        """Return what a command number of a run stands for, if that was written."""
        return self.known.get((self._numbers.get(id, -1), n))

    def pass_before(self, run: int, record: Record) -> None:
        entry, id = record.entry, self.ids[run]
        match entry:
            case RunStarted():
                self._reach(id, 0, "start.before_journal", entry.workflow)
            case StepCompleted():
                pass  # the same moment as `step.effect_done_not_journaled`
            case StepFailed():
                self._reach_step(run, entry.n, "fail.before_journal")
            case TimerFired():
                self._reach(id, entry.n, "timer.fired", "sleep")
            case SignalReceived():
                self._reach(id, 0, "event.before_journal", entry.name)
            case SignalPublished():
                self._reach(id, 0, "event.before_journal", entry.name)
            case ChildEnded():
                self._reach(id, entry.n, "child.done_not_journaled", self.known[run, entry.n].label)
            case _:
                self._reach(id, getattr(entry, "n", 0), "journal.append", type(entry).__name__)
        if record.commands and isinstance(record.commands[-1], CompleteRun | FailRun | CancelRun):
            self._reach(id, 0, "finish.before_journal", type(record.commands[-1]).__name__)

    def pass_after(self, run: int, record: Record) -> None:
        entry, id = record.entry, self.ids[run]
        match entry:
            case RunStarted():
                self._reach(id, 0, "start.journaled", entry.workflow)
            case StepCompleted() | StepFailed():
                self._reach_step(run, entry.n, "step.journaled")
            case TimerFired():
                self._reach(id, entry.n, "timer.journaled", "sleep")
            case SignalReceived() | SignalPublished():
                self._reach(id, 0, "event.journaled", entry.name)
            case ChildEnded():
                self._reach(id, entry.n, "child.journaled", self.known[run, entry.n].label)
            case CancelRequested():
                self._reach(id, 0, "cancel.journaled", "cancel")
            case _:
                self._reach(id, getattr(entry, "n", 0), "journal.fsync", type(entry).__name__)
        for command in record.commands or ():
            match command:
                case StartTimer():
                    self._reach(id, command.n, "timer.set", "sleep")
                case AwaitSignal() | Subscribe():
                    self._reach(id, command.n, "wait.registered", command.name)
                case CompleteRun() | FailRun() | CancelRun():
                    self._reach(id, 0, "finish.journaled", type(command).__name__)
                case _:
                    pass

    def _reach_step(self, run: int, n: int, phase: str) -> None:
        known = self.known[run, n]
        self._reach(self.ids[run], n, step_phase(phase, compensation=known.compensation), known.label)

    def read(self, run: int) -> None:
        """Pass the point of a run that is rebuilt from its history."""
        self._reach(self.ids[run], 0, "journal.read", "history")


class SimulatedDisk(MemoryDisk):
    """A disk that tells what is written to it.

    Args:
        reach: told of every point.
        wrote: told of every record that is durable, by run number.
    """

    def __init__(self, reach: Reach, wrote: Callable[[int, Record], None]) -> None:
        super().__init__()
        self._wrote = wrote
        self.points = WritePoints(reach)
        self.records: dict[int, list[Record]] = {}
        """All records by run number, in order; run 0 is the bus."""
        self.ids = self.points.ids
        self.known = self.points.known

    def open(self) -> MemoryJournal:
        self.crash()
        self.epoch += 1
        self._journal = _TellingJournal(self)
        return self._journal

    def _write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        decoded = self.points.decode(rows)
        for run, record in decoded:
            self.points.pass_before(run, record)
        super()._write(rows)
        for run, record in decoded:
            self.records.setdefault(run, []).append(record)
            self._wrote(run, record)
        for run, record in decoded:
            self.points.pass_after(run, record)


class _TellingJournal(MemoryJournal):
    _disk: SimulatedDisk

    async def history(self, run: int, after: int = 0) -> list[Row]:
        found = await super().history(run, after)
        if self.epoch > 1 and run in self._disk.ids:
            self._disk.points.read(run)
        return found


def step_phase(phase: str, *, compensation: bool) -> str:
    """Return the name that a phase of a step has in a compensation."""
    return f"comp.{phase.removeprefix('step.')}" if compensation else phase
