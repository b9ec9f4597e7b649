"""Leaves out what a finding does not need: deliveries, further runs, and parts of the input.

What is left out is so without faults as well, so that nothing is blamed on its absence. An input is only replaced by one
that makes the schedule shorter: to whoever reads it, a charge of 49.00 says more than one of 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from wfkit.errors import CodecError
from wfkit.sim.recording import Delivery
from wfkit.sim.subject import Subject

TRIES_MAX = 40
"""Subjects that one finding may cost."""
POINTS_MAX = 6_000
"""Points that these may pass together: long schedules are narrowed less, so that it does not take seconds."""
INPUT_BYTES_MAX = 1_000
"""A longer input is not given in place of the user's own: the line of a test could not hold it."""

Length = Callable[[Subject], int | None]
"""Says how many points the schedule of a subject passes; None if it does not show the finding."""


def narrow(subject: Subject, droppable: Sequence[Delivery], points: int, length: Length) -> Subject:
    """Return what is left of a subject.

    Args:
        subject: shows the finding.
        droppable: deliveries that it may do without, in order.
        points: how many its schedule passes.
        length: tries a subject.
    """
    narrowing = _Narrowing(subject, points, length)
    if droppable and not narrowing.drop(*droppable):
        for delivery in reversed(droppable):
            narrowing.drop(delivery)
    narrowing.shorten_input()
    return narrowing.subject


class _Narrowing:
    def __init__(self, subject: Subject, points: int, length: Length) -> None:
        self.subject = subject
        self._points = points
        self._length = length
        self._left = min(TRIES_MAX, POINTS_MAX // max(points, 1))

    def drop(self, *deliveries: Delivery) -> bool:
        points = frozenset(delivery.point for delivery in deliveries)
        return self._accept(replace(self.subject, dropped=self.subject.dropped | points))

    def shorten_input(self) -> None:
        tried: set[bytes] = set()
        candidates = _inputs(self.subject)
        while self._left and (encoded := next(candidates, None)) is not None:
            if encoded not in tried and len(encoded) <= INPUT_BYTES_MAX:
                tried.add(encoded)
                args = _decoded(self.subject, encoded)
                if args is not None and self._accept(replace(self.subject, args=args)):
                    candidates = _inputs(self.subject)

    def _accept(self, subject: Subject) -> bool:
        """Go over to a subject if it still shows the finding, on a shorter way."""
        if not self._left:
            return False
        self._left -= 1
        points = self._length(subject)
        if points is None or points >= self._points:
            return False
        self.subject, self._points = subject, points
        return True


def _inputs(subject: Subject) -> Iterator[bytes]:
    args = msgspec.json.decode(subject.workflow.signature.encode(subject.args, {}))
    return map(msgspec.json.encode, _each_simpler(args))


def _decoded(subject: Subject, encoded: bytes) -> tuple[Any, ...] | None:
    """Return arguments that the workflow takes; None if it does not take these."""
    try:
        return subject.workflow.signature.decode(encoded)
    except CodecError:
        return None


def simpler(value: Any) -> Iterator[Any]:
    """Yield simpler JSON values than this one, the simplest first. Texts stay as they are: they are names to their reader."""
    if value is None or isinstance(value, str):
        return
    yield None
    match value:
        case bool():
            if value:
                yield False
        case int():
            yield from dict.fromkeys(less for less in (0, 1, value // 2, value - 1) if 0 <= less < abs(value))
        case list():
            half = len(value) // 2
            if value:
                yield []
            if half:
                yield from (value[:half], value[half:])
                yield from (value[:index] + value[index + 1 :] for index in reversed(range(len(value))))
            yield from _each_simpler(value)
        case dict():
            for key in value:
                yield {other: value[other] for other in value if other != key}
            for key in value:
                yield from ({**value, key: less} for less in simpler(value[key]))


def _each_simpler(values: list[Any]) -> Iterator[list[Any]]:
    """Yield lists in which one value is simpler."""
    for index, value in enumerate(values):
        yield from ([*values[:index], less, *values[index + 1 :]] for less in simpler(value))
