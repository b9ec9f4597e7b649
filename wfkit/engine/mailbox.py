"""Carries what one run asks of others: signals, published signals, children and their ends.

A delivery is an entry of the receiver in the *same unit* of the journal as the sender's activation: after a crash both
are there or neither is, so nothing is ever delivered twice or lost, and there is nothing to make good at recovery.

The functions are generators: each yields the address of a run that it needs, and is sent the run, or None if there is
no such run. So the same code serves at once when all is in memory, and after a look into the journal when not. What it
brings to a run it yields as a delivery, which is taken before the generator goes on: an entry is made from what its
receiver is at that very moment, never from what it was before something had to be loaded.
"""

from __future__ import annotations

import logging
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
    RunStarted,
    RunTerminated,
    SignalPublished,
    SignalReceived,
)
from wfkit.core.keys import triggered_id
from wfkit.core.matching import matches
from wfkit.core.state import Pending, PendingChild, PendingWait, input_hash
from wfkit.engine.ports import Clock, Entropy
from wfkit.engine.runs import LiveRun, Runs

log = logging.getLogger("wfkit.engine")


class Named(NamedTuple):
    """The newest generation of a run id."""

    id: str


class Numbered(NamedTuple):
    """A run by its number."""

    number: int


class WithResult(NamedTuple):
    """A finished run, with its result in `value`."""

    run: LiveRun


class Delivery(NamedTuple):
    """The next entry of a run."""

    run: LiveRun
    entry: Entry


Address: TypeAlias = Named | Numbered | WithResult
Carrying: TypeAlias = Generator[Address | Delivery, "LiveRun | None", None]


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

    def note(self, run: LiveRun, commands: Sequence[Command]) -> None:
        """Keep the index up to date with the commands of an activation. What a run that ends opens, nobody waits for."""
        if commands and isinstance(commands[-1], ENDINGS):
            return
        opened: dict[int, str] = {}
        for command in commands:
            match command:
                case AwaitSignal() | Subscribe():
                    self._waits.setdefault(command.name, {})[run.number, command.n] = command.where
                    opened[command.n] = command.name
                case StopAwaiting():
                    pending = run.state.open.get(command.n)
                    name = pending.name if isinstance(pending, PendingWait) else opened.get(command.n)
                    if name is not None:
                        self._forget_wait(name, run.number, command.n)
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
                self._forget_parent(pending.id, run.number, n)

    def _forget_wait(self, name: str, run: int, n: int) -> None:
        waits = self._waits.get(name)
        if waits is not None:
            waits.pop((run, n), None)
            if not waits:
                del self._waits[name]

    def _forget_parent(self, child: str, run: int, n: int) -> None:
        parents = self._awaiting.get(child)
        if parents is not None:
            parents.pop((run, n), None)
            if not parents:
                del self._awaiting[child]

    # -- from run to run ------------------------------------------------------------------------------------------------

    def time_of(self, run: LiveRun) -> int:
        """Return the time of the run's next entry: the wall clock, but never before its last entry."""
        return max(run.state.updated, self._clock.now())

    def carry(self, run: LiveRun, commands: Sequence[Command]) -> Carrying:
        """Bring the commands of an activation to other runs."""
        for command in commands:
            match command:
                case SendSignal():
                    yield from self._send(run, command)
                case PublishSignal():
                    sender = f"{run.state.id}/{run.state.generation}/{command.n}"
                    yield from self.publish(command.name, command.payload, dedupe=None, sender=sender)
                case StartChild():
                    yield from self._start_child(run, command)
                case CancelChild():
                    yield from self._cancel_child(run, command.n, "the parent cancelled it")
                case _:
                    pass

    def _send(self, run: LiveRun, command: SendSignal) -> Carrying:
        target = yield Named(command.run_id)
        if target is None or target.state.finished:
            end = "there is no such run" if target is None else f"it is {target.state.status}"
            log.warning("signal %r of run %s to run %s is dropped: %s", command.name, run.state.id, command.run_id, end)
            return
        t = self.time_of(target)
        dedupe = f"{run.state.id}/{run.state.generation}/{command.n}"
        yield Delivery(target, SignalReceived(t=t, name=command.name, payload=command.payload, arrived=t, dedupe=dedupe))

    def publish(self, name: str, payload: Raw, *, dedupe: str | None, sender: str | None) -> Carrying:
        """Publish a signal: write it on the bus, and bring it to whoever waits for it just then."""
        # While a unit waits with rows in hand, whoever touches their runs waits with it. So the bus comes last.
        for number in self._receivers(name, payload):
            yield Numbered(number)
        bus = self._runs.bus
        if bus.state.knows(dedupe):
            return
        t, number, receivers = self.time_of(bus), bus.state.seq + 1, self._receivers(name, payload)
        started = self._registry.triggered_by(name)
        took = len(receivers) + len(started)
        yield Delivery(bus, SignalPublished(t=t, name=name, payload=payload, dedupe=dedupe, sender=sender, receivers=took))
        for receiver in receivers:
            target = yield Numbered(receiver)
            if target is not None and not target.state.finished:
                entry = SignalReceived(
                    t=self.time_of(target), name=name, payload=payload, arrived=t, dedupe=f"bus/{number}", published=True
                )
                yield Delivery(target, entry)
        for workflow in started:
            id = triggered_id(workflow.name, number)
            if (yield Named(id)) is not None:  # a user has given this id to a run
                id = f"{id}-{self._entropy.bits()}"
            yield self.new_run(workflow, id, Raw(b"[" + bytes(payload) + b"]"), trigger=number)

    def _receivers(self, name: str, payload: Raw) -> dict[int, None]:
        """Return the numbers of the runs that have a wait or subscription open which takes the signal."""
        return {
            number: None
            for (number, _), where in self._waits.get(name, {}).items()
            if matches(None if where is UNSET else msgspec.json.decode(where), payload)
        }

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
        """Make a run and its first entry, to be delivered at once."""
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
        return Delivery(run, entry)

    def _start_child(self, run: LiveRun, command: StartChild) -> Carrying:
        known = yield Named(command.id)
        if known is None:
            workflow = self._registry.workflows.get(command.workflow)
            if workflow is None:
                yield from self._refuse_child(run, command, "UnknownWorkflow", f"no workflow is named {command.workflow!r}")
                return
            parent = Parent(run.number, run.state.id, command.n, command.awaited, command.on_parent_end)
            yield self.new_run(workflow, command.id, command.args, parent=parent)
        elif known.state.workflow != command.workflow or known.state.input != input_hash(command.args):
            message = f"run id {command.id!r} is in use with another workflow or other input"
            yield from self._refuse_child(run, command, "DuplicateRun", message)
        elif known.state.finished and command.awaited:
            yield WithResult(known)
            self._forget_parent(command.id, run.number, command.n)
            yield from self._tell_parent(run.number, command.n, known)

    def _refuse_child(self, run: LiveRun, command: StartChild, kind: str, message: str) -> Carrying:
        if not command.awaited:
            log.warning("run %s cannot start its child %s: %s", run.state.id, command.id, message)
        elif command.n in run.state.open:
            self._forget_parent(command.id, run.number, command.n)
            error = Failure(kind, message)
            yield Delivery(run, ChildEnded(t=self.time_of(run), n=command.n, status="failed", error=error))

    def _cancel_child(self, run: LiveRun, n: int, reason: str) -> Carrying:
        pending = run.state.open.get(n)
        if not isinstance(pending, PendingChild):
            return
        child = yield Named(pending.id)
        if child is not None:
            yield Delivery(child, CancelRequested(t=self.time_of(child), reason=reason, by=run.state.id))

    def ended(self, run: LiveRun, commands: Sequence[Command], left: Sequence[tuple[int, Pending]]) -> Carrying:
        """Bring the last commands of a run to others, and its end: parents get to know, children that depend on it stop.

        Args:
            run: the run, its state already that of its end.
            commands: of its last activation.
            left: what it had open just before.
        """
        yield from self.carry(run, commands)
        for number, n in list(self._awaiting.pop(run.state.id, {})):
            yield from self._tell_parent(number, n, run)
        children: list[PendingChild | StartChild] = [pending for _, pending in left if isinstance(pending, PendingChild)]
        children += [command for command in commands if isinstance(command, StartChild)]
        for child in children:
            if child.awaited or child.on_parent_end == "cancel":
                yield from self._stop_child(run, child)

    def _tell_parent(self, number: int, n: int, child: LiveRun) -> Carrying:
        parent = yield Numbered(number)
        if parent is not None and isinstance(parent.state.open.get(n), PendingChild):
            yield Delivery(parent, self._end_of(parent, child, n))

    def _stop_child(self, parent: LiveRun, started: PendingChild | StartChild) -> Carrying:
        child = yield Named(started.id)
        if child is None:
            return
        t, by, reason = self.time_of(child), parent.state.id, f"its parent {parent.state.status}"
        if parent.state.status == "terminated" and started.awaited:
            yield Delivery(child, RunTerminated(t=t, reason=reason, by=by))
        else:
            yield Delivery(child, CancelRequested(t=t, reason=reason, by=by))

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
