"""How long the contents of a scrolled widget are, and where in them it is."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView


def set_lines(view: ScrollView, lines: int) -> None:
    """Say how many lines there are to scroll through.

    Setting `virtual_size` lays out the whole screen anew, which sends all of it. That is needed only where the scrollbar
    comes or goes; otherwise the scrollbar alone is told. A view that is not seen is laid out anyway before it is.
    """
    size = Size(view.size.width, lines)
    height = view.size.height
    if height and (view.virtual_size.height > height) is not (lines > height):
        view.virtual_size = size
        return
    view.set_reactive(ScrollView.virtual_size, size)
    if view.show_vertical_scrollbar:
        move_thumb(view, lines)


def move_thumb(view: ScrollView, lines: int) -> None:
    """Show in the scrollbar where the view is, unless that would not show: all of it is painted when it changes."""
    bar = view.vertical_scrollbar
    if _thumb(view, bar.window_virtual_size, bar.position) != _thumb(view, lines, view.scroll_y):
        bar.window_virtual_size = lines
        bar.position = view.scroll_y


def _thumb(view: ScrollView, lines: int, y: float) -> tuple[int, int]:
    """Return where the thumb begins and how long it is, in half cells."""
    height = view.size.height
    length = max(1.0, height * height / max(lines, height))
    return round(2 * (height - length) * y / max(lines - height, 1)), round(2 * length)
