"""A history as bars over time, one line for each span."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len

from wfkit.cli.output import visible
from wfkit.cli.runs.bars import axis, bar, length_of, name_of, tries_of
from wfkit.cli.statuses import LOOKS
from wfkit.replay.timeline import Span
from wfkit_tui.drawing import Line, Piece, fitted
from wfkit_tui.widgets.table import Table

NAME_CELLS = (12, 32)
TAIL_CELLS = 12


class Timeline(Table[Span]):
    """The spans of a run."""

    def __init__(self, clock: Callable[[], int], *, id: str | None = None) -> None:
        super().__init__([], lambda span: (span.kind, span.name, span.records[0]), empty="nothing yet", id=id)
        self._clock = clock

    def titles(self, width: int) -> Line:
        name, bars = self._cells(width)
        began, ended = self._between()
        return [Piece(" " * (name + 3) + axis(ended - began, bars), "dim")]

    def line(self, row: Span, width: int) -> Line:
        name, bars = self._cells(width)
        look = LOOKS[row.outcome]
        drawn = bar(row, *self._between(), self._clock(), bars)
        tail = f"{tries_of(row):>4} {length_of(row, self._clock()):>7}"
        shown = ("  " if row.compensation else "") + name_of(row)
        return [
            Piece(look.sign, look.colour),
            Piece(f" {fitted(shown, name)} "),
            Piece(f"{drawn:<{bars}}", look.colour),
            Piece(tail.rjust(TAIL_CELLS)),
        ]

    def _between(self) -> tuple[int, int]:
        if not self.rows:
            return 0, 1
        began = self.rows[0].since
        return began, max(self.rows[0].until or self._clock(), began + 1)

    def _cells(self, width: int) -> tuple[int, int]:
        least, most = NAME_CELLS
        longest = max((cell_len(visible(name_of(span))) + 2 * span.compensation for span in self.rows), default=least)
        name = max(min(longest, max(most, width // 4), width // 3), least)
        return name, max(width - name - 3 - TAIL_CELLS - 1, 1)


def failed(rows: Sequence[Span]) -> list[int]:
    """Return the places of spans in which something failed."""
    return [place for place, span in enumerate(rows) if span.attempts or span.outcome in ("failed", "timed_out", "blocked")]
