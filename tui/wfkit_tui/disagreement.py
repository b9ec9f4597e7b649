"""Why a run is blocked: where history and code disagree, what was recorded and what is requested stand side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from wfkit.cli.facts import Fact
from wfkit_tui.drawing import Line, Piece, fact_lines, fitted

_PART = re.compile(r"\s+(last agreed|\w+)\s{2,}(\S.*)")
"""A line of the error that has a label, such as `recorded   step  charge  app.py:9`."""
_SIDES = ("recorded", "requested")


def blocked_lines(facts: Sequence[Fact], width: int) -> Iterator[Line]:
    """Yield the lines that tell why a run is blocked, from what `about` says of it."""
    parts = {found[1]: found[2] for fact in facts if not fact.label and (found := _PART.fullmatch(fact.text))}
    if not all(side in parts for side in _SIDES):
        yield from fact_lines(facts, width)
        return
    half = width // 2 - 1
    yield [Piece(fitted(f" {side}", half) + (" │ " if side == _SIDES[0] else ""), "bold") for side in _SIDES]
    left, right = (_split(parts.pop(side)) for side in _SIDES)
    for place in range(max(len(left), len(right))):
        yield [
            Piece(fitted(f"   {_at(left, place)}", half), "green"),
            Piece(" │ ", "bold"),
            Piece(fitted(f"  {_at(right, place)}", half), "yellow"),
        ]
    told = [fact for fact in facts if fact.label] + [Fact(label, text) for label, text in parts.items()]
    yield from fact_lines(sorted(told, key=lambda fact: fact.label == "help"), width)


def _split(command: str) -> list[str]:
    """Return what a command is, and where the code asks for it."""
    kind, *rest = re.split(r"\s{2,}", command)
    return [f"{kind}  {rest[0]}", "  ".join(rest[1:])] if rest else [kind]


def _at(texts: Sequence[str], place: int) -> str:
    return texts[place] if place < len(texts) else ""
