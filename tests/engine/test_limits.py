"""What bounds a step, and what never gives one up."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Retry, Workflow, step, workflow
from wfkit.api.resources import resource
from wfkit.api.saga import saga
from wfkit.core.entries import AttemptFailed, StepFailed
from wfkit.engine.engine import Engine
from wfkit.engine.resources import Resources
from wfkit.errors import StepTimeout

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


def test_queued_steps_whose_time_has_passed_all_fail(world: World) -> None:
    """A thousand of them at once, and none is left behind."""

    @step(total_timeout="0.5s")
    async def slow(x: int) -> None:
        calls.append(x)
        await asyncio.sleep(30)

    @workflow
    async def main() -> list[str]:
        ends = await asyncio.gather(*(slow(x) for x in range(1000)), return_exceptions=True)
        return [type(end).__name__ for end in ends]

    async def story(engine: Engine) -> list[str]:
        ends = await (await engine.start(main)).result()
        assert engine._executor.in_flight == engine._executor._slots == 0
        return ends

    assert world.live(story, main, steps_max=10) == ["StepTimeout"] * 1000
    assert calls == list(range(10))


def test_opening_a_resource_counts_as_time_of_the_step(world: World) -> None:
    """One that never opens is under the step's timeouts, and the slot is free again."""

    @resource
    async def bank() -> AsyncIterator[int]:
        calls.append(asyncio.get_running_loop().time())
        await asyncio.sleep(100_000)
        yield 1

    @step(timeout="2s", total_timeout="5s", retry=Retry(initial="1s", backoff=1.0))
    async def charge() -> int:
        return bank.get()

    @step
    async def without() -> int:
        return 1

    @workflow
    async def main() -> int:
        try:
            return await charge()
        except StepTimeout:
            return -await without()

    async def story(engine: Engine) -> float:
        began = asyncio.get_running_loop().time()
        assert await (await engine.start(main, id="one")).result() == -1
        return asyncio.get_running_loop().time() - began

    assert 4 < world.live(story, main, steps_max=1) < 6
    attempts = [record.entry.error.type for record in world.history("one") if isinstance(record.entry, AttemptFailed)]
    assert attempts == ["StepTimeout"]
    assert len(calls) == 1


def test_functions_are_not_kept_for_what_they_name() -> None:
    """A step of a lambda is a new function in every run."""
    resources = Resources()

    def once() -> weakref.ref[Callable[[], int]]:
        resources.missing(fn := lambda: 1)
        return weakref.ref(fn)

    seen = [once() for _ in range(3_000)]
    gc.collect()
    assert sum(ref() is not None for ref in seen) < 1_500


DEADLY_LIVES = 8


async def deadly() -> str:
    """Stand for a step in flight whenever the process is killed from outside."""
    calls.append("deadly")
    if len(calls) <= DEADLY_LIVES:
        await asyncio.sleep(3600)
    return "done"


@step(retry=Retry(max_attempts=None, initial="10s", backoff=1.0))
async def for_ever() -> str:
    return await deadly()


@step
async def pay() -> int:
    return 1


@step
async def unpay() -> None: ...


@step
async def send() -> str:
    return await deadly()


@step
async def undo_deadly() -> None:
    await deadly()


@workflow(name="main")
async def past_the_pivot() -> str:
    async with saga() as s:
        await s.do(pay, undo=unpay)
        s.pivot()
        return await send()


@workflow(name="main")
async def without_end() -> str:
    return await for_ever()


@workflow(name="main")
async def on_the_way_back() -> str:
    try:
        async with saga() as s:
            await s.do(pay, undo=undo_deadly)
            raise ConnectionError
    except ConnectionError:
        return "done"


@pytest.mark.parametrize("main", [past_the_pivot, without_end, on_the_way_back], ids=lambda main: main.fn.__name__)
def test_a_step_that_is_retried_without_end_is_not_given_up_for_deaths(world: World, main: Workflow[[], str]) -> None:
    """Its run is marked as needing attention at the fifth death, and the next attempts wait as the policy says."""
    marked: list[bool] = []
    waited: list[bool] = []

    async def life(engine: Engine) -> None:
        before, began = len(calls), asyncio.get_running_loop().time()
        await engine.start(main, id="one")
        await until(lambda: len(calls) > before)
        waited.append(asyncio.get_running_loop().time() - began > 0.5)
        run = engine._runs.named("one")
        assert run is not None
        marked.append(run.state.attention)

    for _ in range(DEADLY_LIVES):
        world.crash(life, main)
    # The first life has seen no death.
    assert marked == waited == [False] * 5 + [True] * (DEADLY_LIVES - 5)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == "done"
    entries = [record.entry for record in world.history("one")]
    assert [entry.error.type for entry in entries if isinstance(entry, AttemptFailed)] == ["WorkerDied"] * DEADLY_LIVES
    assert not [entry for entry in entries if isinstance(entry, StepFailed)]
    check_journal(world.disk.rows, main)
