"""Runs steps: attempts, back-off, time limits, cancellation. Its policy is the engine's and the simulator's alike.

A job is one step call from its command to its outcome. It is told about by callbacks: an outcome ends it, a failed
attempt that is to be repeated is recorded and comes back through a timer. Back-off holds no slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, Protocol

from msgspec import Raw

from wfkit.api.attempt import Attempt, StepInfo
from wfkit.api.definitions import RetryAfter, Step
from wfkit.api.primitives import at
from wfkit.core.commands import Failure
from wfkit.core.failures import failure_of, type_names
from wfkit.core.retry import next_attempt
from wfkit.core.state import PendingStep
from wfkit.engine.payloads import warn_if_heavy
from wfkit.engine.ports import Clock, Running, StepRunner
from wfkit.engine.resources import Resources
from wfkit.errors import CodecError, PayloadTooLarge

STEPS_MAX = 100
"""Attempts that run at the same time, unless the engine is told otherwise."""
CLEANUP_SECONDS_MAX = 5.0
"""How long an async attempt that took too long may go on cleaning up, before the next one starts without waiting for it."""
COMPENSATIONS_EXTRA = 20
"""Slots beyond these that only compensations take, so that the way back is never starved by the way forward."""

log = logging.getLogger("wfkit.engine")


class Job:
    """One step call under way."""

    __slots__ = (
        "attempt",
        "cancelled",
        "command",
        "counted",
        "limit",
        "run",
        "run_id",
        "running",
        "since",
        "step",
        "timed_out",
        "workflow",
    )

    def __init__(self, run: int, run_id: str, workflow: str, pending: PendingStep, step: Step[..., Any]) -> None:
        self.run = run
        self.run_id = run_id
        self.workflow = workflow
        self.command = pending.command
        self.step = step
        self.attempt = pending.attempt
        self.counted = pending.attempt - pending.uncounted
        """The attempt's number as the retry policy counts."""
        self.since = pending.since
        """When the command was recorded: the total timeout counts from here. Microseconds UTC."""
        self.running: Running | None = None
        self.limit: asyncio.TimerHandle | None = None
        self.timed_out: str | None = None
        self.cancelled = False


class Outcomes(Protocol):
    """Who is told how steps go."""

    def step_completed(self, run: int, n: int, value: Raw, attempt: int) -> None: ...
    def step_failed(self, run: int, n: int, error: Failure, attempt: int) -> None: ...
    def attempt_failed(self, run: int, n: int, error: Failure, attempt: int, wait: int) -> None:
        """An attempt failed, and the next one may start after `wait` microseconds: the job ends here, to be submitted again."""
        ...


class Executor:
    """Runs the attempts of steps.

    Args:
        runner: what runs one attempt.
        clock: the wall clock.
        resources: what steps use.
        outcomes: who is told.
        steps_max: how many attempts run at the same time.
    """

    def __init__(
        self, runner: StepRunner, clock: Clock, resources: Resources, outcomes: Outcomes, steps_max: int = STEPS_MAX
    ) -> None:
        if steps_max < 1:
            raise ValueError(f"steps_max is at least 1, got {steps_max}")
        self._runner = runner
        self._clock = clock
        self._resources = resources
        self._outcomes = outcomes
        self._steps_max = steps_max
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[tuple[int, int], Job] = {}
        self._queue: deque[Job] = deque()
        self._compensations: deque[Job] = deque()
        self._slots = 0
        self._admitting = False
        self._preparing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def in_flight(self) -> int:
        """How many step calls are under way, queued ones included."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Start an attempt, or queue it until a slot is free."""
        self._jobs[job.run, job.command.n] = job
        if self._slots < self._steps_max + (COMPENSATIONS_EXTRA if job.command.compensation else 0):
            self._start(job)
        else:
            (self._compensations if job.command.compensation else self._queue).append(job)

    def cancel(self, run: int, n: int, *, awaited: bool) -> None:
        """Cancel a step call. Its end is only told if somebody waits for it; a step in back-off has no job here."""
        job = self._jobs.get((run, n))
        if job is None:
            return
        job.cancelled = True
        if job.running is None:
            self._forget(job)
            if awaited:
                self._outcomes.step_failed(run, n, Failure("StepCancelled", "cancelled before it started"), job.attempt)
            return
        if not awaited:
            self._forget(job)
        job.running.cancel()

    def forget(self, run: int) -> None:
        """Cancel all steps of a run that has ended. Nobody is told."""
        for _, n in [key for key in self._jobs if key[0] == run]:
            self.cancel(run, n, awaited=False)

    def is_running(self, run: int, n: int) -> bool:
        return (run, n) in self._jobs

    async def close(self) -> None:
        """Stop everything without telling anybody: what is in flight runs again when the engine opens next."""
        self._closed = True
        self._queue.clear()
        self._compensations.clear()
        running = [job.running for job in self._jobs.values() if job.running is not None]
        self._jobs.clear()
        for task in self._preparing:
            task.cancel()
        for attempt in running:
            attempt.cancel()
        tasks = [attempt for attempt in running if isinstance(attempt, asyncio.Task)]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self._runner.close()

    # -- one attempt ------------------------------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        self._slots += 1
        missing = self._resources.missing(job.step.fn)
        if missing:
            limit, what = self._limit(job)
            task = self._loop.create_task(self._prepare(job, missing))
            job.limit = self._loop.call_later(max(limit, 0) / 1e6, self._time_out_opening, job, what, task)
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        else:
            self._run(job)

    async def _prepare(self, job: Job, missing: tuple[Any, ...]) -> None:
        try:
            await self._resources.provide(missing)
        except Exception as exc:  # noqa: BLE001  # the user's resource; the attempt fails with what it raised
            self._release()
            if self._owns(job):
                self._failed(job, exc)
            return
        if job.limit is not None:
            job.limit.cancel()
        if self._owns(job):
            self._run(job)
        else:
            self._release()

    def _time_out_opening(self, job: Job, what: str, opening: asyncio.Task[None]) -> None:
        """End an attempt whose resources do not open in time; they go on opening for the next one."""
        opening.cancel()
        self._release()
        if self._owns(job):
            job.timed_out = _too_long(job, what)
            self._failed(job, TimeoutError())

    def _limit(self, job: Job) -> tuple[int, str]:
        """Return what an attempt that starts now may take, in microseconds, and which limit that is."""
        command = job.command
        if command.total_timeout is not None:
            left = job.since + command.total_timeout - self._clock.now()
            if left < command.timeout:
                return left, "total timeout"
        return command.timeout, "timeout"

    def _run(self, job: Job) -> None:
        command, step = job.command, job.step
        now = self._clock.now()
        limit, what = self._limit(job)
        if limit <= 0:
            self._release()
            job.timed_out = _too_long(job, what)
            self._failed(job, TimeoutError())
            return
        if job.attempt == 1:
            warn_if_heavy(command.args, "what %s() of run %s is called with", step.name, job.run_id)
        info = StepInfo(job.run_id, job.workflow, step.name, command.key, job.attempt, at(now + limit))
        attempt = Attempt(info, command.n, command.undoes, self._resources.open, self._clock.now)
        try:
            args, kwargs = step.signature.call(step.signature.decode(command.args))
            job.running = self._runner.run(step, args, kwargs, attempt, lambda result, error: self._ended(job, result, error))
        except CodecError as exc:
            self._release()
            self._end(job)
            failure = Failure("CodecError", f"the recorded arguments do not fit {step.name}() as it is now: {exc}")
            self._outcomes.step_failed(job.run, command.n, failure, job.attempt)
        except Exception as exc:  # noqa: BLE001  # a class of the user's that cannot be made, or no thread left
            self._release()
            self._failed(job, exc)
        else:
            job.limit = self._loop.call_later(limit / 1e6, self._time_out, job, what)

    def _time_out(self, job: Job, what: str) -> None:
        if not self._owns(job) or job.running is None:
            return
        job.timed_out = _too_long(job, what)
        job.running.cancel()
        if isinstance(job.running, asyncio.Task):
            job.limit = self._loop.call_later(CLEANUP_SECONDS_MAX, self._give_up, job)
        else:
            self._give_up(job)  # nobody can stop a thread

    def _give_up(self, job: Job) -> None:
        """End an attempt that does not end by itself. It keeps its slot until it does; its result is dropped then."""
        if self._owns(job):
            self._failed(job, TimeoutError())

    def _ended(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._release()
        if job.limit is not None:
            job.limit.cancel()
        owned = self._owns(job)
        if error is None and (job.timed_out is not None or not owned) and not self._closed:
            told = "a result of %s() of run %s (attempt %d) came after the attempt was given up: it is dropped"
            log.info(told, job.step.name, job.run_id, job.attempt)
            error = TimeoutError()
        if not owned:
            return
        job.running = None
        if error is None:
            self._completed(job, result)
        else:
            self._failed(job, error)

    def _completed(self, job: Job, result: Any) -> None:
        self._end(job)
        try:
            value = job.step.signature.result.encode(result)
        except (CodecError, PayloadTooLarge) as exc:
            failure = Failure(type(exc).__name__, f"{job.step.name}() returned what cannot be recorded: {exc}")
            self._outcomes.step_failed(job.run, job.command.n, failure, job.attempt)
            return
        warn_if_heavy(value, "the result of %s() of run %s", job.step.name, job.run_id)
        self._outcomes.step_completed(job.run, job.command.n, value, job.attempt)

    def _failed(self, job: Job, error: BaseException) -> None:
        self._end(job)
        command, n = job.command, job.command.n
        if job.timed_out is not None:
            failure, types, after = Failure("StepTimeout", job.timed_out), type_names(TimeoutError()), None
        elif job.cancelled:
            failure = Failure("StepCancelled", f"{job.step.name}() was cancelled")
            self._outcomes.step_failed(job.run, n, failure, job.attempt)
            return
        else:
            failure, types = failure_of(error), type_names(error)
            after = error.wait if isinstance(error, RetryAfter) else None
        wait = None if job.cancelled else next_attempt(command.retry, job.counted, command.key, types, after)
        total = command.total_timeout
        if wait is not None and total is not None and self._clock.now() + wait >= job.since + total:
            wait = None
        if wait is None:
            self._outcomes.step_failed(job.run, n, failure, job.attempt)
        else:
            self._outcomes.attempt_failed(job.run, n, failure, job.attempt, wait)

    def _owns(self, job: Job) -> bool:
        return self._jobs.get((job.run, job.command.n)) is job

    def _end(self, job: Job) -> None:
        self._jobs.pop((job.run, job.command.n), None)

    def _forget(self, job: Job) -> None:
        self._end(job)
        for queue in (self._queue, self._compensations):
            if job in queue:
                queue.remove(job)

    def _release(self) -> None:
        """Give a slot back, and start what waits for one. A job that fails as it starts gives its own back in here."""
        self._slots -= 1
        if self._admitting:
            return
        self._admitting = True
        try:
            while not self._closed:
                if self._compensations and self._slots < self._steps_max + COMPENSATIONS_EXTRA:
                    self._start(self._compensations.popleft())
                elif self._queue and self._slots < self._steps_max:
                    self._start(self._queue.popleft())
                else:
                    break
        finally:
            self._admitting = False


def _too_long(job: Job, what: str) -> str:
    allowed = job.command.total_timeout if what == "total timeout" else job.command.timeout
    return f"{job.step.name}() took longer than its {what} of {(allowed or 0) / 1e6:g} s (attempt {job.attempt})"
