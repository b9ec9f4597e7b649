"""A history as bars over time, one line for each span."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from rich.cells import cell_len

from wfkit.cli.output import visible
from wfkit.cli.runs.bars import axis, bar, length_of, name_of, tries_of
from wfkit.cli.statuses import LOOKS
from wfkit.replay.timeline import Span
from wfkit_tui.drawing import Line, Piece, fitted
from wfkit_tui.widgets.table import Table

NAME_CELLS = (12, 32)
TAIL_CELLS = 12
_CROWD = re.compile(r"(.* ×[\d,]+): (.*)")
"""The name of many spans that are told as one: name, and how they ended."""


class Timeline(Table[Span]):
    """The spans of a run."""

    def __init__(self, clock: Callable[[], int], *, id: str | None = None) -> None:
        super().__init__([], lambda span: (span.kind, span.name, span.records[0]), empty="nothing yet", id=id)
        self._clock = clock

    def titles(self, width: int) -> Line:
        if not self.rows:
            return ()
        name, bars = self._cells(width)
        began, ended = self._between()
        return [Piece(" " * (name + 3) + axis(ended - began, bars), "dim")]

    def line(self, row: Span, width: int) -> Line:
        name, bars = self._cells(width)
        look = LOOKS[row.outcome]
        shown, counts = _name_of(row)
        drawn = bar(row, *self._between(), self._clock(), bars)
        tail = f"{tries_of(row):>4} {length_of(row, self._clock()):>7}"
        return [
            Piece(look.sign, look.colour),
            Piece(f" {fitted('  ' * row.compensation + shown, name)} "),
            *(_counted(drawn.ljust(bars), counts, look.colour) if counts else _marked(drawn.ljust(bars), look.colour)),
            Piece(tail.rjust(TAIL_CELLS)),
        ]

    def lit(self, line: Line) -> Line:
        """Reverse all but the bar, which would be a hole; blanks part it from the rest where there are no colours."""
        marker, sign, name, *bars, tail, _ = line
        blank = Piece(" " * (len(tail.text) - len(tail.text.lstrip())))
        ends = super().lit([Piece(f"{tail.text.strip()} ")])
        return [*super().lit([marker, sign, Piece(name.text[:-1])]), Piece(" "), *bars, blank, *ends]

    def _between(self) -> tuple[int, int]:
        if not self.rows:
            return 0, 1
        began = self.rows[0].since
        return began, max(self.rows[0].until or self._clock(), began + 1)

    def _cells(self, width: int) -> tuple[int, int]:
        least, most = NAME_CELLS
        longest = max((cell_len(visible(_name_of(span)[0])) + 2 * span.compensation for span in self.rows), default=least)
        name = max(min(longest, max(most, width // 4), width // 3), least)
        return name, max(width - name - 3 - TAIL_CELLS - 1, 1)


def _name_of(span: Span) -> tuple[str, str]:
    """Return a span's name, and of a crowd how many of it ended in which way."""
    crowd = _CROWD.fullmatch(name_of(span))
    return (crowd[1], crowd[2]) if crowd is not None else (name_of(span), "")


def _marked(drawn: str, colour: str) -> Iterator[Piece]:
    """Yield a bar with its failures in red."""
    for text in re.split("(✗)", drawn):
        yield Piece(text, "bold red" if text == "✗" else colour)


def _counted(drawn: str, counts: str, colour: str) -> Iterator[Piece]:
    """Yield a crowd's bar with its counts: beside it, or on it where there is no room."""
    end = len(drawn.rstrip())
    if end + len(counts) < len(drawn):
        yield from [Piece(drawn[:end], colour), Piece(f" {counts}".ljust(len(drawn) - end))]
    else:
        text = fitted(f" {counts} ", min(len(counts) + 2, len(drawn)))
        yield from [Piece(drawn[: len(drawn) - len(text)], colour), Piece(text, f"bold reverse {colour}")]
