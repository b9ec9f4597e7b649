"""Wake-ups by the wall clock: one heap for all runs. A sleeping run costs one tuple here, and nothing else."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from wfkit.engine.ports import Clock


class Timers:
    """Calls `fire(run, n)` when the wall clock reaches the due time of wake-up `n` of a run; earliest due first.

    Args:
        clock: the wall clock.
        fire: called on the loop.
    """

    def __init__(self, clock: Clock, fire: Callable[[int, int], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[int, int, int]] = []
        self._cancelled: set[tuple[int, int]] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._looks_at = 0
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap) - len(self._cancelled)

    def add(self, due: int, run: int, n: int) -> None:
        """Arm wake-up `n` of a run for `due`, microseconds UTC."""
        self._cancelled.discard((run, n))
        heapq.heappush(self._heap, (due, run, n))
        if self._handle is None or due < self._looks_at:
            self._look_later()

    def cancel(self, run: int, n: int) -> None:
        """Disarm a wake-up that is armed."""
        self._cancelled.add((run, n))
        if len(self._cancelled) > 64 and len(self._cancelled) > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[1:] not in self._cancelled]
            heapq.heapify(self._heap)
            self._cancelled.clear()

    def close(self) -> None:
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()

    def _look_later(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if not self._heap or self._closed:
            return
        due = self._heap[0][0]
        seconds = min(max((due - self._clock.now()) / 1e6, 0.0), self._clock.look_seconds)
        self._looks_at = due
        self._handle = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._handle = None
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            _, run, n = heapq.heappop(self._heap)
            if (run, n) in self._cancelled:
                self._cancelled.discard((run, n))
            else:
                self._fire(run, n)
        self._look_later()
