"""Runs a step's function on this machine: `async def` as a task of the engine's loop, `def` in a thread."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from wfkit.api.attempt import Attempt, attempt
from wfkit.api.definitions import Step
from wfkit.engine.ports import Ended, Running

THREADS_MAX = 64
"""Sync steps that run at the same time, unless the engine is told otherwise."""


class StepExit(Exception):  # noqa: N818  # it stands for SystemExit
    """A step called `sys.exit`, which must not stop the engine."""


class HostRunner:
    """The step runner of an ordinary engine.

    Args:
        loop: the engine's loop.
        threads_max: bound of the pool in which sync steps run. A sync step cannot be killed: one that was given up
            holds its thread until it returns.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads_max: int = THREADS_MAX) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="wfkit-step")

    def run(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, ended: Ended) -> Running:
        context = contextvars.copy_context()
        context.run(attempt.set, now)
        if step.is_async:
            task = self._loop.create_task(_without_exit(step.fn(*args, **kwargs)), context=context)
            task.add_done_callback(functools.partial(_report, ended))
            return task
        call = functools.partial(context.run, step.fn, *args, **kwargs)
        thread = self._threads.submit(_call_without_exit, call)
        future = asyncio.wrap_future(thread, loop=self._loop)
        future.add_done_callback(functools.partial(_report, ended))
        return Abandon(future)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Abandon:
    """A sync step in its thread: it cannot be stopped, so its end is awaited."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def cancel(self) -> None:
        """Do nothing: the function runs to its end, which is then reported."""


async def _without_exit(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except SystemExit as exc:
        raise StepExit(f"the step called sys.exit({exc.code!r})") from exc


def _call_without_exit(call: functools.partial[Any]) -> Any:
    try:
        return call()
    except SystemExit as exc:
        raise StepExit(f"the step called sys.exit({exc.code!r})") from exc


def _report(ended: Ended, future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        ended(None, asyncio.CancelledError())
    else:
        error = future.exception()
        ended(None if error is not None else future.result(), error)
