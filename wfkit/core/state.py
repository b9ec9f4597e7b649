"""What a run's records add up to: its status and everything that it still waits for.

Rule 1: this fold is the only reader of what records *mean* for a run as a whole. The engine dispatches from it,
recovery re-arms from it, the command line shows it, the journal stores it as a projection.
Rule 2: it is a pure function of the records, in order; so a projection may be old, and is caught up by folding the
rest. It never replays: what the workflow's code thinks is the business of `machine.py`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, field

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
from wfkit.core.entries import (
    FED,
    Activated,
    ActivationStarted,
    AttemptFailed,
    AttemptStarted,
    Blocked,
    CancelRequested,
    ChildEnded,
    Parent,
    Record,
    RunStarted,
    RunTerminated,
    SignalPublished,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    Unblocked,
)
from wfkit.core.retry import DEATHS_MAX
from wfkit.errors import InternalError

Status: TypeAlias = Literal["running", "completed", "failed", "cancelled", "terminated", "timed_out", "blocked"]
STATUSES: tuple[Status, ...] = ("running", "completed", "failed", "cancelled", "terminated", "timed_out", "blocked")
UNFINISHED: frozenset[Status] = frozenset({"running", "blocked"})

DEDUPE_MAX = 10_000
"""How many dedupe ids of signals a chain of generations remembers."""
BUS_DEDUPE = 7 * 86_400_000_000
"""How long the bus remembers the dedupe ids of published signals, in microseconds."""


class PendingStep(Struct, tag="step", tag_field="is", omit_defaults=True):
    command: RunStep
    since: int
    attempt: int = 1
    """The attempt that runs, or that comes next."""
    deaths: int = 0
    """How often in a row the process died under it."""
    uncounted: int = 0
    """Attempts that did not end by themselves, since the process died or was stopped; the policy does not count them."""
    started: bool = False
    """`AttemptStarted` is recorded for this attempt."""
    due: int | None = None
    """When the next attempt may start; None if one may be running."""
    error: Failure | None = None
    """Why the last attempt failed."""
    cancelled: bool = False

    @property
    def attempts_max(self) -> int | None:
        """The last attempt that there may be: those that are not counted come on top of the policy's."""
        allowed = self.command.retry.max_attempts
        return None if allowed is None else allowed + self.uncounted


class PendingTimer(Struct, tag="timer", tag_field="is", omit_defaults=True):
    due: int
    since: int


class PendingWait(Struct, tag="wait", tag_field="is", omit_defaults=True):
    name: str
    since: int
    where: Json = UNSET
    subscription: bool = False


class PendingChild(Struct, tag="child", tag_field="is", omit_defaults=True):
    workflow: str
    id: str
    since: int
    awaited: bool = True
    on_parent_end: Literal["abandon", "cancel"] = "abandon"
    cancelled: bool = False


Pending: TypeAlias = PendingStep | PendingTimer | PendingWait | PendingChild


class RunState(Struct, omit_defaults=True):
    """One run, as its records leave it. `apply` is its only writer."""

    run: int
    id: str = ""
    generation: int = 1
    workflow: str = ""
    status: Status = "running"
    started: int = 0
    updated: int = 0
    """Time of the last entry, microseconds UTC."""
    seq: int = 0
    """Number of the last record; the first is 1."""
    deadline: int | None = None
    """When the workflow's own timeout cancels it."""
    parent: Parent | None = None
    open: dict[int, Pending] = field(default_factory=dict)
    """What the run waits for, by command number, and children that nobody awaits but that are cancelled at its end."""
    inbox: list[int] | None = None
    """Numbers of the entries that are durable but not activated."""
    activations: int = 0
    """How often the activation of the inbox's first entry was begun and the process died."""
    state: dict[str, Raw] | None = None
    undo: list[str] | None = None
    """Names of the compensations that would run if the run failed now, in the order of their registration, for display."""
    blocked: Blocked | None = None
    attention: bool = False
    cancelling: bool = False
    error: Failure | None = None
    saga_failures: tuple[str, ...] = ()
    dangling: tuple[int, ...] = ()
    dedupe: dict[str, int] | None = None
    """Dedupe ids of the signals that arrived, and when."""
    code: str = ""
    input: str = ""
    """Hash of the arguments: a start under the same id must have equal ones."""

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED

    @property
    def wake_at(self) -> int | None:
        """When the run is next due by itself: a timer, a retry or its deadline, microseconds UTC."""
        dues = [
            pending.due for pending in self.open.values() if isinstance(pending, PendingTimer | PendingStep) and pending.due
        ]
        if self.deadline is not None and not self.cancelling:
            dues.append(self.deadline)
        return min(dues, default=None)

    @property
    def detail(self) -> str:
        """What `running` means just now: compensating, retrying, waiting or running."""
        if self.status != "running":
            return self.status
        steps = [pending for pending in self.open.values() if isinstance(pending, PendingStep)]
        if any(step.command.compensation for step in steps):
            return "compensating"
        if any(step.due is not None for step in steps):
            return "retrying"
        return "running" if steps or not self.open else "waiting"

    def knows(self, dedupe: str | None) -> bool:
        """Whether a signal of this dedupe id has arrived already."""
        return dedupe is not None and self.dedupe is not None and dedupe in self.dedupe

    def apply(self, record: Record) -> None:
        """Fold the next record, number `seq + 1`, into the state."""
        self.seq += 1
        entry = record.entry
        if entry.t > self.updated:
            self.updated = entry.t
        match entry:
            case StepCompleted() | StepFailed() | TimerFired() | ChildEnded():
                self.open.pop(entry.n, None)
            case SignalReceived(dedupe=str() as dedupe):
                self._remember(dedupe, entry.t)
            case SignalPublished(dedupe=str() as dedupe):
                self._remember_published(dedupe, entry.t)
            case CancelRequested():
                self.cancelling = True
            case RunStarted():
                self._start(entry)
            case Activated():
                self._leave_inbox(entry.of)
            case ActivationStarted():
                self.activations += 1
            case AttemptStarted():
                if isinstance(step := self.open.get(entry.n), PendingStep):
                    step.attempt, step.started, step.due = entry.attempt, True, None
            case AttemptFailed():
                self._attempt_failed(entry)
            case Blocked():
                self.status, self.blocked, self.activations = "blocked", entry, 0
            case Unblocked():
                self.status, self.blocked, self.activations = "running", None, 0
            case RunTerminated():
                self._end("terminated", Failure("Terminated", entry.reason) if entry.reason else None)
            case SignalReceived() | SignalPublished():
                pass
        if record.commands is None:
            if isinstance(entry, FED) and not self.finished:
                self.inbox = [*(self.inbox or ()), self.seq]
            return
        for command in record.commands:
            self._command(command, entry.t)

    def _start(self, entry: RunStarted) -> None:
        self.id, self.generation, self.workflow = entry.id, entry.generation, entry.workflow
        self.started, self.parent, self.code = entry.t, entry.parent, entry.code
        self.input = input_hash(entry.args)
        if entry.timeout is not None:
            self.deadline = entry.t + entry.timeout
        for dedupe in entry.dedupe:
            self._remember(dedupe, entry.t)

    def _remember(self, dedupe: str, t: int) -> None:
        if self.dedupe is None:
            self.dedupe = {}
        self.dedupe[dedupe] = t
        if len(self.dedupe) > DEDUPE_MAX:
            del self.dedupe[next(iter(self.dedupe))]

    def _remember_published(self, dedupe: str, t: int) -> None:
        known = self.dedupe = self.dedupe or {}
        known[dedupe] = t
        while known[oldest := next(iter(known))] < t - BUS_DEDUPE:
            del known[oldest]

    def _leave_inbox(self, of: int) -> None:
        if not self.inbox or self.inbox[0] != of:
            raise InternalError(f"run {self.id}: entry {of} was activated out of the inbox's order {self.inbox}")
        self.inbox = self.inbox[1:] or None
        self.activations = 0

    def _attempt_failed(self, entry: AttemptFailed) -> None:
        step = self.open.get(entry.n)
        if not isinstance(step, PendingStep):
            return
        step.error, step.due, step.started, step.attempt = entry.error, entry.due, False, entry.attempt + 1
        if entry.died:
            step.uncounted += 1
            if entry.error.type == "WorkerDied":
                step.deaths += 1
            if step.deaths >= DEATHS_MAX:
                self.attention = True
            return
        step.deaths = 0
        after = step.command.retry.attention_after
        if after is not None and entry.attempt >= after:
            self.attention = True

    def _command(self, command: Command, t: int) -> None:
        match command:
            case RunStep():
                self.open[command.n] = PendingStep(command, t)
                if command.compensation:
                    self._drop_undo(command.name)
            case StartTimer():
                self.open[command.n] = PendingTimer(t + command.delay, t)
            case AwaitSignal():
                self.open[command.n] = PendingWait(command.name, t, command.where)
            case Subscribe():
                self.open[command.n] = PendingWait(command.name, t, command.where, subscription=True)
            case StartChild(awaited=False, on_parent_end="abandon"):
                pass
            case StartChild():
                self.open[command.n] = PendingChild(command.workflow, command.id, t, command.awaited, command.on_parent_end)
            case CancelTimer() | StopAwaiting():
                self.open.pop(command.n, None)
            case CancelStep():
                if not command.awaited:
                    self.open.pop(command.n, None)
                elif isinstance(step := self.open.get(command.n), PendingStep):
                    step.cancelled = True
            case CancelChild():
                if isinstance(child := self.open.get(command.n), PendingChild):
                    child.cancelled = True
            case SetState():
                self.state = {**(self.state or {}), command.name: command.value}
            case RegisterUndo():
                self.undo = [*(self.undo or ()), command.undo]
            case ReleaseUndos():
                for name in reversed(command.undos):
                    self._drop_undo(name)
            case CompleteRun():
                self.dangling, self.saga_failures = command.dangling, command.saga_failures
                self.attention = bool(command.saga_failures)
                self._end("completed", None)
            case FailRun():
                self.dangling, self.saga_failures = command.dangling, command.saga_failures
                self.attention = bool(command.saga_failures)
                self._end("failed", command.error)
            case CancelRun():
                self.dangling, self.saga_failures = command.dangling, command.saga_failures
                self.attention = bool(command.saga_failures)
                self._end("timed_out" if command.timed_out else "cancelled", Failure("Cancelled", command.reason))
            case SendSignal() | PublishSignal() | FailSaga():
                pass

    def _drop_undo(self, name: str) -> None:
        """Take out the last undo of a name: which one of a name it is makes no difference to a list of names."""
        undos = self.undo or []
        for index in reversed(range(len(undos))):
            if undos[index] == name:
                self.undo = [*undos[:index], *undos[index + 1 :]] or None
                return

    def _end(self, status: Status, error: Failure | None) -> None:
        self.status, self.error = status, error
        self.open = {}
        self.inbox = self.blocked = self.deadline = None


def input_hash(args: Raw) -> str:
    """Return a hash of a run's arguments as values: the order of an object's keys does not count."""
    canonical = msgspec.json.encode(msgspec.json.decode(args), order="deterministic")
    return blake2b(canonical, digest_size=8).hexdigest()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RunState)

encode_state = _encoder.encode
decode_state = _decoder.decode
