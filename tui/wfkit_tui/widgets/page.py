"""Lines of text that are scrolled: facts, JSON, a story, logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wfkit_tui import keys
from wfkit_tui.drawing import Line, strip_of
from wfkit_tui.widgets.drawn import Drawn
from wfkit_tui.widgets.extent import set_lines


class Page(ScrollView, Drawn, can_focus=True, inherit_bindings=False):
    """Lines, drawn as they come into sight.

    Args:
        ends: the last line stays in sight when others come after it, until somebody scrolls up.
    """

    BINDINGS = keys.MOVES

    def __init__(self, *, ends: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._write: Callable[[int], Sequence[Line]] = lambda _width: ()
        self._lines: Sequence[Line] = ()
        self._width = 0
        self.follow = ends

    def show(self, write: Callable[[int], Sequence[Line]], *, top: bool = False) -> None:
        """Show what a function writes for a width; it is called again for another width.

        Args:
            write: returns the lines.
            top: begin at the first line; otherwise the place is kept.
        """
        self._write = write
        self._fill()
        if top and not self.follow:
            self.scroll_to(y=0, animate=False, force=True, immediate=True)

    @property
    def text(self) -> str:
        """All of it, as plain text."""
        return "\n".join("".join(piece.text for piece in line).rstrip() for line in self._lines)

    def action_move(self, lines: int) -> None:
        self._scroll_lines(self.scroll_offset.y + lines)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(self.size.height - 1, 1))

    def action_first(self) -> None:
        self._scroll_lines(0)

    def action_last(self) -> None:
        self._scroll_lines(len(self._lines))

    def _scroll_lines(self, y: int) -> None:
        if y < self.scroll_offset.y:
            self.follow = False
        self.scroll_to(y=y, animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        place = y + self.scroll_offset.y
        return strip_of(_line_at(self._lines, place), self.size.width, self.base)

    def on_resize(self) -> None:
        if self.size.width != self._width:
            self._fill()
        elif self.follow:
            self.action_last()

    def _fill(self) -> None:
        self._width = self.size.width
        if self._width == 0:
            return
        before, top = self._lines, self.scroll_offset.y
        self._lines = self._write(self._width - self.styles.scrollbar_size_vertical)
        set_lines(self, len(self._lines))
        if self.follow:
            self.action_last()
        if self.scroll_offset.y != top:
            return  # all of it is painted, since it was scrolled
        seen = range(top, top + self.size.height)
        changed = [y - top for y in seen if _line_at(before, y) != _line_at(self._lines, y)]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))


def _line_at(lines: Sequence[Line], y: int) -> Line:
    return lines[y] if y < len(lines) else ()
