"""Closing at any moment: whatever is cancelled or fails, the journal is let go of and says what is true."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import wfkit
from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Workflow, step, workflow
from wfkit.api.resources import resource
from wfkit.core.entries import AttemptFailed, StepCompleted
from wfkit.engine.client import Client
from wfkit.engine.engine import Engine
from wfkit.journal.memory import MemoryJournal
from wfkit.journal.port import Row

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@resource
async def slow_to_close() -> AsyncIterator[str]:
    yield "client"
    await asyncio.sleep(3)


@step
async def quick() -> int:
    return 1


@step
async def for_long() -> int:
    calls.append(slow_to_close.get())
    if len(calls) == 1:
        await asyncio.sleep(100)
    return 7


@workflow
async def main() -> int:
    task = asyncio.create_task(for_long())
    for _ in range(5):
        await quick()
        await asyncio.sleep(1)
    return await task


def result(engine: Engine) -> Any:
    return engine.get(main, "one").result()


async def start_and_be_in_flight(engine: Client, wf: Workflow[[], int] = main) -> None:
    await engine.start(wf, id="one")
    await until(lambda: calls)


def test_a_recovery_that_is_cancelled_midway_leaves_the_journal_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was read in part has a step in flight; closing records nothing of it."""

    async def first(engine: Engine) -> None:
        await start_and_be_in_flight(engine)
        await engine._projector.write()
        await asyncio.sleep(2.5)
        await engine.requests._all_durable()

    async def cancelled(_journal: MemoryJournal) -> list[Row]:
        this = asyncio.current_task()
        assert this is not None
        this.cancel()
        await asyncio.sleep(1)
        raise AssertionError("it went on")

    world.crash(first, main)
    rows, projected = list(world.disk.rows), dict(world.disk._runs)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryJournal, "since_projection", cancelled)
        with pytest.raises(asyncio.CancelledError):
            world.live(result, main)
    assert world.disk.rows == rows
    assert world.disk._runs == projected
    assert world.disk._journal is None
    assert world.live(result, main) == 7
    check_journal(world.disk.rows, main)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.5], ids=["at once", "while it drains", "while resources close"])
def test_a_close_that_is_cancelled_lets_the_journal_go(world: World, seconds: float) -> None:
    """All the rest of closing is done, so the step that it interrupts is blamed for nothing."""

    async def story(engine: Engine) -> None:
        await start_and_be_in_flight(engine)
        life = asyncio.current_task()
        assert life is not None
        asyncio.get_running_loop().call_later(seconds, life.cancel)

    with pytest.raises(asyncio.CancelledError):
        world.live(story, main)
    assert world.disk._journal is None
    assert world.disk._projected == len(world.disk.rows)
    failed = [record.entry.error.type for record in world.history("one") if isinstance(record.entry, AttemptFailed)]
    assert failed == ["EngineClosed"]
    assert world.live(result, main) == 7


def test_a_close_that_is_cancelled_lets_a_file_go(tmp_path: Path) -> None:
    """The same process can open it again, and the run goes on."""

    @step
    async def hang_once() -> int:
        calls.append("began")
        if len(calls) == 1:
            await asyncio.sleep(100)
        return 7

    @workflow(name="main")
    async def one_step() -> int:
        return await hang_once()

    def opened() -> AbstractAsyncContextManager[wfkit.Engine]:
        return wfkit.Engine.open(str(tmp_path / "journal.duckdb"), workflows=[one_step], control=False)

    async def use(closing: asyncio.Event) -> None:
        async with opened() as engine:
            await start_and_be_in_flight(engine, one_step)
            closing.set()

    async def life() -> int:
        closing = asyncio.Event()
        using = asyncio.create_task(use(closing))
        await closing.wait()
        await asyncio.sleep(0.05)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        async with opened() as engine:
            return await engine.get(one_step, "one").result()

    assert asyncio.run(life()) == 7
    assert calls == ["began"] * 2


def test_a_result_that_comes_while_the_engine_drains_is_recorded(world: World) -> None:
    """Even one that comes in the very moment of closing; the step does not run again."""
    gate = asyncio.Event()

    @step
    async def charge() -> int:
        calls.append("charged")
        await gate.wait()
        return 5

    @workflow(name="main")
    async def one_step() -> int:
        return await charge()

    async def story(engine: Engine) -> None:
        await engine.start(one_step, id="one")
        await until(lambda: calls)
        gate.set()
        while engine._executor.in_flight:  # the turn of the loop counts, which no event tells
            await asyncio.sleep(0)

    world.live(story, one_step)
    assert [type(record.entry) for record in world.history("one")[1:]] == [StepCompleted]
    assert world.live(result, one_step) == 5
    assert calls == ["charged"]


def test_runs_that_were_left_alone_are_not_written_to_at_the_end(world: World) -> None:
    """Not even that the engine was closed: their steps never ran in it."""
    world.crash(start_and_be_in_flight, main)
    rows = list(world.disk.rows)
    world.live(lambda _engine: asyncio.sleep(30), main, all_runs=False)
    assert world.disk.rows == rows
    assert world.live(result, main) == 7
