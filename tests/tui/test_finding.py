"""Filters and orders of the lists beside that of runs, the run that stands beside a list, and the mouse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tui.conftest import LARGE, looking

MIDDLE = (110, 30)


@pytest.mark.parametrize(
    ("key", "shows", "words", "finds", "hides"),
    [
        ("2", "order.packed", "pack-7", '{"order_id":"8"}', "nothing contains"),
        ("3", "retry of ship", "sleep nap", "nothing contains: sleep nap", "retry of ship"),
        ("3", "retry of ship", "retry family", "family-1/parcel-3", "pack-7"),
        ("5", "✓ holds", "fails", "✗ fails", "✓ holds"),
        ("6", "paying for f", "paying for d", "paying for d", "paying for f"),
    ],
)
def test_words_that_are_written_leave_what_contains_them(
    standing: Path, key: str, shows: str, words: str, finds: str, hides: str
) -> None:
    """All of them, wherever they stand in the row; Escape takes them back."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press(key)
            await seen.until(shows)
            await seen.press("slash")
            await seen.write(words)
            await seen.until(finds)
            assert hides not in seen.text
            await seen.press("enter", "j", "escape")
            await seen.until(shows)
            assert words not in seen.lines[2]

    asyncio.run(test())


@pytest.mark.parametrize(
    ("key", "table", "orders"),
    [
        ("2", "waits", ["longest wait", "signal", "run", "workflow"]),
        ("3", "timers", ["due", "age", "run", "workflow", "kind"]),
        ("5", "reports", ["newest", "workflow", "findings"]),
    ],
)
def test_o_sorts_in_each_way_and_then_as_at_first(standing: Path, key: str, table: str, orders: list[str]) -> None:
    """The order is named; the rows are the same ones; what is selected stays selected."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press(key)
            await seen.until(lambda: len(seen.table(table).rows) > 0)
            first = list(seen.table(table).rows)
            selected = seen.selected(table)
            for order in [*orders[1:], orders[0]]:
                await seen.press("o")
                await seen.until(f"by {order} ")
                assert seen.selected(table) == selected
                rows = list(seen.table(table).rows)
                assert len(rows) == len(first)
                assert all(row in first for row in rows)
                if order in ("run", "workflow") and key != "5":
                    assert [getattr(row, order) for row in rows] == sorted(getattr(row, order) for row in rows)
            assert list(seen.table(table).rows) == first

    asyncio.run(test())


@pytest.mark.parametrize("size", [MIDDLE, LARGE])
@pytest.mark.parametrize(("key", "table"), [("1", "runs"), ("2", "waits"), ("3", "timers")])
def test_where_there_is_room_the_run_stands_beside_the_list(
    standing: Path, size: tuple[int, int], key: str, table: str
) -> None:
    """The one that is selected, with its timeline and its facts."""

    async def test() -> None:
        async with looking(standing, size) as seen:
            await seen.press(key)
            await seen.until(lambda: seen.selected(table) is not None)
            for _ in range(2):
                row = seen.selected(table)
                await seen.until(f"─ {getattr(row, 'run', '') if key != '1' else row.id} {row.workflow} ─")
                await seen.until("about it")
                assert any("│" in line or "▏" in line for line in seen.lines)
                await seen.press("j")

    asyncio.run(test())


def test_signals_show_what_they_carry(standing: Path) -> None:
    """Beside the list; another list is meant when it has the focus."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.press("2")
            await seen.until("order.packed, if it has these fields")
            await seen.press("tab")
            await seen.until(' {"order_id": "8"} ')
            await seen.press("y")
            assert seen.app.clipboard == '{"order_id":"8"}'

    asyncio.run(test())


def test_a_run_has_logs_of_its_own(standing: Path) -> None:
    """L shows them; Escape leads back to the run."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press("slash")
            await seen.write("id:pay-flaky\n")
            await seen.until("> pay-flaky")
            await seen.press("enter")
            await seen.until("timeline 1/4")
            await seen.press("L")
            await seen.until("logs of pay-flaky")
            await seen.until("paying for f")
            assert "paying for d" not in seen.text
            await seen.press("Y")
            assert seen.app.clipboard.startswith("wfkit runs logs pay-flaky")
            await seen.press("escape")
            await seen.until("timeline 1/4")

    asyncio.run(test())


def test_the_mouse_leads_to_screens_and_rows(standing: Path) -> None:
    """A click on a tab goes there; a click selects a row, and a second one opens it."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.pilot.click(offset=(seen.lines[1].index("3 Timers") + 2, 1))
            await seen.until("retry of ship")
            await seen.pilot.click("#timers", offset=(8, 3))
            await seen.until(lambda: seen.table("timers").cursor == 2)
            await seen.pilot.click("#timers", offset=(8, 2), times=2)
            await seen.until("timeline 1/4")

    asyncio.run(test())


def test_a_crowd_is_one_row_with_counts(standing: Path) -> None:
    """Thirty steps of a gather, and how many of them ended in which way."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press("slash")
            await seen.write("id:batch-30\n")
            await seen.until("> batch-30")
            await seen.press("enter")
            await seen.until("×30")
            (crowd,) = [line for line in seen.lines if "×30" in line]
            assert "30 completed" in crowd
            for _ in range(3):
                await seen.press("j")
            assert "30 completed" in next(line for line in seen.lines if "×30" in line)

    asyncio.run(test())
