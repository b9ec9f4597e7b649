"""Plays the engine's part over a `Machine`, in virtual time: what a run asks for happens, in an order that a seed decides.

A step takes a random time, a timer its own, signals and a cancel come when the scenario says. The next thing that happens is
one entry, and its commands are its record's. So a seed stands for one history, and the same seed for the same bytes.
"""

from __future__ import annotations

import heapq
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import msgspec
from msgspec import Raw

from wfkit.api.attempt import Attempt, StepInfo, attempt
from wfkit.api.definitions import Step, Workflow
from wfkit.core.commands import (
    CancelChild,
    CancelRun,
    CancelStep,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    RunStep,
    StartChild,
    StartTimer,
)
from wfkit.core.entries import (
    FED,
    Activated,
    AttemptFailed,
    CancelRequested,
    ChildEnded,
    Entry,
    Fed,
    Parent,
    Record,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.core.failures import failure_of, type_names
from wfkit.core.machine import Machine, StepFuture
from wfkit.core.records import encode_record
from wfkit.core.retry import next_attempt
from wfkit.core.state import PendingChild, PendingStep, PendingTimer, RunState

EPOCH = 1_700_000_000_000_000
SECOND = 1_000_000
STEP_MAX = 4 * SECOND
"""Longest time that a step takes: about as long as the corpus's timeouts, so that either may win."""
ENTRIES_MAX = 10_000
DEFAULT_SEED = "000102030405060708090a0b0c0d0e0f"


@dataclass(frozen=True)
class Sent:
    """A signal that reaches the run `after` seconds from its start."""

    after: float
    name: str
    payload: object


@dataclass(frozen=True)
class Scenario:
    """A workflow, its input, and what comes from outside."""

    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    signals: tuple[Sent, ...] = ()
    cancel_after: float | None = None
    """Seconds from the start after which a cancel is asked for."""
    patches: tuple[str, ...] | None = None
    """Those that are recorded at the start; by default what the workflow declares."""
    children: Mapping[str, Workflow[..., Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.workflow.name


class Driver:
    """One run on its way.

    Args:
        scenario: what to run.
        seed: decides how long each step takes.
        inbox: make each entry durable alone, and record its commands with the activation that follows.
        disturb: called before each activation; it may do what it likes to the process's memory.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        *,
        run_id: str = "run-1",
        parent: Parent | None = None,
        inbox: bool = False,
        disturb: Callable[[], None] = lambda: None,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.run_id = run_id
        self.parent = parent
        self.inbox = inbox
        self.disturb = disturb
        self.chance = Random(f"{scenario.name}/{seed}/{run_id}")
        self.machine = Machine(scenario.workflow)
        self.history: list[Record] = []
        self.state = RunState(1)
        self.now = EPOCH
        self._agenda: list[tuple[int, int, Callable[[], Iterable[Entry]]]] = []

    @property
    def commands(self) -> list[Command]:
        """All commands so far."""
        return [command for record in self.history for command in record.commands or ()]

    @property
    def steps(self) -> list[str]:
        """Names of the steps that were asked for, in order."""
        return [command.name for command in self.commands if isinstance(command, RunStep)]

    @property
    def ending(self) -> CompleteRun | FailRun | CancelRun:
        last = self.commands[-1]
        assert isinstance(last, CompleteRun | FailRun | CancelRun), f"{last} ends no run"
        return last

    @property
    def result(self) -> Any:
        """What the workflow returned."""
        ending = self.ending
        assert isinstance(ending, CompleteRun), f"{ending} is no result"
        return self.scenario.workflow.signature.result.decode(ending.value)

    @property
    def failure(self) -> Failure:
        ending = self.ending
        assert isinstance(ending, FailRun), f"{ending} is no failure"
        return ending.error

    def start(self) -> tuple[Command, ...]:
        """Feed the first entry."""
        workflow = self.scenario.workflow
        patches = workflow.patches if self.scenario.patches is None else self.scenario.patches
        for sent in self.scenario.signals:
            self._plan(self.now + round(sent.after * SECOND), lambda sent=sent: [self._signal(sent)])  # type: ignore[misc]
        if self.scenario.cancel_after is not None:
            due = self.now + round(self.scenario.cancel_after * SECOND)
            self._plan(due, lambda: [CancelRequested(t=self.now, reason="asked for")])
        started = RunStarted(
            t=self.now,
            id=self.run_id,
            workflow=workflow.name,
            args=workflow.signature.encode(self.scenario.args, {}),
            seed=DEFAULT_SEED,
            patches=patches,
            parent=self.parent,
        )
        return self.feed(started)

    def run(self) -> Driver:
        """Go on until the run has ended."""
        if not self.history:
            self.start()
        while not self.machine.ended:
            self.go_on()
        return self

    def go_on(self) -> None:
        """Let the next thing happen."""
        assert self._agenda, f"{self.scenario.name}: nothing will ever happen, and the run waits for {self.state.open}"
        assert len(self.history) < ENTRIES_MAX, f"{self.scenario.name} never ends"
        due, _, happens = heapq.heappop(self._agenda)
        self.now = max(self.now, due)
        for entry in happens():
            if isinstance(entry, FED):
                self.feed(entry)  # type: ignore[arg-type]  # FED are the classes of Fed
            else:
                self._record(Record(entry))

    def feed(self, entry: Fed) -> tuple[Command, ...]:
        """Give the run an entry, record it with its commands, and plan what they ask for."""
        self.disturb()
        seq = len(self.history) + 1
        if self.inbox:
            self._record(Record(entry))
        commands = self.machine.feed(entry, seq)
        self._record(Record(Activated(t=self.now, of=seq), commands) if self.inbox else Record(entry, commands))
        for command in commands:
            self._answer(command)
        return commands

    def _record(self, record: Record) -> None:
        self.history.append(record)
        self.state.apply(record)

    def _plan(self, due: int, happens: Callable[[], Iterable[Entry]]) -> None:
        heapq.heappush(self._agenda, (due, len(self._agenda) + 1_000 * len(self.history), happens))

    def _answer(self, command: Command) -> None:
        match command:
            case RunStep():
                self._plan(self.now + self.chance.randint(1, STEP_MAX), lambda: self._run_step(command, 1))
            case StartTimer():
                self._plan(self.now + command.delay, lambda: self._fire(command.n))
            case StartChild(awaited=True):
                self._plan(self.now + self.chance.randint(1, STEP_MAX), lambda: self._end_child(command))
            case CancelStep(awaited=True):
                self._plan(self.now + self.chance.randint(1, SECOND), lambda: self._end_step(command.n))
            case CancelChild() if not self.machine.ended:
                self._plan(self.now + self.chance.randint(1, SECOND), lambda: self._cancel_child(command.n))
            case _:
                pass

    # -- what happens -----------------------------------------------------------------------------------------------

    def _signal(self, sent: Sent) -> SignalReceived:
        return SignalReceived(t=self.now, name=sent.name, payload=Raw(msgspec.json.encode(sent.payload)), arrived=self.now)

    def _fire(self, n: int) -> list[Entry]:
        return [TimerFired(t=self.now, n=n)] if isinstance(self.state.open.get(n), PendingTimer) else []

    def _run_step(self, command: RunStep, nth: int) -> list[Entry]:
        pending = self.state.open.get(command.n)
        if not isinstance(pending, PendingStep):
            return []
        future = self.machine.pending[command.n]
        assert isinstance(future, StepFuture)
        assert isinstance(future.definition, Step)
        try:
            value = perform(future.definition, command, self.run_id, nth)
        except Exception as exc:  # noqa: BLE001  # a step may raise anything
            wait = next_attempt(command.retry, nth, command.key, type_names(exc), getattr(exc, "wait", None))
            if wait is None or pending.cancelled:
                return [StepFailed(t=self.now, n=command.n, error=without_line(failure_of(exc)), attempt=nth)]
            due = self.now + wait
            self._plan(due, lambda: self._run_step(command, nth + 1))
            return [AttemptFailed(t=self.now, n=command.n, attempt=nth, error=without_line(failure_of(exc)), due=due)]
        return [StepCompleted(t=self.now, n=command.n, value=value, attempt=nth)]

    def _end_step(self, n: int) -> list[Entry]:
        """A step that was cancelled ends: it is done all the same, or it stopped."""
        pending = self.state.open.get(n)
        if not isinstance(pending, PendingStep):
            return []
        if self.chance.random() < 0.5:
            return self._run_step(pending.command, pending.attempt)
        return [StepFailed(t=self.now, n=n, error=Failure("StepCancelled", "it was cancelled"))]

    def _end_child(self, command: StartChild) -> list[Entry]:
        pending = self.state.open.get(command.n)
        if not isinstance(pending, PendingChild):
            return []
        workflow = self.scenario.children[command.workflow]
        args, _ = workflow.decode_args(command.args)
        parent = Parent(1, self.run_id, command.n, command.awaited, command.on_parent_end)
        ending = Driver(Scenario(workflow, args), self.seed, run_id=command.id, parent=parent).run().ending
        if isinstance(ending, CompleteRun):
            return [ChildEnded(t=self.now, n=command.n, status="completed", value=ending.value)]
        status: Literal["failed", "cancelled"] = "failed" if isinstance(ending, FailRun) else "cancelled"
        error = without_line(ending.error) if isinstance(ending, FailRun) else Failure("Cancelled", ending.reason)
        return [ChildEnded(t=self.now, n=command.n, status=status, error=error)]

    def _cancel_child(self, n: int) -> list[Entry]:
        if not isinstance(self.state.open.get(n), PendingChild):
            return []
        return [ChildEnded(t=self.now, n=n, status="cancelled", error=Failure("Cancelled", "by its parent"))]


def perform(step: Step[..., Any], command: RunStep, run_id: str = "run-1", nth: int = 1) -> Raw:
    """Run the function of a step, which must not wait for anything, and return its result as JSON."""
    args, kwargs = step.signature.call(step.signature.decode(command.args))
    token = attempt.set(Attempt(StepInfo(run_id, "", command.name, command.key, nth, None), undoes=command.undoes))
    try:
        value = step.fn(*args, **kwargs)
        if inspect.iscoroutine(value):
            value = _finish(value)
    finally:
        attempt.reset(token)
    return step.signature.result.encode(value)


def _finish(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("steps of the corpus await nothing")


def without_line(failure: Failure) -> Failure:
    """Return a failure without the path of this checkout."""
    return msgspec.structs.replace(failure, line=None)


def drive(workflow: Workflow[..., Any], *args: Any, seed: int = 0, **options: Any) -> Driver:
    """Run a workflow to its end."""
    return Driver(Scenario(workflow, args, **options), seed).run()


def history_bytes(history: Iterable[Record]) -> bytes:
    """Return a history as its journal would hold it, a line for each record; where a failure was raised is left out."""
    return b"\n".join(encode_record(_portable(record)) for record in history) + b"\n"


def _portable(record: Record) -> Record:
    if record.commands is None or not isinstance(record.commands[-1] if record.commands else None, FailRun):
        return record
    *others, ending = record.commands
    assert isinstance(ending, FailRun)
    ending = msgspec.structs.replace(ending, error=without_line(ending.error))
    return Record(record.entry, (*others, ending))


class Puppet(Driver):
    """A run whose next entry the test chooses. Time stands still unless a timer fires or the test moves `now`."""

    def __init__(self, workflow: Workflow[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(Scenario(workflow, args), **options)
        self.start()

    def open_steps(self) -> dict[int, str]:
        """Return the names of the steps that are open, by number."""
        return {n: of.command.name for n, of in self.state.open.items() if isinstance(of, PendingStep)}

    def number_of(self, step: Step[..., Any], *args: Any) -> int:
        """Return the number of the first open call of a step, with these arguments if any are given."""
        wanted = step.signature.encode(args, {}) if args else None
        for n, pending in self.state.open.items():
            if (
                isinstance(pending, PendingStep)
                and pending.command.name == step.name
                and wanted in (None, pending.command.args)
            ):
                return n
        raise AssertionError(f"{step.name}{args} is not open; open are {self.open_steps()}")

    def complete(self, step: Step[..., Any], *args: Any) -> tuple[Command, ...]:
        """Run an open call of a step, and feed its result."""
        n = self.number_of(step, *args)
        pending = self.state.open[n]
        assert isinstance(pending, PendingStep)
        return self.feed(StepCompleted(t=self.now, n=n, value=perform(step, pending.command, self.run_id)))

    def fail(self, step: Step[..., Any], *args: Any, error: BaseException | Failure) -> tuple[Command, ...]:
        """Fail an open call of a step for good."""
        n = self.number_of(step, *args)
        failure = error if isinstance(error, Failure) else failure_of(error)
        return self.feed(StepFailed(t=self.now, n=n, error=failure))

    def fire(self) -> tuple[Command, ...]:
        """Let the timer fire that is due first."""
        timers = {n: pending.due for n, pending in self.state.open.items() if isinstance(pending, PendingTimer)}
        n = min(timers, key=lambda n: (timers[n], n))
        self.now = max(self.now, timers[n])
        return self.feed(TimerFired(t=self.now, n=n))

    def send(self, name: str, payload: object, *, arrived: int | None = None) -> tuple[Command, ...]:
        """Let a signal come."""
        data, when = Raw(msgspec.json.encode(payload)), self.now if arrived is None else arrived
        return self.feed(SignalReceived(t=self.now, name=name, payload=data, arrived=when))

    def cancel(self, *, timeout: bool = False) -> tuple[Command, ...]:
        """Ask for a cancel."""
        return self.feed(CancelRequested(t=self.now, reason="asked for", timeout=timeout))

    def end_child(self, status: Any, value: object = None, error: Failure | None = None) -> tuple[Command, ...]:
        """End the only open child."""
        (n,) = (n for n, pending in self.state.open.items() if isinstance(pending, PendingChild) and pending.awaited)
        raw = Raw(msgspec.json.encode(value)) if status == "completed" else msgspec.UNSET
        return self.feed(ChildEnded(t=self.now, n=n, status=status, value=raw, error=error))
