"""How oracles put things in words."""

from __future__ import annotations

from collections.abc import Iterable

_SHOWN_CHARS_MAX = 80


def times(count: int) -> str:
    """Return a number of times: never, once, twice, 3 times."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def listed(names: Iterable[str]) -> str:
    """Return names as a list in a sentence, each once."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last


def short(text: str) -> str:
    """Return a text that fits into a line."""
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}..."
