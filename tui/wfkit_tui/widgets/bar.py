"""A line at the edge of a screen. It is drawn, not laid out: a widget that lays itself out anew costs three times the bytes."""

from __future__ import annotations

import textwrap

from textual.strip import Strip

from wfkit.cli.output import visible
from wfkit_tui.drawing import Line, Piece, cells, fitted, strip_of
from wfkit_tui.widgets.drawn import Drawn

BANNER_LINES_MAX = 3


class Bar(Drawn):
    """Pieces from the left, and pieces to the right edge; of these the last are left out where there is no room."""

    DEFAULT_CSS = "Bar { height: 1; }"
    FILL = " "
    """What is between left and right."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.left: Line = ()
        self._right: Line = ()

    def show(self, left: Line, right: Line = ()) -> None:
        """Show these pieces."""
        if (left, right) != (self.left, self._right):
            self.left, self._right = left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left = cells(self.left)
        right = list(self._right)
        while right and left + cells(right) > width:
            right.pop()
        gap = Piece(self.FILL * (width - left - cells(right)), "dim")
        if left <= width or not self.left:
            return strip_of([*self.left, gap, *right], width, self.base)
        *kept, last = self.left
        return strip_of([*kept, Piece(fitted(last.text, width - cells(kept)), last.style)], width, self.base)


class Banner(Drawn):
    """What must be read, across the screen, in as many lines as it takes, up to three. Without a text it is not there."""

    DEFAULT_CSS = "Banner { height: 1; display: none; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = ""
        self._style = ""

    def show(self, text: str, style: str) -> None:
        """Show a text."""
        if (text, style) == (self._text, self._style):
            return
        self._text, self._style = text, style
        self.display = bool(text)
        self._fit()
        self.refresh()

    def on_resize(self) -> None:
        self._fit()

    def render_line(self, y: int) -> Strip:
        told = self._told()
        text = told[y] if y < len(told) else ""
        return strip_of([Piece(f" {text}".ljust(self.size.width), self._style)], self.size.width, self.base)

    def _fit(self) -> None:
        height = len(self._told())
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height

    def _told(self) -> list[str]:
        width = max(self.screen.size.width - 2, 1)
        told = textwrap.wrap(visible(self._text), width, break_on_hyphens=False) or [""]
        return (
            told
            if len(told) <= BANNER_LINES_MAX
            else [*told[: BANNER_LINES_MAX - 1], fitted(" ".join(told[BANNER_LINES_MAX - 1 :]), width)]
        )


class Rule(Bar):
    """A line across, with a title in it and perhaps a hint at its end."""

    FILL = "─"

    def title(self, text: str, hint: str = "", style: str = "bold") -> None:
        """Show a title and a hint."""
        self.show([Piece("─ ", "dim"), Piece(f"{text} ", style)], [Piece(f" {hint} ─", "dim")] if hint else ())
