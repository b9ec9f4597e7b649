"""Locks of threads on virtual time: whoever waits for one lets the others go on, as threads do that do not take turns."""

from __future__ import annotations

import threading
from typing import Any

from wfkit.errors import SimulationBounds
from wfkit.sim.loop import Killed
from wfkit.sim.services import surroundings
from wfkit.sim.strand import strand

_LOOK_SECONDS = 1.0
"""So often who waits looks whether it is free."""


class VirtualLock:
    """Stands for a `threading.Lock` or `RLock` in a simulation.

    Args:
        is_reentrant: whether its owner may take it again.
    """

    def __init__(self, *, is_reentrant: bool) -> None:
        self._is_reentrant = is_reentrant
        self._owner: object = None
        self._times = 0

    def reset(self) -> None:
        """Free it, whoever holds it."""
        self._owner, self._times = None, 0

    def locked(self) -> bool:
        return self._owner is not None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = _me()
        if self._is_reentrant and self._owner == me:
            self._times += 1
            return True
        waited = 0.0
        while self._owner is not None:
            if not blocking or 0 <= timeout <= waited:
                return False
            _wait()
            waited += _LOOK_SECONDS
        self._owner, self._times = me, 1
        return True

    def release(self) -> None:
        if self._owner is None:
            raise RuntimeError("release unlocked lock")
        if self._owner != _me() and (self._is_reentrant or _is_doomed()):
            return  # the process that took it is dead: it is another one's by now
        self._times -= 1
        if not self._times:
            self._owner = None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _me() -> Any:
    return strand.get() or threading.get_ident()


def _is_doomed() -> bool:
    here = strand.get()
    return here is not None and here.is_doomed


def _wait() -> None:
    host = surroundings.get()
    assert host is not None
    if strand.get() is None:
        host.end_with(
            SimulationBounds(
                "an `async def` step waits for a lock of threads, which stops the whole process",
                help="take an asyncio.Lock, or make it a `def` step",
            )
        )
        raise Killed
    host.hold(round(_LOOK_SECONDS * 1e6))
