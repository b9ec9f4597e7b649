"""Colours, characters and sizes: nothing is told by colour alone, and nothing is drawn that is not seen."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from msgspec import Raw
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.color import Color

from tests.tui.conftest import LARGE, Seen, looking
from wfkit.cli.output import Column
from wfkit.cli.statuses import LOOKS
from wfkit_tui import keys
from wfkit_tui.app import guessed_theme
from wfkit_tui.drawing import Harmless, Piece, json_lines, strip_of, to_ascii
from wfkit_tui.screens.report import wrapped
from wfkit_tui.widgets.table import Table


def colours(seen: Seen) -> set[str]:
    """The colours that reach the terminal, after all filters."""
    found = set()
    for strip in seen.app.screen._compositor.render_strips():
        background = seen.app.screen.background_colors[1]
        for line_filter in seen.app.get_line_filters():
            strip = strip.apply_filter(line_filter, background)  # noqa: PLW2901
        for segment in strip:
            if segment.style is not None:
                found |= {str(colour.name) for colour in (segment.style.color, segment.style.bgcolor) if colour is not None}
    return found


def test_without_colours_all_is_told_by_signs_and_words(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves the terminal's own two colours, and so nothing that cannot be read."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("✗ failed")
            assert colours(seen) <= {"default"}
            await seen.press("colon")
            await seen.until("Search for commands")
            assert colours(seen) <= {"default"}

    asyncio.run(test())


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_colours_are_those_of_the_terminal(standing: Path, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixteen that a user has chosen, on the background that is there: so light terminals are as good as dark ones."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    async def test() -> None:
        async with looking(standing, theme=theme) as seen:
            await seen.until("✗ failed")
            used = colours(seen)
            assert {"red", "green", "default"} <= used
            assert [colour for colour in used if colour.startswith("#") or colour.isdecimal()] == []

    asyncio.run(test())


def test_a_terminal_says_whether_it_is_light() -> None:
    """Some do, in COLORFGBG; of the others most are dark."""
    assert guessed_theme("0;15") == "light"
    assert guessed_theme("15;default;0") == "dark"
    assert guessed_theme("") == "dark"


def test_in_ascii_every_character_is_ascii(standing: Path) -> None:
    """On each screen, in dialogs, and in what Textual draws itself."""

    async def test() -> None:
        async with looking(standing, LARGE, ascii=True) as seen:
            await seen.until("napper")
            ascii = seen.app.get_line_filters()[-1]
            for key in [*(key for key, _, _ in keys.SCREENS), "1", "enter", "question_mark"]:
                await seen.press(key)
                await seen.pilot.pause(0.1)
                for strip in seen.app.screen._compositor.render_strips():
                    assert strip.apply_filter(ascii, seen.app.screen.background_colors[1]).text.isascii()

    asyncio.run(test())


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "a\rb", "\x1b]0;TITLE\x07", "\u202e"])
def test_nothing_that_a_terminal_obeys_reaches_it(text: str) -> None:
    """In a line that is drawn here it is written out; from a widget of Textual's it is left out, in as many cells."""
    drawn = strip_of([Piece(f"<{text}>")], 20, Style())
    assert drawn.text.isprintable()
    assert drawn.cell_length == 20
    (left,) = Harmless().apply([Segment(f"<{text}>")], Color(0, 0, 0))
    assert re.search(r"[\x00-\x1f\x7f-\x9f]", left.text) is None
    assert cell_len(left.text) == cell_len(f"<{text}>")


def test_signs_have_one_cell_and_differ_in_ascii_too() -> None:
    """So that columns stand, and no two statuses look the same."""
    signs = [to_ascii(one.sign) for one in LOOKS.values()]
    assert len(set(signs)) == len(LOOKS)
    assert all(cell_len(one.sign) == 1 for one in LOOKS.values())


def test_letters_with_accents_lose_them_in_ascii() -> None:
    """So that names stay names; of what has no likeness the cells are kept."""
    assert to_ascii("Ünïcode Łódź 日 e\u0301") == "Unicode ?odz ?? e"


@pytest.mark.parametrize("size", [(80, 24), LARGE])
def test_a_picture_of_the_runs(standing: Path, size: tuple[int, int]) -> None:
    """What the terminal is sent, as SVG: title row in bold, failures in red, one row reversed."""

    async def test() -> None:
        async with looking(standing, size) as seen:
            await seen.until("─ napper nap")
            svg = seen.app.export_screenshot()
            styles = dict(re.findall(r"\.(\S+-r\d+) \{ (.*?) \}", svg))
            drawn = re.findall(r'<text class="(\S+-r\d+)"[^>]*>([^<]*)</text>', svg)
            by_text = {text.replace("&#160;", " ").strip(): styles[name] for name, text in drawn}
            (failed,) = {style for text, style in by_text.items() if text == "✗ failed"}
            (completed,) = {style for text, style in by_text.items() if text == "✓ completed"}
            assert failed != completed
            titles = next(style for text, style in by_text.items() if text.startswith("RUN "))
            assert "bold" in titles

    asyncio.run(test())


def test_a_table_draws_only_what_is_seen() -> None:
    """However many rows there are, and whatever of them has changed."""
    asked: list[int] = []

    def cell(row: int) -> str:
        asked.append(row)
        return f"row {row}"

    class OneTable(App[None]):
        def compose(self) -> ComposeResult:
            yield Table([Column("ROW", cell)], lambda row: row)

    async def test() -> None:
        async with OneTable().run_test(size=(40, 10)) as pilot:
            table = pilot.app.query_one(Table)
            table.focus()
            table.show(range(1_000_000))
            await pilot.pause()
            assert max(asked) < 1000
            asked.clear()
            table.repaint({3})
            await pilot.pause()
            assert set(asked) <= set(range(10))
            asked.clear()
            await pilot.press("G")
            await pilot.pause()
            assert table.selected == 999_999
            assert min(asked) >= 999_980
            await pilot.press("g", "pagedown")
            assert table.selected == 8

    asyncio.run(test())


def test_a_place_that_is_cut_keeps_its_line() -> None:
    """The end of a path says more than its beginning."""

    class OneTable(App[None]):
        def compose(self) -> ComposeResult:
            yield Table([Column[str]("WHERE", str, cut=True, tail=True)], str)

    async def test() -> None:
        async with OneTable().run_test(size=(20, 5)) as pilot:
            table = pilot.app.query_one(Table)
            table.show(["fixtures/shop/workflows.py:29"])
            await pilot.pause()
            assert table.render_line(1).text.rstrip().endswith("…workflows.py:29")

    asyncio.run(test())


@pytest.mark.parametrize(
    ("width", "shown"), [(43, "> a-long-name-that-is-whole  goes to shi…"), (37, "> a-long-name-that-is-whole  goes …")]
)
def test_long_names_leave_other_columns_less_room_or_none(width: int, shown: str) -> None:
    """What is cut says so; of a column that would say nothing the title goes, too."""

    class OneTable(App[None]):
        def compose(self) -> ComposeResult:
            yield Table[str]([Column("RUN", str), Column("NOW AT", lambda _: "goes to ship it", cut=True)], str)

    async def test() -> None:
        for columns, line in ((width, shown), (30, "> a-long-name-that-is-whole")):
            async with OneTable().run_test(size=(columns, 5)) as pilot:
                table = pilot.app.query_one(Table)
                table.show(["a-long-name-that-is-whole"])
                await pilot.pause()
                assert table.render_line(1).text.rstrip() == line
                assert table.render_line(0).text.rstrip().endswith("NOW AT") is (columns == width)

    asyncio.run(test())


@pytest.mark.parametrize("width", [1, 5, 9, 40])
def test_a_text_is_wrapped_however_narrow_the_screen(width: int) -> None:
    """Every letter is shown, and it comes to an end."""
    lines = list(wrapped([("  a story of long_words", ""), ("", ""), ("end", "")], width))
    letters = "".join(piece.text for line in lines for piece in line).replace(" ", "")
    assert letters == "astoryoflong_wordsend"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, ['{"id": "o-1", "items": [{"name": "lamp"}], "price": 1e400}']),
        (30, ["{", '  "id": "o-1",', '  "items": [{"name": "lamp"}],', '  "price": 1e400', "}"]),
        (20, ["{", '  "id": "o-1",', '  "items": [', '    {"name": "lamp"}', "  ],", '  "price": 1e400', "}"]),
    ],
)
def test_what_fits_in_a_line_of_json_stands_in_one(width: int, shown: list[str]) -> None:
    """And each value stays as it was written."""
    value = Raw(b'{"id":"o-1","items":[{"name":"lamp"}],"price":1e400}')
    assert ["".join(piece.text for piece in line) for line in json_lines(value, "", width)] == shown


def test_json_of_any_depth_is_shown() -> None:
    """There is no room to move each level further to the right for ever."""
    assert len(json_lines(Raw(b"[" * 900 + b"]" * 900), " ", 80)) == 2 * 900 - 1
