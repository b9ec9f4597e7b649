"""Runs a step's function on this machine: `async def` as a task of the engine's loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any

from wfkit.api.attempt import Attempt, attempt
from wfkit.api.definitions import Step
from wfkit.engine.ports import Ended, Running


class StepExit(Exception):
    """A step called `sys.exit`, which must not stop the engine."""


class HostRunner:
    """The step runner of an ordinary engine.

    It has as many threads as sync steps have ever run at the same time, which the executor bounds. A sync step cannot be
    killed: one that was given up holds its thread until it returns. Nobody waits for that, not even the end of the
    process, which is why this is no `ThreadPoolExecutor`.

    Args:
        loop: the engine's loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0

    def run(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, ended: Ended) -> Running:
        context = contextvars.copy_context()
        context.run(attempt.set, now)
        if step.is_async:
            task = self._loop.create_task(_await(step, args, kwargs), context=context)
            task.add_done_callback(functools.partial(_report, ended))
            return task
        call = functools.partial(context.run, step.fn, *args, **kwargs)
        if self._idle:
            self._idle -= 1
        else:
            threading.Thread(target=self._work, name=f"wfkit-step-{self._threads}", daemon=True).start()
            self._threads += 1
        self._calls.put(functools.partial(self._call, call, ended))
        return _IN_A_THREAD

    def close(self) -> None:
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _call(self, call: Callable[[], Any], ended: Ended) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = call()
        except SystemExit as exc:
            error = _exit(exc)
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it is the step's outcome
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody is left to hear it
            self._loop.call_soon_threadsafe(self._called, ended, result, error)

    def _called(self, ended: Ended, result: Any, error: BaseException | None) -> None:
        self._idle += 1
        ended(result, error)


class InAThread:
    """A sync step: it cannot be stopped, so its end is awaited."""

    def cancel(self) -> None:
        """Do nothing: the function runs to its end, which is then reported."""


_IN_A_THREAD = InAThread()


async def _await(step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return await step.fn(*args, **kwargs)
    except SystemExit as exc:
        raise _exit(exc) from exc


def _exit(exc: SystemExit) -> StepExit:
    return StepExit(f"the step called sys.exit({exc.code!r})")


def _report(ended: Ended, future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        ended(None, asyncio.CancelledError())
    else:
        error = future.exception()
        ended(None if error is not None else future.result(), error)
