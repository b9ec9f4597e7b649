"""Wraps what is wider than a terminal: reports, whose lines have columns, and sentences."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_LEAD = re.compile(r"\s*(?:WF\d+\s+|(?:\d\d-\d\d )?\d\d:\d\d:\d\d\s+|[a-z-]+(?: \(.*?\))?:\s+)?")
"""What a line begins with before its text: a code, a time or a label."""
_COPIED = re.compile(r"\s*(?:replay|test):\s")
"""A command or a line of code that is to be copied: the terminal wraps it, which it undoes when that is copied."""
_ROOM_MIN = 20


def wrapped(text: str, width: int) -> str:
    """Return a text whose lines fit a width; what is left of a line goes on below its beginning.

    A line is broken between its columns first, then between words. A word is never broken.
    """
    return "\n".join(piece for line in text.split("\n") for piece in _wrapped(line, width))


def hanging(line: str, width: int, indent: int) -> str:
    """Return a sentence in lines that fit a width, all but the first of them indented. A word is never broken."""
    if len(line) <= width:
        return line
    return textwrap.fill(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _wrapped(line: str, width: int) -> Iterator[str]:
    if len(line) <= width or _COPIED.match(line):
        yield line
        return
    lead = _LEAD.match(line)
    assert lead is not None  # it matches nothing as well
    between = " | " if " | " in line else "  "
    room = max(width - lead.end(), _ROOM_MIN)
    rows = [""]
    for part in re.split(r" \| | {2,}", line[lead.end() :]):
        joined = rows[-1] + between + part if rows[-1] else part
        first, *rest = [joined] if len(joined) <= room else _words(part, room)
        if len(joined) <= room or not rows[-1]:
            rows[-1:] = [first, *rest]
        else:
            rows[-1] += between.rstrip()
            rows += [first, *rest]
    yield lead[0] + rows[0]
    for row in rows[1:]:
        yield " " * lead.end() + row


def _words(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
