"""The engine ends and comes back: the screens say so, and show what there is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.cli import app as defined
from tests.tui.conftest import engine_on, looking
from wfkit.errors import JournalFull


def test_without_an_engine_the_journal_is_shown_and_nothing_can_be_changed(journal: Path) -> None:
    """A bar tells why; the keys that need an engine are not offered, and say so when they are pressed."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
        async with looking(journal) as seen:
            await seen.until("> napper")
            await seen.until("○ no engine")
            await seen.until("no engine: this is what the journal holds")
            assert "c Cancel" not in seen.text
            await seen.press("c", "s", "e", "exclamation_mark")
            assert not seen.app.screen.query("#box")
            why = "no engine runs: wfkit dev or wfkit serve starts one"
            assert [toast.message for toast in seen.app._notifications] == [why] * 4
            await seen.press("enter")
            await seen.until("◷ timer 2d")
            for key, shows in [("2", "received"), ("3", "in 1d23h"), ("4", "no engine runs"), ("6", "none does")]:
                await seen.press(key)
                await seen.until(shows)

    asyncio.run(test())


def test_an_engine_that_ends_and_another_that_begins_are_noticed(journal: Path) -> None:
    """What happened meanwhile is shown, and the feed goes on."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="first")
            app = looking(journal)
            seen = await app.__aenter__()
            await seen.until("> first")
            await seen.until("● live")
        await seen.until("○ no engine")
        await seen.until("no engine: this is what")
        assert "> first" in seen.text
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="second")
            await seen.until("● live")
            await seen.until("> second")
            assert "no engine" not in seen.text
            await engine.start(defined.nap, "2 days", id="third")
            await seen.until("> third")
            await app.__aexit__(None, None, None)

    asyncio.run(test())


def test_a_full_disk_is_told_as_long_as_it_is_full(journal: Path) -> None:
    """Nothing happens meanwhile that would tell of it: the engine is asked."""

    async def test() -> None:
        async with engine_on(journal) as engine, looking(journal) as seen:
            await seen.until("● live")
            engine.requests.note_trouble(JournalFull("no space left for the journal"))
            await seen.until("● trouble")
            told = "✗ no space left for the journal  (free some space: the engine goes on by itself"
            assert told in " ".join(line.strip() for line in seen.lines[2:4])
            engine.requests.note_trouble(None)
            await seen.until("● live")
            assert "no space" not in seen.text

    asyncio.run(test())


def test_where_there_is_no_journal_it_says_so(journal: Path) -> None:
    """In the words of the command line; and an engine that starts later is found."""

    async def test() -> None:
        async with looking(journal) as seen:
            await seen.until("there is no journal")
            await seen.until("waiting for an engine that runs here")
            async with engine_on(journal):
                await seen.until("No runs yet")
                await seen.until(lambda: "there is no journal" not in seen.text)

    asyncio.run(test())
