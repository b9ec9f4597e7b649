"""Resources: opened for the steps that name them, closed when the engine closes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.engine.world import World, until
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.resources import resource
from wfkit.engine.engine import Engine
from wfkit.errors import RunFailed, StepError

told: list[Any] = []
failures: list[Exception] = []
"""What opening the client raises, one after the other."""


@pytest.fixture(autouse=True)
def _forget() -> None:
    failures.clear()
    told.clear()


@resource
async def client() -> AsyncIterator[str]:
    if failures:
        told.append("broken")
        raise failures.pop()
    task = asyncio.current_task()
    told.append("opened")
    await asyncio.sleep(1)
    yield "client"
    told.append("closed" if asyncio.current_task() is task else "closed in another task")


@step
async def direct() -> str:
    return client.get()


def through_a_function() -> str:
    return client.get()


class Gateway:
    """A client of a client, as helper modules have them."""

    def ask(self) -> str:
        return through_a_function()


GATEWAYS = {"default": Gateway()}


@step
async def by_an_object() -> str:
    return GATEWAYS["default"].ask()


@step
async def by_another_step() -> str:
    return await by_an_object()


@step(retry=Retry(max_attempts=3, initial="1s"))
async def indirect() -> str:
    return through_a_function()


@step
async def alone() -> str:
    return "alone"


@workflow
async def use_indirect() -> str:
    return await indirect()


@workflow
async def use_none() -> str:
    return await alone()


@workflow
async def misuse() -> str:
    return client.get()


def test_a_resource_is_opened_once_and_closed_in_the_task_that_opened_it(world: World) -> None:
    """However many steps name it, themselves or through what they call."""

    @workflow
    async def main() -> list[str]:
        return [await alone(), *await asyncio.gather(direct(), indirect(), by_another_step())]

    async def story(engine: Engine) -> list[str]:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == ["alone", "client", "client", "client"]
    assert told == ["opened", "closed"]


def test_a_resource_that_nobody_names_is_not_opened(world: World) -> None:
    """Opening waits for the first step that needs it."""

    async def story(engine: Engine) -> str:
        return await (await engine.start(use_none)).result()

    assert world.live(story, use_none) == "alone"
    assert told == []


def test_a_resource_that_does_not_open_fails_the_attempt_and_is_tried_again(world: World) -> None:
    """The step's own policy says how often."""
    failures.extend([ConnectionError("no route")] * 2)

    async def story(engine: Engine) -> str:
        return await (await engine.start(use_indirect)).result()

    assert world.live(story, use_indirect) == "client"
    assert told == ["broken", "broken", "opened", "closed"]


def test_a_step_whose_resource_never_opens_fails_with_its_error(world: World) -> None:
    """The workflow sees what the resource raised."""
    failures.extend([ConnectionError("no route")] * 3)

    async def story(engine: Engine) -> None:
        with pytest.raises(RunFailed, match="no route") as caught:
            await (await engine.start(use_indirect)).result()
        assert isinstance(caught.value.error, ConnectionError)

    world.live(story, use_indirect)
    assert told == ["broken"] * 3


def test_a_resource_in_workflow_code_blocks_the_run(world: World) -> None:
    """Resources are for steps: only an edit can mend that."""

    async def story(engine: Engine) -> None:
        run = await engine.start(misuse, id="one")
        await until(lambda: len(world.history("one")) == 2)
        assert await run.status() == "blocked"

    world.live(story, misuse)
    blocked = world.history("one")[1].entry
    assert "asked for in workflow code" in blocked.cause.message  # type: ignore[union-attr]  # it is `Blocked`


def test_a_resource_that_yields_nothing_says_so(world: World) -> None:
    """It must yield its client once."""

    @resource
    async def empty() -> AsyncIterator[str]:
        return
        yield

    @step(retry=Retry(max_attempts=1))
    async def use() -> str:
        return empty.get()

    @workflow
    async def main() -> str:
        try:
            return await use()
        except StepError as exc:
            return str(exc)

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert "'empty' yields nothing" in world.live(story, main)


def test_a_resource_that_exits_while_it_opens_stops_nothing(world: World) -> None:
    """Nor does one that is cancelled by its own client."""

    @resource
    async def leaving() -> AsyncIterator[str]:
        told.append("tried")
        if len(told) == 1:
            raise SystemExit(3)
        if told:
            raise asyncio.CancelledError
        yield ""

    @step(retry=Retry(max_attempts=2, initial="1s"))
    async def use() -> str:
        return leaving.get()

    @workflow
    async def main() -> str:
        try:
            return await use()
        except RuntimeError as exc:
            return str(exc)

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert "did not open: CancelledError()" in world.live(story, main)
    assert told == ["tried", "tried"]


def test_an_engine_closes_while_a_resource_opens(world: World) -> None:
    """It waits for no server that does not answer."""

    @resource
    async def dead() -> AsyncIterator[str]:
        told.append("opening")
        await asyncio.sleep(3600)
        yield ""

    @step
    async def use() -> str:
        return dead.get()

    @workflow
    async def main() -> str:
        return await use()

    async def story(engine: Engine) -> None:
        await engine.start(main)
        await until(lambda: told)

    world.live(story, main)
    assert world.clock.now() < 1_800_000_000_000_000 + 60_000_000


def test_an_error_of_one_resource_does_not_keep_the_others_open(world: World) -> None:
    """All are closed, and the error is told."""

    @resource
    async def bad() -> AsyncIterator[str]:
        yield "bad"
        raise OSError("cannot close")

    @step
    async def use() -> str:
        return bad.get() + client.get()

    @workflow
    async def main() -> str:
        return await use()

    async def story(engine: Engine) -> str:
        return await (await engine.start(main, id="one")).result()

    with pytest.raises(OSError, match="cannot close"):
        world.live(story, main)
    assert told == ["opened", "closed"]
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == "badclient"


def test_an_object_can_stand_in_for_a_resource(world: World) -> None:
    """In tests: it is neither opened nor closed."""

    async def story(engine: Engine) -> str:
        return await (await engine.start(use_indirect)).result()

    assert world.live(story, use_indirect, resources={client: "fake"}) == "fake"
    assert told == []
