"""Runs the attempts of steps in a simulation: with points around them, and frozen when the process dies."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any, Protocol

from wfkit.api.attempt import Attempt, attempt
from wfkit.api.definitions import Step
from wfkit.engine.ports import Ended, Running
from wfkit.engine.runner import StepExit
from wfkit.sim.loop import Killed, VirtualLoop
from wfkit.sim.real_io import carrier, executed
from wfkit.sim.services import FOREVER, Calling, in_thread, with_pauses
from wfkit.sim.strand import Strand


class StepPoints(Protocol):
    """Who is told of the points of an attempt."""

    def entering(self, step: Step[..., Any], now: Attempt) -> tuple[Attempt, Calling]:
        """An attempt begins: return what the step sees of it, and the points to pass."""
        ...

    def leaving(
        self, step: Step[..., Any], now: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Calling:
        """The function has returned: pass the points that follow, and return what the engine is told it returned."""
        ...

    def failing(self, step: Step[..., Any], now: Attempt) -> None:
        """An exception of its own leaves the function."""
        ...


class SimulatedRunner:
    """The step runner of a simulation.

    Args:
        loop: the virtual loop.
        points: told of every attempt.
    """

    def __init__(self, loop: VirtualLoop, points: StepPoints) -> None:
        self._loop = loop
        self._points = points
        self._strands: list[Strand] = []

    def run(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, ended: Ended) -> Running:
        seen, entering = self._points.entering(step, now)
        context = contextvars.copy_context()
        context.run(attempt.set, seen)
        context.run(executed.set, step)
        if step.is_async:
            task = self._loop.create_task(self._await(step, args, kwargs, seen, entering), context=context)
            task.add_done_callback(functools.partial(_report, ended))
            return task  # type: ignore[no-any-return]  # a task of ours
        strand = Strand(lambda: self._call(step, args, kwargs, seen, entering), context)
        self._strands.append(strand)
        self._loop.call_soon(self._resume, strand, ended)
        return _THREAD

    def close(self) -> None:
        """Nothing is left open: a thread ends with its call, or is buried with the simulation."""

    def bury(self) -> None:
        """End the threads that are held up."""
        for strand in self._strands:
            if strand.pause is not None:
                strand.bury()

    async def _await(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, entering: Calling
    ) -> Any:
        carrier.set(asyncio.current_task())
        try:
            await with_pauses(entering)
            try:
                result = await step.fn(*args, **kwargs)
            except Exception:
                self._points.failing(step, now)
                raise
            return await with_pauses(self._points.leaving(step, now, args, kwargs, result))
        except SystemExit as exc:
            raise StepExit(f"the step called sys.exit({exc.code!r})") from exc

    def _call(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, entering: Calling
    ) -> Any:
        in_thread(entering)
        try:
            result = step.fn(*args, **kwargs)
        except Exception:
            self._points.failing(step, now)
            raise
        return in_thread(self._points.leaving(step, now, args, kwargs, result))

    def _resume(self, strand: Strand, ended: Ended) -> None:
        strand.resume()
        if strand.pause is None:
            if isinstance(strand.error, Killed):
                return
            error = strand.error
            ended(
                strand.result, StepExit(f"the step called sys.exit({error.code!r})") if isinstance(error, SystemExit) else error
            )
        elif strand.pause != FOREVER:
            self._loop.call_later(strand.pause / 1e6, self._resume, strand, ended)


class _Thread:
    def cancel(self) -> None:
        """Do nothing: a thread cannot be stopped, so its end is awaited."""


_THREAD = _Thread()


def _report(ended: Callable[[Any, BaseException | None], None], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        ended(None, asyncio.CancelledError())
    else:
        error = task.exception()
        ended(None if error is not None else task.result(), error)
