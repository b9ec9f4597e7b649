"""Reads again what a screen shows, as often as it is worth."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from textual.css.query import NoMatches
from textual.dom import DOMNode

from wfkit.errors import WfkitError

SHARE = 9
"""After a reading that took so long there is a pause of this many times as long: a large journal is not read all the time."""
PAUSE_SECONDS_MAX = 10.0
"""However long a reading took: what kept it may be over."""


class Refresher:
    """Calls `read` when it is asked to: never twice at a time, and with a pause after each call.

    Args:
        owner: as long as it lives there are readings.
        read: reads, and shows what it has read.
        pause: seconds, at least.
        tell: is told why a reading failed, or by None that it did not.
    """

    def __init__(
        self, owner: DOMNode, read: Callable[[], Awaitable[None]], *, pause: float, tell: Callable[[WfkitError | None], None]
    ) -> None:
        self._owner = owner
        self._read = read
        self._pause = pause
        self._tell = tell
        self._wanted = False
        self._works = False
        self._hurry = asyncio.Event()

    def ask(self, *, hurry: bool = False) -> None:
        """Ask for a reading; with `hurry` the pause is cut short, since somebody pressed a key."""
        self._wanted = True
        if hurry:
            self._hurry.set()
        if not self._works:
            self._works = True
            self._owner.run_worker(self._work())

    async def _work(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                self._hurry.clear()
                took = await self._once()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(self._pause, min(SHARE * took, PAUSE_SECONDS_MAX))):
                        await self._hurry.wait()
        finally:
            self._works = False

    async def _once(self) -> float:
        began = time.perf_counter()
        try:
            await self._read()
        except NoMatches:
            pass  # the screen is being taken down, and its widgets go first
        except WfkitError as error:
            self._wanted = True  # an engine that just ends or begins holds the journal, and does not answer
            self._tell(error)
        else:
            self._tell(None)
        return time.perf_counter() - began
