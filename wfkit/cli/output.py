"""How answers are printed: a table that fits on a terminal, tab-separated lines into a pipe, or JSON.

On a terminal times are relative or local, and texts may be cut, names of runs never. Into a pipe goes everything, times as
RFC 3339 in UTC. A JSON document says what it is and in which version; `--ndjson` is its list, one object a line.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET

from wfkit.cli.colours import Colour, is_terminal, shows_colours

T = TypeVar("T")

DOCUMENT_VERSION = 1
"""Of all JSON documents; it changes when a member changes its meaning or goes."""
_FLEXIBLE_MIN = 12
"""Cells to which a column that may be cut is cut before columns are left out."""
_GAP = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column of a table of `T`s."""

    title: str
    shown: Callable[[T], str]
    """The cell on a terminal."""
    piped: Callable[[T], str] | None = None
    """The cell in a pipe, if it is another one."""
    colour: Callable[[T], Colour | None] | None = None
    right: bool = False
    cut: bool = False
    """It may be cut to fit the terminal."""
    tail: bool = False
    """Of what is cut, the end is kept: it says more, as that of a path."""
    rank: int = 0
    """Columns of the highest rank are left out first where the terminal is too narrow; those of rank 0 never are."""
    only: Literal["terminal", "pipe"] | None = None
    """Where alone it is."""


_ahead = 0


def keep_time_of(ahead: int) -> None:
    """From now on, tell the time of an engine whose clock is so many microseconds ahead."""
    global _ahead  # noqa: PLW0603  # a command asks one engine, and has one clock
    _ahead = ahead


def now() -> int:
    """Return the present, microseconds UTC; that of the engine, if one has answered whose clock was moved."""
    return time.time_ns() // 1000 + _ahead


def rfc3339(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(us: int, present: int) -> str:
    """Return a time for people: where they are, to the second; of another day, the day as well."""
    then, today = (datetime.fromtimestamp(one / 1e6).astimezone() for one in (us, present))
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S")


def moment(us: int | None) -> str | None:
    """Return a time for a JSON document."""
    return None if us is None else rfc3339(us)


def ago(us: int, present: int | None = None) -> str:
    """Return `3m ago` for a moment in the past, in whole units."""
    seconds = ((now() if present is None else present) - us) // 1_000_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return "just now"


def on_terminal() -> bool:
    """Whether the answer is for the eyes of somebody at a terminal."""
    return is_terminal(sys.stdout)


def columns() -> int:
    return shutil.get_terminal_size((80, 24)).columns


def rows() -> int:
    return shutil.get_terminal_size((80, 24)).lines


def note(text: str) -> None:
    """Say something beside the answer."""
    print(text, file=sys.stderr)


def stopping(steps: int) -> str:
    """Say that an engine stops, and what it waits for: so many steps in flight."""
    if not steps:
        return "stopping"
    return f"stopping: {steps:,} step{'s' if steps != 1 else ''} in flight {'have' if steps != 1 else 'has'} 2 s to end"


def near(path: str) -> str:
    """Return a path as it is written from here, if it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def near_place(where: str) -> str:
    """Return `file:line` as it is written from here."""
    file, colon, line = where.rpartition(":")
    return f"{near(file)}{colon}{line}"


def with_near_paths(text: str) -> str:
    """Return a text with the paths in it that lie below as they are written from here."""
    try:
        here = Path.cwd()
    except OSError:  # it has been deleted
        return text
    return text.replace(f"{here}/", "")


def visible(text: str) -> str:
    r"""Return the text with what would move the cursor or break a table written out: `\n`, `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def show_json(kind: str, members: Mapping[str, Any]) -> None:
    """Print a document. Values may be `Raw`, which stays the JSON that it is."""
    document = {"document": kind, "version": DOCUMENT_VERSION, **members}
    _write(msgspec.json.format(msgspec.json.encode(document, enc_hook=_encode), indent=2))


def show_lines(objects: Iterable[Any]) -> None:
    """Print JSON objects, one a line."""
    for item in objects:
        _write(msgspec.json.encode(item, enc_hook=_encode).translate(_BREAKS))


def show_value(value: bytes | msgspec.Raw) -> None:
    """Print one JSON value: indented on a terminal, in one line into a pipe."""
    _write(msgspec.json.format(bytes(value), indent=2 if on_terminal() else -1))


_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def _encode(value: Any) -> Any:
    if value is UNSET:
        return None
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data + b"\n")


def show_table(items: Sequence[T], table: Sequence[Column[T]], lines_max: int | None = None) -> None:
    """Print a table in the form that suits stdout.

    Args:
        items: one a row.
        table: the columns.
        lines_max: on a terminal, print no more lines than this; the rows that are left out are counted in the last one.
    """
    if on_terminal():
        _draw(items, table, lines_max)
        return
    for item in items:
        print("\t".join(visible((column.piped or column.shown)(item)) for column in table if column.only != "terminal"))


def _draw(items: Sequence[T], table: Sequence[Column[T]], lines_max: int | None) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = [column for column in table if column.only != "pipe"]
    cells = {column.title: [visible(column.shown(item)) for item in items] for column in table}
    natural = {title: max([cell_len(title), *map(cell_len, texts)]) for title, texts in cells.items()}
    width = columns()
    widths = fit(table, natural, width)
    needed = sum(widths.values()) + _GAP * len(widths)
    each = max(-(-(needed - _GAP) // width), 1)  # lines: where columns that are never cut do not fit, the terminal wraps them
    shown = items if lines_max is None or (len(items) + 1) * each <= lines_max else items[: max((lines_max - 1) // each - 1, 0)]
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    kept = [column for column in table if column.title in widths]
    for column in kept:
        drawn.add_column(
            column.title,
            width=widths[column.title],
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if column.right else "left",
        )
    for number, item in enumerate(shown):
        styles = [(column.colour(item) if column.colour is not None else None) or "" for column in kept]
        texts = [cut_in_front(cells[column.title][number], widths[column.title], column) for column in kept]
        drawn.add_row(*map(Text, texts, styles))
    console_of(Console, max(width, needed)).print(drawn, soft_wrap=each > 1)
    if len(shown) < len(items):
        print(f"and {len(items) - len(shown):,} more", end="")


def cut_in_front(text: str, width: int, column: Column[Any]) -> str:
    """Return a cell as wide as its column, if that keeps the end of what is cut."""
    return f"…{text[len(text) - width + 1 :]}" if column.tail and len(text) > width else text


def console_of(console: Callable[..., T], width: int | None = None) -> T:
    """Return a Rich console on stdout that follows our rules for colours and widths."""
    colours = shows_colours(sys.stdout)
    return console(
        file=sys.stdout,
        width=width or columns(),
        force_terminal=colours,
        color_system="standard" if colours else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def fit(table: Sequence[Column[Any]], natural: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the widths of the columns that a terminal of `width` cells shows, by title.

    First the columns that may be cut give way, the widest first; then columns are left out, by rank.
    """
    kept = list(table)
    while True:
        widths = {column.title: natural[column.title] for column in kept}
        excess = sum(widths.values()) + _GAP * (len(kept) - 1) - width
        flexible = [column.title for column in kept if column.cut]
        while excess > 0 and flexible:
            widest = max(flexible, key=lambda title: widths[title])
            if widths[widest] <= _FLEXIBLE_MIN:
                break
            widths[widest] -= 1
            excess -= 1
        if excess <= 0:
            return widths
        droppable = [column for column in kept if column.rank]
        if not droppable:
            return widths
        kept.remove(max(droppable, key=lambda column: column.rank))
