"""Carries what one run asks of others: signals, published signals, children and their ends.

A delivery is an entry of the receiver in the *same unit* of the journal as the sender's activation: after a crash both
are there or neither is, so nothing is ever delivered twice or lost, and there is nothing to make good at recovery.

The functions are generators: each yields the address of a run that it needs, and is sent the run, or None if there is
no such run. So the same code serves at once when all is in memory, and after a look into the journal when not.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Raw

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.core.commands import (
    AwaitSignal,
    CancelChild,
    CancelRun,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    Json,
    PublishSignal,
    SendSignal,
    StartChild,
    StopAwaiting,
    Subscribe,
)
from wfkit.core.compare import PYTHON
from wfkit.core.entries import (
    CancelRequested,
    ChildEnded,
    Entry,
    Parent,
    Record,
    RunStarted,
    RunTerminated,
    SignalPublished,
    SignalReceived,
)
from wfkit.core.keys import child_id, triggered_id
from wfkit.core.matching import matches
from wfkit.core.state import Pending, PendingChild, PendingWait, input_hash
from wfkit.engine.ports import Clock, Entropy
from wfkit.engine.runs import LiveRun, Runs
from wfkit.journal.port import Row


class Named(NamedTuple):
    """The newest generation of a run id."""

    id: str


class Numbered(NamedTuple):
    """A run by its number."""

    number: int


class WithResult(NamedTuple):
    """A finished run, with its result in `value`."""

    run: LiveRun


Address: TypeAlias = Named | Numbered | WithResult
Delivery: TypeAlias = tuple[LiveRun, Entry]
Carrying: TypeAlias = Generator[Address, "LiveRun | None", list[Delivery]]


class Mailbox:
    """Finds receivers, and makes the entries that they get.

    Args:
        runs: the runs in memory.
        registry: the workflows that a signal may start.
        clock: the wall clock.
        entropy: seeds of new runs.
    """

    def __init__(self, runs: Runs, registry: Registry, clock: Clock, entropy: Entropy) -> None:
        self._runs = runs
        self._registry = registry
        self._clock = clock
        self._entropy = entropy
        self._waits: dict[str, dict[tuple[int, int], Json]] = {}
        """Open waits and subscriptions by signal name: (run, n) and what the payload must have."""
        self._awaiting: dict[str, dict[tuple[int, int], None]] = {}
        """Parents (run, n) by the id of the child whose end they await."""

    # -- the index ----------------------------------------------------------------------------------------------------

    def note(self, run: LiveRun, commands: Iterable[Command]) -> None:
        """Keep the index up to date with the commands of an activation."""
        for command in commands:
            match command:
                case AwaitSignal() | Subscribe():
                    self._waits.setdefault(command.name, {})[run.number, command.n] = command.where
                case StopAwaiting():
                    pending = run.state.open.get(command.n)
                    if isinstance(pending, PendingWait):
                        self._forget_wait(pending.name, run.number, command.n)
                case StartChild(awaited=True):
                    self._awaiting.setdefault(command.id, {})[run.number, command.n] = None
                case _:
                    pass

    def restore(self, run: LiveRun) -> None:
        """Put a recovered run's open waits and children into the index."""
        for n, pending in run.state.open.items():
            if isinstance(pending, PendingWait):
                self._waits.setdefault(pending.name, {})[run.number, n] = pending.where
            elif isinstance(pending, PendingChild) and pending.awaited:
                self._awaiting.setdefault(pending.id, {})[run.number, n] = None

    def forget(self, run: LiveRun, left: Iterable[tuple[int, Pending]]) -> None:
        """Take what a run that ended had open out of the index."""
        for n, pending in left:
            if isinstance(pending, PendingWait):
                self._forget_wait(pending.name, run.number, n)
            elif isinstance(pending, PendingChild) and pending.awaited:
                parents = self._awaiting.get(pending.id, {})
                parents.pop((run.number, n), None)
                if not parents:
                    self._awaiting.pop(pending.id, None)

    def _forget_wait(self, name: str, run: int, n: int) -> None:
        waits = self._waits.get(name)
        if waits is not None:
            waits.pop((run, n), None)
            if not waits:
                del self._waits[name]

    # -- from run to run ------------------------------------------------------------------------------------------------

    def time_of(self, run: LiveRun) -> int:
        """Return the time of the run's next entry: the wall clock, but never before its last entry."""
        return max(run.state.updated, self._clock.now())

    def carry(self, run: LiveRun, commands: Sequence[Command], rows: list[Row]) -> Carrying:
        """Return what the commands of an activation bring to other runs; a published signal's own row goes to `rows`."""
        deliveries: list[Delivery] = []
        for command in commands:
            match command:
                case SendSignal():
                    deliveries += yield from self._send(run, command)
                case PublishSignal():
                    sender = f"{run.state.id}/{run.state.generation}/{command.n}"
                    deliveries += yield from self.publish(command.name, command.payload, rows, dedupe=None, sender=sender)
                case StartChild():
                    deliveries += yield from self._start_child(run, command)
                case CancelChild():
                    deliveries += yield from self._cancel_child(run, command.n, "the parent cancelled it")
                case _:
                    pass
        return deliveries

    def _send(self, run: LiveRun, command: SendSignal) -> Carrying:
        target = yield Named(command.run_id)
        if target is None or target.state.finished:
            return []
        t = self.time_of(target)
        dedupe = f"{run.state.id}/{run.state.generation}/{command.n}"
        return [(target, SignalReceived(t=t, name=command.name, payload=command.payload, arrived=t, dedupe=dedupe))]

    def publish(self, name: str, payload: Raw, rows: list[Row], *, dedupe: str | None, sender: str | None) -> Carrying:
        """Publish a signal: write it on the bus and return what it brings to whom."""
        deliveries: list[Delivery] = []
        number = self._runs.bus.state.seq + 1
        receivers: dict[int, None] = {}
        for (run_number, _), where in self._waits.get(name, {}).items():
            if run_number not in receivers and matches(None if where is UNSET else msgspec.json.decode(where), payload):
                receivers[run_number] = None
        t = self.time_of(self._runs.bus)
        started = self._registry.triggered_by(name)
        published = SignalPublished(
            t=t, name=name, payload=payload, dedupe=dedupe, sender=sender, receivers=len(receivers) + len(started)
        )
        rows.append(self._runs.bus.record(Record(published)))
        self._runs.changed[0] = None
        for receiver in receivers:
            target = yield Numbered(receiver)
            if target is not None and not target.state.finished:
                entry = SignalReceived(
                    t=self.time_of(target), name=name, payload=payload, arrived=t, dedupe=f"bus/{number}", published=True
                )
                deliveries.append((target, entry))
        for workflow in started:
            id = triggered_id(workflow.name, number)
            args = Raw(b"[" + bytes(payload) + b"]")
            deliveries.append(self.new_run(workflow, id, args, trigger=number))
        return deliveries

    def new_run(
        self,
        workflow: Workflow[..., Any],
        id: str,
        args: Raw,
        *,
        generation: int = 1,
        parent: Parent | None = None,
        trigger: int | None = None,
        dedupe: tuple[str, ...] = (),
    ) -> Delivery:
        """Make a run and its first entry."""
        run = self._runs.new(id)
        entry = RunStarted(
            t=self._clock.now(),
            id=id,
            generation=generation,
            workflow=workflow.name,
            args=args,
            seed=self._entropy.bits(),
            code=workflow.code_hash,
            python=PYTHON,
            patches=workflow.patches,
            timeout=workflow.timeout,
            parent=parent,
            trigger=trigger,
            dedupe=dedupe,
        )
        return run, entry

    def _start_child(self, run: LiveRun, command: StartChild) -> Carrying:
        # A derived id is unique by construction, and its start is in one unit with this command: nothing to look for.
        derived = command.id == child_id(run.state.id, run.state.generation, command.workflow, command.n)
        known = None if derived else (yield Named(command.id))
        if known is None:
            workflow = self._registry.workflows.get(command.workflow)
            if workflow is None:
                return self._refuse_child(run, command, "UnknownWorkflow", f"no workflow is named {command.workflow!r}")
            parent = Parent(run.number, run.state.id, command.n, command.awaited, command.on_parent_end)
            return [self.new_run(workflow, command.id, command.args, parent=parent)]
        if known.state.workflow != command.workflow or known.state.input != input_hash(command.args):
            return self._refuse_child(
                run, command, "DuplicateRun", f"run id {command.id!r} is in use with another workflow or other input"
            )
        if known.state.finished and command.awaited:
            ended = yield WithResult(known)
            return [] if ended is None else [(run, self._end_of(run, ended, command.n))]
        return []

    def _refuse_child(self, run: LiveRun, command: StartChild, kind: str, message: str) -> list[Delivery]:
        if not command.awaited:
            return []
        error = Failure(kind, message)
        return [(run, ChildEnded(t=self.time_of(run), n=command.n, status="failed", error=error))]

    def _cancel_child(self, run: LiveRun, n: int, reason: str) -> Carrying:
        pending = run.state.open.get(n)
        if not isinstance(pending, PendingChild):
            return []
        child = yield Named(pending.id)
        if child is None or child.state.finished or child.state.cancelling:
            return []
        return [(child, CancelRequested(t=self.time_of(child), reason=reason, by=run.state.id))]

    def ended(self, run: LiveRun, left: Sequence[tuple[int, Pending]]) -> Carrying:
        """Return what the end of a run brings: its parents get to know, children that depend on it are stopped.

        Args:
            run: the run, its state already that of its end.
            left: what it had open just before.
        """
        deliveries: list[Delivery] = []
        for number, n in list(self._awaiting.pop(run.state.id, {})):
            parent = yield Numbered(number)
            if parent is not None and not parent.state.finished and n in parent.state.open:
                deliveries.append((parent, self._end_of(parent, run, n)))
        for _, pending in left:
            if not isinstance(pending, PendingChild) or not (pending.awaited or pending.on_parent_end == "cancel"):
                continue
            child = yield Named(pending.id)
            if child is None or child.state.finished:
                continue
            t, by, reason = self.time_of(child), run.state.id, f"its parent {run.state.status}"
            if run.state.status == "terminated" and pending.awaited:
                deliveries.append((child, RunTerminated(t=t, reason=reason, by=by)))
            elif not child.state.cancelling:
                deliveries.append((child, CancelRequested(t=t, reason=reason, by=by)))
        return deliveries

    def _end_of(self, parent: LiveRun, child: LiveRun, n: int) -> ChildEnded:
        status = child.state.status
        assert status != "running"
        assert status != "blocked"
        value = child.value if status == "completed" and child.value is not None else UNSET
        return ChildEnded(t=self.time_of(parent), n=n, status=status, value=value, error=child.state.error)


def result_of(commands: Sequence[Command]) -> Raw | None:
    """Return the result among the commands of a last activation."""
    return next((command.value for command in commands if isinstance(command, CompleteRun)), None)


ENDINGS = (CompleteRun, FailRun, CancelRun)
