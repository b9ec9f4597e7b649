"""Which run is activated next, and what becomes of it: the way from an entry to durable commands.

A *unit* is what one entry sets off: its activation, and the activations that this brings to other runs. It is appended
to the journal as one. Memory is ahead of the disk: the next entry of a run may be activated before the last unit is
durable. But nothing outside hears of a command before the unit that holds it is durable.

A run that is not in memory, or blocked, or behind on its inbox gets its entry written alone; the entry is activated
when the run has been rebuilt from its history.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from time import monotonic  # under a name of its own it is the real one in simulations, too
from typing import Any, NamedTuple, Protocol, TypeAlias

from wfkit.api.registry import Registry
from wfkit.core.commands import Command
from wfkit.core.compare import describe
from wfkit.core.entries import (
    FED,
    Activated,
    ActivationStarted,
    Blocked,
    CancelRequested,
    Entry,
    Fed,
    Record,
    RunStarted,
    RunTerminated,
    SignalPublished,
    Unblocked,
)
from wfkit.core.failures import failure_of
from wfkit.core.machine import Activation, Machine, activations, told_length
from wfkit.core.retry import DEATHS_MAX, SUSPECT_DEATHS
from wfkit.engine.mailbox import ENDINGS, Address, Carrying, Delivery, Mailbox, Named, Numbered, WithResult, result_of
from wfkit.engine.runs import LiveRun, Runs
from wfkit.errors import WfkitError
from wfkit.journal.port import Journal, Row

log = logging.getLogger("wfkit.engine")

READ_AGAIN_SECONDS = 1.0
"""After this a read of the journal that failed is tried again, as its writer does."""


Filling: TypeAlias = Generator[Address, LiveRun | None, None]


class Effect(NamedTuple):
    """What may be acted on once its unit is durable."""

    run: LiveRun
    entry: Fed
    commands: tuple[Command, ...]
    logs: Sequence[logging.LogRecord]


class Unit:
    """Rows that are appended as one, and what follows when they are durable.

    While a unit waits for a run to be loaded, its runs are tied to it. Another unit that touches one of them joins it: so
    the rows of a run never reach the journal out of order, and two units never wait for each other.
    """

    __slots__ = ("after", "cautious", "effects", "fillings", "joined", "rows", "runs", "tied", "written")

    def __init__(self, after: Callable[[], None] | None = None) -> None:
        self.rows: list[Row] = []
        self.tied = 0
        """So many of the rows, from the first, are of runs that are tied to this unit."""
        self.effects: list[Effect] = []
        self.after: list[Callable[[], None]] = [] if after is None else [after]
        self.runs: list[LiveRun] = []
        self.fillings = 1
        """How many generators still fill it."""
        self.joined: Unit | None = None
        self.written: list[asyncio.Future[None]] = []
        """Done when the unit is handed to the journal, for whoever waits for that."""
        self.cautious = False
        """The process died under the run that set it off: what it brings to others becomes durable before it is activated."""

    def root(self) -> Unit:
        """Return the unit that this one has become part of."""
        unit = self
        while unit.joined is not None:
            unit = unit.joined
        return unit

    def join(self, other: Unit) -> None:
        """Become part of another unit."""
        other.rows += self.rows
        other.effects += self.effects
        other.after += self.after
        other.fillings += self.fillings
        other.written += self.written
        other.cautious |= self.cautious
        for run in self.runs:
            other.tie(run)
        self.joined = other

    def tie(self, run: LiveRun) -> None:
        run.unit = self
        self.runs.append(run)


class Dispatcher(Protocol):
    """Who acts on durable commands."""

    def dispatch(self, effect: Effect) -> None: ...
    def ended(self, run: LiveRun) -> None:
        """The run has ended, durably."""
        ...

    def blocked_now(self, run: LiveRun) -> None:
        """The run does not go on without an edit of its code."""
        ...


class UnderWay(NamedTuple):
    """The activation that is under way, for whoever watches that it ends."""

    run_id: str
    since: float
    """Monotonic seconds."""


class Scheduler:
    """Activates runs.

    Args:
        journal: where units go.
        runs: the runs in memory.
        registry: the code.
        mailbox: what carries commands to other runs.
        dispatcher: who acts on durable commands.
    """

    def __init__(self, journal: Journal, runs: Runs, registry: Registry, mailbox: Mailbox, dispatcher: Dispatcher) -> None:
        self._journal = journal
        self._runs = runs
        self._registry = registry
        self._mailbox = mailbox
        self._dispatcher = dispatcher
        self._tasks: set[asyncio.Task[None]] = set()
        self.alone = asyncio.Lock()
        """Held by an activation, or an attempt of a step, under which the process has died so often that it is a suspect."""
        self.closed = False
        self.activation: UnderWay | None = None

    # -- deliveries -----------------------------------------------------------------------------------------------------

    def deliver(self, run: LiveRun, entry: Entry, after: Callable[[], None] | None = None) -> None:
        """Bring a run its next entry. `after` is called when it is durable."""
        self.begin(only(Delivery(run, entry)), after)

    def begin(self, plan: Carrying, after: Callable[[], None] | None = None) -> None:
        """Start a unit with the deliveries of a plan, a generator as in the mailbox. `after` is called when it is durable."""
        unit = Unit(after)
        self._drive(unit, self._fill(unit, plan), None)

    def _drive(self, unit: Unit, filling: Filling, found: LiveRun | None) -> None:
        """Let a unit fill as far as memory reaches; go on when what it needs has been loaded."""
        try:
            while not self.closed:
                address = filling.send(found)
                found = self._in_memory(address)
                if found is None and self._may_be_stored(address):
                    self._hold(unit.root())
                    self.spawn(self._drive_later(unit, filling, address))
                    return
        except StopIteration:
            self._finish(unit.root())

    def _hold(self, unit: Unit) -> None:
        """Tie a unit, which has to wait, to the runs whose rows it holds."""
        for row in unit.rows[unit.tied :]:
            run = self._runs.bus if row.run == self._runs.bus.number else self._runs.get(row.run)
            if run is not None and run.unit is None:
                unit.tie(run)
        unit.tied = len(unit.rows)

    async def _drive_later(self, unit: Unit, filling: Filling, address: Address) -> None:
        while not self.closed:
            try:
                found = await self._load(address)
            except WfkitError as exc:
                # The unit is not given up: its runs have moved on in memory, and what they asked for must be written.
                log.warning("[%s] %s; the journal is read again in %g s", exc.code, exc, READ_AGAIN_SECONDS)
                await asyncio.sleep(READ_AGAIN_SECONDS)
            else:
                self._drive(unit, filling, found)
                return

    async def _load(self, address: Address) -> LiveRun | None:
        match address:
            case Named():
                return await self._runs.find(address.id)
            case Numbered():
                return await self._runs.load(address.number)
            case WithResult():
                await self.fetch_result(address.run)
                return address.run

    async def fetch_result(self, run: LiveRun) -> None:
        """Read the result of a completed run from its last record."""
        history = run.read(await self._journal.history(run.number))
        run.value = result_of(history[-1].commands or ())

    def _in_memory(self, address: Address) -> LiveRun | None:
        match address:
            case Named():
                return self._runs.named(address.id)
            case Numbered():
                return self._runs.get(address.number)
            case WithResult():
                return address.run if address.run.value is not None or address.run.state.status != "completed" else None

    def _may_be_stored(self, address: Address) -> bool:
        return not isinstance(address, Named) or self._journal.last_run > 0 or self._runs.dropped > 0

    @staticmethod
    def _unit_of(run: LiveRun) -> Unit:
        """Return the unit that a run is tied to, or a new one; to be finished by the caller."""
        if run.unit is None:
            return Unit()
        run.unit.fillings += 1
        return run.unit

    def _finish(self, unit: Unit) -> None:
        unit.fillings -= 1
        if unit.fillings:
            self._hold(unit)
            return
        for run in unit.runs:
            run.unit = None
        if unit.rows or unit.after:
            self._runs.appended += 1
            self._journal.append(unit.rows, lambda: self._settle(unit))
        for written in unit.written:
            resolve(written)

    def append_quietly(self, run: LiveRun, entry: Entry, after: Callable[[], None] | None = None) -> None:
        """Write a bookkeeping entry. Without `after` it is not urgent."""
        self._runs.changed[run.number] = None
        self._runs.appended += 1
        if run.unit is None:
            self._journal.append([run.record(Record(entry))], after)
        else:
            run.unit.rows.append(run.record(Record(entry)))
            run.unit.after += [] if after is None else [after]

    def _settle(self, unit: Unit) -> None:
        if self.closed:
            return
        for effect in unit.effects:
            if effect.logs:
                _emit(effect.logs)
            self._dispatcher.dispatch(effect)
            if effect.commands and isinstance(effect.commands[-1], ENDINGS):
                self._dispatcher.ended(effect.run)
        for after in unit.after:
            after()

    # -- activations ------------------------------------------------------------------------------------------------------

    def _fill(self, unit: Unit, plan: Carrying) -> Filling:
        plans = deque((plan,))
        while plans:
            plan = plans.popleft()
            found: LiveRun | None = None
            while True:
                try:
                    asked = plan.send(found)
                except StopIteration:
                    break
                found = None
                if not isinstance(asked, Delivery):
                    found = yield asked
                elif (consequences := self._receive(unit, asked)) is not None:
                    plans.append(consequences)

    def _receive(self, unit: Unit, delivery: Delivery) -> Carrying | None:
        run, entry = delivery
        assert self._runs.holds(run), f"run {run.state.id} has left memory, and may be there as another object"
        if run.unit is not None and run.unit is not unit.root():
            unit.root().join(run.unit)
        if run.state.finished:
            return None
        return self._consequences(run, self._take(unit.root(), run, entry))

    def _consequences(self, run: LiveRun, commands: tuple[Command, ...]) -> Carrying | None:
        """Return what an activation brings to other runs."""
        if run.state.finished:
            self._mailbox.forget(run, run.left)
            return self._mailbox.ended(run, commands, run.left)
        return self._mailbox.carry(run, commands) if commands else None

    def _take(self, unit: Unit, run: LiveRun, entry: Entry) -> tuple[Command, ...]:
        """Write one entry, activated if that is possible just now, and return the commands."""
        state = run.state
        self._runs.changed[run.number] = None
        if isinstance(entry, RunTerminated):
            self._terminate(unit, run, entry)
            return ()
        if isinstance(entry, SignalPublished):
            unit.rows.append(run.record(Record(entry)))
            return ()
        assert isinstance(entry, FED)
        if isinstance(entry, CancelRequested) and state.cancelling:
            return ()
        if isinstance(entry, RunStarted):
            self._warm(run, state.workflow or entry.workflow)
        run.cautious |= unit.cautious
        if run.machine is None or state.inbox or state.blocked or run.cautious or run.rebuilding is not None:
            self._put_in_inbox(unit, run, entry)  # type: ignore[arg-type]  # FED are the classes of Fed
            return ()
        self._runs.touch(run)
        try:
            commands = self._feed(run, entry, state.seq + 1)  # type: ignore[arg-type]  # as above
        except WfkitError as exc:
            unit.rows.append(run.record(Record(entry)))
            self._block(unit, run, exc)
            return ()
        self._record(unit, run, Record(entry, commands), entry, commands)  # type: ignore[arg-type]  # as above
        return commands

    def _record(self, unit: Unit, run: LiveRun, record: Record, entry: Fed, commands: tuple[Command, ...]) -> None:
        machine = run.machine
        assert machine is not None
        self._mailbox.note(run, commands)
        if commands and isinstance(commands[-1], ENDINGS):
            run.keep_left()
        unit.rows.append(run.record(record))
        unit.effects.append(Effect(run, entry, commands, machine.logs))
        if run.state.finished:
            run.value = result_of(commands)
            self._runs.cool(run)

    def _feed(self, run: LiveRun, entry: Fed, seq: int) -> tuple[Command, ...]:
        assert run.machine is not None
        self.activation = UnderWay(run.state.id or getattr(entry, "id", ""), monotonic())
        try:
            return run.machine.feed(entry, seq)
        finally:
            self.activation = None

    def _terminate(self, unit: Unit, run: LiveRun, entry: RunTerminated) -> None:
        self._runs.cool(run)
        run.keep_left()
        unit.rows.append(run.record(Record(entry)))
        unit.after.append(lambda: self._dispatcher.ended(run))

    def _warm(self, run: LiveRun, workflow: str) -> None:
        code = self._registry.workflows.get(workflow)
        if code is not None:
            self._runs.warm(run, Machine(code))

    def _put_in_inbox(self, unit: Unit, run: LiveRun, entry: Fed) -> None:
        unit.rows.append(run.record(Record(entry)))
        seq = run.state.seq
        if run.arrived is not None:
            run.arrived[seq] = entry
        if run.state.blocked is None:
            self.rebuild(run)

    def _block(self, unit: Unit, run: LiveRun, exc: WfkitError) -> None:
        """Park a run at the first entry of its inbox. One that is parked already for the same cause is not told of again.

        It gets no new record either, unless an activation was announced: the record says that nobody died of that.
        """
        self._runs.cool(run)
        known = run.state.blocked is not None and run.state.blocked.cause == failure_of(exc)
        if known and not run.state.activations:
            return
        inbox = run.state.inbox
        at = inbox[0] if inbox else run.state.seq
        entry = Blocked(t=self._mailbox.time_of(run), at=at, cause=failure_of(exc), code=exc.code)
        unit.rows.append(run.record(Record(entry)))
        if not known:
            log.warning("run %s is blocked: [%s] %s", run.state.id, exc.code, exc, extra={"run_id": run.state.id})
        self._dispatcher.blocked_now(run)

    def _block_alone(self, run: LiveRun, exc: WfkitError) -> None:
        self._runs.changed[run.number] = None
        unit = self._unit_of(run)
        self._block(unit, run, exc)
        self._finish(unit)

    # -- rebuilding ---------------------------------------------------------------------------------------------------------

    def rebuild(self, run: LiveRun) -> asyncio.Task[None]:
        """Bring a run's code to its last entry, from its history, and activate what is in its inbox.

        Returns:
            The task that does it. Afterwards the run is hot, blocked or finished.
        """
        if run.rebuilding is None:
            run.arrived = {}
            run.rebuilding = self.spawn(self._rebuild(run))
        return run.rebuilding

    async def _rebuild(self, run: LiveRun) -> None:
        try:
            while run.unit is not None:
                written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                run.unit.written.append(written)
                await written
            rows = await self._journal.history(run.number)
            if not self.closed and not run.state.finished:
                await self._revive(run, run.read(rows))
        except WfkitError as exc:  # the journal cannot be read here
            if not self.closed and not run.state.finished:
                self._block_alone(run, exc)
        finally:
            run.rebuilding = None
            run.arrived = None
            if run.machine is not None:
                self._runs.touch(run)

    async def _revive(self, run: LiveRun, history: Sequence[Record]) -> None:
        self._runs.cool(run)
        fed = activations(history)
        try:
            self._replay(run, fed, told_length(history))
        except WfkitError as exc:
            self._block_alone(run, exc)
            return
        entries = {activation.seq: activation.entry for activation in fed}
        while run.state.inbox and run.machine is not None and not self.closed:
            seq = run.state.inbox[0]
            entry = entries.get(seq) or (run.arrived or {})[seq]
            await self._activate_from_inbox(run, seq, entry)
        if run.state.blocked is not None and run.machine is not None:
            self.append_quietly(run, Unblocked(t=self._mailbox.time_of(run)))

    def _replay(self, run: LiveRun, fed: Sequence[Activation], length: int) -> None:
        machine = Machine(self._registry.workflow(run.state.workflow))
        try:
            differences = machine.replay(fed, length=length)
        except WfkitError:
            machine.evict()
            raise
        self._runs.warm(run, machine)
        if differences:
            told = "run %s: the code asks for other arguments than its history holds, %d times, first at entry %d: %s; %s"
            first = differences[0]
            kept = "what was recorded is what counts"
            log.warning(told, run.state.id, len(differences), first.seq, " ".join(describe(first.recorded)), kept)

    async def _activate_from_inbox(self, run: LiveRun, seq: int, entry: Fed) -> None:
        if not run.cautious:
            self._activate(run, seq, entry)
        elif run.state.activations < SUSPECT_DEATHS:
            if await self._announce(run, seq):
                self._activate(run, seq, entry)
        else:
            async with self.alone:
                if await self._announce(run, seq):
                    durable = asyncio.get_running_loop().create_future()
                    self._activate(run, seq, entry, lambda: resolve(durable))
                    await durable

    async def _announce(self, run: LiveRun, seq: int) -> bool:
        """Make it durable that an activation begins, since the process died under this run before. False: it must not."""
        if run.state.finished:
            return False
        if run.state.activations >= DEATHS_MAX:
            self._block_alone(run, WfkitError(f"the process died {DEATHS_MAX} times while entry {seq} was activated"))
            return False
        durable = asyncio.get_running_loop().create_future()
        self.append_quietly(run, ActivationStarted(t=self._mailbox.time_of(run), of=seq), lambda: resolve(durable))
        await durable
        return not run.state.finished

    def _activate(self, run: LiveRun, seq: int, entry: Fed, after: Callable[[], None] | None = None) -> None:
        """Activate the first entry of a run's inbox. `after` is called when that is durable."""
        self._runs.changed[run.number] = None
        unit = self._unit_of(run)
        unit.after += [] if after is None else [after]
        try:
            commands = self._feed(run, entry, seq)
        except WfkitError as exc:
            self._block(unit, run, exc)
            self._finish(unit)
            return
        unit.cautious |= run.cautious
        run.cautious = False
        if run.state.blocked is not None:
            unit.rows.append(run.record(Record(Unblocked(t=self._mailbox.time_of(run)))))
        self._record(unit, run, Record(Activated(t=entry.t, of=seq), commands), entry, commands)
        self._drive(unit, self._fill(unit, self._consequences(run, commands) or nothing()), None)

    # -- tasks ----------------------------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine beside the engine's callbacks; an error in it is a bug of ours and is logged with its trace."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_complain)
        return task

    async def close(self) -> None:
        self.closed = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def only(delivery: Delivery) -> Carrying:
    """Make a plan of one delivery, which needs no run but its own."""
    yield delivery


def nothing() -> Carrying:
    """Make a plan without a delivery, for whoever only waits until all before it is durable."""
    yield from ()


def _emit(records: Sequence[logging.LogRecord]) -> None:
    for record in records:
        try:
            logging.getLogger(record.name).callHandlers(record)
        except Exception:  # a handler of the user's; its run goes on
            log.exception("a log handler failed")


def resolve(future: asyncio.Future[None]) -> None:
    """Let whoever waits go on; nobody may wait any more."""
    if not future.done():
        future.set_result(None)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the engine failed inside: %s", error, exc_info=error)
