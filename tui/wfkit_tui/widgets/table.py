"""A table that draws only the rows that are seen, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wfkit.cli.output import Column, cut_in_front, fit, visible
from wfkit_tui import keys
from wfkit_tui.drawing import Line, Piece, cells, fitted, strip_of
from wfkit_tui.widgets.drawn import Drawn
from wfkit_tui.widgets.extent import move_thumb, set_lines

T = TypeVar("T")

GAP = 2
MEASURED_MAX = 200
"""So many rows decide how wide the columns are; a longer cell that comes later widens its column."""
MARKER_CELLS = 2
CUT_MIN = 6
"""A column that is cut to fewer cells says nothing."""


class Table(ScrollView, Drawn, Generic[T], can_focus=True, inherit_bindings=False):
    """Rows under titles. One row is selected, and stays so when rows come and go.

    Args:
        columns: of the table, as on the command line; those of the highest rank are left out where there is no room.
        key: what identifies a row.
        empty: what to say where there are no rows.
    """

    BINDINGS = keys.TABLE

    class Selected(Message):
        """Another row is selected."""

        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            return self.table

    class Opened(Selected):
        """The selected row is to be opened."""

    def __init__(
        self, columns: Sequence[Column[T]], key: Callable[[T], Hashable], *, empty: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        """May be set before rows are shown."""
        self._key = key
        self._widths: tuple[int, dict[str, int]] | None = None
        """Of the columns that are shown, and the width of the table that they are for."""
        self._natural: dict[str, int] = {}
        self._filled: set[str] = set()
        """Titles of the columns in which a row had something to say: any other only takes room."""
        self._empty = empty
        self._painted: dict[int, Line] = {}
        """The lines as they were painted last."""
        self.rows: Sequence[T] = ()
        self.cursor = 0
        self.marked: set[Hashable] = set()
        """Keys of rows that are marked."""
        self.follow = False
        """The first row stays selected when others come before it."""
        self.sorted_by: tuple[str, bool] | None = None
        """The title of the column that decides the order, and whether its largest value comes first."""

    # -- what others use ------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> T | None:
        return self.rows[self.cursor] if self.rows else None

    def set_columns(self, columns: Sequence[Column[T]], sorted_by: tuple[str, bool]) -> None:
        """Show other columns."""
        self.columns, self.sorted_by = columns, sorted_by
        self._natural.clear()
        self._filled.clear()
        self._widths = None
        self._refresh_changed()

    def show(self, rows: Sequence[T], *, empty: str | None = None) -> None:
        """Show these rows. What was selected stays selected.

        Where the first row is in sight, rows that come before it are seen too; otherwise the selected row stays on its line.
        """
        before = self.selected
        offset = self.cursor - self.scroll_offset.y
        self.rows = rows
        if empty is not None:
            self._empty = empty
        if before is None:
            self._measure(rows[:MEASURED_MAX])
        set_lines(self, len(rows) + 1)
        self.cursor = 0 if self.follow else self._place(before)
        top = self.scroll_offset.y
        if not self.follow and before is not None and rows and top:
            self.scroll_to(y=self.cursor - offset, animate=False, force=True, immediate=True)
        self._reveal()
        if self.scroll_offset.y == top:  # otherwise it was done when that changed
            self._refresh_changed()
        after = self.selected
        if (before is None) is not (after is None) or (
            before is not None and after is not None and self._key(before) != self._key(after)
        ):
            self.post_message(self.Selected(self))

    def repaint(self, changed: Collection[Hashable] | None = None) -> None:
        """Draw rows again whose keys are in `changed`, or all that are seen."""
        seen = self._seen()
        if changed is None:
            self._refresh_changed()
        elif meant := [place for place, row in enumerate(seen) if self._key(row) in changed]:
            self._measure([seen[place] for place in meant])
            self._refresh_lines([place + 1 for place in meant] if self._widths is not None else range(self.size.height))

    def select(self, row: int) -> None:
        """Select a row by its place; the nearest one if there is none."""
        row = max(min(row, len(self.rows) - 1), 0)
        if row == self.cursor:
            return
        before, self.cursor = self.cursor, row
        self.refresh(self._region(before), self._region(row))
        self._reveal()
        self.post_message(self.Selected(self))

    # -- what a kind of table may draw otherwise ------------------------------------------------------------------------

    def titles(self, width: int) -> Line:
        """Return the line above the rows."""
        kept = self._kept(width)
        return [Piece("  ".join(fitted(self._title(column), size, right=column.right) for column, size in kept), "bold")]

    def line(self, row: T, width: int) -> Line:
        """Return a row as a line."""
        pieces = []
        for column, size in self._kept(width):
            colour = column.colour(row) if column.colour is not None else None
            text = column.shown(row)
            if len(text) > size and not column.cut:  # a time has grown since it was measured
                self._measure([row])
                if self._widths is None:
                    self.refresh()
            text = cut_in_front(text, size, column)
            pieces += [Piece(fitted(text, size, right=column.right), colour or ""), Piece(" " * GAP)]
        return pieces[:-1]

    def lit(self, line: Line) -> Line:
        """Return a line as it is drawn under the cursor: in one colour, so that it is read on any background."""
        return [Piece(text, "reverse") for text, _ in line]

    # -- keys and mouse -------------------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self._leave_follow(rows)
        self.select(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(self.size.height - 2, 1))

    def action_first(self) -> None:
        self.select(0)

    def action_last(self) -> None:
        self.action_move(len(self.rows))

    def action_open(self) -> None:
        if self.rows:
            self.post_message(self.Opened(self))

    def on_click(self, event: events.Click) -> None:
        row = event.y - 1 + self.scroll_offset.y
        if event.y < 1 or row >= len(self.rows):
            return
        self._leave_follow(row)
        self.select(row)
        if event.chain > 1:
            self.action_open()

    def _leave_follow(self, rows: int) -> None:
        if rows > 0:
            self.follow = False

    # -- drawing --------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        line = self._painted[y] = self._line_at(y)
        return strip_of(line, self.size.width, self.base)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scroll as every `ScrollView`, but paint only lines that differ: those of a list that grows above stay the same."""
        if self.show_vertical_scrollbar:
            move_thumb(self, len(self.rows) + 1)
        if round(old_value) != round(new_value):
            self._refresh_changed()

    def _refresh_changed(self) -> None:
        """Paint the lines that are not as they were painted last: over ssh each of them counts."""
        self._measure(self._seen())
        self._refresh_lines(range(self.size.height))

    def _refresh_lines(self, lines: Iterable[int]) -> None:
        changed = [y for y in lines if self._painted.get(y) != self._line_at(y)]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _line_at(self, y: int) -> Line:
        width = self.size.width
        room = width - MARKER_CELLS - self.styles.scrollbar_size_vertical
        if y == 0:
            return [Piece(" " * MARKER_CELLS), *self.titles(room)]
        place = y - 1 + self.scroll_offset.y
        if place >= len(self.rows):
            return [Piece("  " + self._empty if y == 2 and not self.rows else "", "dim")]
        row = self.rows[place]
        mark = (">" if place == self.cursor else " ") + ("*" if self._key(row) in self.marked else " ")
        line = [Piece(mark, "bold" if mark.strip() else ""), *self.line(row, room)]
        if place != self.cursor:
            return line
        if self.has_focus:
            return self.lit([*line, Piece(" " * (width - cells(line)))])
        return [Piece(text, f"bold {style}") for text, style in line]

    def on_resize(self) -> None:
        self._painted.clear()
        set_lines(self, len(self.rows) + 1)
        self._reveal()

    def on_focus(self) -> None:
        self.repaint_cursor()

    def on_blur(self) -> None:
        self.repaint_cursor()

    def repaint_cursor(self) -> None:
        self.refresh(self._region(self.cursor))

    def _region(self, row: int) -> Region:
        return Region(0, row + 1 - self.scroll_offset.y, self.size.width, 1)

    def _seen(self) -> Sequence[T]:
        """Return the rows in sight."""
        top = self.scroll_offset.y
        return self.rows[top : top + max(self.size.height - 1, 0)]

    def _reveal(self) -> None:
        """Scroll as far as it takes to see the selected row."""
        seen = max(self.size.height - 1, 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True, immediate=True)
        elif self.cursor >= top + seen:
            self.scroll_to(y=self.cursor - seen + 1, animate=False, force=True, immediate=True)

    def _place(self, before: T | None) -> int:
        """Return where the row is that was selected, or where it would be."""
        if before is not None:
            key = self._key(before)
            near = self.cursor
            if near < len(self.rows) and self._key(self.rows[near]) == key:
                return near
            for place, row in enumerate(self.rows):
                if self._key(row) == key:
                    return place
        return max(min(self.cursor, len(self.rows) - 1), 0)

    def _measure(self, rows: Sequence[T]) -> None:
        """Widen the columns as these rows need it."""
        for column in self.columns:
            known = self._natural.get(column.title, len(self._title(column)))
            needed = max((cell_len(visible(column.shown(row))) for row in rows), default=0)
            self._natural[column.title] = max(known, needed)
            if needed > known or (needed and column.title not in self._filled):
                self._filled.add(column.title)
                self._widths = None

    def _title(self, column: Column[T]) -> str:
        if self.sorted_by is None or column.title != self.sorted_by[0]:
            return column.title
        return f"{column.title} {'▼' if self.sorted_by[1] else '▲'}"

    def _kept(self, width: int) -> list[tuple[Column[T], int]]:
        if self._widths is None or self._widths[0] != width:
            natural = {column.title: self._natural.get(column.title, len(self._title(column))) for column in self.columns}
            told = [column for column in self.columns if not (self.rows and column.rank) or column.title in self._filled]
            self._widths = width, _squeezed(told, fit(told, natural, width), width)
        widths = self._widths[1]
        return [(column, widths[column.title]) for column in self.columns if column.title in widths]


def _squeezed(columns: Sequence[Column[Any]], widths: dict[str, int], width: int) -> dict[str, int]:
    """Return widths that fit. Where long names take the room, the last columns that may be cut are, or are left out."""
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - width
    for column in reversed(columns):
        if excess > 0 and column.cut and column.title in widths:
            left = widths.pop(column.title) - excess
            excess = -left - GAP
            if left >= CUT_MIN:
                widths[column.title] = left
                break
    return widths
