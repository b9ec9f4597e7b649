"""The engine: a facade over the scheduler, the executor, the timers and the mailbox, and the one `match` over commands."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack, assert_never, cast

from msgspec import Raw

from wfkit import guard
from wfkit.api.definitions import Step, Workflow
from wfkit.api.registry import Registry
from wfkit.api.resources import Resource
from wfkit.core.commands import (
    AwaitSignal,
    CancelChild,
    CancelRun,
    CancelStep,
    CancelTimer,
    CompleteRun,
    FailRun,
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
    AttemptFailed,
    AttemptStarted,
    Blocked,
    CancelRequested,
    Entry,
    Record,
    RunStarted,
    RunTerminated,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.core.keys import check_run_id
from wfkit.core.machine import StepFuture
from wfkit.core.state import PendingChild, PendingStep, PendingTimer, input_hash
from wfkit.engine.apps import load_app
from wfkit.engine.client import Client, End, IfFinished, Run
from wfkit.engine.executor import STEPS_MAX, Executor, Job
from wfkit.engine.mailbox import Carrying, Delivery, Mailbox
from wfkit.engine.ports import Clock, Entropy, Order, StepRunner, SystemClock, SystemEntropy, as_they_came
from wfkit.engine.projector import WARM_MAX, Projector
from wfkit.engine.recovery import SUSPECT_DEATHS, deaths, load_runs, wake_ups
from wfkit.engine.resources import Resources
from wfkit.engine.runner import HostRunner
from wfkit.engine.runs import LiveRun, Runs
from wfkit.engine.scheduler import Effect, Scheduler, UnderWay, nothing
from wfkit.engine.timers import Timers
from wfkit.engine.watchdog import Watchdog
from wfkit.errors import (
    DefinitionError,
    DuplicateRun,
    EngineClosed,
    RunEnded,
    UnknownRun,
    UnsupportedPlatform,
    WfkitError,
    by_code,
)
from wfkit.journal.duckdb import open_journal
from wfkit.journal.filters import parse
from wfkit.journal.memory import MemoryDisk
from wfkit.journal.port import Journal

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

HOT_MAX = 10_000
"""Runs that keep their code in memory, about 4 kB each. Others are rebuilt by replay when something comes for them."""
DRAIN_SECONDS = 2.0
"""How long a closing engine waits for steps in flight. What does not end by then runs again at the next start."""
SUSPECT_LOOK_SECONDS = 0.05
"""How often it is looked whether the attempt of a suspect has ended, for the next suspect's turn."""
SWITCH_INTERVAL_SECONDS = 0.0005
"""The journal's writer takes the interpreter's lock some 11 times a commit; with Python's default of 5 ms a busy loop
makes a commit of 1 ms take 58 ms."""

log = logging.getLogger("wfkit.engine")


class Engine(Client):
    """Runs workflows on a journal. Use `Engine.open`.

    Args:
        journal: where everything durable is.
        registry: the code.
        clock: the wall clock.
        entropy: where recorded randomness comes from.
        runner: what runs one attempt of a step.
        order: in which order outcomes that are ready at the same instant are delivered.
        resources: objects that stand in for resources.
        steps_max: steps that run at the same time.
        hot_max: runs that keep their code in memory.
        warm_max: unfinished runs that keep their state in memory.
    """

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        runner: StepRunner | None = None,
        order: Order[Callable[[], None]] = as_they_came,
        resources: Mapping[Resource[Any], Any] | None = None,
        steps_max: int = STEPS_MAX,
        hot_max: int = HOT_MAX,
        warm_max: int = WARM_MAX,
    ) -> None:
        super().__init__(self)
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._registry = registry
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._order = order
        if hot_max < 1:
            raise ValueError(f"at least 1 run must fit into memory, got {hot_max}")
        self._runs = Runs(journal, hot_max)
        self._resources = Resources(resources)
        self._executor = Executor(runner or HostRunner(self._loop), self._clock, self._resources, self, steps_max)
        self._timers = Timers(self._clock, self._wake)
        self._mailbox = Mailbox(self._runs, registry, self._clock, self._entropy)
        self._scheduler = Scheduler(journal, self._runs, registry, self._mailbox, self)
        self._projector = Projector(journal, self._runs, warm_max)
        self._ready: list[Callable[[], None]] = []
        self._unacknowledged: set[asyncio.Future[None]] = set()
        self._closed = False
        self._recovered = False
        self._left_alone: set[int] = set()
        """Unfinished runs of the journal that do not go on by themselves."""
        self.trouble: WfkitError | None = None
        """Why the journal does not accept anything just now; None while all is well."""

    # -- opening and closing ------------------------------------------------------------------------------------------

    @staticmethod
    def open(
        path: str = ".wfkit/journal.duckdb",
        *,
        app: str | None = None,
        workflows: Sequence[Workflow[..., Any]] = (),
        steps_max: int = STEPS_MAX,
        runs_in_memory: int = HOT_MAX,
    ) -> AbstractAsyncContextManager[Engine]:
        """Open an engine on a journal file: `async with Engine.open(app="shop.workflows") as engine:`.

        Every unfinished run goes on from where it was.

        Args:
            path: the journal; made if it is not there.
            app: a module or file whose workflows to run.
            workflows: workflows to run, with the steps and children that they name; instead of `app`.
            steps_max: steps that run at the same time.
            runs_in_memory: runs that keep their code in memory, about 4 kB each.

        Raises:
            JournalLocked: another process holds the journal.
            JournalCorrupt, JournalTooNew, JournalFull: the file cannot be used; nothing was changed.
            AppError: the app does not import, or defines no workflow.
            DuplicateName: two definitions share a name.
        """
        return _open(path, app, workflows, steps_max, runs_in_memory)

    async def recover(self, *, all_runs: bool = True) -> None:
        """Take up the runs of the journal. Called once, before anything else.

        Args:
            all_runs: whether unfinished runs go on by themselves; otherwise those do that `take_up` names, and those
                that others attach to.
        """
        self._journal.watch(self._on_trouble)
        await load_runs(self._journal, self._runs)
        unfinished = [run for run in self._runs if not run.state.finished]
        for run in unfinished:
            self._mailbox.restore(run)
        if all_runs:
            for run in unfinished:
                self._take_up(run)
        else:
            self._left_alone = {run.number for run in unfinished}
        self._recovered = True

    def keep_projection(self) -> None:
        """From now on, keep the journal's projection up to date, and let go of runs that memory need not hold."""
        self._projector.start()

    async def take_up(self, id: str) -> None:
        """Let a run go on that was left alone at the start, and the children that it awaits. Any other id is ignored.

        Its code is replayed at once, so that a divergence shows now and not when the run is next due.
        """
        run = await self._runs.find(id)
        if run is not None and run.number in self._left_alone:
            self._left_alone.remove(run.number)
            children = [pending.id for pending in run.state.open.values() if isinstance(pending, PendingChild)]
            self._take_up(run)
            self._scheduler.rebuild(run)
            for child in children:
                await self.take_up(child)

    def _take_up(self, run: LiveRun) -> None:
        now = self._clock.now()
        found = deaths(run, now)
        # An activation that killed the process was one of these: of a step's outcome, of a timer that was due, of the inbox.
        run.cautious = bool(found or run.state.inbox) or any(due <= now for due, _ in wake_ups(run))
        for entry in found:
            if isinstance(entry, AttemptFailed):
                self._scheduler.append_quietly(run, entry)
        for due, n in wake_ups(run):
            self._timers.add(due, run.number, n)
        for entry in found:
            if isinstance(entry, StepFailed):
                self._scheduler.deliver(run, entry)
        if run.state.inbox or run.state.blocked is not None:
            self._scheduler.rebuild(run)

    async def close(self) -> None:
        """Wait shortly for steps in flight, write what is to be written, and let the journal go."""
        if self._closed:
            return
        self._closed = True
        self._timers.close()
        # Whatever fails or is cancelled on the way, the rest is still done, from the last line to the first.
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._journal.close)
            stack.push_async_callback(self._write_last)
            stack.push_async_callback(self._scheduler.close)
            stack.callback(self._deliver_ready)
            stack.push_async_callback(self._resources.close)
            stack.push_async_callback(self._executor.close)
            await self._drain()

    async def _drain(self) -> None:
        deadline = self._loop.time() + DRAIN_SECONDS
        while self._executor.in_flight and self._loop.time() < deadline and self.trouble is None:  # noqa: ASYNC110  # a poll of two seconds at most
            await asyncio.sleep(0.005)

    async def _write_last(self) -> None:
        """Refuse whoever still waits, and bring the projection up to date; but only if all runs were read, and all is well."""
        for future in list(self._unacknowledged):
            _refuse(future, EngineClosed("the engine was closed before the request was durable"))
        well = self._recovered and self.trouble is None
        for run in self._runs:
            self._release(run, closed=True)
            self._runs.cool(run)
            if well and run.number not in self._left_alone:
                self._interrupt_steps(run)
        await self._projector.close(write=well)

    def _interrupt_steps(self, run: LiveRun) -> None:
        """Record of a run's steps in flight that the engine was closed under them: the process did not die."""
        t = self._mailbox.time_of(run)
        for n, pending in run.state.open.items():
            if isinstance(pending, PendingStep) and pending.due is None and not pending.cancelled:
                error = Failure("EngineClosed", f"the engine was closed while {pending.command.name}() ran")
                entry = AttemptFailed(t=t, n=n, attempt=pending.attempt, error=error, due=t, died=True)
                self._scheduler.append_quietly(run, entry)

    def under_way(self) -> UnderWay | None:
        """Return the activation that is under way, for a watchdog."""
        return self._scheduler.activation

    # -- acting on durable commands -------------------------------------------------------------------------------------

    def dispatch(self, effect: Effect) -> None:
        """Act on the commands of a durable activation. What a later activation took back is not begun."""
        run = effect.run
        number, is_open = run.number, run.state.open
        for command in effect.commands:
            match command:
                case RunStep():
                    pending = is_open.get(command.n)
                    if isinstance(pending, PendingStep) and not self._closed:
                        self._submit(run, pending)
                case StartTimer():
                    timer = is_open.get(command.n)
                    if isinstance(timer, PendingTimer):
                        self._timers.add(timer.due, number, command.n)
                case CancelTimer():
                    self._timers.cancel(number, command.n)
                case CancelStep():
                    self._cancel_step(run, command)
                case CompleteRun() | FailRun() | CancelRun():
                    pass  # `ended` follows
                case StartChild():
                    if self._left_alone:  # it may have attached to one of them
                        self._scheduler.spawn(self.take_up(command.id))
                case AwaitSignal() | Subscribe() | StopAwaiting() | SendSignal() | PublishSignal() | CancelChild():
                    pass  # the mailbox has carried these already, in the same commit
                case SetState() | RegisterUndo() | ReleaseUndos():
                    pass
                case _:
                    assert_never(command)
        if isinstance(effect.entry, RunStarted) and run.state.deadline is not None:
            self._timers.add(run.state.deadline, number, 0)

    def ended(self, run: LiveRun) -> None:
        """Tell those who wait for the run, and stop what it still has in flight."""
        run.over = True
        self._executor.forget(run.number)
        for n, pending in run.left:
            if isinstance(pending, PendingTimer | PendingStep) and pending.due is not None:
                self._timers.cancel(run.number, n)
        if run.deadline_left:
            self._timers.cancel(run.number, 0)
        run.left = ()
        self._release(run)

    def blocked_now(self, run: LiveRun) -> None:
        """Tell those who wait for the run."""
        self._release(run)

    def _submit(self, run: LiveRun, pending: PendingStep) -> None:
        step = self._definition(run, pending.command)
        if step is not None:
            state = run.state
            self._executor.submit(Job(run.number, state.id, state.workflow, pending, step))
            return
        n = pending.command.n

        def rebuilt(_task: asyncio.Task[None]) -> None:
            now = run.state.open.get(n)
            if not isinstance(now, PendingStep) or self._closed or self._executor.is_running(run.number, n):
                return
            if run.state.blocked is None:  # otherwise it waits until the run goes on
                self._submit(run, now)

        self._scheduler.rebuild(run).add_done_callback(rebuilt)

    def _definition(self, run: LiveRun, command: RunStep) -> Step[..., Any] | None:
        future = run.machine.pending.get(command.n) if run.machine is not None else None
        if isinstance(future, StepFuture) and isinstance(future.definition, Step):
            return future.definition
        return None if command.inline else self._registry.steps.get(command.name)

    def _cancel_step(self, run: LiveRun, command: CancelStep) -> None:
        if self._executor.is_running(run.number, command.n):
            self._executor.cancel(run.number, command.n, awaited=command.awaited)
            return
        self._timers.cancel(run.number, command.n)
        pending = run.state.open.get(command.n)
        if command.awaited and isinstance(pending, PendingStep):
            self.step_failed(run.number, command.n, Failure("StepCancelled", "cancelled between two attempts"), pending.attempt)

    # -- outcomes ---------------------------------------------------------------------------------------------------------

    def step_completed(self, run: int, n: int, value: Raw, attempt: int) -> None:
        self._outcome(lambda: self._settle_step(run, n, lambda t: StepCompleted(t=t, n=n, value=value, attempt=attempt)))

    def step_failed(self, run: int, n: int, error: Failure, attempt: int) -> None:
        self._outcome(lambda: self._settle_step(run, n, lambda t: StepFailed(t=t, n=n, error=error, attempt=attempt)))

    def attempt_failed(self, run: int, n: int, error: Failure, attempt: int, wait: int) -> None:
        def deliver() -> None:
            live = self._runs.get(run)
            if live is None or n not in live.state.open:
                return
            t = self._mailbox.time_of(live)
            due = t + wait
            self._scheduler.append_quietly(live, AttemptFailed(t=t, n=n, attempt=attempt, error=error, due=due))
            self._timers.add(due, run, n)

        self._outcome(deliver)

    def _settle_step(self, number: int, n: int, entry: Callable[[int], Entry]) -> None:
        run = self._runs.get(number)
        if run is None or not isinstance(run.state.open.get(n), PendingStep):
            log.info("a result of step #%d of run %s came after the step was given up; it is dropped", n, number)
            return
        self._scheduler.deliver(run, entry(self._mailbox.time_of(run)))

    def _outcome(self, deliver: Callable[[], None]) -> None:
        """Deliver an outcome with the others of this instant, in the order that the port says."""
        self._ready.append(deliver)
        if len(self._ready) == 1:
            self._loop.call_soon(self._deliver_ready)

    def _deliver_ready(self) -> None:
        ready, self._ready = self._ready, []
        for deliver in ready if len(ready) == 1 else self._order(ready):
            try:
                deliver()
            except Exception:  # a bug of ours, which must not cost the other runs their outcomes
                log.exception("the engine failed inside")

    def _wake(self, number: int, n: int) -> None:
        self._outcome(lambda: self._due(number, n))

    def _due(self, number: int, n: int) -> None:
        run = self._runs.get(number)
        if run is not None:
            self._woken(run, n)
        else:
            self._scheduler.spawn(self._load_and_wake(number, n))

    async def _load_and_wake(self, number: int, n: int) -> None:
        run = await self._runs.load(number)
        if run is not None:
            self._woken(run, n)

    def _woken(self, run: LiveRun, n: int) -> None:
        if run.state.finished or self._closed:
            return
        t = self._mailbox.time_of(run)
        if n == 0:
            if not run.state.cancelling:
                self._scheduler.deliver(run, CancelRequested(t=t, reason="the workflow's timeout", timeout=True))
            return
        pending = run.state.open.get(n)
        if isinstance(pending, PendingTimer):
            self._scheduler.deliver(run, TimerFired(t=t, n=n))
        elif isinstance(pending, PendingStep) and pending.due is not None:
            if pending.deaths >= SUSPECT_DEATHS:
                self._scheduler.spawn(self._try_alone(run, n))
            else:
                self._try_again(run, n, pending)

    def _try_again(self, run: LiveRun, n: int, pending: PendingStep) -> None:
        entry = AttemptStarted(t=self._mailbox.time_of(run), n=n, attempt=pending.attempt)
        self._scheduler.append_quietly(run, entry, lambda: self._start_attempt(run, n))

    async def _try_alone(self, run: LiveRun, n: int) -> None:
        """Try a step again, while nothing else runs under which the process has died as often."""
        async with self._scheduler.alone:
            pending = run.state.open.get(n)
            if not isinstance(pending, PendingStep) or pending.due is None or self._closed:
                return
            self._try_again(run, n, pending)
            # An attempt has many ends, and this is rare: it is looked for, not told of.
            while run.state.open.get(n) is pending and pending.started and run.state.blocked is None:  # noqa: ASYNC110
                await asyncio.sleep(SUSPECT_LOOK_SECONDS)

    def _start_attempt(self, run: LiveRun, n: int) -> None:
        pending = run.state.open.get(n)
        if isinstance(pending, PendingStep) and not pending.cancelled and not self._closed:
            self._submit(run, pending)
        elif isinstance(pending, PendingStep) and pending.cancelled:
            self.step_failed(run.number, n, Failure("StepCancelled", "cancelled between two attempts"), pending.attempt)

    # -- requests -----------------------------------------------------------------------------------------------------------

    async def _durably(self, begin: Callable[[Callable[[], None]], None]) -> None:
        """Begin something and wait until it is durable."""
        if self._closed:
            raise EngineClosed("the engine is closed")
        if self.trouble is not None:
            raise self.trouble
        durable: asyncio.Future[None] = self._loop.create_future()
        self._unacknowledged.add(durable)
        try:
            begin(lambda: _resolve(durable))
            await durable
        finally:
            self._unacknowledged.discard(durable)

    async def _all_durable(self) -> None:
        """Wait until all that happened before is durable."""
        await self._durably(lambda durable: self._scheduler.begin(nothing(), durable))

    def _on_trouble(self, error: WfkitError | None) -> None:
        self.trouble = error
        if error is None:
            log.warning("the journal accepts entries again")
            return
        log.error("[%s] %s", error.code, error)
        for future in list(self._unacknowledged):
            _refuse(future, error)

    async def _find(self, id: str) -> LiveRun:
        run = await self._runs.find(id)
        if run is None:
            raise UnknownRun(f"no run has the id {id!r}")
        return run

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        """Start a run, or attach to the one that exists. See `Client.start`."""
        definition = self._registry.workflow(workflow)
        definition.signature.decode(args)
        known = None
        if id is None:
            id = self._entropy.bits()[:20]
        else:
            check_run_id(id)
            known = await self._runs.find(id)
        if known is not None:
            if known.state.workflow != workflow:
                raise DuplicateRun(f"run id {id!r} is in use by workflow {known.state.workflow!r}")
            if if_finished != "restart" or not known.state.finished:
                self._check_attach(known, args, if_finished)
                if send is not None:
                    await self.send_signal(id, *send, dedupe=None)
                else:
                    await self._all_durable()
                return id
        generation, dedupe = (1, ()) if known is None else (known.state.generation + 1, tuple(known.state.dedupe or ()))
        await self._durably(
            lambda durable: self._scheduler.begin(self._first_entries(definition, id, args, generation, dedupe, send), durable)
        )
        return id

    def _first_entries(
        self,
        definition: Workflow[..., Any],
        id: str,
        args: Raw,
        generation: int,
        dedupe: tuple[str, ...],
        send: tuple[str, Raw] | None,
    ) -> Carrying:
        started = self._mailbox.new_run(definition, id, args, generation=generation, dedupe=dedupe)
        yield started
        if send is not None:
            t = started.entry.t
            yield Delivery(started.run, SignalReceived(t=t, name=send[0], payload=send[1], arrived=t))

    def _check_attach(self, known: LiveRun, args: Raw, if_finished: IfFinished) -> None:
        state = known.state
        if state.input != input_hash(args):
            raise DuplicateRun(f"run id {state.id!r} is in use with other input")
        if state.finished and if_finished == "fail":
            raise DuplicateRun(f"run {state.id!r} is already {state.status}")

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        """Send a signal to a run. See `Run.send`."""
        run = await self._find(id)
        if run.state.knows(dedupe):
            await self._all_durable()
            return
        if run.state.finished:
            raise RunEnded(f"run {id} is {run.state.status}: the signal {signal!r} was not accepted")
        t = self._mailbox.time_of(run)
        entry = SignalReceived(t=t, name=signal, payload=payload, arrived=t, dedupe=dedupe)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        """Publish a signal. See `Client.publish`."""
        if self._runs.bus.state.knows(dedupe):
            await self._all_durable()
            return

        plan = self._mailbox.publish(signal, payload, dedupe=dedupe, sender=None)
        await self._durably(lambda durable: self._scheduler.begin(plan, durable))

    async def cancel_run(self, id: str, reason: str) -> None:
        """Ask a run to stop. See `Run.cancel`."""
        run = await self._find(id)
        self._refuse_if_ended(run)
        if run.state.cancelling:
            await self._all_durable()
            return
        entry = CancelRequested(t=self._mailbox.time_of(run), reason=reason)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    async def terminate_run(self, id: str, reason: str) -> None:
        """Stop a run at once. See `Run.terminate`."""
        run = await self._find(id)
        self._refuse_if_ended(run)
        entry = RunTerminated(t=self._mailbox.time_of(run), reason=reason)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    def _refuse_if_ended(self, run: LiveRun) -> None:
        if run.state.finished:
            raise RunEnded(f"run {run.state.id} is already {run.state.status}")

    async def end_of(self, id: str) -> End:
        """Wait for the end of a run."""
        run = await self._find(id)
        while not run.over:
            await self._change_of(run)
            run = await self._find(id)
        state = run.state
        if state.status == "completed" and run.value is None:
            await self._scheduler.fetch_result(run)
        return End(state.status, run.value, state.error, state.saga_failures)

    def _release(self, run: LiveRun, *, closed: bool = False) -> None:
        waiters, run.waiters = run.waiters, None
        for waiter in waiters or ():
            if closed:
                _refuse(waiter, EngineClosed(f"the engine was closed while run {run.state.id} was {run.state.detail}"))
            else:
                _resolve(waiter)

    async def status_of(self, id: str) -> str:
        run = await self._find(id)
        if run.state.finished and not run.over:
            await self._all_durable()
        return run.state.status

    async def state_of(self, id: str, name: str) -> Raw | None:
        value = ((await self._find(id)).state.state or {}).get(name)
        await self._all_durable()
        return value

    async def history_of(self, id: str) -> list[Record]:
        run = await self._find(id)
        await self._all_durable()
        return LiveRun(run.number, run.state).read(await self._journal.history(run.number))

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        found = await self._journal.list_runs(parse(filter, self._clock.now()), limit)
        workflows = {state.id: self._registry.workflows.get(state.workflow) for state in found}
        return list(workflows.items())

    async def _change_of(self, run: LiveRun) -> None:
        """Wait until a run has ended, durably, or is blocked."""
        if self._closed:
            raise EngineClosed(f"the engine was closed while run {run.state.id} was {run.state.detail}")
        waiter: asyncio.Future[None] = self._loop.create_future()
        run.waiters = [*(run.waiters or ()), waiter]
        try:
            await waiter
        finally:
            run.waiters = [other for other in run.waiters or () if other is not waiter] or None

    async def blocked(self, id: str) -> Blocked | None:
        """Return why a run is blocked, once an attempt to go on that is under way has ended.

        Raises:
            UnknownRun: there is no such run.
        """
        run = await self._find(id)
        if run.rebuilding is not None:
            await asyncio.wait([run.rebuilding])
        return run.state.blocked

    async def end_or_block(self, id: str) -> None:
        """Wait until a run has ended, or does not go on without an edit of its code.

        Raises:
            WfkitError: it is blocked; the error is the one that blocked it.
        """
        run = await self._find(id)
        while not run.over:
            if run.state.blocked is not None:
                blocked = run.state.blocked
                error = by_code().get(blocked.code, WfkitError)
                raise error.__new__(error, blocked.cause.message)
            await self._change_of(run)


@asynccontextmanager
async def _open(
    path: str, app: str | None, workflows: Sequence[Workflow[..., Any]], steps_max: int, hot_max: int
) -> AsyncIterator[Engine]:
    if (app is None) == (not workflows):
        raise DefinitionError("an engine needs app= or workflows=, and not both")
    registry = Registry(workflows) if app is None else load_app(app)
    journal = await open_journal(path)
    warm_max = 2 * hot_max
    async with running(journal, registry, steps_max=steps_max, hot_max=hot_max, warm_max=warm_max) as engine:
        yield engine


@asynccontextmanager
async def running(journal: Journal, registry: Registry, *, all_runs: bool = True, **options: Any) -> AsyncIterator[Engine]:
    """Run an engine on an open journal, which it closes at the end.

    Args:
        journal: as `open_journal` returns it.
        registry: the code.
        all_runs: whether unfinished runs go on by themselves; see `Engine.recover`.
        options: those of `Engine`.
    """
    interval = sys.getswitchinterval()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(journal.close)  # once more after the engine's own: nothing is left open if there is none
        _check_platform()
        guard.install()
        stack.callback(sys.setswitchinterval, interval)
        sys.setswitchinterval(min(interval, SWITCH_INTERVAL_SECONDS))
        engine = Engine(journal, registry, **options)
        stack.callback(Watchdog(engine.under_way).close)
        stack.push_async_callback(engine.close)
        await engine.recover(all_runs=all_runs)
        engine.keep_projection()
        yield engine


def _check_platform() -> None:
    if sys.platform not in ("linux", "darwin") or sys.implementation.name != "cpython":
        raise UnsupportedPlatform(
            f"wfkit runs on CPython on Linux and macOS, not on {sys.implementation.name} on {sys.platform}"
        )


def run(wf: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]], *args: Unpack[Ts]) -> R:
    """Run a workflow to its end on a journal in memory, and return its result. For scripts and a first try.

    Raises:
        RunFailed, RunCancelled, RunTimedOut: it did not complete.
        ProgrammingError, DeterminismViolation, StuckRun: its code cannot go on.
    """
    if not isinstance(wf, Workflow):
        raise DefinitionError(f"run takes a @workflow, got {wf!r}")

    async def once() -> R:
        async with running(MemoryDisk().open(), Registry([wf])) as engine:
            handle: Run[R] = await engine.start(cast("Any", wf), *args)
            await engine.end_or_block(handle.id)
            return await handle.result()

    return asyncio.run(once())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _refuse(future: asyncio.Future[None], error: WfkitError) -> None:
    if not future.done():
        future.set_exception(error)
