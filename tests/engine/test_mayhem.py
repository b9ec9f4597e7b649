"""Chance decides what runs do, and what happens to them: children, signals, failures, cancels, restarts, crashes.

Nothing is known of the results. But every history must be gapless and replay, every message must arrive once, all must come to
an end, and nothing may be left over: no wait in an index, no job, no row of the projection that differs from its history.
"""

import asyncio
import contextlib
import logging
from random import Random
from typing import Any

import pytest

from tests.engine.world import SlowDisk, World, check_journal
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import rng, sleep, start_child
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, publish, send, subscribe, wait_signal
from wfkit.core.state import RunState, encode_state
from wfkit.engine import projector
from wfkit.engine.engine import Engine
from wfkit.errors import WfkitError

IDS = [f"run-{i}" for i in range(8)]
poke = Signal("poke", int)


@step(retry=Retry(max_attempts=2, initial="3ms"))
async def nap(x: int) -> int:
    await asyncio.sleep((x % 7) / 500)
    if x % 5 == 0:
        raise ConnectionError
    return x


@step
async def wake(x: int) -> None:
    await asyncio.sleep(0.002)


@workflow(timeout="3s")
async def chaos(depth: int) -> int:
    total = 0
    with subscribe(poke):
        async with saga() as s:
            await s.do(nap, 2, undo=wake)
            for _ in range(4):
                total += sum(await asyncio.gather(*(act(depth) for _ in range(3))))
            if rng().random() < 0.2:
                raise LookupError("no")
    return total


async def act(depth: int) -> int:
    """Do one thing of those that a workflow can do."""
    choice = rng().randrange(8 if depth else 6)
    with contextlib.suppress(ConnectionError, TimeoutError, WfkitError):
        if choice == 0:
            return await nap(rng().randrange(1000))
        if choice == 1:
            await sleep(rng().random() / 50)
        if choice == 2:
            send(rng().choice(IDS), poke, 1)
        if choice == 3:
            publish(poke, 1)
        if choice in (4, 5):
            return await wait_signal(poke, timeout=rng().random() / 20)
        if choice == 6:
            return await chaos(depth - 1)
        if choice == 7:
            start_child(chaos, depth - 1, on_parent_end=rng().choice(("abandon", "cancel")))
    return 0


async def meddle(engine: Engine, chance: Random) -> None:
    """Do to runs what can be done from outside."""
    for n in range(25):
        run = engine.get(chaos, chance.choice(IDS))
        with contextlib.suppress(WfkitError):
            match chance.randrange(8):
                case 0:
                    await run.send(poke, n, dedupe=chance.choice((None, "once")))
                case 1:
                    await engine.publish(poke, n)
                case 2:
                    await run.cancel()
                case 3:
                    await run.terminate()
                case _:
                    await engine.start(chaos, 1, id=run.id, if_finished="restart")
        await asyncio.sleep(chance.choice((0, 0.001, 0.01, 0.05)))


async def settle(engine: Engine) -> None:
    """Let all come to an end, and see that nothing is left."""
    await asyncio.sleep(60)
    assert [run.state.id for run in engine._runs if not run.state.finished] == []
    assert [row.id for row in await engine._journal.unfinished() if row.run] == []
    assert engine._mailbox._waits == engine._mailbox._awaiting == {}
    assert engine._executor.in_flight == 0


def check_projection(world: World) -> None:
    for run, history in world.histories().items():
        state = RunState(run)
        for record in history:
            state.apply(record)
        assert world.disk._runs[run].state == encode_state(state)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_all_comes_to_an_end_and_adds_up(
    seed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With room for all runs in memory, for some, and for none; closed in between, or crashed at any write."""
    monkeypatch.setattr(projector, "IDLE_SECONDS", 0.002)
    monkeypatch.setattr(projector, "CHANGED_MAX", 0)
    caplog.set_level(logging.ERROR, "wfkit.engine")
    options: dict[str, Any] = [{"hot_max": 1, "warm_max": 0}, {"hot_max": 2, "warm_max": 3}, {"hot_max": 1}, {}][seed % 4]
    world, chance = World(SlowDisk(seed)), Random(seed)
    if seed % 2:
        world.live(lambda engine: meddle(engine, chance), chaos, **options)
    for _ in range(3):
        world.disk.crash_before = len(world.disk.units) + chance.randrange(100, 400)
        world.crash_at_write(lambda engine: meddle(engine, chance), chaos, **options)
    world.live(settle, chaos, **options)
    check_journal(world.disk.rows, chaos)
    check_projection(world)
    assert caplog.text == ""
