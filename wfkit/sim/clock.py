"""The wall clock and the recorded randomness of the simulated machine."""

from __future__ import annotations

from hashlib import blake2b

from wfkit.sim.loop import VirtualLoop

LOOK_SECONDS = 3600.0
"""How soon timers notice that the clock was set, where a schedule sets it."""


class Clock:
    """The wall clock: it goes with virtual time, unless a fault sets or stops it.

    Args:
        loop: where virtual time comes from.
        start: what it shows at first, microseconds UTC.
        is_set: whether a fault will set it, so that timers have to look at it now and then.
    """

    def __init__(self, loop: VirtualLoop, start: int, *, is_set: bool) -> None:
        self._loop = loop
        self._start = start
        self.look_seconds = LOOK_SECONDS if is_set else float("inf")
        self.offset = 0
        """By how much it was set, microseconds."""
        self.stopped: int | None = None
        """What it shows while it is stopped."""

    def now(self) -> int:
        if self.stopped is not None:
            return self.stopped
        return self._start + self._loop.now + self.offset


class Entropy:
    """Recorded randomness: the same after a crash as it would have been before, if nothing of it was durable."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.drawn = 0

    def bits(self) -> str:
        self.drawn += 1
        return blake2b(f"{self._seed}/{self.drawn}".encode(), digest_size=16).hexdigest()
