"""The list of runs as the live feed keeps it: the same as a list that is asked for anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from tests.cli import app as defined
from tests.tui.conftest import engine_on, order
from wfkit.control.client import AsyncEngineClient, engine_beside
from wfkit.control.messages import FeedEvent, GetEngine, ListRuns, Sort
from wfkit.core.state import RunState
from wfkit.journal.filters import RunFilter, parse
from wfkit_tui.book import RunBook


async def lived(journal: Path) -> tuple[list[FeedEvent], list[RunState], dict[str, list[RunState]]]:
    """Let runs live; return all events, what was listed at the beginning, and what is listed at the end by each sort."""
    async with engine_on(journal) as engine:
        client = AsyncEngineClient(engine_beside(journal), journal)
        await engine.start(defined.pack, order("7"), id="pack-7")
        before = (await client.ask(ListRuns())).runs
        start = (await client.ask(GetEngine())).pos
        await engine.start(defined.pay, order("f", "flaky"), id="pay-flaky")
        await engine.start(defined.pay, order("d", "declined"), id="pay-declined")
        await engine.start(defined.nap, "2 days", id="napper")
        await engine.get(defined.pack, "pack-7").send("order.packed", {"order_id": "7"})
        await engine.get(defined.nap, "napper").cancel("")
        while len(await engine.runs("status:completed,failed,cancelled")) < 4:
            await asyncio.sleep(0.01)
        end = (await client.ask(GetEngine())).pos
        events = []
        async for event in client.feed(start):
            events.append(event)
            if event.pos >= end:
                break
        listed = {sort: (await client.ask(ListRuns(sort=sort))).runs for sort in get_args(Sort)}
        return events, before, listed


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FeedEvent], list[RunState], dict[str, list[RunState]]]:
    return asyncio.run(lived(tmp_path_factory.mktemp("life") / ".wfkit" / "journal.duckdb"))


def summary(runs: list[RunState]) -> list[tuple[str, str, int]]:
    return [(run.id, run.detail, run.seq) for run in runs]


def copies(runs: list[RunState]) -> list[RunState]:
    """A book changes the runs that it is given."""
    from msgspec.json import decode, encode

    return decode(encode(runs), type=list[RunState])


@pytest.mark.parametrize("sort", get_args(Sort))
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_a_book_that_follows_is_as_one_that_is_read_anew(life: tuple, sort: Sort, batch: int) -> None:  # type: ignore[type-arg]
    """Whatever comes together in one batch."""
    events, before, listed = life
    book = RunBook(RunFilter(), sort)
    book.expect()
    book.load(copies(before))
    for begin in range(0, len(events), batch):
        book.apply(events[begin : begin + batch])
    assert summary(book.rows) == summary(listed[sort])
    assert not book.stale


def test_events_that_come_before_the_list_or_twice_change_nothing(life: tuple) -> None:  # type: ignore[type-arg]
    """A list that is on its way may be newer or older than what the feed tells meanwhile."""
    events, before, listed = life
    book = RunBook(RunFilter(), "started")
    book.expect()
    book.apply(events)
    assert book.rows == []
    book.load(copies(before))
    book.apply(events)
    assert summary(book.rows) == summary(listed["started"])
    book.expect()
    book.apply(events)
    book.load(copies(listed["started"]))
    assert summary(book.rows) == summary(listed["started"])


def test_runs_leave_and_enter_as_the_filter_says(life: tuple) -> None:  # type: ignore[type-arg]
    """A run that ends leaves the list of the running ones."""
    events, before, _ = life
    book = RunBook(parse("status:running", 0), "started")
    book.expect()
    book.load(copies(before))
    seen = set()
    for event in events:
        book.apply([event])
        seen |= {run.id for run in book.rows}
    assert seen == {"pack-7", "pay-flaky", "pay-declined", "napper"}
    assert book.rows == []


def test_what_it_cannot_know_makes_it_stale(life: tuple) -> None:  # type: ignore[type-arg]
    """A gap in a run's records; a run that was not listed, and that a filter may now accept."""
    events, before, _ = life
    gap = RunBook(RunFilter(), "started")
    gap.expect()
    gap.load(copies(before))
    of_one = [event for event in events if event.id == "pay-flaky"]
    gap.apply([of_one[0], *of_one[2:]])
    assert gap.stale
    unknown = RunBook(parse("status:completed", 0), "started")
    unknown.expect()
    unknown.load([])
    unknown.apply([event for event in events if event.id == "pack-7"])
    assert unknown.stale


def test_only_what_changed_is_to_be_painted(life: tuple) -> None:  # type: ignore[type-arg]
    """An entry of a run that is listed moves no row, in the order of starts."""
    events, before, _ = life
    book = RunBook(RunFilter(), "started")
    book.expect()
    book.load(copies(before))
    book.moved = False
    changes = [event for event in events if event.id == "pack-7"]
    book.apply(changes)
    assert not book.moved
    assert book.changed == {changes[0].run}
