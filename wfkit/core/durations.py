"""Durations as users write them, in microseconds."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from typing import TypeAlias

__tracebackhide__ = True  # pytest shows the line where a duration is written instead

Duration: TypeAlias = timedelta | float | str
"""A timedelta, seconds, or text such as `"250ms"`, `"2s"`, `"5 minutes"`, `"2 days"`, `"1h30m"`."""

_UNITS = {
    "ms": 1_000,
    "millisecond": 1_000,
    "s": 1_000_000,
    "sec": 1_000_000,
    "second": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "minute": 60_000_000,
    "h": 3_600_000_000,
    "hour": 3_600_000_000,
    "d": 86_400_000_000,
    "day": 86_400_000_000,
    "w": 604_800_000_000,
    "week": 604_800_000_000,
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)

MAX = 100 * 366 * 86_400_000_000
"""A hundred years: what is longer is a mistake in the unit."""
_SECONDS_MAX = 2 * MAX / 1e6


def microseconds(duration: Duration) -> int:
    """Return a duration in microseconds, rounded.

    Raises:
        ValueError: it is negative, not finite, longer than a hundred years, or text that is not a duration.
    """
    if isinstance(duration, str):
        result = _parse(duration)
    elif isinstance(duration, timedelta):
        result = round(duration.total_seconds() * 1e6)
    elif not isinstance(duration, bool) and isinstance(duration, int | float):
        if not abs(duration) < _SECONDS_MAX:
            raise ValueError(f"a duration is a finite number of seconds, up to a hundred years, got {duration}")
        result = round(duration * 1e6)
    else:
        raise ValueError(f"a duration is a timedelta, seconds or text such as '2 days', got {duration!r}")
    if result < 0:
        raise ValueError(f"a duration cannot be negative, got {duration!r}")
    if result > MAX:
        raise ValueError(f"a duration of over a hundred years is a mistake, got {duration!r}")
    return result


@functools.lru_cache(maxsize=256)
def _parse(text: str) -> int:
    total = 0.0
    end = 0
    while end < len(text):
        part = _PART.match(text, end)
        unit = _unit(part[2]) if part else None
        if part is None or unit is None:
            break
        total = min(total + float(part[1]) * unit, 2.0 * MAX)
        end = part.end()
    if end == 0 or end < len(text):
        raise ValueError(f"{text!r} is not a duration: write '250ms', '2s', '5 minutes', '2 days' or '1h30m'")
    return round(total)


def _unit(word: str) -> int | None:
    word = word.lower()
    return _UNITS.get(word) or (_UNITS.get(word[:-1]) if len(word) > 3 and word.endswith("s") else None)


def display(us: int) -> str:
    """Return a short text for microseconds, such as `250ms`, `2s`, `1h30m` or `3d`."""
    if us < 1_000_000:
        return f"{us / 1000:g}ms"
    if us < 60_000_000:
        return f"{us / 1e6:.3g}s"
    parts = []
    for name, size in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)):
        count, us = divmod(us, size)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts[:2])
