"""A table whose rows are all at hand: it finds and sorts them itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

from wfkit.cli.output import Column
from wfkit_tui.drawing import counted
from wfkit_tui.widgets.table import Table

T = TypeVar("T")


class Order(NamedTuple):
    """A way to sort rows: `by due`."""

    name: str
    key: Callable[[Any], Any] | None = None
    """None: as they came."""


class Listing(Table[T]):
    """Rows that contain a text, in one of several orders.

    Args:
        columns: of the table.
        key: what identifies a row.
        orders: the ways to sort; the first is the one to begin with.
        empty: what to say where there are no rows.
    """

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], Hashable],
        orders: Sequence[Order],
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(columns, key, empty=empty, id=id)
        self._orders = orders
        self._nothing = empty
        self._sought = ""
        self.all: Sequence[T] = ()
        """Every row, also those that are not shown."""
        self.order = orders[0]

    def fill(self, rows: Sequence[T]) -> None:
        """Take over other rows."""
        self.all = rows
        self._arrange()

    def find(self, text: str) -> None:
        """Show only rows in which all words of a text occur."""
        self._sought = text
        self._arrange()

    def sort_otherwise(self) -> None:
        """Sort in the next way."""
        self.order = self._orders[(self._orders.index(self.order) + 1) % len(self._orders)]
        self._arrange()

    def told(self, noun: str, nouns: str, *, more: bool = False) -> str:
        """Return how many rows there are, and how they are sorted."""
        shown = f"{len(self.rows):,} of " if self._sought else ""
        return f"{shown}{counted(len(self.all), noun, nouns, more=more)}  by {self.order.name}"

    def _arrange(self) -> None:
        words = self._sought.casefold().split()
        rows = [row for row in self.all if all(word in self._text(row) for word in words)] if words else list(self.all)
        if self.order.key is not None:
            rows.sort(key=self.order.key)
        self.show(rows, empty=f"nothing contains: {self._sought}" if words and self.all else self._nothing)

    def _text(self, row: T) -> str:
        return " ".join((column.piped or column.shown)(row) for column in self.columns).casefold()
