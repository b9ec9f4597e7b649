"""Which signal goes to which wait: first in, first out by name, one taker for each signal.

Waits are served in the order in which they were registered; each takes the first buffered signal that matches. What
was taken for a waiter that is cancelled in the same activation goes back to the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from wfkit.core.loop import Future, RunLoop

_decode = msgspec.json.decode


def matches(where: Mapping[str, Any] | None, payload: Raw | bytes) -> bool:
    """Whether the payload is an object that has all the fields of `where`, with equal JSON values."""
    if not where:
        return True
    fields = _decode(payload)
    if not isinstance(fields, dict):
        return False
    # In JSON `true` is not 1, which in Python it is.
    return all(
        name in fields and fields[name] == value and isinstance(fields[name], bool) is isinstance(value, bool)
        for name, value in where.items()
    )


class Arrived(NamedTuple):
    """A signal in a run's buffer."""

    seq: int
    """Number of the entry that brought it."""
    name: str
    payload: Raw
    arrived: int


class Wanted(NamedTuple):
    """One thing that a wait would take."""

    n: int
    name: str
    where: Mapping[str, Any] | None


class Wait(Future[Arrived]):
    """A waiter for the first signal that is one of the wanted ones. `deadline` is microseconds UTC."""

    __slots__ = ("deadline", "wanted")

    def __init__(self, *, loop: RunLoop, wanted: tuple[Wanted, ...], deadline: int | None) -> None:
        super().__init__(loop=loop)
        self.wanted = wanted
        self.deadline = deadline

    def takes(self, signal: Arrived) -> bool:
        """Whether this wait would take the signal, the deadline apart."""
        return any(want.name == signal.name and matches(want.where, signal.payload) for want in self.wanted)


class SignalBuffer:
    """The signals that a run has received and not taken, and its open waits."""

    __slots__ = ("_signals", "_waits")

    def __init__(self) -> None:
        self._signals: list[Arrived] = []
        self._waits: list[Wait] = []

    def deliver(self, signal: Arrived) -> None:
        """Hand a signal to the first open wait that takes it, or keep it."""
        if not self._hand(signal):
            self._signals.append(signal)

    def _hand(self, signal: Arrived) -> bool:
        for index, wait in enumerate(self._waits):
            in_time = wait.deadline is None or signal.arrived <= wait.deadline
            if in_time and not wait.done() and wait.takes(signal):
                del self._waits[index]
                wait.set_result(signal)
                return True
        return False

    def register(self, wait: Wait) -> None:
        """Serve a wait from the buffer, or open it."""
        for index, signal in enumerate(self._signals):
            if wait.takes(signal):
                del self._signals[index]
                wait.set_result(signal)
                return
        self._waits.append(wait)

    def withdraw(self, wait: Wait) -> None:
        """Close a wait that nobody awaits any more. A signal that it was handed goes back to the front."""
        if wait in self._waits:
            self._waits.remove(wait)
        elif wait.done() and not wait.cancelled() and wait.exception() is None:
            signal = wait.result()
            if not self._hand(signal):
                self._signals.insert(0, signal)
