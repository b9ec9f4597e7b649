"""Child runs: awaited, started, and what the end of one brings to the other."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import info, sleep, start_child
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.entries import CancelRequested, ChildEnded
from wfkit.engine.engine import Engine
from wfkit.errors import RunCancelled, RunFailed, RunTerminated

go = Signal("go", int)
told: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


@step
async def note(x: str) -> str:
    told.append(x)
    return x


@step(retry=Retry(max_attempts=1))
async def boom(x: str) -> str:
    raise LookupError(x)


@workflow
async def double(x: int) -> int:
    await sleep("10s")
    return x * 2


@workflow
async def fail(x: str) -> str:
    return await boom(x)


@workflow
async def wait_then_clean(name: str) -> int:
    try:
        return await wait_signal(go)
    finally:
        await sleep("5s")
        await note(f"cleaned {name}")


@workflow
async def await_child(name: str) -> int:
    return await wait_then_clean(name)


@workflow
async def await_grandchild(name: str) -> int:
    return await await_child(name)


@workflow
async def sum_of_doubles(count: int) -> int:
    return sum(await asyncio.gather(*(double(x) for x in range(count))))


async def status(engine: Engine, id: str) -> str:
    return await engine.get(double, id).status()


def test_an_awaited_child_gives_its_result(world: World) -> None:
    """Many at once, each a run of its own whose id shows its parent."""

    async def story(engine: Engine) -> int:
        return await (await engine.start(sum_of_doubles, 10, id="one")).result()

    assert world.live(story, sum_of_doubles, double) == 90
    ids = {history[0].entry.id for history in world.histories().values()}  # type: ignore[union-attr]  # a start
    assert ids == {"one", *(f"one/double-{n}" for n in range(1, 11))}
    check_journal(world.disk.rows, sum_of_doubles, double)


def test_a_child_knows_its_parent(world: World) -> None:
    """By its id."""

    @workflow
    async def who() -> str | None:
        return info().parent

    @workflow
    async def main() -> str | None:
        return await who()

    async def story(engine: Engine) -> str | None:
        return await (await engine.start(main, id="one")).result()

    assert world.live(story, main) == "one"


def test_a_childs_failure_is_raised_in_the_parent(world: World) -> None:
    """As `RunFailed`, with the child's error."""

    @workflow
    async def main() -> str:
        try:
            await fail("why")
        except RunFailed as exc:
            return repr(exc.error)
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == "LookupError('why')"


def test_a_parent_goes_on_after_a_crash_with_the_same_children(world: World) -> None:
    """Whether it crashed before, between or after their ends."""

    async def first(engine: Engine) -> None:
        await engine.start(sum_of_doubles, 4, id="one")
        await asyncio.sleep(9)

    async def again(engine: Engine) -> None:
        await asyncio.sleep(0.6)

    async def last(engine: Engine) -> int:
        return await engine.get(sum_of_doubles, "one").result()

    world.crash(first, sum_of_doubles, double)
    for _ in range(3):
        world.crash(again, sum_of_doubles, double)
    assert world.live(last, sum_of_doubles, double) == 12
    assert len(world.histories()) == 5
    check_journal(world.disk.rows, sum_of_doubles, double)


def test_cancelling_a_parent_cancels_its_awaited_children_and_awaits_their_end(world: World) -> None:
    """Down to the last generation; the parent ends after them."""

    async def story(engine: Engine) -> None:
        run = await engine.start(await_grandchild, "x", id="one")
        await run.cancel("enough")
        await asyncio.sleep(1)
        assert await run.status() == "running"
        with pytest.raises(RunCancelled, match="enough"):
            await run.result()
        for id in ("one", "one/await_child-1", "one/await_child-1/wait_then_clean-1"):
            assert await status(engine, id) == "cancelled"

    world.live(story, await_grandchild)
    assert told == ["cleaned x"]


def test_terminating_a_parent_terminates_its_awaited_children(world: World) -> None:
    """At once, without cleanup; those that were only started go on."""

    @workflow
    async def main() -> int:
        start_child(wait_then_clean, "free", id="free")
        return await await_child("x")

    async def story(engine: Engine) -> None:
        run = await engine.start(main, id="one")
        await run.terminate("now")
        with pytest.raises(RunTerminated, match="now"):
            await run.result()
        for id in ("one/await_child-2", "one/await_child-2/wait_then_clean-1"):
            assert await status(engine, id) == "terminated"
        assert await status(engine, "free") == "running"
        await engine.get(wait_then_clean, "free").send(go, 1)
        assert await engine.get(wait_then_clean, "free").result() == 1

    world.live(story, main)
    assert told == ["cleaned free"]


def test_a_child_that_has_ended_hears_nothing_of_its_parents_end(world: World) -> None:
    """Its history is closed, though it was to be cancelled with its parent."""

    @workflow
    async def main() -> None:
        start_child(fail, "a", id="over", on_parent_end="cancel")
        await sleep("1s")

    async def story(engine: Engine) -> None:
        await (await engine.start(main)).result()
        await asyncio.sleep(1)

    world.live(story, main)
    assert not [record for record in world.history("over") if isinstance(record.entry, CancelRequested)]


def test_a_started_child_lives_on_or_is_cancelled_with_its_parent(world: World) -> None:
    """As `on_parent_end` says; also if it was started in the parent's last moment."""

    @workflow
    async def main() -> None:
        start_child(wait_then_clean, "a", id="abandoned")
        start_child(wait_then_clean, "b", id="early", on_parent_end="cancel")
        await sleep("1s")
        start_child(wait_then_clean, "c", id="late", on_parent_end="cancel")

    async def story(engine: Engine) -> None:
        await (await engine.start(main)).result()
        await asyncio.sleep(10)
        assert [await status(engine, id) for id in ("abandoned", "early", "late")] == ["running", "cancelled", "cancelled"]

    world.live(story, main)
    assert sorted(told) == ["cleaned b", "cleaned c"]


def test_a_child_of_two_parents_is_cancelled_once(world: World) -> None:
    """The end of the second one does not disturb the cleanup that the end of the first one began."""

    @workflow
    async def main(length: str) -> None:
        start_child(wait_then_clean, "x", id="shared", on_parent_end="cancel")
        await sleep(length)

    async def story(engine: Engine) -> None:
        runs = [await engine.start(main, length) for length in ("1s", "3s")]
        for run in runs:
            await run.result()
        with pytest.raises(RunCancelled):
            await engine.get(wait_then_clean, "shared").result()

    world.live(story, main)
    assert told == ["cleaned x"]
    assert sum(isinstance(record.entry, CancelRequested) for record in world.history("shared")) == 1


def test_a_child_that_dangles_is_cancelled(world: World) -> None:
    """Its parent returned without awaiting it, at once or later."""

    @workflow
    async def main(pause: bool) -> None:
        task = asyncio.create_task(wait_then_clean("x"))
        await asyncio.sleep(0)
        if pause:
            await sleep("1s")
        del task

    async def story(engine: Engine) -> None:
        for pause in (False, True):
            run = await engine.start(main, pause)
            await run.result()
            await asyncio.sleep(10)
            assert await status(engine, f"{run.id}/wait_then_clean-1") == "cancelled"

    world.live(story, main)
    assert told == ["cleaned x", "cleaned x"]


def test_a_child_id_in_use_attaches(world: World) -> None:
    """By the same workflow and input there is one run; a finished one is not run again."""

    @workflow
    async def main() -> None:
        start_child(double, 4, id="shared")
        start_child(double, 4, id="shared")

    async def story(engine: Engine) -> int:
        for name in ("a", "b"):
            await (await engine.start(main, id=name)).result()
        result = await engine.get(double, "shared").result()
        await (await engine.start(main, id="c")).result()
        return result

    assert world.live(story, main) == 8
    assert len(world.histories()) == 4
    check_journal(world.disk.rows, main)


def test_a_child_id_in_use_by_something_else_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody awaits it, so the log tells."""

    @workflow
    async def main() -> None:
        start_child(double, 5, id="shared")

    async def story(engine: Engine) -> int:
        run = await engine.start(double, 4, id="shared")
        await (await engine.start(main)).result()
        return await run.result()

    assert world.live(story, main) == 8
    assert "run id 'shared' is in use with another workflow or other input" in caplog.text


def test_a_derived_child_id_that_somebody_took_is_no_second_run_of_that_id(world: World) -> None:
    """Ids are free to choose, so one may look like a child's: the child attaches, or the parent is told."""

    async def before(engine: Engine) -> None:
        await (await engine.start(double, 0, id="one/double-1")).result()
        await engine.start(double, 99, id="one/double-2")

    async def story(engine: Engine) -> None:
        with pytest.raises(RunFailed, match="in use with another workflow or other input"):
            await (await engine.start(sum_of_doubles, 2, id="one")).result()

    world.live(before, double)
    world.live(story, sum_of_doubles, double)
    check_journal(world.disk.rows, sum_of_doubles, double)


def test_a_finished_child_of_an_awaited_id_gives_its_result(world: World) -> None:
    """It attaches, as a start does; the result is read from the journal."""

    async def before(engine: Engine) -> None:
        await (await engine.start(double, 0, id="one/double-1")).result()

    async def story(engine: Engine) -> int:
        return await (await engine.start(sum_of_doubles, 1, id="one")).result()

    world.live(before, double)
    assert world.live(story, sum_of_doubles, double) == 0
    assert len(world.histories()) == 2


def test_a_terminated_child_fails_its_parent(world: World) -> None:
    """The parent learns how it ended."""

    @workflow
    async def main() -> str:
        try:
            await wait_then_clean("x")
        except RunTerminated as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> str:
        run = await engine.start(main, id="one")
        await engine.get(wait_then_clean, "one/wait_then_clean-1").terminate("by hand")
        return await run.result()

    assert world.live(story, main).endswith("was terminated: by hand")


def test_a_parent_in_the_journal_alone_gets_its_childs_end(world: World) -> None:
    """It left memory while the child slept."""

    async def story(engine: Engine) -> int:
        await engine.start(sum_of_doubles, 3, id="one")
        await until(lambda: engine._runs.dropped)
        return await engine.get(sum_of_doubles, "one").result()

    assert world.live(story, sum_of_doubles, double, hot_max=1, warm_max=0) == 6
    check_journal(world.disk.rows, sum_of_doubles, double)


def test_each_generation_has_its_own_children(world: World) -> None:
    """A restart does not attach to the children of the generation before."""

    async def story(engine: Engine) -> int:
        await (await engine.start(sum_of_doubles, 2, id="one")).result()
        return await (await engine.start(sum_of_doubles, 3, id="one", if_finished="restart")).result()

    assert world.live(story, sum_of_doubles, double) == 6
    assert len(world.histories()) == 2 + 2 + 3
    check_journal(world.disk.rows, sum_of_doubles, double)


def test_a_child_fails_while_its_parent_is_undone(world: World) -> None:
    """An awaited child in a saga: its failure undoes what was done before."""

    @workflow
    async def main() -> None:
        async with saga() as s:
            await s.do(note, "done", undo=unnote)
            await fail("no")

    @step
    async def unnote(x: str) -> None:
        told.append(f"un{x}")

    async def story(engine: Engine) -> None:
        with pytest.raises(RunFailed, match="no"):
            await (await engine.start(main, id="one")).result()

    world.live(story, main)
    assert told == ["done", "undone"]
    assert sum(isinstance(record.entry, ChildEnded) for record in world.history("one")) == 1
