"""What one run did, read from its history: what it asked for, how that ended, and what led to what."""

from __future__ import annotations

import builtins
import linecache
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Raw

from wfkit.core.commands import (
    AwaitSignal,
    CancelChild,
    CancelRun,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    FailSaga,
    Failure,
    PublishSignal,
    RegisterUndo,
    ReleaseUndos,
    RunStep,
    SendSignal,
    SetState,
    StartChild,
    StartTimer,
    StopAwaiting,
    Subscribe,
)
from wfkit.core.entries import (
    BUS,
    FED,
    Activated,
    Blocked,
    CancelRequested,
    ChildEnded,
    Entry,
    Record,
    RunStarted,
    RunTerminated,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    Unblocked,
)
from wfkit.sim.recording import Event, Read, Recording
from wfkit.sim.services import Effect

Ending = CompleteRun | FailRun | CancelRun | RunTerminated


class Trail:
    """One generation of a run. Commands are named by their numbers, moments by the numbers of records, from 1."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.start: RunStarted
        self.ending: Ending | None = None
        self.blocked: Blocked | None = None
        self.steps: dict[int, RunStep] = {}
        self.children: dict[int, StartChild] = {}
        self.waits: dict[int, str] = {}
        """Names of the signals of waits."""
        self.timers: dict[int, int] = {}
        """When timers are due, microseconds UTC."""
        self.asked: dict[int, int] = {}
        """The record that asked for a command."""
        self.ends: dict[int, tuple[int, Entry]] = {}
        """The record and entry that ended a command."""
        self.cut: dict[int, int] = {}
        """What the workflow stopped waiting for by itself, and when, microseconds UTC."""
        self.signals: dict[int, SignalReceived] = {}
        self.taken: set[int] = set()
        """Records of the signals that a wait took."""
        self.closed: set[int] = set()
        """Numbers of the waits that took a signal."""
        self.undos: list[tuple[int, RegisterUndo]] = []
        self.released: dict[int, int] = {}
        """The steps whose undo was released, by number, and the record that did it: what they did is final."""
        self.releases: list[int] = []
        """The records that released undos."""
        self.failed_sagas: list[range] = []
        """The numbers of the commands of each saga that an exception left."""
        self.kept_within: set[int] = set()
        """The steps of sagas that were over when an exception left the saga around them."""
        self.shown: dict[str, Raw] = {}
        """What the run shows of itself as its `State`, by name."""
        self.cancel: CancelRequested | None = None
        self.cancelled = 0
        """The record that asked the run to stop."""
        self.order: list[tuple[str, int | str, int]] = []
        """What came in, in order: its kind, its command or name, and how often before."""
        self._led: dict[int, int] = {}
        """The command whose end made the workflow ask for this one; 0 if none did."""
        self._unreleased: list[RegisterUndo] = []
        self._signal_counts: dict[str, int] = {}
        for seq, record in enumerate(records, start=1):
            self._read(seq, record)

    @property
    def id(self) -> str:
        return self.start.id

    @property
    def workflow(self) -> str:
        return self.start.workflow

    @property
    def status(self) -> str:
        return status_of(self.ending, self.blocked)

    @property
    def result(self) -> Raw | None:
        return self.ending.value if isinstance(self.ending, CompleteRun) else None

    @property
    def returns_nothing(self) -> bool:
        return self.result is None or bytes(self.result) == b"null"

    @property
    def error(self) -> Failure | None:
        return self.ending.error if isinstance(self.ending, FailRun) else None

    @property
    def commands(self) -> Iterator[Command]:
        """All that it asked for, in order."""
        for record in self.records:
            yield from record.commands or ()

    @property
    def requests(self) -> Iterator[tuple[str, Raw]]:
        """The steps and children that it called, and the signals that it sent: their names and arguments."""
        yield from ((step.name, step.args) for step in self.steps.values())
        yield from ((child.workflow, child.args) for child in self.children.values())
        yield from ((each.name, each.payload) for each in self.commands if isinstance(each, SendSignal | PublishSignal))

    @property
    def unreleased(self) -> Sequence[RegisterUndo]:
        """The undos that were registered and not released."""
        return self._unreleased

    def ended_well(self, n: int) -> bool:
        return isinstance(self.ends.get(n, (0, None))[1], StepCompleted)

    def follows(self, later: int, earlier: int) -> bool:
        """Whether one command was asked for because another one had ended, directly or by others between."""
        n = later
        while n := self._led.get(n, 0):
            if n == earlier:
                return True
        return False

    def _read(self, seq: int, record: Record) -> None:
        entry = record.entry
        match entry:
            case StepCompleted() | StepFailed() | TimerFired() | ChildEnded():
                self.ends[entry.n] = (seq, entry)
                self.order.append((type(entry).__name__[:5], entry.n, 0))
            case SignalReceived():
                self.signals[seq] = entry
                before = self._signal_counts[entry.name] = self._signal_counts.get(entry.name, 0) + 1
                self.order.append(("signal", entry.name, before))
            case RunStarted():
                self.start = entry
            case CancelRequested():
                self.cancel, self.cancelled = entry, seq
            case Blocked():
                self.blocked = entry
            case Unblocked():
                self.blocked = None
            case RunTerminated():
                self.ending = entry
            case _:
                pass
        cause = self.records[entry.of - 1].entry if isinstance(entry, Activated) else entry
        if record.commands and isinstance(cause, FED):
            led = self._leader(cause, record.commands)
            for command in record.commands:
                self._command(seq, cause.t, led, command)

    def _leader(self, cause: Any, commands: Sequence[Command]) -> int:
        if isinstance(cause, SignalReceived):
            return next((command.n for command in commands if isinstance(command, StopAwaiting) and command.took), 0)
        return getattr(cause, "n", 0)

    def _command(self, seq: int, t: int, led: int, command: Command) -> None:
        n = getattr(command, "n", 0)
        match command:
            case RunStep():
                self.steps[n] = command
            case StartTimer():
                self.timers[n] = t + command.delay
            case AwaitSignal() | Subscribe():
                self.waits[n] = command.name
            case StartChild():
                self.children[n] = command
            case StopAwaiting(took=int() as took):
                self.taken.add(took)
                self.closed.add(n)
                return
            case CancelStep() | CancelTimer() | CancelChild() | StopAwaiting():
                self.cut[n] = t
                return
            case RegisterUndo():
                self.undos.append((seq, command))
                self._unreleased.append(command)
                return
            case ReleaseUndos():
                self._release(seq, command)
                return
            case FailSaga():
                self.failed_sagas.append(range(command.since, max(self.asked, default=0) + 1))
                self.kept_within.update(command.kept)
                return
            case SetState():
                self.shown[command.name] = command.value
                return
            case CompleteRun() | FailRun() | CancelRun():
                self.ending = command
                return
            case _:
                return
        self.asked[n] = seq
        self._led[n] = led

    def _release(self, seq: int, command: ReleaseUndos) -> None:
        self.releases.append(seq)
        for name, of in reversed(list(zip(command.undos, command.of, strict=True))):
            found = next((undo for undo in reversed(self._unreleased) if (undo.undo, undo.of) == (name, of)), None)
            if found is not None:
                self._unreleased.remove(found)
                if found.of is not None:
                    self.released[found.of] = seq


class Trails:
    """All runs of a recording."""

    def __init__(self, recording: Recording[Any]) -> None:
        self.by_id: dict[str, list[Trail]] = {}
        for number, records in sorted(recording.histories.items()):
            if number != BUS:
                trail = Trail(records)
                self.by_id.setdefault(trail.id, []).append(trail)

    def __iter__(self) -> Iterator[Trail]:
        for trails in self.by_id.values():
            yield from trails

    def newest(self, id: str) -> Trail | None:
        return self.by_id[id][-1] if id in self.by_id else None

    def of(self, effect: Effect) -> Trail | None:
        """Return the run whose step had an effect; None for what the outside did."""
        found = None
        at = effect.at.timestamp() * 1e6
        for trail in self.by_id.get(effect.run, ()):
            if effect.n in trail.steps and (found is None or trail.start.t <= at):
                found = trail
        return found

    def step_at(self, place: Event | Read) -> RunStep | None:
        """Return the step call that something happened in."""
        trail = self.newest(place.run)
        return trail.steps.get(place.n) if trail is not None else None

    def step_of(self, effect: Effect) -> RunStep | None:
        """Return the step call that had an effect."""
        trail = self.of(effect)
        return trail.steps[effect.n] if trail is not None else None


def broke_down(trail: Trail) -> bool:
    """Whether a run failed by an error that Python itself raised, such as in arithmetic of dates: nobody refused anything."""
    error = trail.error
    cls = getattr(builtins, error.type, None) if error is not None else None
    if error is None or not (isinstance(cls, type) and issubclass(cls, Exception)) or issubclass(cls, OSError):
        return False
    ends = (entry.error for _, entry in trail.ends.values() if isinstance(entry, StepFailed | ChildEnded))
    first = next((end for end in ends if end is not None and (end.type, end.message) == (error.type, error.message)), error)
    path, _, number = (first.line or "").partition(" in ")[0].rpartition(":")
    text = linecache.getline(path, int(number)).strip() if number.isdigit() else "raise"
    return not text.startswith(("raise", "assert"))


def status_of(ending: Ending | None, blocked: Blocked | None) -> str:
    """Return the status of a run that ended so, or did not end."""
    match ending:
        case CompleteRun():
            return "completed"
        case FailRun():
            return "failed"
        case CancelRun():
            return "timed_out" if ending.timed_out else "cancelled"
        case RunTerminated():
            return "terminated"
        case None:
            return "blocked" if blocked is not None else "running"


def ending_of(records: Sequence[Record]) -> Ending | None:
    """Return how a run ended, without reading the whole of its history."""
    for record in reversed(records):
        if record.commands and isinstance(record.commands[-1], CompleteRun | FailRun | CancelRun):
            return record.commands[-1]
        if isinstance(record.entry, RunTerminated):
            return record.entry
    return None
