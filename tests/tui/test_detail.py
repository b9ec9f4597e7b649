"""One run: the four views, what is told of each part, and of the whole."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest
from textual._styles_cache import StylesCache

from tests.cli import app as defined
from tests.tui.conftest import LARGE, Seen, engine_on, looking, order
from wfkit.core.entries import Record, TimerFired
from wfkit_tui import history_json
from wfkit_tui.history_json import PART, HistoryJson
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.widgets.page import Page


async def opened(seen: Seen, id: str) -> None:
    """Open a run from the list, as a user does."""
    await seen.until("> napper")
    await seen.press("slash")
    await seen.write(f"id:{id}\n")
    await seen.until(lambda: [run.id for run in seen.table("runs").rows] == [id])
    await seen.press("enter")
    await seen.until("timeline 1/4")
    await seen.until(lambda: bool(seen.table("timeline").rows))


def test_v_goes_through_the_four_views_and_round_again(standing: Path) -> None:
    """Timeline, compact, all entries, JSON."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await opened(seen, "pay-flaky")
            await seen.until("██")
            assert "3x" in seen.text
            for title, shows in [
                ("compact 2/4", "AT  WHAT  NAME"),
                ("all entries 3/4", "→ register undo"),
                ("JSON 4/4", '"kind": "RunStarted"'),
                ("timeline 1/4", "██"),
            ]:
                await seen.press("v")
                await seen.until(title)
                assert shows in seen.text

    asyncio.run(test())


def test_y_copies_the_json_and_upper_y_the_command(standing: Path) -> None:
    """What is copied is whole, however little of it is seen; Y gives the command of the view."""

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "pay-flaky")
            await seen.press("y")
            assert seen.app.clipboard == "pay-flaky"
            await seen.press("Y")
            assert seen.app.clipboard == f"wfkit runs history pay-flaky --store {standing}"
            await seen.press("v", "v", "v")
            await seen.until("JSON 4/4")
            await seen.press("y")
            records = json.loads(seen.app.clipboard)
            assert records[0]["entry"]["id"] == "pay-flaky"
            assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
            await seen.press("Y")
            assert seen.app.clipboard == f"wfkit runs history pay-flaky --view all --json --store {standing}"

    asyncio.run(test())


@pytest.mark.parametrize("written_before", [0, 2, 3])
def test_json_of_a_history_is_the_same_however_it_was_written(written_before: int) -> None:
    """In parts, after another width, and with what comes later."""
    records = [Record(TimerFired(t=number, n=number), None) for number in range(2 * PART + 50)]
    grown = HistoryJson()
    grown.take(records[: 2 * PART])
    grown.lines(40)
    for _ in range(written_before):
        grown.write()
    grown.take(records)
    while not grown.complete:
        grown.lines(80)
        grown.write()
    text = "\n".join("".join(piece.text for piece in line) for line in grown.lines(80))
    assert [record["seq"] for record in json.loads(text)] == list(range(1, len(records) + 1))


def test_json_is_written_to_its_end_whatever_the_width(standing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the terminal is resized, by itself."""
    monkeypatch.setattr(history_json, "PART", 2)

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "pay-flaky")
            await seen.press("v", "v", "v")
            page = seen.app.screen.query_one("#json", Page)
            for width in (80, 120):
                await seen.pilot.resize_terminal(width, 40)
                await seen.until(lambda: page.text.endswith("]"))
                assert len(json.loads(page.text)) > 2

    asyncio.run(test())


def test_what_lasts_is_told_anew_every_second(standing: Path) -> None:
    """In the compact view, and beside it."""

    def lasts(seen: Seen) -> list[str]:
        return [line for line in seen.lines if line.startswith("> ") or "so far" in line]

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "pack-7")
            await seen.press("v", "j")
            await seen.until("so far")
            before = lasts(seen)
            assert len(before) == 2
            await seen.until(lambda: all(now != then for now, then in zip(lasts(seen), before, strict=True)))

    asyncio.run(test())


def test_brackets_lead_from_failure_to_failure(standing: Path) -> None:
    """In the timeline and among the entries; the last one says that it is the last."""

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "pay-flaky")
            await seen.press("right_square_bracket")
            assert seen.selected("timeline").name == "charge"
            await seen.press("right_square_bracket")
            await seen.until("no more failures below")
            await seen.press("v", "v", "g", "right_square_bracket")
            assert seen.selected("all").what == "AttemptFailed"
            first = seen.table("all").cursor
            await seen.press("right_square_bracket")
            assert seen.table("all").cursor > first
            await seen.press("left_square_bracket")
            assert seen.table("all").cursor == first

    asyncio.run(test())


def test_a_step_tells_its_attempts_its_key_and_its_payload(standing: Path) -> None:
    """All attempts, with error and line; arguments and result as JSON."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await opened(seen, "pay-flaky")
            await seen.press("right_square_bracket")
            await seen.until("attempt 2")
            told = seen.app.screen.query_one("#part", Page).text
            for text in ("attempt 1", "503 Service Unavailable", "attempt 3", "3 attempts", "key", '"card": "flaky"', '"ch-f"'):
                assert text in told, text

    asyncio.run(test())


WHY = {
    "pack-7": ["waits for", 'signal order.packed with {"order_id":"7"}', "no match", "3d"],
    "parcel-1": ["step ship", "next retry", "503 Service Unavailable"],
    "undo-1": ["compensation refund, attempt 2", "the bank is closed"],
    "mistaken-1": ["WF029", "has no attribute 'name'"],
    "pay-declined": ["card 4242 is declined", "undone", "release"],
    "family-1": ["child family-1/parcel-3", "retrying"],
}


def test_it_says_why_a_run_does_not_go_on_or_how_it_ended(standing: Path) -> None:
    """The reasons, what is pending, and the saga, as `wfkit runs why` tells them."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.until("> napper")
            for run, told in WHY.items():
                seen.app.push_screen(DetailScreen(seen.app.backend, run))
                await seen.until(f"‹ {run}")
                blocked, page = (seen.app.screen.query_one(f"#{id}", Page) for id in ("blocked", "run"))
                await seen.until(lambda page=page: "records" in page.text)  # type: ignore[misc]
                words = lambda blocked=blocked, page=page: " ".join(f"{blocked.text} {page.text}".split())  # noqa: E731
                await seen.until(lambda told=told, words=words: all(text in words() for text in told))  # type: ignore[misc]
                await seen.press("escape")

    asyncio.run(test())


def test_a_gather_of_many_is_one_row(standing: Path) -> None:
    """With its counts."""

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "batch-30")
            await seen.until("sync ×30")
            assert len(seen.table("timeline").rows) == 2

    asyncio.run(test())


def test_a_child_is_opened_from_its_parent_and_escape_leads_back(standing: Path) -> None:
    """Level by level."""

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "family-1")
            spans = seen.table("timeline").rows
            place = next(place for place, span in enumerate(spans) if span.name == "family-1/parcel-3")
            await seen.press(*["j"] * place, "enter")
            await seen.until("‹ family-1/parcel-3")
            await seen.press("escape")
            await seen.until("‹ family-1  family")
            await seen.press("escape")
            await seen.until("> family-1")

    asyncio.run(test())


def test_an_open_run_grows_while_it_is_looked_at(journal: Path) -> None:
    """And its keys that need an unfinished run go when it ends."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.pack, order("7"), id="pack-7")
            async with looking(journal) as seen:
                await seen.until("◷ waiting")
                await seen.press("enter")
                await seen.until("◷ wait order.packed")
                await seen.until("c Cancel")
                await engine.get(defined.pack, "pack-7").send("order.packed", {"order_id": "7"})
                await seen.until("✓ wait order.packed")
                await seen.until("✓ completed")
                await seen.until(lambda: "c Cancel" not in seen.text)

    asyncio.run(test())


def test_tab_leads_to_the_panes_and_their_text_is_copied(standing: Path) -> None:
    """Each pane has the focus in turn, and is zoomed by z."""

    async def test() -> None:
        async with looking(standing) as seen:
            await opened(seen, "pay-declined")
            await seen.until("the run")
            await seen.press("tab", "tab", "y")
            assert "card 4242 is declined" in " ".join(seen.app.clipboard.split())
            await seen.press("z")
            await seen.until("zoomed")
            await seen.press("escape")
            await seen.until(lambda: "zoomed" not in seen.text)
            assert "timeline 1/4" in seen.text

    asyncio.run(test())


def test_where_there_is_room_entries_stand_below_the_bars(standing: Path) -> None:
    """What the selected span began with is selected; one that is gone to is told of as it is stored."""

    async def test() -> None:
        async with looking(standing, LARGE) as seen:
            await seen.press("slash")
            await seen.write("id:pay-flaky\n")
            await seen.until("> pay-flaky")
            await seen.press("enter")
            await seen.until("of the span above")
            await seen.press("j", "j")
            await seen.until("─ charge ─")
            assert seen.selected("entries").detail == "#2 charge"
            await seen.press("tab", "G")
            await seen.until('"kind": "StepCompleted"')
            await seen.press("v", "v")
            await seen.until("all entries 3/4")
            assert "of the span above" not in seen.text

    asyncio.run(test())


def test_runs_that_were_looked_at_are_forgotten(standing: Path) -> None:
    """Whoever looks at hundreds of runs a day keeps none of their screens."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            painted = []
            for _ in range(5):
                await seen.press("enter")
                await seen.until("timeline 1/4")
                await seen.until(lambda: bool(seen.table("timeline").rows))
                await seen.press("escape")
                await seen.until("> napper")
                await seen.until(lambda: not _alive(DetailScreen))
                painted.append(len(_alive(StylesCache)))
            assert max(painted[1:]) <= painted[0], "the painted lines of widgets that are gone"

    asyncio.run(test())


def _alive(kind: type[object]) -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kind)]
