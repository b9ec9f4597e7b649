"""Runs that send to each other while most of them are in the journal alone.

Every delivery then waits for its receiver to be read, and others come in between: units join, runs are rebuilt, evicted and
read again. Whatever the interleaving, all histories are gapless and every message arrives exactly once.
"""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.engine.world import Disk, SlowDisk, World, check_journal
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import info, rng, sleep, start_child
from wfkit.api.registry import Registry
from wfkit.api.signals import Signal, publish, send, subscribe, wait_signal
from wfkit.engine import projector
from wfkit.engine.engine import Engine, running
from wfkit.journal.duckdb import open_journal

ball = Signal("ball", int)
news = Signal("news", int)
letter = Signal("letter", tuple[str, int])
begin = Signal("begin", None)


@step
async def think(x: int) -> int:
    await asyncio.sleep(0)
    return x


@workflow
async def player(other: str, rounds: int) -> int:
    """Return each ball to the one that it came from."""
    got = 0
    for _ in range(rounds):
        got = await wait_signal(ball)
        send(other, ball, got + 1)
    return got


@workflow
async def letter_writer(me: int, count: int, letters: int, seed: int) -> list[tuple[str, int]]:
    """Write letters to others by chance, and wait for as many as are to come."""
    chance = Random(seed)
    expected = expected_letters(count, letters, seed)[me]
    got: list[tuple[str, int]] = []

    async def read() -> None:
        got.extend([await wait_signal(letter) for _ in range(expected)])

    async def write() -> None:
        for number, to in enumerate(addressees(me, count, letters, seed)):
            send(f"writer-{to}", letter, (info().id, number))
            if chance.random() < 0.3:
                await think(number)
            elif chance.random() < 0.3:
                await sleep("10ms")
            if chance.random() < 0.1:
                publish(news, number)
            if chance.random() < 0.2:
                assert await think_in_a_child(number) == number

    await wait_signal(begin)
    await asyncio.gather(read(), write())
    return got


@workflow
async def think_in_a_child(x: int) -> int:
    return await think(x)


@workflow
async def reader(seconds: int) -> int:
    """Count the news while they come."""
    count = 0
    with subscribe(news):
        while True:
            try:
                await wait_signal(news, timeout=seconds)
            except TimeoutError:
                return count
            count += 1


@workflow
async def family(depth: int) -> int:
    """Start two children, down to some depth, and report to the root by signal as well as by result."""
    if depth == 0:
        return 1
    if rng().random() < 0.5:
        await sleep("5ms")
    start_child(think_in_a_child, depth)
    return sum(await asyncio.gather(family(depth - 1), family(depth - 1)))


def addressees(me: int, count: int, letters: int, seed: int) -> list[int]:
    """Return to whom a writer writes. Not to itself, nor to whoever expects nothing of it."""
    chance = Random(seed * 1000 + me)
    return [(me + chance.randrange(1, count)) % count for _ in range(letters)]


def expected_letters(count: int, letters: int, seed: int) -> list[int]:
    """Return how many letters come to each writer."""
    expected = [0] * count
    for me in range(count):
        for to in addressees(me, count, letters, seed):
            expected[to] += 1
    return expected


@pytest.fixture(autouse=True)
def _chill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs go as soon as nothing needs them, many times a second."""
    monkeypatch.setattr(projector, "IDLE_SECONDS", 0.002)
    monkeypatch.setattr(projector, "CHANGED_MAX", 0)


async def play(engine: Engine, pairs: int, rounds: int) -> None:
    a = [await engine.start(player, f"b-{i}", rounds, id=f"a-{i}") for i in range(pairs)]
    b = [await engine.start(player, f"a-{i}", rounds, id=f"b-{i}") for i in range(pairs)]
    for run in a:
        await run.send(ball, 1)
    assert [await run.result() for run in a] == [2 * rounds - 1] * pairs
    assert [await run.result() for run in b] == [2 * rounds] * pairs


async def correspond(engine: Engine, count: int, letters: int, seed: int, silence_seconds: int = 30) -> None:
    readers = [await engine.start(reader, silence_seconds, id=f"reader-{i}") for i in range(3)]
    starts = [engine.start(letter_writer, me, count, letters, seed, id=f"writer-{me}") for me in range(count)]
    writers = await asyncio.gather(*starts)
    await asyncio.gather(*(run.send(begin, None, dedupe="begin") for run in writers))
    for me, run in enumerate(writers):
        got = await run.result()
        assert len(got) == len(set(got)) == expected_letters(count, letters, seed)[me]
    published = [await run.result() for run in readers]
    assert published == [len(await bus(engine))] * 3


async def bus(engine: Engine) -> list[object]:
    return list(await engine._journal.history(0))


ALL = (player, letter_writer, think_in_a_child, reader, family)
COLD: dict[str, Any] = {"hot_max": 1, "warm_max": 0}


@pytest.mark.parametrize("seed", range(4))
def test_two_cold_runs_play_ball(seed: int) -> None:
    """Many pairs at once, each ball is returned once."""
    world = World(SlowDisk(seed))
    world.live(lambda engine: play(engine, 20, 10), *ALL, **COLD)
    check_journal(world.disk.rows, *ALL)


@pytest.mark.parametrize("seed", range(4))
def test_hundreds_of_cold_runs_write_to_each_other(seed: int) -> None:
    """Letters, news and children by chance: all arrive, once each."""
    world = World(SlowDisk(seed))
    world.live(lambda engine: correspond(engine, 60, 6, seed), *ALL, **COLD)
    check_journal(world.disk.rows, *ALL)


@pytest.mark.parametrize("seed", range(4))
def test_cold_families_come_together(seed: int) -> None:
    """Parents and children find each other, whoever is in memory."""
    world = World(SlowDisk(seed))

    async def story(engine: Engine) -> None:
        runs = [await engine.start(family, 4, id=f"root-{i}") for i in range(4)]
        assert [await run.result() for run in runs] == [16] * 4

    world.live(story, *ALL, **COLD)
    check_journal(world.disk.rows, *ALL)


@pytest.mark.parametrize("seed", range(3))
def test_letters_survive_crashes(seed: int) -> None:
    """At any write: what was acknowledged arrives, and nothing arrives twice."""
    world = World(SlowDisk(seed))
    chance = Random(seed)

    async def story(engine: Engine) -> None:
        await correspond(engine, 20, 15, seed)

    crashes = 0
    for _ in range(10):
        world.disk.crash_before = len(world.disk.units) + chance.randrange(60, 180)
        crashes += world.crash_at_write(story, *ALL, **COLD)
    world.live(story, *ALL, **COLD)
    assert crashes > 3
    check_journal(world.disk.rows, *ALL)


def test_cold_runs_on_a_file(tmp_path: Path) -> None:
    """The same on DuckDB, in real time, with a reader in a thread of its own."""

    async def life() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        async with running(journal, Registry(ALL), **COLD) as engine:
            await play(engine, 10, 5)
            await correspond(engine, 20, 4, seed=1, silence_seconds=1)

    async def rows() -> list[object]:
        journal = await open_journal(tmp_path / "journal.duckdb")
        runs = [await journal.history(run) for run in range(journal.last_run + 1)]
        await journal.close()
        return [row for history in runs for row in history]

    asyncio.run(life())
    check_journal(asyncio.run(rows()), *ALL)  # type: ignore[arg-type]  # they are rows


def test_a_disk_keeps_its_units_whole() -> None:
    """What the tests here rely on: a crash before a unit leaves nothing of it."""
    disk = Disk()
    disk.crash_before = 0
    world = World(disk)
    assert world.crash_at_write(lambda engine: engine.start(think_in_a_child, 1), *ALL)
    assert disk.rows == []
