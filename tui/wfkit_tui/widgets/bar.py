"""A line at the edge of a screen. It is drawn, not laid out: a widget that lays itself out anew costs three times the bytes."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from wfkit_tui.drawing import Line, Piece, cells, fitted, strip_of


class Bar(Widget):
    """Pieces from the left, and pieces to the right edge; of these the last are left out where there is no room."""

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
        left = cells(self._left)
        right = list(self._right)
        while right and left + cells(right) > width:
            right.pop()
        gap = Piece(" " * (width - left - cells(right)))
        if left <= width or not self._left:
            return strip_of([*self._left, gap, *right], width, self.rich_style)
        *kept, last = self._left
        return strip_of([*kept, Piece(fitted(last.text, width - cells(kept)), last.style)], width, self.rich_style)
