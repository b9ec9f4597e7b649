"""Texts with styles, as lines of cells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip

from wfkit.cli.facts import Fact, lines
from wfkit.cli.output import visible
from wfkit.cli.statuses import LOOKS, word


class Piece(NamedTuple):
    """A part of a line, and its style in Rich's words, such as `bold red`."""

    text: str
    style: str = ""


Line: TypeAlias = Sequence[Piece]


_NAME = re.compile(r' *"(?:[^"\\]|\\.)*"(?=: )')
"""The name of a member in JSON that has a line of its own."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ROOM_MIN = 16
"""Where there is less room than this, so deep inside, each value has a line of its own."""
_CELL_BYTES_MAX = 8
"""More bytes than a cell of a text takes; that of no width counts with the one before it."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters of no width."""


def strip_of(line: Line, width: int, base: Style) -> Strip:
    """Return a line of exactly `width` cells; what would move the cursor in it is written out, and one that is cut says so.

    Pieces of one style become one segment, since a terminal is told the style of each.
    """
    shown = [(visible(text), style) for text, style in line]
    taken = sum([cell_len(text) for text, _ in shown])
    if taken < width:
        shown.append((" " * (width - taken), ""))
    segments = [
        Segment("".join([text for text, _ in pieces]), _style(base, style)) for style, pieces in groupby(shown, itemgetter(1))
    ]
    strip = Strip(segments, max(taken, width))
    return strip if taken <= width else Strip([*strip.crop(0, width - 1), Segment("…", segments[-1].style)], width)


@lru_cache
def _style(base: Style, style: str) -> Style:
    return base + Style.parse(style)


def cells(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum([cell_len(text) for text, _ in line])


def fitted(text: str, cells: int, *, right: bool = False) -> str:
    """Return a text in exactly so many cells; one that is cut ends in an ellipsis."""
    text = visible(text)
    size = cell_len(text)
    if size > cells:
        return set_cell_size(text, cells - 1) + "…" if cells > 0 else ""
    return " " * (cells - size) + text if right else text + " " * (cells - size)


def status(name: str, *, bold: bool = False) -> Piece:
    """Return sign and word of a status, such as `✗ failed`."""
    look = LOOKS[name]
    return Piece(f"{look.sign} {word(name)}", f"bold {look.colour}" if bold else look.colour)


def clock_time(us: int) -> str:
    """Return the time of day here."""
    return f"{datetime.fromtimestamp(us / 1e6).astimezone():%H:%M:%S}"


def moment(us: int, present: int) -> str:
    """Return the time of day here; of another day, the day as well."""
    then, now = (datetime.fromtimestamp(one / 1e6).astimezone() for one in (us, present))
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%b %d %H:%M}"


def counted(number: int, noun: str, nouns: str = "", *, more: bool = False) -> str:
    """Return `1 run`, `2 runs`, or `500+ runs` if there are more."""
    return f"{number:,}{'+' if more else ''} {noun if number == 1 and not more else nouns or noun + 's'}"


def fact_lines(facts: Sequence[Fact], width: int) -> Iterator[Line]:
    """Yield the lines that tell facts: label, and text in as many lines as it needs."""
    told = [fact for fact in facts if fact.text]
    label_width = max((len(fact.label) for fact in told), default=0)
    for fact in told:
        for number, text in enumerate(lines([Fact("", fact.text)], max(width - label_width - 2, 1))):
            label = fact.label if number == 0 else ""
            yield [Piece(f" {label:<{label_width}}", "dim"), Piece(text[1:], fact.colour or "")]


def json_lines(value: msgspec.Raw, indent: str, width: int) -> Sequence[Line]:
    """Return the lines of a JSON value. What fits in a line stands in one."""
    return [_member(indent, line) for line in _json_lines(bytes(value), max(width - len(indent), 1))]


def _json_lines(value: bytes, width: int, beside: int = 0) -> Iterator[str]:
    """Yield the lines of a value, beside which so many cells are taken where it stands in one line."""
    is_long = len(value) > _CELL_BYTES_MAX * width  # of a whole history it takes long to count the cells
    if not is_long or value[:1] not in (b"{", b"["):
        whole = msgspec.json.format(value, indent=0).decode()
        if cell_len(whole) + beside <= width or whole[:1] not in ("{", "[") or len(whole) == 2:
            yield whole
            return
    if width < _ROOM_MIN:
        yield from msgspec.json.format(value, indent=2).decode().splitlines()
        return
    named = value[:1] == b"{"
    members: list[tuple[str, msgspec.Raw]] = (
        [(f"{msgspec.json.encode(name).decode()}: ", item) for name, item in _OBJECT.decode(value).items()]
        if named
        else [("", item) for item in _ARRAY.decode(value)]
    )
    yield "{" if named else "["
    for number, (name, item) in enumerate(members, 1):
        comma = "," if number < len(members) else ""
        first, *rest = _json_lines(bytes(item), width - 2, cell_len(name + comma))
        *lines, last = [f"  {name}{first}", *(f"  {line}" for line in rest)]
        yield from lines
        yield last + comma
    yield "}" if named else "]"


def _member(indent: str, line: str) -> Line:
    name = _NAME.match(line)
    return [Piece(indent + line)] if name is None else [Piece(indent + name[0], "cyan"), Piece(line[name.end() :])]


class Harmless(LineFilter):
    """Leaves out what a terminal would obey: texts of users reach it through widgets of Textual's own, too."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.text.isprintable() or segment.control
            else Segment(_CONTROLS.sub("", segment.text), segment.style)
            for segment in segments
        ]


class Ascii(LineFilter):
    """Shows every character that is not ASCII as one that is, in as many cells."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.text.isascii() or segment.control else Segment(to_ascii(segment.text), segment.style)
            for segment in segments
        ]


def to_ascii(text: str) -> str:
    """Return a text of as many cells, in ASCII."""
    return "".join(_one(char) for char in text)


def _one(char: str) -> str:
    if char.isascii():
        return char
    letter = unicodedata.normalize("NFKD", char)[0]  # of one that has an accent, the letter below it
    return _ASCII.get(char) or (letter if letter.isascii() and cell_len(char) == 1 else "?" * cell_len(char))


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {char: plain for chars, plain in pairs for char in chars}


_ASCII = {look.sign: look.plain for look in LOOKS.values()} | _table(
    [
        ("─━╌┄▁▔▂▃╸╺", "-"),
        ("│┃▌▐▎▏▍▋▊▉▕┆▪", "|"),
        ("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛", "+"),
        ("█▄▀▆▇▅", "#"),
        ("░▒▓", "."),
        ("●◆•·", "*"),
        ("○", "o"),
        ("…", "."),
        ("→›▸", ">"),
        ("←‹◀", "<"),
        ("↑", "^"),
        ("↓▼", "v"),
        ("×", "x"),
        ("⏎", "/"),
        ("⚡", "!!"),
        ("’‘", "'"),
        ("“”", '"'),
        ("–—", "-"),
    ]
)
