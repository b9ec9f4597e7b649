"""The machine of a test engine: the real engine on a virtual loop, driven by the test."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import warnings
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from random import Random
from types import CoroutineType
from typing import Any, TypeVar

from wfkit import guard
from wfkit.api.attempt import Attempt
from wfkit.api.definitions import Step
from wfkit.api.registry import Registry
from wfkit.api.resources import Resource
from wfkit.core.durations import MAX
from wfkit.core.entries import Record
from wfkit.engine.engine import Engine
from wfkit.errors import SimulationBounds, StuckRun, restored
from wfkit.journal.memory import MemoryDisk
from wfkit.replay.explain import Reason, explain
from wfkit.sim import ambient, real_io
from wfkit.sim.clock import Clock, Entropy
from wfkit.sim.code import namespaces
from wfkit.sim.loop import VirtualLoop
from wfkit.sim.runner import SimulatedRunner
from wfkit.sim.services import PASSED, Calling, Effect, FakeService, Pause, Request, surroundings
from wfkit.sim.strand import strand

T = TypeVar("T")

CALLBACKS_MAX = 3_000_000
"""What the loop may do within one call: some 20 seconds of work, or 200,000 steps."""


class Machine:
    """The machine that the engine and its steps find themselves on: nothing goes wrong on it, and its time is virtual.

    Args:
        registry: the code.
        resources: objects that stand in for resources.
        start: when its time begins.
    """

    def __init__(self, registry: Registry, resources: Mapping[Resource[Any], object], start: datetime) -> None:
        guard.install()
        real_io.install()
        self.registry = registry
        self.loop = VirtualLoop()  # type: ignore[abstract]  # what is not there cannot be simulated
        self.clock = Clock(self.loop, round(start.timestamp() * 1e6), is_set=False)
        self.failure: BaseException | None = None
        self._chance = Random(0)
        self._looks = 0
        self._runner = SimulatedRunner(self.loop, self)
        self._resources = resources
        self._namespaces = list(namespaces(registry))
        self._context = contextvars.copy_context()
        self._context.run(ambient.ambience.set, self)
        self._context.run(surroundings.set, self)
        self._told: set[str] = set()
        self.engine: Engine = self.finish(self._open())

    async def _open(self) -> Engine:
        engine = Engine(
            MemoryDisk().open(),
            self.registry,
            clock=self.clock,
            entropy=Entropy(0),
            runner=self._runner,
            resources=self._resources,
        )
        await engine.recover()
        return engine

    def close(self) -> None:
        """End the engine, and drop what is still under way."""
        try:
            self.finish(self.engine.close())
        finally:
            self._runner.bury()
            self.loop.bury()

    # -- driven by a test -------------------------------------------------------------------------------------------------

    def settle(self, until: int) -> None:
        """Do everything that is due up to a time of the loop."""
        self._drive(until, lambda: False)

    def begin(self, asked: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Ask something of the engine, and do everything that is due now."""
        task: asyncio.Task[T] = self._context.copy().run(self.loop.create_task, asked)
        self.settle(self.loop.now)
        return task

    def go_on(self, task: asyncio.Task[Any]) -> None:
        """Skip time until a task is done, or nothing is left to do."""
        self._drive(self.loop.now + MAX, task.done)

    def finish(self, asked: Coroutine[Any, Any, T]) -> T:
        """Ask something that the engine answers by itself."""
        task = self.begin(asked)
        if not task.done():
            self.go_on(task)
        return task.result()

    def _drive(self, until: int, stop: Callable[[], bool]) -> None:
        steps_max = self.loop.steps + CALLBACKS_MAX
        with ambient.installed(self._namespaces), real_io.refused():
            self.loop.drive(until, lambda: stop() or self.failure is not None or self.loop.steps > steps_max)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if self.loop.steps > steps_max:
            raise SimulationBounds("this goes on and on", help="look for a loop that never ends")

    # -- what steps and services see ----------------------------------------------------------------------------------------

    def entering(self, step: Step[..., Any], now: Attempt) -> tuple[Attempt, Calling]:
        return now, PASSED

    def leaving(
        self, step: Step[..., Any], now: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Calling:
        return _returning(result)

    def failing(self, step: Step[..., Any], now: Attempt) -> None: ...

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now() / 1e6, UTC)

    def joined(self, service: FakeService) -> None: ...
    def reach(self, service: FakeService, phase: str, label: str, request: Request | None = None) -> Calling:
        return PASSED

    def happened(self, effect: Effect, *, again: bool) -> None: ...
    def declared(self, effect: Effect) -> Calling:
        return PASSED

    def came_to_nothing(self, effect: Effect, why: str) -> None: ...
    def collided(self, first: Effect, second: Effect) -> None: ...
    def changed(self, service: FakeService, by: str, before: Mapping[str, Any]) -> None: ...

    def connected(self, database: sqlite3.Connection) -> None: ...
    def committed(self) -> None: ...
    def querying(self) -> Calling:
        return PASSED

    def hold(self, pause: Pause) -> None:
        here = strand.get()
        if here is None:  # a blocking call in an `async def` step: the loop stands still meanwhile
            self.loop.now += pause
        else:
            here.hold(pause)

    def end_with(self, error: BaseException) -> None:
        """A step reached for the real world, or for a fake service that cannot take its call."""
        self.failure = self.failure or error

    def wall(self) -> int:
        return self.clock.now()

    def since(self) -> int:
        return self.loop.now

    def computed(self) -> int:
        self._looks += 1
        return 1000 * self._looks

    def slept(self, seconds: float) -> None:
        self.hold(round(seconds * 1e6))

    def chance(self) -> Random:
        return self._chance

    def connection(self, factory: Any) -> Any:
        return factory

    def saw(self, what: str, line: str, *, through: str) -> None: ...
    def asked(self, service: str, what: str, line: str) -> None: ...

    def unawaited(self, coroutine: CoroutineType[Any, Any, Any], line: str) -> None:
        warnings.warn(f"coroutine {coroutine.__qualname__!r} was never awaited, at {line}", RuntimeWarning, stacklevel=3)

    # -- runs that do not go on -----------------------------------------------------------------------------------------------

    def raise_blocked(self) -> None:
        """Raise for a run that is blocked; once for each.

        Raises:
            WfkitError: the error that blocked it.
        """
        for state in self.engine.states:
            if state.blocked is not None and state.id not in self._told:
                self._told.add(state.id)
                raise restored(state.blocked.code, f"run {state.id} is blocked: {state.blocked.cause.message}")

    def stuck(self, id: str) -> StuckRun:
        """Return the error for a run that nothing will ever end."""
        return StuckRun(
            f"run {id} does not end: " + self._awaited(id),
            help="send or publish what it waits for first; time is skipped only as long as something is due",
        )

    def _awaited(self, id: str) -> str:
        records: list[Record] = self.finish(self.engine.requests.history_of(id))
        state = explain(records).state
        told = explain(records, self.registry.workflows.get(state.workflow))
        if not told.reasons:
            return f"it is {state.status}"
        return "it waits for " + ", and for ".join(map(self._reason, told.reasons))

    def _reason(self, reason: Reason) -> str:
        text = f"{_NOUNS.get(reason.kind, reason.kind)} {reason.name}"
        if reason.unmatched:
            text += f" (one of that name arrived, but {reason.unmatched[0].differs})"
        if reason.line:
            text += f", at {reason.line}"
        if reason.kind == "child":
            text += f"; of which {self._awaited(reason.name)}"
        return text


_NOUNS = {"signal": "the signal", "subscription": "the published signal", "step": "the step", "child": "the child"}


def _returning(result: Any) -> Calling:
    yield from ()
    return result
