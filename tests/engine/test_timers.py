"""Timers: sleeps, deadlines, and a wall clock that jumps."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import START, World, check_journal, until
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import now, sleep, timeout
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.entries import CancelRequested, TimerFired
from wfkit.engine.engine import Engine
from wfkit.errors import RunCancelled, RunTimedOut

go = Signal("go", int)
told: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


@workflow
async def doze(length: str) -> float:
    before = now()
    await sleep(length)
    return (now() - before).total_seconds()


@workflow
async def race(length: str) -> str:
    try:
        async with timeout(length):
            await sleep("1s")
    except TimeoutError:
        return "timeout"
    await sleep("30s")
    return "in time"


def seconds() -> float:
    return round(asyncio.get_running_loop().time(), 3)


def fired(world: World, id: str) -> int:
    return sum(isinstance(record.entry, TimerFired) for record in world.history(id))


def test_a_sleep_ends_when_its_time_has_come(world: World) -> None:
    """Not before, and as soon as the engine is told."""

    async def story(engine: Engine) -> tuple[float, float]:
        return await (await engine.start(doze, "90s")).result(), seconds()

    slept, took = world.live(story, doze)
    assert slept == took == pytest.approx(90, abs=0.01)


def test_a_sleep_goes_on_across_crashes(world: World) -> None:
    """What has passed is not slept again."""

    async def first(engine: Engine) -> None:
        await engine.start(doze, "90s", id="one")
        await asyncio.sleep(30)

    async def again(engine: Engine) -> None:
        await asyncio.sleep(30)

    async def last(engine: Engine) -> tuple[float, float]:
        return await engine.get(doze, "one").result(), seconds()

    world.crash(first, doze)
    world.crash(again, doze)
    slept, took = world.live(last, doze)
    assert slept == pytest.approx(90, abs=0.01)
    assert took == pytest.approx(30, abs=0.01)


def test_a_cancelled_timer_never_fires(world: World) -> None:
    """Nor after a restart: what was taken back costs no entry."""

    async def first(engine: Engine) -> None:
        await engine.start(race, "10s", id="one")
        await asyncio.sleep(5)

    async def second(engine: Engine) -> str:
        return await engine.get(race, "one").result()

    world.crash(first, race)
    assert world.live(second, race) == "in time"
    assert fired(world, "one") == 2


def test_a_timer_that_is_set_again_for_another_time_keeps_to_that(world: World) -> None:
    """Many of them, cancelled and set, in one run."""

    @workflow
    async def main() -> str:
        for _ in range(200):
            async with timeout("5s"):
                await sleep("10ms")
        return "done"

    async def story(engine: Engine) -> float:
        await (await engine.start(main, id="one")).result()
        await asyncio.sleep(30)
        return len(engine._timers._heap)

    assert world.live(story, main) == 0
    assert fired(world, "one") == 200


def test_a_clock_that_jumps_ahead_is_noticed_within_seconds(world: World) -> None:
    """A laptop that slept: what fell due meanwhile comes at the next look, though the loop's time stood still."""

    async def story(engine: Engine) -> tuple[float, float]:
        run = await engine.start(doze, "2 days")
        await asyncio.sleep(20)
        world.clock.jump(3 * 86_400)
        return await run.result(), seconds()

    slept, took = world.live(story, doze)
    assert slept > 3 * 86_400
    assert took <= 20 + 5 + 0.1


def test_a_clock_that_jumps_back_fires_nothing_early_and_takes_no_time_back(world: World) -> None:
    """The timer waits for the wall clock, and the times of the entries only grow."""

    @workflow
    async def main() -> list[float]:
        times = []
        for _ in range(3):
            await sleep("10s")
            times.append(now().timestamp())
        return times

    async def story(engine: Engine) -> list[float]:
        run = await engine.start(main, id="one")
        await asyncio.sleep(15)
        world.clock.jump(-100)
        return await run.result()

    times = world.live(story, main)
    assert times == sorted(times)
    assert [round(at - START / 1e6) for at in times] == [10, 20, 30]
    assert world.clock.now() >= START + 30_000_000
    check_journal(world.disk.rows, main)


def test_what_comes_while_the_clock_is_behind_takes_no_time_back(world: World) -> None:
    """Signals, a step's outcome, a cancel: their entries have the time of the entry before."""

    @step
    async def brief() -> None:
        await asyncio.sleep(1)

    @workflow
    async def main() -> None:
        await sleep("10s")
        await wait_signal(go)
        await brief()
        await wait_signal(go)

    async def story(engine: Engine) -> None:
        run = await engine.start(main, id="one")
        await asyncio.sleep(15)
        world.clock.jump(-100)
        await run.send(go, 1)
        await asyncio.sleep(2)
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result()

    world.live(story, main)
    times = [record.entry.t for record in world.history("one")]
    assert times == [START, *[START + 10_000_000] * 4]
    check_journal(world.disk.rows, main)


def test_a_clock_behind_the_history_at_the_start_takes_no_time_back(world: World) -> None:
    """The machine's clock was set back while the engine was down."""

    async def first(engine: Engine) -> None:
        await engine.start(doze, "10s", id="one")

    world.crash(first, doze)
    world.clock.jump(-50)
    assert world.live(lambda engine: engine.get(doze, "one").result(), doze) == pytest.approx(10, abs=0.01)
    check_journal(world.disk.rows, doze)


def test_a_step_in_flight_begins_anew_at_once_though_the_clock_is_behind(world: World) -> None:
    """It is due by the run's own time, which never goes back: the wall clock has hours to go until then."""

    @step
    async def work() -> float:
        await asyncio.sleep(5)
        return seconds()

    @workflow
    async def main() -> float:
        await sleep("10s")
        return await work()

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await asyncio.sleep(12)

    world.crash(first, main)
    world.clock.jump(-7_200)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == pytest.approx(5, abs=0.01)
    check_journal(world.disk.rows, main)


def test_overdue_timers_come_in_the_order_of_their_due_times(world: World) -> None:
    """Of one run, and over all runs."""

    @step
    async def note(x: str) -> None:
        told.append(x)

    @workflow
    async def main(name: str, first: str, second: str) -> None:
        async def later(x: str) -> None:
            await sleep(x)
            await note(name + x)

        await asyncio.gather(later(first), later(second))

    async def story(engine: Engine) -> None:
        await engine.start(main, "a", "40m", "10m", id="a")
        await engine.start(main, "b", "30m", "20m", id="b")

    async def again(engine: Engine) -> None:
        for id in ("a", "b"):
            await engine.get(main, id).result()

    world.crash(story, main)
    world.clock.jump(7200)
    world.live(again, main)
    order = [row for row in world.disk.rows if row.kind == 4]
    assert [(row.run, row.seq) for row in order] == [(1, 2), (2, 2), (2, 3), (1, 3)]
    assert sorted(told) == ["a10m", "a40m", "b20m", "b30m"]


@step
async def do(x: str) -> str:
    return x


@step
async def undo(x: str) -> None:
    told.append(f"undo {x}")


@workflow(timeout="1m")
async def bounded() -> None:
    async with saga() as s:
        await s.do(do, "a", undo=undo)
        await sleep("1h")


def test_a_workflow_that_takes_too_long_is_undone_and_timed_out(world: World) -> None:
    """Its timeout is delivered as one cancel."""

    async def story(engine: Engine) -> float:
        run = await engine.start(bounded, id="one")
        with pytest.raises(RunTimedOut):
            await run.result()
        assert await run.status() == "timed_out"
        return seconds()

    assert world.live(story, bounded) == pytest.approx(60, abs=0.1)
    assert told == ["undo a"]
    assert sum(isinstance(record.entry, CancelRequested) for record in world.history("one")) == 1


def test_a_workflows_timeout_counts_across_a_crash(world: World) -> None:
    """From the start of the run, also if nothing ran when it came."""

    async def first(engine: Engine) -> None:
        await engine.start(bounded, id="one")
        await asyncio.sleep(20)

    async def second(engine: Engine) -> float:
        with pytest.raises(RunTimedOut):
            await engine.get(bounded, "one").result()
        return seconds()

    world.crash(first, bounded)
    world.clock.jump(10)
    assert world.live(second, bounded) == pytest.approx(30, abs=0.1)
    assert told == ["undo a"]


def test_the_timers_of_a_run_that_has_ended_are_gone(world: World) -> None:
    """Its deadline, and those that its code left behind."""

    @workflow(timeout="10m")
    async def brief() -> None:
        task = asyncio.create_task(sleep("5m"))
        await sleep("1s")
        del task

    async def story(engine: Engine) -> None:
        await (await engine.start(brief, id="one")).result()
        await until(lambda: not engine._runs.get(1))  # its row is projected, and it has left memory
        await asyncio.sleep(700)
        assert engine._runs.get(1) is None

    world.live(story, brief)
    assert fired(world, "one") == 1
