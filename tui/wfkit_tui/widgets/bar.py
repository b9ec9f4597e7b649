"""A line at the edge of a screen. It is drawn, not laid out: a widget that lays itself out anew costs three times the bytes."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from wfkit_tui.drawing import Line, Piece, fitted, strip_of


class Bar(Widget):
    """Pieces from the left, and pieces to the right edge; the right ones are left out where there is no room."""

    DEFAULT_CSS = "Bar { height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._left: Line = ()
        self._right: Line = ()

    def show(self, left: Line, right: Line = ()) -> None:
        """Show these pieces."""
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left = sum(cell_len(piece.text) for piece in self._left)
        right = sum(cell_len(piece.text) for piece in self._right)
        if left + right > width:
            *kept, last = [*self._left] or [Piece("")]
            room = width - sum(cell_len(piece.text) for piece in kept)
            return strip_of(
                [*kept, Piece(fitted(last.text, room) if left > width else last.text, last.style)], width, self.rich_style
            )
        return strip_of([*self._left, Piece(" " * (width - left - right)), *self._right], width, self.rich_style)
