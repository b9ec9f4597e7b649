"""Opening and closing an engine."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

import wfkit
from tests.engine.world import World, until
from wfkit.api.definitions import Workflow, step, workflow
from wfkit.api.primitives import sleep
from wfkit.api.signals import Signal, wait_signal
from wfkit.engine.engine import Engine
from wfkit.errors import AppError, DefinitionError, DuplicateName, EngineClosed, JournalLocked

go = Signal("go", int)
calls: list[Any] = []

APP = """
from wfkit.api.definitions import step, workflow

@step
async def double(x: int) -> int:
    return 2 * x

@workflow
async def main(x: int) -> int:
    return await double(x)
"""


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@step
async def slow(seconds: float) -> float:
    calls.append("began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        calls.append("cancelled")
        raise
    calls.append("ended")
    return seconds


@workflow
async def main(seconds: float) -> float:
    return await slow(seconds)


@workflow
async def take() -> int:
    return await wait_signal(go)


async def opened(path: Path, **options: Any) -> None:
    async with wfkit.Engine.open(str(path / "journal.duckdb"), control=False, **options):
        pass


def test_an_app_gives_its_workflows(tmp_path: Path) -> None:
    """By its file, and by its module's name."""
    (tmp_path / "some_app.py").write_text(APP)

    async def life(app: str, x: int) -> Any:
        async with wfkit.Engine.open(str(tmp_path / "journal.duckdb"), app=app, control=False) as engine:
            main: Workflow[..., Any] = sys.modules["some_app"].main
            return await (await engine.start(main, x, id=f"run-{x}")).result()

    path = list(sys.path)
    try:
        assert asyncio.run(life(str(tmp_path / "some_app.py"), 4)) == 8
        assert asyncio.run(life("some_app", 5)) == 10
    finally:
        sys.path[:] = path
        del sys.modules["some_app"]


@pytest.mark.parametrize("options", [{}, {"app": "x", "workflows": [main]}], ids=["neither", "both"])
def test_an_engine_needs_either_an_app_or_workflows(tmp_path: Path, options: dict[str, Any]) -> None:
    """Not both, nor neither; and no journal is made."""
    with pytest.raises(DefinitionError, match="app= or workflows="):
        asyncio.run(opened(tmp_path, **options))
    assert list(tmp_path.iterdir()) == []


def test_an_app_that_is_not_there_makes_no_journal(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(AppError, match="no_such_app"):
        asyncio.run(opened(tmp_path, app="no_such_app"))
    assert list(tmp_path.iterdir()) == []


def test_two_definitions_of_one_name_are_refused(tmp_path: Path) -> None:
    """With both places."""

    @workflow(name="main")
    async def another() -> None: ...

    with pytest.raises(DuplicateName, match=r"'main': .*test_opening.py:\d+ and .*test_opening.py:\d+"):
        asyncio.run(opened(tmp_path, workflows=[main, another]))
    assert list(tmp_path.iterdir()) == []


def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    """By a second engine, which leaves the first one alone."""

    async def life() -> int:
        async with wfkit.Engine.open(str(tmp_path / "journal.duckdb"), workflows=[take], control=False) as engine:
            with pytest.raises(JournalLocked):
                await opened(tmp_path, workflows=[take])
            run = await engine.start(take)
            await run.send(go, 3)
            return await run.result()

    assert asyncio.run(life()) == 3


def test_a_closing_engine_waits_shortly_for_steps_in_flight(world: World) -> None:
    """One that ends in time is recorded, and does not run again."""

    async def story(engine: Engine) -> None:
        await engine.start(main, 1.0, id="one")
        await until(lambda: calls)

    world.live(story, main)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == 1.0
    assert calls == ["began", "ended"]


def test_a_closing_engine_does_not_wait_long(world: World) -> None:
    """What takes longer is cancelled, and runs again at the next opening."""

    async def story(engine: Engine) -> float:
        await engine.start(main, 100.0, id="one")
        await until(lambda: calls)
        return asyncio.get_running_loop().time()

    world.live(story, main)
    assert calls == ["began", "cancelled"]
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == 100.0
    assert calls == ["began", "cancelled", "began", "ended"]


def test_an_engine_is_closed_once(world: World) -> None:
    """Closing it again does nothing."""

    async def story(engine: Engine) -> None:
        await engine.start(take)
        await engine.close()
        await engine.close()

    world.live(story, take)


def test_a_closed_engine_takes_no_requests(world: World) -> None:
    """Each is refused with `EngineClosed`."""

    async def story(engine: Engine) -> None:
        run = await engine.start(take, id="one")
        await engine.close()
        for ask in (
            lambda: engine.start(take, id="two"),
            lambda: engine.publish(go, 1),
            lambda: run.send(go, 1),
            run.cancel,
            run.terminate,
            run.result,
            run.history,
        ):
            with pytest.raises(EngineClosed):
                await ask()

    world.live(story, take)


def test_whoever_waits_for_a_result_hears_that_the_engine_closed(world: World) -> None:
    """And in what state the run was."""

    async def story(engine: Engine) -> "asyncio.Future[int]":
        run = await engine.start(take, id="one")
        waiting = asyncio.ensure_future(run.result())
        await asyncio.sleep(1)
        await engine.close()
        with pytest.raises(EngineClosed, match="run one was waiting"):
            await waiting
        return waiting

    world.live(story, take)


def test_an_exception_of_the_users_closes_the_engine_and_goes_on(world: World) -> None:
    """The journal is whole and can be opened again."""

    async def story(engine: Engine) -> None:
        await engine.start(take, id="one")
        raise ZeroDivisionError("mine")

    async def again(engine: Engine) -> int:
        run = engine.get(take, "one")
        await run.send(go, 3)
        return await run.result()

    with pytest.raises(ZeroDivisionError, match="mine"):
        world.live(story, take)
    assert world.live(again, take) == 3


def test_a_task_that_is_cancelled_in_its_engine_closes_it(world: World) -> None:
    """As Ctrl-C does."""

    async def story(engine: Engine) -> None:
        await engine.start(main, 100.0, id="one")
        await until(lambda: calls)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        world.live(story, main)
    assert calls == ["began", "cancelled"]
    assert world.disk._journal is None


def test_a_closed_engine_leaves_an_up_to_date_projection(world: World) -> None:
    """The next opening folds nothing."""

    @workflow
    async def doze() -> None:
        await sleep("1h")

    async def story(engine: Engine) -> None:
        for i in range(5):
            await engine.start(doze, id=f"run-{i}")

    world.live(story, doze)
    assert world.disk._projected == len(world.disk.rows)
    assert len(world.disk._runs) == 5
