"""Reports an activation that does not end: workflow code that computes or loops, which holds up every run."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

from wfkit.core.loop import location, user_frame
from wfkit.engine.scheduler import UnderWay

ACTIVATION_SECONDS_MAX = 2.0
"""An ordinary activation takes some microseconds for each command."""

log = logging.getLogger("wfkit.engine")


class Watchdog:
    """Looks at the activation under way twice a second, from a thread of its own.

    Args:
        under_way: returns the activation that is under way on the loop's thread, if one is.
    """

    def __init__(self, under_way: Callable[[], UnderWay | None]) -> None:
        self._under_way = under_way
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._reported: UnderWay | None = None
        self._thread = threading.Thread(target=self._watch, name="wfkit-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(ACTIVATION_SECONDS_MAX / 4):
            now = self._under_way()
            if now is None or now is self._reported or time.monotonic() - now.since < ACTIVATION_SECONDS_MAX:
                continue
            self._reported = now
            frame = user_frame(sys._current_frames().get(self._loop_thread))
            where = f", at {location(frame)}" if frame is not None else ""
            log.warning(
                "run %s has been computing for %.1f s in one activation%s: no other run goes on meanwhile; compute in a step",
                now.run_id,
                time.monotonic() - now.since,
                where,
            )

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
