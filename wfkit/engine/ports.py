"""The engine's world: what it takes as constructor arguments, and reads nowhere else.

The simulator supplies others, and drives the same engine. Time passes on the event loop that the engine runs on, so a
loop of virtual time is the other half of a virtual clock.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from wfkit.api.attempt import Attempt
from wfkit.api.definitions import Step

T = TypeVar("T")


class Clock(Protocol):
    """The wall clock."""

    look_seconds: float
    """For how long at most it goes with the loop's time: after that, whoever waits for a time looks at it again."""

    def now(self) -> int:
        """Return microseconds since the epoch, UTC. It may jump, also backwards."""
        ...


class SystemClock:
    look_seconds = 5.0  # a laptop's sleep stops the monotonic clock that the loop waits on

    def now(self) -> int:
        return time.time_ns() // 1000


class Entropy(Protocol):
    """Where randomness comes from that is recorded."""

    def bits(self) -> str:
        """Return 128 random bits as 32 hexadecimal digits."""
        ...


class SystemEntropy:
    def bits(self) -> str:
        return secrets.token_hex(16)


class Running(Protocol):
    """An attempt under way."""

    def cancel(self) -> object:
        """Ask it to stop. Its end is reported all the same."""
        ...


Ended = Callable[[Any, BaseException | None], None]
"""Told of an attempt's end on the engine's loop: its result, or its exception."""


class StepRunner(Protocol):
    """What runs the function of one attempt."""

    def run(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], attempt: Attempt, ended: Ended
    ) -> Running:
        """Start an attempt; `ended` is called once, on the engine's loop, not before this call has returned."""
        ...

    def close(self) -> None:
        """Take no more attempts, and wait for no one."""
        ...


Order = Callable[[Sequence[T]], Sequence[T]]
"""In which order outcomes that are ready at the same instant are delivered."""


def as_they_came(ready: Sequence[T]) -> Sequence[T]:
    return ready
