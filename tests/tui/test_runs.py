"""The list of runs: what it shows, how it follows the engine, and what its keys do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli import app as defined
from tests.tui.conftest import EXPECTED, LARGE, engine_on, looking, order
from wfkit.cli.statuses import shown
from wfkit_tui.screens import runs


def test_runs_are_listed_with_their_status_in_words(standing: Path) -> None:
    """Every state has a sign and a word; the run that was started last is the first one."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("family-1")
            for id, status in EXPECTED.items():
                (line,) = [line for line in seen.lines[2:13] if f" {id} " in line] or [""]
                assert not line or shown(status) in line
            assert seen.lines[3].startswith("> napper ")
            assert sum(f" {id} " in seen.text for id in EXPECTED) >= 5

    asyncio.run(test())


def test_the_header_tells_store_engine_and_counts(standing: Path) -> None:
    """At a glance: whether the engine lives, what it runs, how many runs are how."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.until("blocked")
            await seen.until("● live")
            await seen.until(lambda: "app.py" in seen.lines[0] and "✗ 1 failed" in seen.lines[0])
            assert "▲ 1 blocked" in seen.lines[0]
            assert "journal.duckdb" in seen.lines[0]

    asyncio.run(test())


def test_a_run_that_starts_elsewhere_appears_and_the_selected_one_stays_selected(journal: Path) -> None:
    """New runs come in above, and are seen; the cursor stays on its run, not on its line."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="first")
            async with looking(journal) as seen:
                await seen.until("> first")
                await seen.press("j")
                await engine.start(defined.nap, "2 days", id="second")
                await seen.until(lambda: [line[:8] for line in seen.lines[3:5]] == ["  second", "> first "])
                assert seen.selected("runs").id == "first"

    asyncio.run(test())


@pytest.mark.parametrize("key", ["enter", "s", "c"])
def test_a_run_stays_selected_once_something_is_done_with_it(journal: Path, key: str) -> None:
    """Whatever starts then: the next key is meant for the same run."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="first")
            async with looking(journal) as seen:
                await seen.until("> first")
                await seen.press(key)
                await seen.press("escape")
                await seen.until("> first")
                await engine.start(defined.nap, "2 days", id="second")
                await seen.until(lambda: [line[:8] for line in seen.lines[3:5]] == ["  second", "> first "])

    asyncio.run(test())


def test_the_newest_run_stays_selected_until_somebody_moves(journal: Path) -> None:
    """So that nothing new is missed at the beginning; F follows again."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="first")
            async with looking(journal) as seen:
                await seen.until("> first")
                assert "follows" in seen.lines[1]
                await engine.start(defined.nap, "2 days", id="second")
                await seen.until("> second")
                await seen.press("j")
                assert "follows" not in seen.lines[1]
                await engine.start(defined.nap, "2 days", id="third")
                await seen.until("  third")
                assert seen.selected("runs").id == "first"
                await seen.press("F")
                await seen.until("> third")

    asyncio.run(test())


def test_a_run_changes_as_the_engine_goes_on(journal: Path) -> None:
    """Without a key being pressed; and what becomes durable is told below."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.pack, order("7"), id="pack-7")
            async with looking(journal) as seen:
                await seen.until("◷ waiting")
                await engine.get(defined.pack, "pack-7").send("order.packed", {"order_id": "7"})
                await seen.until("✓ completed")
                await seen.until("signal order.packed")

    asyncio.run(test())


def test_the_filter_is_that_of_the_command_line(standing: Path) -> None:
    """Enter uses it, Escape takes it away again."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("family-1")
            await seen.press("slash")
            await seen.write("status:failed\n")
            await seen.until("1 run")
            assert seen.selected("runs").id == "pay-declined"
            await seen.press("escape")
            await seen.until("family-1")
            assert "status:failed" not in seen.text

    asyncio.run(test())


def test_a_wrong_filter_is_told_while_it_is_written_and_changes_nothing(standing: Path) -> None:
    """The list stays, and so does what was written."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("family-1")
            before = len(seen.table("runs").rows)
            await seen.press("slash")
            await seen.write("status:faild")
            await seen.until("did you mean failed?")
            await seen.press("enter")
            assert "status:faild" in seen.text
            assert len(seen.table("runs").rows) == before
            await seen.press("escape")
            assert "faild" not in seen.text
            assert seen.app.focused is seen.table("runs")

    asyncio.run(test())


def test_a_filter_that_nothing_fits_says_so(standing: Path) -> None:
    """An empty list tells why it is empty."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("family-1")
            await seen.press("slash")
            await seen.write("wf:nobody\n")
            await seen.until("no runs match: wf:nobody")

    asyncio.run(test())


def test_without_runs_it_says_how_to_start_one(journal: Path) -> None:
    """The first thing that a user sees."""

    async def test() -> None:
        async with engine_on(journal), looking(journal) as seen:
            await seen.until("No runs yet. Press s to start one")

    asyncio.run(test())


def test_o_sorts_by_another_column(standing: Path) -> None:
    """As `--sort` does on the command line, which Y copies; the column that is sorted by shows it, and which way."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("family-1")
            assert "STARTED ▼" in seen.lines[2]
            await seen.press("o")
            await seen.until("UPDATED ▼")
            assert "STARTED" not in seen.lines[2]
            await seen.press("o")
            await seen.until("RUN ▲")
            await seen.until(lambda: seen.table("runs").rows[0].id == "batch-30")
            ids = [run.id for run in seen.table("runs").rows]
            assert ids == sorted(ids)
            await seen.press("Y")
            assert seen.app.clipboard == f"wfkit runs --sort id --store {standing}"

    asyncio.run(test())


def test_an_open_run_shows_at_once_what_the_list_knew_of_it(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the engine has answered."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("─ napper nap")
            never = asyncio.Event()
            monkeypatch.setattr(seen.app.backend, "ask", lambda _: never.wait())
            await seen.press("enter")
            await seen.until("‹ napper  nap  ⊘ cancelled")
            assert "no more naps" in seen.text

    asyncio.run(test())


def test_the_end_of_the_list_brings_more(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a part is read at first; the number of the others is not known, and said to be more."""
    monkeypatch.setattr(runs, "LIMIT", 4)

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("4+ runs")
            await seen.press("G")
            await seen.until("8+ runs")
            await seen.press("G")
            await seen.until("12 runs")

    asyncio.run(test())


def test_y_copies_the_id(standing: Path) -> None:
    """Into the terminal's clipboard."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.press("y")
            assert seen.app.clipboard == "napper"

    asyncio.run(test())


def test_the_preview_shows_the_selected_run(standing: Path) -> None:
    """Beneath the list, or beside it where there is room, with its facts."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.until("─ napper nap")
            while seen.selected("runs").id != "pay-flaky":
                await seen.press("j")
            await seen.until("─ pay-flaky pay")
            await seen.until("charge")
            assert "3x" in seen.text
            assert "result" in seen.text

    asyncio.run(test())


def test_z_zooms_the_pane_and_back(standing: Path) -> None:
    """The list alone, below the bars that say where one is and how to get back; then everything again."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("─ napper nap")
            for back in ("z", "escape"):
                await seen.press("z")
                await seen.until(lambda: "─ napper nap" not in seen.text)
                assert "> napper" in seen.text
                assert "● live" in seen.lines[0]
                assert "zoomed, z leaves" in seen.lines[1]
                await seen.press(back)
                await seen.until("─ napper nap")
                assert "zoomed" not in seen.text

    asyncio.run(test())


def test_a_click_selects_and_a_second_one_opens(standing: Path) -> None:
    """The mouse does what the keys do."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.pilot.click("#runs", offset=(5, 2))
            await seen.until(lambda: seen.lines[4].startswith("> "))
            await seen.pilot.click("#runs", offset=(5, 2), times=2)
            await seen.until("timeline 1/4")

    asyncio.run(test())


def test_a_terminal_that_is_too_small_is_told_so(standing: Path) -> None:
    """Below 60x16 nothing can be read."""

    async def test() -> None:
        async with looking(standing, (50, 12)) as seen:
            await seen.until("terminal too small")
            await seen.pilot.resize_terminal(80, 24)
            await seen.until("> napper")
            assert "terminal too small" not in seen.text

    asyncio.run(test())
