"""Signals from outside: sent to a run, or published to whoever waits."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import info, sleep
from wfkit.api.signals import Signal, publish, send, subscribe, wait_any, wait_signal
from wfkit.core.entries import SignalPublished, SignalReceived
from wfkit.engine.engine import Engine
from wfkit.errors import CodecError, RunEnded

go = Signal("go", int)
stop = Signal("stop", str)
order = Signal("order", dict[str, Any])


@step
async def rest() -> None:
    await asyncio.sleep(5)


@workflow
async def take(count: int) -> list[int]:
    return [await wait_signal(go) for _ in range(count)]


@workflow
async def rest_then_take(count: int) -> list[int]:
    await sleep("1m")
    return [await wait_signal(go) for _ in range(count)]


@workflow
async def take_order(id: str) -> dict[str, Any]:
    return await wait_signal(order, where={"id": id})


@workflow
async def subscribed(count: int) -> list[int]:
    with subscribe(go):
        await sleep("1m")
        return [await wait_signal(go) for _ in range(count)]


def received(world: World, id: str) -> int:
    return sum(isinstance(record.entry, SignalReceived) for record in world.history(id))


@workflow
async def take_by_name() -> list[Any]:
    return [await wait_signal("go"), await wait_signal(go)]


def test_a_payload_that_the_code_cannot_take_is_refused(world: World) -> None:
    """Otherwise it would block the run, and nothing could take it away again."""

    async def story(engine: Engine) -> list[int]:
        run = await engine.start(take, 1, id="run")
        for attempt in (run.send("go", "seven"), engine.publish("go", None), engine.publish("go", "seven")):
            with pytest.raises(
                CodecError, match=r"signal 'go' has a payload of the wrong type: expected `int`, got `(str|null)`"
            ):
                await attempt
        with pytest.raises(CodecError):
            await engine.start(take, 1, id="other", send=("go", "seven"))
        assert [each.id for each in await engine.runs()] == ["run"]
        assert received(world, "run") == 0
        await run.send("nobody names this", "seven")
        await run.send("go", 7)
        return await run.result()

    assert world.live(story, take) == [7]


def test_what_a_text_stands_for_may_carry_anything(world: World) -> None:
    """The code of that workflow does not tell what it takes."""

    async def story(engine: Engine) -> list[Any]:
        run = await engine.start(take_by_name)
        await run.send("go", "seven")
        await engine.publish("go", 8)
        return await run.result()

    assert world.live(story, take_by_name, take) == ["seven", 8]


def test_signals_are_taken_in_the_order_in_which_they_were_sent(world: World) -> None:
    """Also those that were sent before the wait."""

    async def story(engine: Engine) -> list[int]:
        run = await engine.start(rest_then_take, 5)
        for x in range(5):
            await run.send(go, x)
        return await run.result()

    assert world.live(story, rest_then_take) == [0, 1, 2, 3, 4]


def test_signals_to_an_evicted_run_are_kept_and_wake_it(world: World) -> None:
    """Each one, with room for the code of one run only, and for the state of none."""

    async def story(engine: Engine) -> list[list[int]]:
        runs = [await engine.start(take, 3, id=f"run-{i}") for i in range(5)]
        for x in range(3):
            await engine._projector.write()
            for run in runs:
                await run.send(go, x)
            await asyncio.sleep(1)
        return [await run.result() for run in runs]

    assert world.live(story, take, hot_max=1, warm_max=0) == [[0, 1, 2]] * 5
    check_journal(world.disk.rows, take)


def test_an_acknowledged_signal_survives_a_crash(world: World) -> None:
    """It is durable when the call returns, whatever has become of it."""

    async def first(engine: Engine) -> None:
        run = await engine.start(rest_then_take, 2, id="one")
        await run.send(go, 1)

    async def second(engine: Engine) -> None:
        await engine.get(rest_then_take, "one").send(go, 2)

    world.crash(first, rest_then_take)
    world.crash(second, rest_then_take)
    assert world.live(lambda engine: engine.get(rest_then_take, "one").result(), rest_then_take) == [1, 2]


def test_a_dedupe_id_is_taken_once(world: World) -> None:
    """Across crashes as well; the sender is told that all is well."""

    async def story(engine: Engine) -> None:
        run = await engine.start(take, 2, id="one")
        for _ in range(3):
            await run.send(go, 1, dedupe="scan-1")

    async def last(engine: Engine) -> list[int]:
        run = await engine.start(take, 2, id="one")
        await run.send(go, 2, dedupe="scan-2")
        return await run.result()

    world.crash(story, take)
    world.crash(story, take)
    assert world.live(last, take) == [1, 2]
    assert received(world, "one") == 2


def test_a_deduped_signal_to_a_finished_run_is_accepted_again(world: World) -> None:
    """The sender lost its answer and repeats; a new one is refused."""

    async def story(engine: Engine) -> None:
        run = await engine.start(take, 1, id="one")
        await run.send(go, 1, dedupe="a")
        await run.result()
        await run.send(go, 1, dedupe="a")
        with pytest.raises(RunEnded, match="completed"):
            await run.send(go, 1, dedupe="b")

    world.live(story, take)
    assert received(world, "one") == 1


def test_a_published_signal_reaches_every_run_that_waits_for_it(world: World) -> None:
    """Those whose `where` it matches, each once; others get nothing, and nothing is kept for later waits."""

    async def story(engine: Engine) -> list[dict[str, Any]]:
        runs = [await engine.start(take_order, id, id=name) for name, id in (("a", "1"), ("b", "1"), ("c", "2"))]
        sleeper = await engine.start(rest_then_take, 1, id="later")
        await engine.publish(order, {"id": "1", "x": 1})
        await engine.publish(go, 7)
        await asyncio.sleep(100)
        assert await sleeper.status() == "running"
        assert received(world, "c") == 0
        await engine.publish(order, {"id": "2", "x": 2})
        return [await run.result() for run in runs]

    assert world.live(story, take_order, rest_then_take) == [{"id": "1", "x": 1}] * 2 + [{"id": "2", "x": 2}]
    published = [record.entry.receivers for record in world.histories()[0]]  # type: ignore[union-attr]  # the bus holds no other
    assert published == [2, 0, 1]


def test_a_wait_that_is_over_takes_nothing_more(world: World) -> None:
    """Also one that was served at once, from what was buffered."""

    @workflow
    async def main() -> int:
        await sleep("1s")
        got = await wait_signal(go)
        await sleep("1m")
        return got

    async def story(engine: Engine) -> int:
        run = await engine.start(main, id="one")
        await run.send(go, 1)
        await asyncio.sleep(10)
        await engine.publish(go, 2)
        return await run.result()

    assert world.live(story, main) == 1
    assert received(world, "one") == 1
    assert [record.entry.receivers for record in world.histories()[0]] == [0]  # type: ignore[union-attr]  # the bus


def test_waits_that_a_finished_run_left_open_take_nothing(world: World) -> None:
    """Also those opened in its last activation."""

    @workflow
    async def main() -> int:
        task = asyncio.create_task(wait_signal(go))
        await asyncio.sleep(0)
        return 0 if task.done() else 1

    async def story(engine: Engine) -> None:
        await (await engine.start(main)).result()
        await engine.publish(go, 2)

    world.live(story, main)
    assert [record.entry.receivers for record in world.histories()[0]] == [0]  # type: ignore[union-attr]  # the bus


def test_a_subscription_keeps_what_is_published_for_later_waits(world: World) -> None:
    """From its opening on, across a crash; and to its end only."""

    async def first(engine: Engine) -> None:
        await engine.publish(go, 0)
        await engine.start(subscribed, 3, id="one")
        await engine.publish(go, 1)

    async def second(engine: Engine) -> list[int]:
        await engine.publish(go, 2)
        await asyncio.sleep(100)
        await engine.publish(go, 3)
        return await engine.get(subscribed, "one").result()

    world.crash(first, subscribed)
    assert world.live(second, subscribed) == [1, 2, 3]


def test_a_run_that_waits_twice_gets_a_published_signal_once(world: World) -> None:
    """One fact, one entry."""

    @workflow
    async def main() -> int:
        tasks = [asyncio.create_task(wait_signal(go)) for _ in range(2)]
        done, _ = await asyncio.wait(tasks, timeout=30)
        return len(done)

    async def story(engine: Engine) -> int:
        run = await engine.start(main, id="one")
        await engine.publish(go, 1)
        return await run.result()

    assert world.live(story, main) == 1
    assert received(world, "one") == 1


def test_a_published_signal_starts_workflows(world: World) -> None:
    """One run for each workflow with `on=` and each signal, whose id derives from both."""

    @workflow(on=order)
    async def ship(order: dict[str, Any]) -> str:
        return f"shipped {order['id']}"

    @workflow(on=order)
    async def bill(order: dict[str, Any]) -> str:
        return f"billed {order['id']}"

    async def first(engine: Engine) -> None:
        await engine.publish(order, {"id": "1"})
        await engine.publish(order, {"id": "2"}, dedupe="x")
        await engine.publish(order, {"id": "2"}, dedupe="x")

    async def second(engine: Engine) -> list[object]:
        await engine.publish(order, {"id": "2"}, dedupe="x")
        runs = [engine.get(wf, f"{wf.name}/on-{n}") for n in (1, 2) for wf in (ship, bill)]
        return [await run.result() for run in runs]

    world.crash(first, ship, bill)
    assert world.live(second, ship, bill) == ["shipped 1", "billed 1", "shipped 2", "billed 2"]
    assert len(world.histories()) == 5
    entries = [record.entry for record in world.histories()[0]]
    assert [entry.receivers for entry in entries if isinstance(entry, SignalPublished)] == [2, 2]


def test_a_signal_that_arrived_in_time_wins_over_the_deadline(world: World) -> None:
    """However late it is processed: the run was not in memory when both fell due."""

    @workflow
    async def main() -> str:
        try:
            return await wait_signal(stop, timeout="1m")
        except TimeoutError:
            return "timeout"

    async def first(engine: Engine) -> None:
        run = await engine.start(main, id="one")
        engine._runs.cool(engine._runs.named("one"))  # type: ignore[arg-type]  # it is there
        await run.send(stop, "in time")

    world.crash(first, main)
    world.clock.jump(3600)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == "in time"


def test_a_run_waits_for_the_first_of_several(world: World) -> None:
    """The others stay where they are."""

    @workflow
    async def main() -> list[Any]:
        first = await wait_any(go, stop)
        second = await wait_any(go, stop)
        return [first.value, second.value, go.came(first)]

    async def story(engine: Engine) -> list[Any]:
        run = await engine.start(main)
        await engine.publish(stop, "no")
        await run.send(go, 3)
        return await run.result()

    assert world.live(story, main) == ["no", 3, False]


def test_a_run_sends_to_itself_and_publishes(world: World) -> None:
    """What it sends arrives once, in its own order."""

    @workflow
    async def main() -> list[int]:
        send(info().id, go, 1)
        send(info().id, go, 2)
        return [await wait_signal(go), await wait_signal(go)]

    @workflow
    async def herald() -> None:
        publish(go, 3)
        publish(go, 4)

    async def story(engine: Engine) -> list[object]:
        waiting = await engine.start(take, 2)
        await (await engine.start(herald)).result()
        return [await (await engine.start(main)).result(), await waiting.result()]

    # The first one that is published closes no wait before its own activation, which opens the next.
    assert world.live(story, main, take, herald) == [[1, 2], [3, 4]]
    check_journal(world.disk.rows, main, take, herald)


def test_a_send_to_nobody_is_dropped_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """To a run that is not there, and to one that has ended."""

    @workflow
    async def main() -> None:
        send("nobody", go, 1)
        send("ended", go, 1)

    async def story(engine: Engine) -> None:
        await (await engine.start(take, 0, id="ended")).result()
        await (await engine.start(main, id="one")).result()

    world.live(story, main, take)
    assert "no such run" in caplog.text
    assert "it is completed" in caplog.text


def test_published_signals_are_in_one_order_for_all_who_wait(world: World) -> None:
    """Also when most receivers have to be read from the journal first, and many publish at once."""

    async def story(engine: Engine) -> list[list[int]]:
        runs = [await engine.start(subscribed, 6, id=f"run-{i}") for i in range(8)]
        await engine._projector.write()
        await asyncio.gather(*(engine.publish(go, x) for x in range(3)))
        await asyncio.sleep(30)
        await engine._projector.write()
        await asyncio.gather(*(engine.publish(go, x) for x in range(3, 6)))
        return [await run.result() for run in runs]

    lists = world.live(story, subscribed, hot_max=1, warm_max=0)
    assert all(sorted(values) == [0, 1, 2, 3, 4, 5] for values in lists)
    assert all(values == lists[0] for values in lists)
    check_journal(world.disk.rows, subscribed)


def test_a_signal_while_a_step_runs_is_kept(world: World) -> None:
    """It is taken by the wait that comes after."""

    @workflow
    async def main() -> int:
        await rest()
        return await wait_signal(go)

    async def story(engine: Engine) -> int:
        run = await engine.start(main, id="one")
        await run.send(go, 1)
        await until(lambda: received(world, "one") == 1)
        return await run.result()

    assert world.live(story, main) == 1
