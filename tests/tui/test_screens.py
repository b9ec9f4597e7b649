"""Signals, timers, code, simulations and logs; the way between them, the palette and the help."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import shutil
from pathlib import Path

import pytest

from tests.cli import app as defined
from tests.tui.conftest import LARGE, SMALL, engine_on, finding, looking, order, report
from wfkit_tui import app, keys

SHOWS = {"1": "> napper", "2": "waiting for", "3": "retry of ship", "4": "blocked runs", "5": "FIRST FINDING", "6": "INFO"}


def test_a_digit_leads_to_each_screen_and_help_tells_its_keys(standing: Path) -> None:
    """From wherever one is; and each key that help tells of has an action, on the node that it belongs to."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.press("enter")
            await seen.until("timeline 1/4")
            for key, shows in SHOWS.items():
                await seen.press(key)
                await seen.until(shows)
                await seen.until("? Help")
                active = list(seen.app.screen.active_bindings.values())
                ours = [one for one in active if "." not in one.binding.action]
                missing = [one.binding for one in ours if not hasattr(one.node, f"action_{one.binding.action.split('(')[0]}")]
                assert missing == []
                assert {one.binding.key for one in ours} >= {"question_mark", "z", "y", "Y", "q", "ctrl+p"}
                await seen.press("question_mark")
                await seen.until("this screen" if key in "1256" else "this pane")
                await seen.press("G")
                await seen.until("Copy the equivalent command")
                await seen.press("escape")
                assert "Copy the equivalent" not in seen.text

    asyncio.run(test())


def test_signals_tells_who_waits_and_what_came(standing: Path) -> None:
    """With the fields that a wait asks for, and the payload that came."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.press("2")
            await seen.until('{"order_id":"8"}')
            assert '{"order_id":"7"}' in seen.text
            await seen.press("tab", "y")
            assert seen.app.clipboard == '{"order_id":"8"}'
            await seen.press("enter")
            await seen.until("‹ pack-7")

    asyncio.run(test())


def test_a_signal_is_sent_from_the_wait_and_published_from_the_list(journal: Path) -> None:
    """Both forms begin with the name that the cursor is at."""

    async def test() -> None:
        async with engine_on(journal) as engine, looking(journal) as seen:
            await engine.start(defined.pack, order("7"), id="pack-7")
            await engine.start(defined.pack, order("8"), id="pack-8")
            await seen.press("2")
            await seen.until("2 waits ")
            await seen.press("P")
            await seen.until("Publish a signal")
            await seen.write('{"order_id": "7"}')
            assert "wfkit publish order.packed" in seen.text
            await seen.press("enter")
            await seen.until("1 wait ")
            await seen.press("e")
            await seen.until("Send a signal to pack-8")
            await seen.write('{"order_id": "8"}\n')
            await seen.until("0 waits ")
            assert len(await engine.runs("status:completed")) == 2

    asyncio.run(test())


def test_code_leads_to_the_runs_of_a_definition_and_to_blocked_runs(standing: Path) -> None:
    """A workflow is a filter of runs, and so is a step."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.press("4")
            await seen.until("WF029")
            assert "tests/cli/app.py:" in seen.text
            await seen.press("tab", "enter")
            await seen.until("‹ mistaken-1")
            await seen.press("escape")
            await seen.until("blocked runs")
            await seen.press("shift+tab")
            code = seen.table("code")
            code.select(next(place for place, row in enumerate(code.rows) if row.name == "ship"))
            await seen.press("enter")
            await seen.until("step:ship")
            await seen.until(lambda: {run.id for run in seen.table("runs").rows} == {"parcel-1", "family-1/parcel-3"})

    asyncio.run(test())


def test_logs_grow_and_follow(journal: Path) -> None:
    """The newest last; who scrolls up is left there."""

    async def test() -> None:
        async with engine_on(journal) as engine, looking(journal) as seen:
            await seen.press("6")
            await seen.until("nothing was logged yet")
            for number in range(40):
                await engine.start(defined.pay, order(f"n{number}"), id=f"pay-{number}")
            await seen.until("paying for n39")
            assert "follows" in seen.lines[1]
            await seen.press("k", "k")
            await seen.until(lambda: "follows" not in seen.lines[1])
            logging.getLogger("shop").warning("late\nand in two lines")
            await seen.press("F")
            await seen.until("and in two lines")
            assert "WARNING" in seen.text

    asyncio.run(test())


def test_simulations_lists_reports_and_opens_one(standing: Path) -> None:
    """Good, bad and unreadable ones; a report shows its matrix, its findings and their stories."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press("5")
            await seen.until("✗ fails")
            await seen.press("Y")
            await seen.until("no command shows this")
            assert "✓ holds" in seen.text
            assert "? unreadable" in seen.text
            reports = seen.table("reports")
            reports.select(next(place for place, row in enumerate(reports.rows) if row.listed.name == "reports/bad.json"))
            await seen.press("enter")
            await seen.until("finding 1 of 2")
            (crashed,) = [line for line in seen.lines if line.startswith(" crash ")]
            assert "✓ 6" in crashed
            assert "[✗ 3/7]" in crashed
            assert any(line.startswith(" fail ") and "✓ 8" in line for line in seen.lines)
            (head,) = [line for line in seen.lines if line.startswith(" fault at")]
            assert "charge" in head
            assert re.search(r"\d+ more ✓", head)
            assert "why: the key is new each time" in seen.text
            await seen.press("n")
            await seen.until("finding 2 of 2")
            assert "[✗ 5]" in seen.text
            assert " ✗ 3/7 " in seen.text
            await seen.press("N")
            await seen.until("finding 1 of 2")
            await seen.press("Y")
            assert seen.app.clipboard == "wfkit verify --replay .wfkit/failures/bad-ledger-1.json"
            await seen.press("escape")
            await seen.until("FIRST FINDING")

    asyncio.run(test())


def test_screens_that_were_built_ahead_show_at_once_what_they_have_read(
    standing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody goes to them."""
    monkeypatch.setattr(app, "AHEAD_SECONDS", (0.01, 0.01))
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))

    async def test() -> None:
        async with looking(standing, ahead=True) as seen:
            await seen.until(lambda: bool(frozen))
            await seen.press("3")
            assert "retry of ship" in seen.text

    asyncio.run(test())


def test_a_run_that_fails_by_itself_holds_with_that_said(journal: Path) -> None:
    """In the list of reports and in the report: little is proved by such a run."""

    async def test() -> None:
        fails = finding("proves nothing: without any fault pay fails: Declined: card declined", [], 1) | {"severity": "info"}
        (journal.parent / "reports").mkdir(parents=True)
        (journal.parent / "reports" / "pay.json").write_text(report("pay", [fails], [], ok=True), encoding="utf-8")
        async with engine_on(journal), looking(journal, LARGE) as seen:
            await seen.press("5")
            await seen.until("✓ holds (fault-free run fails: Declined)")
            await seen.press("enter")
            await seen.until("pay  ✓ holds (fault-free run fails: Declined)")

    asyncio.run(test())


def test_a_report_that_is_written_while_it_is_looked_is_listed(journal: Path) -> None:
    """Verification may end while the screen is open; before that, it says how to begin."""

    async def test() -> None:
        async with engine_on(journal), looking(journal) as seen:
            await seen.press("5")
            await seen.until("No reports yet")
            (journal.parent / "reports").mkdir()
            shutil.copy(Path(__file__).with_name("report.json"), journal.parent / "reports" / "restock.json")
            await seen.until("1 report")
            await seen.press("enter")
            await seen.until("count_in happened twice")

    asyncio.run(test())


def test_the_palette_offers_screens_and_what_the_screen_can_do(standing: Path) -> None:
    """In a line each, what the screen does first; and nothing that it cannot."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.press("colon")
            await seen.until("Search for commands")
            await seen.until("q      Quit")
            offered = [line.split()[0] for line in seen.lines[8:] if line.strip()]
            assert offered[:4] == ["Enter", "/", "s", "e"]
            await seen.write("timers")
            await seen.until("3      Go to Timers")
            await seen.pilot.pause(0.3)
            await seen.press("enter")
            await seen.until("retry of ship")
            await seen.press("ctrl+p")
            await seen.write("terminate")
            await seen.until("No matches found")

    asyncio.run(test())


def test_a_key_in_the_footer_can_be_clicked(standing: Path) -> None:
    """Those at the left, and the palette at the right end."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("c Cancel ? Help")
            footer = seen.lines[-1]
            assert footer.endswith("^p Palette ")
            await seen.pilot.click(offset=(footer.index("? Help") + 2, SMALL[1] - 1))
            await seen.until("this pane")
            await seen.press("escape")
            await seen.pilot.click(offset=(SMALL[0] - 3, SMALL[1] - 1))
            await seen.until("Search for commands")

    asyncio.run(test())


@pytest.mark.parametrize("size", [SMALL, LARGE, (100, 30)])
def test_every_screen_fills_the_terminal_and_the_footer_is_whole(standing: Path, size: tuple[int, int]) -> None:
    """At every size that is supported, on every screen."""

    async def test() -> None:
        async with looking(standing, size) as seen:
            await seen.until("> napper")
            for key, _, title in keys.SCREENS:
                await seen.press(key)
                await seen.until("? Help")
                assert title in seen.lines[1]
                assert [len(line) for line in seen.lines] == [size[0]] * size[1]

    asyncio.run(test())
