"""Cancel and terminate, from outside."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import sleep
from wfkit.api.saga import saga
from wfkit.core.entries import CancelRequested
from wfkit.engine.engine import Engine
from wfkit.errors import RunCancelled, RunEnded, RunTerminated

told: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


@step
async def do(x: str) -> str:
    return x


@step
async def undo(x: str) -> None:
    await asyncio.sleep(2)
    told.append(f"undo {x}")


@step
async def long() -> None:
    told.append("long")
    try:
        await asyncio.sleep(3600)
    finally:
        told.append("stopped")


@workflow
async def booked() -> None:
    async with saga() as s:
        await s.do(do, "a", undo=undo)
        await s.do(do, "b", undo=undo)
        await sleep("1h")


@workflow
async def stubborn() -> str:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        await sleep("5s")
        return "no"
    return "yes"


@workflow
async def in_a_step() -> None:
    await long()


def test_a_cancel_is_delivered_once_and_compensations_run(world: World) -> None:
    """However often it is asked for."""

    async def story(engine: Engine) -> None:
        run = await engine.start(booked, id="one")
        await asyncio.sleep(1)
        await asyncio.gather(*(run.cancel("why") for _ in range(5)))
        await run.cancel("again")
        with pytest.raises(RunCancelled, match="why"):
            await run.result()
        with pytest.raises(RunEnded):
            await run.cancel()

    world.live(story, booked)
    assert told == ["undo b", "undo a"]
    assert sum(isinstance(record.entry, CancelRequested) for record in world.history("one")) == 1


def test_a_cancel_survives_a_crash_in_the_midst_of_cleanup(world: World) -> None:
    """The compensation that was in flight runs again, and the next one after it."""

    async def first(engine: Engine) -> None:
        run = await engine.start(booked, id="one")
        await asyncio.sleep(1)
        await run.cancel("why")
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        with pytest.raises(RunCancelled, match="why"):
            await engine.get(booked, "one").result()

    world.crash(first, booked)
    world.live(second, booked)
    assert told == ["undo b", "undo a"]


def test_a_workflow_may_refuse_to_be_cancelled(world: World) -> None:
    """It caught the cancel: what it returns counts."""

    async def story(engine: Engine) -> str:
        run = await engine.start(stubborn)
        await run.cancel()
        return await run.result()

    assert world.live(story, stubborn) == "no"


def test_a_cancel_reaches_an_evicted_run(world: World) -> None:
    """Also one that is in the journal alone."""

    async def story(engine: Engine) -> None:
        runs = [await engine.start(booked, id=f"run-{i}") for i in range(3)]
        await asyncio.sleep(1)
        await engine._projector.write()
        assert not list(engine._runs)
        for run in runs:
            await run.cancel()
        for run in runs:
            with pytest.raises(RunCancelled):
                await run.result()

    world.live(story, booked, hot_max=1, warm_max=0)
    assert len(told) == 6
    check_journal(world.disk.rows, booked)


def test_a_cancel_stops_the_step_that_the_run_awaits(world: World) -> None:
    """Its task is cancelled."""

    async def story(engine: Engine) -> None:
        run = await engine.start(in_a_step)
        await until(lambda: told)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()
        await asyncio.sleep(1)

    world.live(story, in_a_step)
    assert told == ["long", "stopped"]


def test_a_terminate_stops_at_once_and_undoes_nothing(world: World) -> None:
    """A run that sleeps, one in a step, one that is evicted."""

    async def story(engine: Engine) -> None:
        runs = [await engine.start(wf, id=wf.name) for wf in (booked, stubborn, in_a_step)]
        await until(lambda: told)
        await asyncio.sleep(1)
        for run in runs:
            await run.terminate("now")
            with pytest.raises(RunTerminated, match="now"):
                await run.result()
            with pytest.raises(RunEnded):
                await run.terminate()
        await asyncio.sleep(10)
        assert told == ["long", "stopped"]

    world.live(story, booked, stubborn, in_a_step, hot_max=1)
    assert told == ["long", "stopped"]


def test_a_terminated_run_stays_terminated_after_a_crash(world: World) -> None:
    """An acknowledged terminate is durable."""

    async def first(engine: Engine) -> None:
        await (await engine.start(booked, id="one")).terminate()

    async def second(engine: Engine) -> None:
        with pytest.raises(RunTerminated):
            await engine.get(booked, "one").result()

    world.crash(first, booked)
    world.live(second, booked)
    assert told == []


def test_a_cancel_of_a_run_that_is_not_loaded_yet_after_a_crash(world: World) -> None:
    """It comes in the order of the inbox, and once."""

    async def first(engine: Engine) -> None:
        await engine.start(booked, id="one")
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        run = engine.get(booked, "one")
        await asyncio.gather(run.cancel("a"), run.cancel("b"))
        with pytest.raises(RunCancelled, match="a"):
            await run.result()

    world.crash(first, booked)
    world.live(second, booked)
    assert told == ["undo b", "undo a"]
    check_journal(world.disk.rows, booked)
