"""A history as people think of it: what belongs together is one span.

A step that was asked for, its attempts and its outcome are three or more records; here they are one span with a
beginning and an end. The same holds for timers, waits and children. What happens at one moment, such as a signal that
arrives, is a span of no length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from msgspec import UNSET

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
    Json,
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
from wfkit.core.durations import display
from wfkit.core.entries import (
    AttemptFailed,
    AttemptStarted,
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

Kind: TypeAlias = Literal[
    "run", "step", "timer", "wait", "subscription", "child", "signal", "send", "publish", "cancel", "blocked"
]
Outcome: TypeAlias = Literal[
    "running", "waiting", "retrying", "completed", "failed", "cancelled", "terminated", "timed_out", "blocked", "buffered"
]


@dataclass(frozen=True)
class Attempt:
    """One failed attempt of a step. Times are microseconds UTC."""

    number: int
    failed: int
    error: Failure
    due: int | None
    """When the next one may start; None if it was the last."""
    died: bool = False
    """The process died under it."""


@dataclass
class Span:
    """Something that a run did or waited for. Times are microseconds UTC."""

    kind: Kind
    name: str
    since: int
    until: int | None = None
    """None while it lasts."""
    outcome: Outcome = "running"
    n: int | None = None
    """The number of its command."""
    compensation: bool = False
    attempt: int = 0
    """The attempt that ended it, or the one that runs or comes next; 0 if it is no step."""
    attempts_max: int | None = None
    attempts: list[Attempt] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    """Numbers of the records that tell of it."""
    value: Json = UNSET
    error: Failure | None = None
    where: Json = UNSET
    """The fields that a wait asks for."""
    due: int | None = None
    """When a timer fires, or a step is tried again."""


def fold(told: Sequence[Span], at_least: int) -> list[Span]:
    """Return spans with each crowd of one name that began at one moment, as a gather starts it, as a single span.

    Args:
        told: what `spans` returned.
        at_least: how many make a crowd.
    """
    crowds: dict[tuple[int, Kind, str], list[Span]] = {}
    for span in told:
        crowds.setdefault((span.records[0], span.kind, span.name), []).append(span)
    folded = []
    for crowd in crowds.values():
        folded += [_one_of(crowd)] if len(crowd) >= at_least else crowd
    return folded


def _one_of(crowd: Sequence[Span]) -> Span:
    counts = Counter(span.outcome for span in crowd)
    worst: Outcome = next((outcome for outcome in _WORST_FIRST if outcome in counts), "completed")
    ends = [span.until for span in crowd if span.until is not None]
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())
    return Span(
        crowd[0].kind,
        f"{crowd[0].name} ×{len(crowd):,}: {told}",
        crowd[0].since,
        max(ends) if len(ends) == len(crowd) else None,
        worst,
        compensation=crowd[0].compensation,
        records=crowd[0].records,
    )


_WORST_FIRST: tuple[Outcome, ...] = ("failed", "timed_out", "terminated", "retrying", "running", "waiting", "cancelled")


def spans(records: Sequence[Record]) -> list[Span]:
    """Return what a history tells, in the order in which it began; the run itself is the first span."""
    reading = _Reading()
    for seq, record in enumerate(records, 1):
        reading.entry(record.entry, seq)
        for command in record.commands or ():
            reading.command(command, seq, record.entry.t)
    return reading.spans


class _Reading:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._open: dict[int, Span] = {}
        self._buffered: dict[int, Span] = {}
        self._blocked: Span | None = None

    # -- entries ------------------------------------------------------------------------------------------------------

    def entry(self, entry: Entry, seq: int) -> None:
        t = entry.t
        match entry:
            case RunStarted():
                self._add(Span("run", entry.workflow, t), seq)
            case StepCompleted():
                self._close(entry.n, seq, t, "completed", value=entry.value, attempt=entry.attempt)
            case StepFailed():
                span = self._close(entry.n, seq, t, "failed", attempt=entry.attempt)
                if span is not None:
                    span.error = entry.error
                    span.attempts.append(Attempt(entry.attempt, t, entry.error, None))
            case AttemptFailed():
                self._attempt_failed(entry, seq)
            case AttemptStarted():
                if (span := self._open.get(entry.n)) is not None:
                    span.attempt, span.outcome, span.due = entry.attempt, "running", None
                    span.records.append(seq)
            case TimerFired():
                self._close(entry.n, seq, t, "completed")
            case ChildEnded():
                span = self._close(entry.n, seq, t, entry.status, value=entry.value)
                if span is not None:
                    span.error = entry.error
            case SignalReceived():
                span = Span("signal", entry.name, t, t, "buffered", value=entry.payload)
                self._buffered[seq] = self._add(span, seq)
            case CancelRequested():
                self._add(Span("cancel", "timeout" if entry.timeout else entry.reason, t, t, "completed"), seq)
            case Blocked():
                self._block(entry, seq)
            case Unblocked():
                if self._blocked is not None:
                    self._end(self._blocked, seq, t, "completed")
            case RunTerminated():
                self._end_run(seq, t, "terminated", Failure("Terminated", entry.reason) if entry.reason else None)
            case _:
                pass

    def _attempt_failed(self, entry: AttemptFailed, seq: int) -> None:
        span = self._open.get(entry.n)
        if span is None:
            return
        span.attempts.append(Attempt(entry.attempt, entry.t, entry.error, entry.due, entry.died))
        span.attempt = entry.attempt + 1
        if entry.died and span.attempts_max is not None:
            span.attempts_max += 1  # the policy does not count it
        span.outcome, span.error, span.due = "retrying", entry.error, entry.due
        span.records.append(seq)

    def _block(self, entry: Blocked, seq: int) -> None:
        """Tell of other code on which the run is blocked; where it already was, by the same error, that goes on."""
        blocked = self._blocked
        if blocked is not None and blocked.until is None:
            if blocked.name == entry.code:
                blocked.error = entry.cause
                blocked.records.append(seq)
                return
            self._end(blocked, seq, entry.t, "completed")
        self._blocked = self._add(Span("blocked", entry.code, entry.t, None, "blocked", error=entry.cause), seq)

    # -- commands -----------------------------------------------------------------------------------------------------

    def command(self, command: Command, seq: int, t: int) -> None:
        match command:
            case RunStep():
                span = Span("step", command.name, t, n=command.n, compensation=command.compensation, attempt=1)
                span.attempts_max = command.retry.max_attempts
                self._begin(span, seq)
            case StartTimer():
                self._begin(Span("timer", display(command.delay), t, None, "waiting", command.n, due=t + command.delay), seq)
            case AwaitSignal() | Subscribe():
                kind: Kind = "wait" if isinstance(command, AwaitSignal) else "subscription"
                self._begin(Span(kind, command.name, t, None, "waiting", command.n, where=command.where), seq)
            case StartChild():
                # A child that nobody awaits is a thing of one moment here: its end is not this run's business.
                ended = None if command.awaited else t
                span = Span("child", command.id, t, ended, "running" if command.awaited else "completed", command.n)
                self._begin(span, seq, lasts=command.awaited)
            case StopAwaiting():
                self._stop_awaiting(command, seq, t)
            case CancelTimer() | CancelChild():
                self._close(command.n, seq, t, "cancelled")
            case CancelStep():
                if not command.awaited:
                    self._close(command.n, seq, t, "cancelled")
            case SendSignal():
                self._add(Span("send", f"{command.name} to {command.run_id}", t, t, "completed", value=command.payload), seq)
            case PublishSignal():
                self._add(Span("publish", command.name, t, t, "completed", value=command.payload), seq)
            case CompleteRun():
                self._end_run(seq, t, "completed", None, command.value)
            case FailRun():
                self._end_run(seq, t, "failed", command.error)
            case CancelRun():
                error = Failure("Cancelled", command.reason) if command.reason else None
                self._end_run(seq, t, "timed_out" if command.timed_out else "cancelled", error)
            case SetState() | RegisterUndo() | ReleaseUndos() | FailSaga():
                pass

    def _stop_awaiting(self, command: StopAwaiting, seq: int, t: int) -> None:
        span = self._close(command.n, seq, t, "cancelled" if command.took is None else "completed")
        taken = self._buffered.pop(command.took, None) if command.took is not None else None
        if taken is not None:
            taken.outcome = "completed"
            if span is not None:
                span.value = taken.value

    # -- spans --------------------------------------------------------------------------------------------------------

    def _add(self, span: Span, seq: int) -> Span:
        span.records.append(seq)
        self.spans.append(span)
        return span

    def _begin(self, span: Span, seq: int, *, lasts: bool = True) -> None:
        self._add(span, seq)
        if lasts and span.n is not None:
            self._open[span.n] = span

    def _close(
        self, n: int, seq: int, t: int, outcome: Outcome, *, value: Json = UNSET, attempt: int | None = None
    ) -> Span | None:
        span = self._open.pop(n, None)
        if span is None:
            return None
        self._end(span, seq, t, outcome)
        span.value, span.error = value, None
        if attempt is not None:
            span.attempt = attempt
        return span

    def _end(self, span: Span, seq: int, t: int, outcome: Outcome) -> None:
        span.until, span.outcome, span.due = t, outcome, None
        if seq not in span.records:
            span.records.append(seq)

    def _end_run(self, seq: int, t: int, outcome: Outcome, error: Failure | None, value: Json = UNSET) -> None:
        for n in list(self._open):
            self._close(n, seq, t, "cancelled")
        if self._blocked is not None and self._blocked.until is None:
            self._end(self._blocked, seq, t, "cancelled")
        self._end(self.spans[0], seq, t, outcome)
        self.spans[0].error, self.spans[0].value = error, value
