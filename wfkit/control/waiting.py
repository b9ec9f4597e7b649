"""Waits for something that may no longer be worth waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T | None:
    """Return what some work gives, or None if an event happens first; then the work is cancelled.

    Args:
        event: what ends the waiting.
        work: is begun in a task of its own. What it raises is raised here.
        seconds: how long it may take; as long as it needs unless given.
    """
    task, happened = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, happened], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, happened):
            one.cancel()
        await asyncio.gather(task, happened, return_exceptions=True)
