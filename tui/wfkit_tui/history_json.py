"""A history as JSON, written a part at a time: all of a long one takes seconds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wfkit.cli.runs.history import record_members
from wfkit.core.entries import Record
from wfkit_tui.drawing import Line, Piece, json_lines

PART = 200
"""So many records are written at once, which takes some 30 ms."""
_INDENT = "   "


class HistoryJson:
    """The lines of an array of records. Those that are written stay when others come after them."""

    def __init__(self) -> None:
        self._records: Sequence[Record] = ()
        self._width = 0
        self._written = 0
        self._lines: list[Line] = []

    @property
    def complete(self) -> bool:
        return self._written == len(self._records)

    def take(self, records: Sequence[Record]) -> None:
        """Take over a history: the same one, grown, or another."""
        if self._records[:1] != records[:1] or len(records) < self._written:
            self._begin()
        self._records = records

    def lines(self, width: int) -> Sequence[Line]:
        """Return what is written so far, at least the first part."""
        if width != self._width:
            self._width = width
            self._begin()
        if not self._written:
            self.write()
        return [[Piece(" [")], *self._lines, [Piece(" ]") if self.complete else Piece("   ...", "dim")]]

    def write(self) -> None:
        """Write the next part."""
        part = self._records[self._written : self._written + PART]
        for members in record_members(part, self._written):
            if self._lines:
                self._lines[-1] = [*self._lines[-1], Piece(",")]
            self._lines += json_lines(msgspec.Raw(msgspec.json.encode(members)), _INDENT, self._width - 1)  # and a comma
        self._written += len(part)

    def _begin(self) -> None:
        self._written = 0
        self._lines = []
