"""An engine whose disk is full: it stops acting, keeps what it has, and goes on by itself."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import State, logger, sleep
from wfkit.api.signals import Signal, wait_signal
from wfkit.engine.engine import Engine
from wfkit.errors import JournalFull

go = Signal("go", int)
counted = State("counted", int)
calls: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@step
async def act(x: Any) -> Any:
    calls.append(x)
    await asyncio.sleep(1)
    return x


@workflow
async def three_steps() -> list[int]:
    return [await act(x) for x in range(3)]


@workflow
async def take() -> int:
    got = await wait_signal(go)
    logger.warning("took %d", got)
    return got


@workflow
async def parent() -> int:
    return await child()


@workflow
async def child() -> int:
    return await act(5)  # type: ignore[no-any-return]  # it is what it was given


@workflow
async def doze() -> str:
    await sleep("5s")
    return "awake"


def test_requests_are_refused_and_say_why(world: World) -> None:
    """A start, a signal, a cancel: each with `JournalFull`, also one that was on its way."""

    async def story(engine: Engine) -> None:
        run = await engine.start(take, id="one")
        world.disk.fill()
        with pytest.raises(JournalFull):
            await engine.start(take, id="two")
        with pytest.raises(JournalFull):
            await run.send(go, 1)
        with pytest.raises(JournalFull):
            await run.cancel()
        with pytest.raises(JournalFull):
            await engine.publish(go, 1)
        world.disk.free()
        await asyncio.sleep(1)
        await run.send(go, 2)
        assert await run.result() == 2

    world.live(story, take)


def test_nothing_is_acted_on_before_it_is_durable(world: World) -> None:
    """No step begins, no child, no log line; when there is room again they do, by themselves."""

    async def story(engine: Engine) -> None:
        world.disk.fill()
        starts = [engine.start(wf, id=wf.name) for wf in (three_steps, parent)]
        refusals = await asyncio.gather(*starts, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [JournalFull, JournalFull]
        await asyncio.sleep(30)
        assert calls == []
        assert world.disk.rows == []
        world.disk.free()
        assert await engine.get(three_steps, "three_steps").result() == [0, 1, 2]
        assert await engine.get(parent, "parent").result() == 5

    world.live(story, three_steps, parent)
    check_journal(world.disk.rows, three_steps, parent)


def test_work_in_flight_goes_on_when_there_is_room(world: World) -> None:
    """The outcome of a step waits for room; nothing runs twice."""

    async def story(engine: Engine) -> list[int]:
        run = await engine.start(three_steps, id="one")
        await until(lambda: calls == [0, 1])
        world.disk.fill()
        await asyncio.sleep(20)
        assert calls == [0, 1]
        world.disk.free()
        return await run.result()

    assert world.live(story, three_steps) == [0, 1, 2]
    assert calls == [0, 1, 2]


def test_what_was_acknowledged_before_is_kept_over_a_crash(world: World) -> None:
    """What was not is lost, and was never pretended."""

    async def first(engine: Engine) -> None:
        await engine.start(three_steps, id="kept")
        world.disk.fill()
        with pytest.raises(JournalFull):
            await engine.start(three_steps, id="refused")

    world.crash(first, three_steps)
    world.disk.full = False
    assert world.live(lambda engine: engine.get(three_steps, "kept").result(), three_steps) == [0, 1, 2]
    assert {history[0].entry.id for history in world.histories().values()} == {"kept"}  # type: ignore[union-attr]  # a start


def test_a_state_is_not_told_before_it_is_durable(world: World) -> None:
    """The run has gone on in memory; nobody hears of that."""

    @workflow
    async def count() -> None:
        for x in range(3):
            counted.set(x)
            await wait_signal(go)

    async def story(engine: Engine) -> int:
        run = await engine.start(count)
        assert await run.state(counted) == 0
        world.disk.fill()
        asking = [run.send(go, 1), run.state(counted)]
        told = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(refusal) for refusal in told] == [JournalFull, JournalFull]
        world.disk.free()
        await asyncio.sleep(1)
        return await run.state(counted)

    assert world.live(story, count) == 1


def test_timers_and_logs_wait_for_room(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A log line is told after the commit of its activation."""

    async def story(engine: Engine) -> str:
        taker, dozer = await engine.start(take, id="one"), await engine.start(doze)
        world.disk.fill()
        with pytest.raises(JournalFull):
            await taker.send(go, 7)
        await asyncio.sleep(20)
        assert "took 7" not in caplog.text
        world.disk.free()
        assert await taker.result() == 7
        return await dozer.result()

    assert world.live(story, take, doze) == "awake"
    assert caplog.text.count("took 7") == 1


def test_an_engine_says_what_its_trouble_is(world: World) -> None:
    """And when it is over."""

    async def story(engine: Engine) -> None:
        world.disk.fill()
        with pytest.raises(JournalFull):
            await engine.start(take)
        assert isinstance(engine.requests.trouble, JournalFull)
        world.disk.free()
        await until(lambda: engine.requests.trouble is None)

    world.live(story, take)


def test_a_projection_that_had_no_room_is_written_later(world: World) -> None:
    """By itself, also if nothing happens any more."""

    async def story(engine: Engine) -> None:
        await engine.start(take)
        world.disk.fill()
        await asyncio.sleep(30)
        assert world.disk._projected == 0
        world.disk.free()
        await until(lambda: world.disk._projected == len(world.disk.rows))

    world.live(story, take)


def test_an_engine_can_be_closed_without_room_for_the_projection(world: World) -> None:
    """All that was acknowledged is durable, so that is no error, and the next engine goes on with it."""

    async def first(engine: Engine) -> None:
        await engine.start(take, id="one")
        world.disk.fill()

    async def second(engine: Engine) -> int:
        await engine.get(take, "one").send(go, 3)
        return await engine.get(take, "one").result()

    world.live(first, take)
    world.disk.full = False
    assert world.live(second, take) == 3
