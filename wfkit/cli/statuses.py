"""A status as it is shown: a sign, a word and a colour, of which the word alone says it all."""

from __future__ import annotations

import sys
from typing import NamedTuple

from wfkit.cli.colours import Colour


class Look(NamedTuple):
    sign: str
    plain: str
    """The sign where only ASCII can be shown."""
    colour: Colour


LOOKS: dict[str, Look] = {
    "running": Look("▶", ">", "blue"),
    "waiting": Look("◷", "~", "cyan"),
    "retrying": Look("↻", "r", "yellow"),
    "compensating": Look("↶", "<", "magenta"),
    "completed": Look("✓", "+", "green"),
    "failed": Look("✗", "x", "red"),
    "cancelled": Look("⊘", "c", "yellow"),
    "terminated": Look("■", "t", "yellow"),
    "timed_out": Look("⧗", "o", "red"),
    "blocked": Look("▲", "!", "red"),
    "buffered": Look("◌", "b", "yellow"),
}


def sign(status: str) -> str:
    look = LOOKS[status]
    return look.sign if can_show(look.sign) else look.plain


def can_show(text: str) -> bool:
    """Whether stdout can show these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", "utf-8") or "ascii")  # the screens' stdout takes any text, and has none
    except UnicodeEncodeError:
        return False
    return True


def word(status: str) -> str:
    return status.replace("_", " ")


def shown(status: str) -> str:
    """Return sign and word, such as `✗ failed`."""
    return f"{sign(status)} {word(status)}"


def colour(status: str) -> Colour:
    return LOOKS[status].colour
