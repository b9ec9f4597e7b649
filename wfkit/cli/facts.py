"""One thing's facts, one a line: labels beside texts on a terminal, tab-separated in a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from wfkit.cli.colours import Colour, paint
from wfkit.cli.output import columns, on_terminal, visible

_INDENT = 2
_ROOM_MIN = 20


class Fact(NamedTuple):
    label: str
    text: str
    """What a terminal shows; a fact without one is left out."""
    piped: str | None = None
    """What a pipe gets, if it is something else."""
    colour: Colour | None = None


def show_facts(facts: Sequence[Fact]) -> None:
    """Print facts. On a terminal a text that is too long goes on in the column where it began, and is never cut."""
    told = [fact for fact in facts if fact.text]
    if not on_terminal():
        for fact in told:
            print(f"{fact.label}\t{visible(fact.piped or fact.text)}")
        return
    for line in lines(told, columns()):
        print(line)


def lines(facts: Sequence[Fact], width: int) -> list[str]:
    """Return the lines that show facts within a width."""
    label_width = max((len(fact.label) for fact in facts), default=0)
    found = []
    for fact in facts:
        room = max(width - label_width - _INDENT, _ROOM_MIN)
        for number, text in enumerate(textwrap.wrap(visible(fact.text), room, break_on_hyphens=False)):
            label = paint(f"{fact.label:<{label_width}}", "dim", stream=sys.stdout) if number == 0 else " " * label_width
            found.append(f"{label}{' ' * _INDENT}{paint(text, fact.colour, stream=sys.stdout) if fact.colour else text}")
    return found
