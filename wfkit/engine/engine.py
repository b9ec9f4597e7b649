"""The engine: a facade over the scheduler, the executor, the timers and the mailbox, and the one `match` over commands."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
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
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    Entry,
    RunStarted,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.core.machine import StepFuture
from wfkit.core.retry import SUSPECT_DEATHS
from wfkit.core.state import PendingChild, PendingStep, PendingTimer, RunState
from wfkit.engine.client import Client, Run
from wfkit.engine.executor import STEPS_MAX, Executor, Job
from wfkit.engine.mailbox import Mailbox
from wfkit.engine.ports import Clock, Entropy, Order, StepRunner, SystemClock, SystemEntropy, as_they_came
from wfkit.engine.projector import WARM_MAX, Projector
from wfkit.engine.recovery import deaths, load_runs, wake_ups
from wfkit.engine.requests import LocalRequests
from wfkit.engine.resources import Resources
from wfkit.engine.runner import HostRunner
from wfkit.engine.runs import LiveRun, Runs
from wfkit.engine.scheduler import Effect, Scheduler, UnderWay
from wfkit.engine.timers import Timers
from wfkit.engine.watchdog import Watchdog
from wfkit.errors import (
    DefinitionError,
    UnsupportedPlatform,
)
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
    """Runs workflows on a journal. Use `running`; for programs, `wfkit.Engine` does.

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
        self.requests: LocalRequests = LocalRequests(
            journal, self._runs, registry, self._mailbox, self._scheduler, self._clock, self._entropy
        )
        super().__init__(self.requests)
        self._ready: list[Callable[[], None]] = []
        self._closed = False
        self._recovered = False
        self._killed = False
        self._left_alone: set[int] = set()
        """Unfinished runs of the journal that do not go on by themselves."""

    # -- opening and closing ------------------------------------------------------------------------------------------

    async def recover(self, *, all_runs: bool = True, killed: bool = False) -> None:
        """Take up the runs of the journal. Called once, before anything else.

        Args:
            all_runs: whether unfinished runs go on by themselves; otherwise those do that `take_up` names, and those
                that others attach to.
            killed: the process before this one was killed from outside, so that no step is blamed for its death.
        """
        self._killed = killed
        self._journal.watch(self.requests.note_trouble)
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

    def warn_of_undefined(self) -> None:
        """Log how many unfinished runs cannot go on, since the code does not define their workflows."""
        undefined = Counter(
            state.workflow for state in self.states if not state.finished and state.workflow not in self._registry.workflows
        )
        if undefined:
            runs = ", ".join(f"{count:,} of {name}" for name, count in sorted(undefined.items()))
            log.warning("unfinished runs whose workflow the code does not define, so that they do not go on: %s", runs)

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

    async def replay_now(self, id: str) -> None:
        """Replay an unfinished run's code, so that a divergence blocks it at once and not when it is next due."""
        run = await self._runs.find(id)
        if run is not None and not run.state.finished:
            await self._scheduler.rebuild(run)

    def _take_up(self, run: LiveRun) -> None:
        now = self._clock.now()
        found = deaths(run, now, killed=self._killed)
        # An activation that killed the process was one of these: of a step's outcome, of a timer that was due, of the inbox.
        run.cautious = bool(found or run.state.inbox) or any(due <= now for due, _ in wake_ups(run, now))
        for entry in found:
            if isinstance(entry, AttemptFailed):
                self._scheduler.append_quietly(run, entry)
        for due, n in wake_ups(run, now):
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
        self.requests.close()
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

    @property
    def steps_in_flight(self) -> int:
        """How many steps closing waits for, 2 s at most."""
        return self._executor.in_flight

    async def _drain(self) -> None:
        deadline = self._loop.time() + DRAIN_SECONDS
        while self._executor.in_flight and self._loop.time() < deadline and self.requests.trouble is None:  # noqa: ASYNC110  # a poll of two seconds at most
            await asyncio.sleep(0.005)

    async def _write_last(self) -> None:
        """Refuse whoever still waits, and bring the projection up to date; but only if all runs were read, and all is well."""
        self.requests.refuse_waiting()
        well = self._recovered and self.requests.trouble is None
        for run in self._runs:
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

    def evict_code(self) -> None:
        """Evict the code of all runs. For an engine that is given up without being closed, as after a simulated crash."""
        for run in self._runs:
            self._runs.cool(run)

    @property
    def states(self) -> Iterator[RunState]:
        """The states of the runs that are in memory."""
        return (run.state for run in self._runs)

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
                case SetState() | RegisterUndo() | ReleaseUndos() | FailSaga():
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
        self.requests.release(run)

    def blocked_now(self, run: LiveRun) -> None:
        """Tell those who wait for the run."""
        self.requests.release(run)

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


@asynccontextmanager
async def running(
    journal: Journal, registry: Registry, *, all_runs: bool = True, killed: bool = False, **options: Any
) -> AsyncIterator[Engine]:
    """Run an engine on an open journal, which it closes at the end.

    Args:
        journal: as `open_journal` returns it.
        registry: the code.
        all_runs: whether unfinished runs go on by themselves; see `Engine.recover`.
        killed: whether the process before this one was killed from outside; see there too.
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
        stack.callback(Watchdog(engine.under_way, engine.requests.note_stuck).close)
        stack.push_async_callback(engine.close)
        await engine.recover(all_runs=all_runs, killed=killed)
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
            await engine.requests.end_or_block(handle.id)
            return await handle.result()

    return asyncio.run(once())
