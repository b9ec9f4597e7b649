"""How long the contents of a scrolled widget are."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView


def set_lines(view: ScrollView, lines: int) -> None:
    """Say how many lines there are to scroll through.

    Setting `virtual_size` lays out the whole screen anew, which sends all of it. That is needed only where the scrollbar
    comes or goes; otherwise the scrollbar alone is told.
    """
    size = Size(view.size.width, lines)
    height = view.size.height
    if height == 0 or (view.virtual_size.height > height) is not (lines > height):
        view.virtual_size = size
        return
    view.set_reactive(ScrollView.virtual_size, size)
    if view.show_vertical_scrollbar:
        view.vertical_scrollbar.window_virtual_size = lines
