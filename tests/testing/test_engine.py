"""`TestEngine`: the real engine in an ordinary unit test, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wfkit import (
    ProgrammingError,
    Retry,
    RunCancelled,
    RunFailed,
    Signal,
    SimulationBounds,
    State,
    StuckRun,
    UnsimulatedIO,
    resource,
    sleep,
    step,
    step_info,
    wait_signal,
    workflow,
)
from wfkit.testing import FakeService, TestEngine

packed = Signal("packed", str)
stage = State("stage", str)


@resource
async def bank() -> Any:
    yield None


@step
async def charge(amount: int) -> str:
    await asyncio.sleep(2)
    return str(await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step
def stamp() -> float:
    time.sleep(5)
    return time.time()


@step(retry=Retry(max_attempts=None))
async def never() -> None:
    raise ConnectionError


@step(retry=Retry(max_attempts=3))
def dial() -> None:
    with contextlib.suppress(OSError), socket.socket() as wire:
        wire.connect(("127.0.0.1", 9))


@workflow
async def order(amount: int) -> str:
    stage.set("paying")
    receipt = await charge(amount)
    stage.set("waiting")
    await sleep("30 days")
    return f"{receipt} in box {await wait_signal(packed)}"


@workflow
async def clocks() -> tuple[float, float]:
    return await stamp(), await stamp()


@workflow
async def broken() -> None:
    await sleep(60)
    nonsense  # type: ignore[name-defined]  # noqa: B018, F821  # the mistake is the test


@workflow
async def calls() -> None:
    await dial()


@workflow
async def parent() -> str:
    return await order(5)


@workflow
async def endless() -> None:
    while True:
        await sleep(1)


def test_thirty_days_pass_at_once_and_steps_see_them() -> None:
    """Only `advance` and `result` move the time; a month takes milliseconds."""

    async def test() -> str:
        service = FakeService("bank")
        async with TestEngine.open(workflows=[order], resources={bank: service}) as engine:
            start = engine.now()
            run = await engine.start(order, 49, id="order-1")
            assert service.effects == []
            assert await run.state(stage) == "paying"
            await engine.advance("2s")
            assert [effect.at - start for effect in service.effects] == [timedelta(seconds=2)]
            assert await run.state(stage) == "waiting"
            await engine.advance("29 days")
            assert await run.status() == "running"
            await run.send(packed, "7")
            result = await run.result()
            assert engine.now() - start == timedelta(days=30, seconds=2)
            assert [found.id for found in await engine.runs()] == ["order-1"]
            return result

    began = time.perf_counter()
    assert asyncio.run(test()) == "charge-1 in box 7"
    assert time.perf_counter() - began < 60


def test_def_steps_see_virtual_time_and_the_test_itself_the_real_one() -> None:
    """A blocking sleep takes no time; outside of the engine nothing has changed."""

    async def test() -> tuple[float, float]:
        start = datetime(2030, 1, 1, tzinfo=UTC)
        async with TestEngine.open(workflows=[clocks], start=start) as engine:
            assert abs(time.time() - start.timestamp()) > 86_400
            return await (await engine.start(clocks)).result()

    start = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    assert asyncio.run(test()) == (start + 5, start + 10)


CHILDREN = {"clocks": clocks}


@workflow
async def by_table() -> tuple[float, float]:
    return await CHILDREN["clocks"]()


def test_a_child_that_only_a_table_names_is_found() -> None:
    """Nobody has to hand it over beside its parent."""

    async def test() -> tuple[float, float]:
        async with TestEngine.open(workflows=[by_table], start=datetime(2030, 1, 1, tzinfo=UTC)) as engine:
            return await (await engine.start(by_table)).result()

    assert asyncio.run(test())[0] > 0


def test_a_run_that_nothing_will_end_is_told_with_what_it_awaits_and_the_line() -> None:
    """In place of a test that hangs; through children too."""

    async def test() -> str:
        async with TestEngine.open(workflows=[parent], resources={bank: FakeService("bank")}) as engine:
            run = await engine.start(parent, id="p")
            with pytest.raises(StuckRun) as caught:
                await run.result()
            return str(caught.value)

    told = asyncio.run(test())
    assert "run p does not end: it waits for the child p" in told
    assert f"the signal packed, at {__file__}:" in told


def test_another_task_of_the_test_may_bring_what_is_awaited() -> None:
    """`result` lets the test's other tasks go first, and looks again before it gives up."""

    async def test() -> Any:
        async with TestEngine.open(workflows=[order], resources={bank: FakeService("bank")}) as engine:
            run = await engine.start(order, 1)
            return await asyncio.gather(run.result(), run.send(packed, "9"))

    assert asyncio.run(test())[0] == "charge-1 in box 9"


def test_advance_raises_for_a_run_that_is_blocked() -> None:
    """Once, with the error that blocked it; and so does `result`."""

    async def test() -> None:
        async with TestEngine.open(workflows=[broken]) as engine:
            run = await engine.start(broken, id="b")
            with pytest.raises(ProgrammingError, match=r"run b is blocked: .*nonsense"):
                await engine.advance("2 minutes")
            await engine.advance("2 minutes")
            with pytest.raises(ProgrammingError, match="nonsense"):
                await run.result()

    asyncio.run(test())


def test_a_real_socket_is_refused_whatever_the_step_makes_of_it() -> None:
    """It would be a unit test that depends on the network."""

    async def test() -> None:
        async with TestEngine.open(workflows=[calls]) as engine:
            with pytest.raises(UnsimulatedIO, match=r"step dial reaches for the real world: it connects to .* in dial"):
                await engine.start(calls)

    asyncio.run(test())


def test_what_has_no_end_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of timers would let `result` skip through a hundred years."""
    monkeypatch.setattr("wfkit.testing.machine.CALLBACKS_MAX", 20_000)

    async def test() -> None:
        async with TestEngine.open(workflows=[endless]) as engine:
            run = await engine.start(endless)
            with pytest.raises(SimulationBounds):
                await run.result()

    asyncio.run(test())


def test_runs_are_cancelled_and_fail_as_they_do_elsewhere() -> None:
    """It is the real engine."""

    async def test() -> None:
        async with TestEngine.open(workflows=[order]) as engine:
            run = await engine.start(order, 1)
            await run.cancel("enough")
            with pytest.raises(RunCancelled):
                await run.result()
            other = await engine.start(order, 2)
            with pytest.raises(RunFailed):
                await other.result()  # nobody has given it a bank

    asyncio.run(test())


def test_two_engines_side_by_side_have_times_of_their_own() -> None:
    """And may be closed in any order."""

    async def test() -> None:
        first = TestEngine.open(workflows=[clocks])
        second = TestEngine.open(workflows=[clocks])
        one, other = await first.__aenter__(), await second.__aenter__()
        await one.advance("1 day")
        await first.__aexit__(None, None, None)
        await other.advance("1h")
        assert (await (await other.start(clocks)).result())[0] == other.now().timestamp() - 5
        await second.__aexit__(None, None, None)

    asyncio.run(test())
    assert not hasattr(time.time, "__wfkit_simulated__")


def test_it_works_without_any_event_loop_around_it() -> None:
    """So under every plugin that runs async tests, whatever its loop is."""

    async def test() -> str:
        async with TestEngine.open(workflows=[order], resources={bank: FakeService("bank")}) as engine:
            run = await engine.start(order, 3)
            await run.send(packed, "1")
            return await run.result()

    coroutine = test()
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value == "charge-1 in box 1"
