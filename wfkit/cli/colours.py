"""Whether a stream shows colours, and the few that we use where Rich is not worth its import."""

from __future__ import annotations

import os
from typing import Literal, TextIO, TypeAlias

Colour: TypeAlias = Literal["red", "green", "yellow", "blue", "cyan", "magenta", "dim"]

_CODES: dict[Colour, str] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
}


def shows_colours(stream: TextIO) -> bool:
    """Whether to write colours: `NO_COLOR` forbids them, `FORCE_COLOR` wants them, otherwise a capable terminal decides."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty()


def paint(text: str, colour: Colour, *, stream: TextIO, bold: bool = False) -> str:
    """Return the text in a colour, if the stream shows colours."""
    if not text or not shows_colours(stream):
        return text
    return f"\033[{'1;' if bold else ''}{_CODES[colour]}m{text}\033[0m"
