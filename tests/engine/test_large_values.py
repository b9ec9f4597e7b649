"""Values that are too long for one row of the journal, and some that are too long for any."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import wfkit
from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import State
from wfkit.api.signals import Signal, wait_signal
from wfkit.engine.engine import Engine
from wfkit.errors import PayloadTooLarge

letter = Signal("letter", str)
draft = State("draft", str)
LONG = "long " * 3_000
HUGE = "x" * 2_500_000
calls: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@step(retry=Retry(max_attempts=1))
async def echo(x: str) -> str:
    calls.append(len(x))
    return x


@step(retry=Retry(max_attempts=1))
async def hang(x: str) -> str:
    calls.append(x)
    if len(calls) == 1:
        await asyncio.sleep(3600)
    return x


@workflow
async def pass_on(x: str) -> str:
    for _ in range(3):
        x = await echo(x)
    draft.set(x)
    x += await wait_signal(letter)
    return await echo(x)


@workflow
async def hang_on(x: str) -> str:
    return await hang(x + "!")


@workflow
async def agent(turns: int) -> int:
    """Pass a growing list to a step on every turn."""
    messages: list[str] = []
    for turn in range(turns):
        messages.append(f"{turn} " * 500)
        messages.append(await think(messages))
    return len(messages)


@step
async def think(messages: list[str]) -> str:
    return f"thought of {len(messages)}"


def bytes_of(world: World) -> int:
    return sum(len(row.body) for row in world.disk.rows)


def test_long_values_travel_whole(world: World) -> None:
    """Through input, steps, state, signals and results, over crashes."""

    async def first(engine: Engine) -> None:
        await engine.start(pass_on, LONG, id="one")
        await until(lambda: len(calls) == 3)
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        run = engine.get(pass_on, "one")
        assert await run.state(draft) == LONG
        await run.send(letter, LONG)

    async def third(engine: Engine) -> None:
        run = engine.get(pass_on, "one")
        assert await run.result() == LONG + LONG
        assert await run.state(draft) == LONG
        await engine.start(pass_on, LONG, id="one")

    world.crash(first, pass_on)
    world.crash(second, pass_on)
    world.crash(third, pass_on)
    world.live(third, pass_on)
    world.live(third, pass_on)
    assert calls == [len(LONG)] * 3 + [2 * len(LONG)]
    check_journal(world.disk.rows, pass_on)
    assert bytes_of(world) < 4 * len(LONG)


def test_a_step_with_long_arguments_runs_again_with_them(world: World) -> None:
    """After a crash they come from the journal, also where the projection holds the run already."""

    async def first(engine: Engine) -> None:
        await engine.start(hang_on, LONG, id="one")
        await until(lambda: calls)
        await engine._projector.write()

    world.crash(first, hang_on)
    assert world.live(lambda engine: engine.get(hang_on, "one").result(), hang_on) == LONG + "!"
    assert calls == [LONG + "!"] * 2


def test_a_heavy_value_is_told_of_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Over 256 KiB: as input, as a step's arguments and as its result; a replay repeats nothing."""
    heavy = "x" * (256 * 1024 - 10)

    async def first(engine: Engine) -> None:
        await engine.start(pass_on, heavy, id="light")
        await engine.start(pass_on, heavy + "x" * 10, id="heavy")
        await until(lambda: len(calls) == 6)
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        for id in ("light", "heavy"):
            await engine.get(pass_on, id).send(letter, "")
            await engine.get(pass_on, id).result()

    with caplog.at_level("WARNING", "wfkit.payload"):
        world.crash(first, pass_on)
        told = [record.getMessage() for record in caplog.records]
        caplog.clear()
        world.live(second, pass_on)
    assert [message.partition(" takes 262 kB as JSON")[0] for message in told] == [
        "the input of workflow pass_on",
        *["what echo() of run heavy is called with", "the result of echo() of run heavy"] * 3,
    ]
    assert len(caplog.records) == 2


def test_a_list_that_grows_costs_what_is_new(world: World) -> None:
    """Not the square of it; evicted runs and crashes make no difference."""

    async def story(engine: Engine) -> int:
        return await (await engine.start(agent, 60, id="one")).result()

    assert world.live(story, agent) == 120
    longest = 60 * 1_500
    assert bytes_of(world) < 4 * longest
    check_journal(world.disk.rows, agent)


def test_a_value_that_is_too_long_is_refused_where_it_is_given(world: World) -> None:
    """As input, as a signal, and as a step's argument, which blocks the run."""

    async def story(engine: Engine) -> None:
        with pytest.raises(PayloadTooLarge):
            await engine.start(pass_on, HUGE)
        run = await engine.start(pass_on, "a", id="one")
        with pytest.raises(PayloadTooLarge):
            await run.send(letter, HUGE)
        with pytest.raises(PayloadTooLarge):
            await engine.publish(letter, HUGE)
        await run.send(letter, "b")
        assert await run.result() == "ab"

    world.live(story, pass_on)
    assert len(world.histories()) == 1


def test_long_values_on_a_file(tmp_path: Path) -> None:
    """The same in DuckDB, over a restart."""

    async def first() -> None:
        async with wfkit.Engine.open(str(tmp_path / "journal.duckdb"), workflows=[pass_on], control=False) as engine:
            run = await engine.start(pass_on, LONG, id="one")
            await run.send(letter, LONG)
            assert await run.result() == LONG + LONG
            await engine.start(pass_on, LONG, id="two")

    async def second() -> None:
        async with wfkit.Engine.open(str(tmp_path / "journal.duckdb"), workflows=[pass_on], control=False) as engine:
            assert await engine.get(pass_on, "one").result() == LONG + LONG
            run = engine.get(pass_on, "two")
            await run.send(letter, "!")
            assert await run.result() == LONG + "!"

    asyncio.run(first())
    asyncio.run(second())
