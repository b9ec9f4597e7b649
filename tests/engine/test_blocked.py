"""Blocked runs: parked, never failed, and tried again at each opening."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Workflow, step, workflow
from wfkit.api.primitives import sleep
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.entries import Blocked, Unblocked
from wfkit.engine.engine import Engine
from wfkit.errors import RunCancelled, RunTerminated

go = Signal("go", int)
told: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


@step
async def note(x: Any) -> Any:
    told.append(x)
    return x


@step
async def unnote(x: Any) -> None:
    told.append(("undone", x))


def version(main: Callable[..., Any]) -> Workflow[..., Any]:
    """Return a version of the workflow `main`."""
    return workflow(name="main")(main)


@version
async def broken() -> int:
    async with saga() as s:
        await s.do(note, 1, undo=unnote)
        undefined_name  # type: ignore[name-defined]  # noqa: B018, F821  # this is the point
    return 0


@version
async def mended() -> int:
    async with saga() as s:
        await s.do(note, 1, undo=unnote)
        await note(2)
    return await wait_signal(go) + await wait_signal(go)


@version
async def edited() -> int:
    await sleep("1s")
    await note(1)
    return 0


@version
async def sleeper() -> int:
    await note("a")
    await sleep("10s")
    await note("b")
    return await wait_signal(go)


@version
async def other_sleeper() -> int:
    await sleep("10s")
    await note("b")
    return 0


async def blocked(engine: Engine, id: str = "one") -> None:
    await until(lambda: engine._runs.named(id).state.status == "blocked")  # type: ignore[union-attr]  # it is there
    assert await engine.get(broken, id).status() == "blocked"


def causes(world: World, id: str = "one") -> list[str]:
    return [record.entry.code for record in world.history(id) if isinstance(record.entry, Blocked)]


async def start_and_block(engine: Engine) -> None:
    await engine.start(broken, id="one")
    await blocked(engine)


def test_a_programming_error_blocks_and_compensates_nothing(world: World) -> None:
    """The activation is void: the run stands before the entry that led there."""
    world.live(start_and_block, broken)
    assert told == [1]
    assert causes(world) == ["WF029"]


def test_a_blocked_run_goes_on_with_mended_code_and_has_lost_nothing(world: World) -> None:
    """What came meanwhile is taken in order."""

    async def send(engine: Engine) -> None:
        await engine.get(broken, "one").send(go, 3)
        await engine.get(broken, "one").send(go, 4)

    async def last(engine: Engine) -> Any:
        return await engine.get(mended, "one").result()

    world.live(start_and_block, broken)
    world.crash(send, broken)
    assert world.live(last, mended) == 7
    assert told == [1, 2]
    assert any(isinstance(record.entry, Unblocked) for record in world.history("one"))
    check_journal(world.disk.rows, mended)


def test_an_edit_that_disagrees_with_history_blocks(world: World) -> None:
    """The next opening with the old code goes on."""

    async def first(engine: Engine) -> None:
        await engine.start(sleeper, id="one")
        await until(lambda: told)
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        await asyncio.sleep(20)
        await blocked(engine)

    async def third(engine: Engine) -> Any:
        run = engine.get(sleeper, "one")
        await run.send(go, 5)
        return await run.result()

    world.crash(first, sleeper)
    world.live(second, other_sleeper)
    assert causes(world) == ["WF021"]
    assert world.live(third, sleeper) == 5
    assert told == ["a", "b"]
    check_journal(world.disk.rows, sleeper)


def test_a_run_of_a_workflow_that_is_gone_is_blocked(world: World) -> None:
    """Until it is back."""

    async def first(engine: Engine) -> None:
        await engine.start(sleeper, id="one")
        await asyncio.sleep(1)

    async def second(engine: Engine) -> None:
        await engine.get(sleeper, "one").send(go, 5)
        await blocked(engine)

    @workflow
    async def another() -> None: ...

    world.crash(first, sleeper)
    world.live(second, another)
    assert causes(world) == ["WF013"]
    assert world.live(lambda engine: engine.get(sleeper, "one").result(), sleeper) == 5


def test_a_run_that_is_blocked_again_for_the_same_reason_says_it_once(world: World) -> None:
    """Opening with the wrong code many times does not grow the history."""

    async def first(engine: Engine) -> None:
        await engine.start(sleeper, id="one")
        await until(lambda: told)
        await asyncio.sleep(1)

    async def wrong(engine: Engine) -> None:
        await asyncio.sleep(20)
        await blocked(engine)

    world.crash(first, sleeper)
    for _ in range(4):
        world.live(wrong, other_sleeper)
    assert causes(world) == ["WF021"]


def test_steps_in_flight_end_into_the_inbox_of_a_blocked_run(world: World) -> None:
    """Their outcomes are kept, and they do not run again."""

    @step
    async def slow(x: int) -> int:
        await asyncio.sleep(5)
        told.append(x)
        return x

    @version
    async def wrong() -> list[int]:
        task = asyncio.create_task(slow(1))
        await note("a")
        undefined_name  # type: ignore[name-defined]  # noqa: B018, F821  # this is the point
        return [await task]

    @version
    async def right() -> list[int]:
        task = asyncio.create_task(slow(1))
        await note("a")
        return [await task]

    async def first(engine: Engine) -> None:
        await engine.start(wrong, id="one")
        await blocked(engine)
        await until(lambda: 1 in told)
        await asyncio.sleep(1)

    world.crash(first, wrong)
    assert world.live(lambda engine: engine.get(right, "one").result(), right) == [1]
    assert sorted(map(str, told)) == ["1", "a"]
    check_journal(world.disk.rows, right)


def test_a_timer_of_a_blocked_run_fires_into_its_inbox(world: World) -> None:
    """Once, however often the engine opens before it goes on."""

    @version
    async def wrong() -> str:
        task = asyncio.create_task(sleep("5s"))
        await note("a")
        undefined_name  # type: ignore[name-defined]  # noqa: B018, F821  # this is the point
        await task
        return "done"

    @version
    async def right() -> str:
        task = asyncio.create_task(sleep("5s"))
        await note("a")
        await task
        return "done"

    async def first(engine: Engine) -> None:
        await engine.start(wrong, id="one")
        await asyncio.sleep(10)
        await blocked(engine)

    async def again(engine: Engine) -> None:
        await asyncio.sleep(10)
        await blocked(engine)

    world.crash(first, wrong)
    world.crash(again, wrong)
    assert world.live(lambda engine: engine.get(right, "one").result(), right) == "done"
    check_journal(world.disk.rows, right)


def test_a_blocked_run_can_be_terminated(world: World) -> None:
    """At once."""

    async def story(engine: Engine) -> None:
        await start_and_block(engine)
        run = engine.get(broken, "one")
        await run.terminate("give up")
        with pytest.raises(RunTerminated, match="give up"):
            await run.result()

    world.live(story, broken)
    world.live(lambda _engine: asyncio.sleep(5), mended)
    assert told == [1]


def test_a_cancel_of_a_blocked_run_waits_in_its_inbox(world: World) -> None:
    """With mended code it is delivered, after what came before it."""

    async def story(engine: Engine) -> None:
        await start_and_block(engine)
        await engine.get(broken, "one").cancel("enough")
        await blocked(engine)

    async def last(engine: Engine) -> None:
        with pytest.raises(RunCancelled, match="enough"):
            await engine.get(mended, "one").result()

    world.crash(story, broken)
    world.live(last, mended)
    assert told[0] == 1
    check_journal(world.disk.rows, mended)


def test_a_run_that_is_blocked_holds_up_nobody(world: World) -> None:
    """Others go on, and an engine with blocked runs closes."""

    @workflow
    async def fine(x: int) -> int:
        return await note(x)  # type: ignore[no-any-return]  # it is what it was given

    async def story(engine: Engine) -> int:
        for i in range(20):
            await engine.start(broken, id=f"broken-{i}")
        return await (await engine.start(fine, 5)).result()

    assert world.live(story, broken, fine, hot_max=1) == 5


def test_a_child_that_is_blocked_keeps_its_parent_waiting(world: World) -> None:
    """Until it goes on."""

    @workflow(name="child")
    async def wrong_child() -> int:
        undefined_name  # type: ignore[name-defined]  # noqa: B018, F821  # this is the point
        return 0

    @workflow(name="child")
    async def right_child() -> int:
        return 5

    @version
    async def wrong() -> int:
        return await wrong_child()

    @version
    async def right() -> int:
        return await right_child()

    async def first(engine: Engine) -> None:
        run = await engine.start(wrong, id="one")
        await asyncio.sleep(10)
        assert await run.status() == "running"

    world.crash(first, wrong)
    assert world.live(lambda engine: engine.get(right, "one").result(), right) == 5
    check_journal(world.disk.rows, right, right_child)
