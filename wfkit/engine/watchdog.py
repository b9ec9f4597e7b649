"""Reports an activation that does not end: workflow code that computes or loops, which holds up every run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from wfkit.core.loop import frame_of, location, user_frame
from wfkit.engine.scheduler import UnderWay

ACTIVATION_SECONDS_MAX = 2.0
"""An ordinary activation takes some microseconds for each command."""

log = logging.getLogger("wfkit.engine")


class Stuck(NamedTuple):
    """An activation that does not end."""

    run_id: str
    seconds: float
    line: str
    """Of the user's code, `file:line in function`; empty if none is known."""


class Watchdog:
    """Looks at the activation under way twice a second, from a thread of its own.

    Args:
        under_way: returns the activation that is under way on the loop's thread, if one is.
        tell: is told, in the watchdog's thread, of an activation that does not end, and by None that it has ended.
    """

    def __init__(self, under_way: Callable[[], UnderWay | None], tell: Callable[[Stuck | None], None]) -> None:
        self._under_way = under_way
        self._tell = tell
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._reported: UnderWay | None = None
        self._thread = threading.Thread(target=self._watch, name="wfkit-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(ACTIVATION_SECONDS_MAX / 4):
            now = self._under_way()
            if self._reported is not None and now is not self._reported:
                self._reported = None
                self._tell(None)
            if now is not None and self._reported is None and time.monotonic() - now.since >= ACTIVATION_SECONDS_MAX:
                self._reported = now
                self._report(now)

    def _report(self, now: UnderWay) -> None:
        frame = user_frame(frame_of(self._loop_thread))
        stuck = Stuck(now.run_id, time.monotonic() - now.since, location(frame) if frame is not None else "")
        log.warning(
            "run %s has been computing for %.1f s%s: no other run makes progress meanwhile; compute in a step",
            stuck.run_id,
            stuck.seconds,
            f", at {stuck.line}" if stuck.line else "",
        )
        self._tell(stuck)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
