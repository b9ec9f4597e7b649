"""The live feed: what becomes durable, in the order of the journal, from wherever a client has got to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.control.app import Order, add_up, fact, pay
from tests.control.conftest import Served, served
from wfkit.control.messages import FeedEvent, GetEngine
from wfkit.errors import BadRequest


async def take(at: Served, after: int | None, until: int) -> list[FeedEvent]:
    """Return the events after a position, up to another one."""
    found = []
    feed = at.client.feed(after)
    async for event in feed:
        found.append(event)
        if event.pos >= until:
            break
    await feed.aclose()  # type: ignore[attr-defined]  # an async generator
    return found


def test_a_feed_brings_all_records_once_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    """Across many runs, and in pieces of any size."""

    async def story() -> None:
        async with served(tmp_path) as at:
            whole = asyncio.create_task(take(at, 0, until=2 * 300 + 1 + 101))
            for number in range(300):
                await (await at.engine.start(pay, Order(str(number), 9), id=f"pay-{number}")).result()
            run = await at.engine.start(add_up, 101, id="sum")
            for number in range(101):
                await run.send(fact, number)
            last = (await at.client.ask(GetEngine())).pos
            events = await asyncio.wait_for(whole, 20)
            assert [event.pos for event in events] == list(range(1, len(events) + 1))
            for id in ("pay-7", "sum"):
                told = [event for event in events if event.id == id]
                assert [event.seq for event in told] == list(range(1, len(told) + 1))
                history = await at.engine.requests.history_of(id)
                assert [(event.entry, event.commands) for event in told] == [
                    (record.entry, record.commands) for record in history[: len(told)]
                ]
            pieces: list[FeedEvent] = []
            while len(pieces) < last:
                after = pieces[-1].pos if pieces else 0
                pieces += await take(at, after, until=min(after + 150, last))
            assert pieces[: len(events)] == events

    asyncio.run(story())


def test_a_feed_without_a_position_brings_only_what_is_new(tmp_path: Path) -> None:
    """Who has read the rest otherwise."""

    async def story() -> None:
        async with served(tmp_path) as at:
            await (await at.engine.start(pay, Order("1", 9), id="old")).result()
            new = asyncio.create_task(take(at, None, until=3))
            await asyncio.sleep(0.2)
            await at.engine.start(pay, Order("2", 9), id="new")
            assert {event.id for event in await asyncio.wait_for(new, 5)} == {"new"}

    asyncio.run(story())


def test_runs_that_are_not_in_memory_have_their_ids_in_the_feed(tmp_path: Path) -> None:
    """Those of an earlier life of the engine."""

    async def story() -> None:
        async with served(tmp_path) as at:
            await (await at.engine.start(pay, Order("1", 9), id="old")).result()
        async with served(tmp_path) as at:
            assert {event.id for event in await take(at, 0, until=2)} == {"old"}

    asyncio.run(story())


def test_a_feed_ends_with_its_engine(tmp_path: Path) -> None:
    """And does not keep it from ending."""

    async def story() -> None:
        async with served(tmp_path) as at:
            feed = asyncio.create_task(take(at, 0, until=1_000))
            await at.engine.start(pay, Order("1", 9))
            await asyncio.sleep(0.2)
        assert await asyncio.wait_for(feed, 1)

    asyncio.run(story())


@pytest.mark.parametrize("position", [-1, 10**20])
def test_a_position_that_is_none_is_refused(tmp_path: Path, position: int) -> None:
    """It says what a position is."""

    async def story() -> None:
        async with served(tmp_path) as at:
            with pytest.raises(BadRequest, match="position"):
                await take(at, position, until=1)

    asyncio.run(story())
