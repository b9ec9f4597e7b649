"""What goes by a name: the ids of runs and signals, the names of steps and files."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.world import SlowDisk, World, check_journal, until
from wfkit.api.definitions import run_step, step, workflow
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.entries import SignalPublished
from wfkit.engine.apps import load_app
from wfkit.engine.engine import Engine
from wfkit.errors import AppError

news = Signal("news", int)
calls: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@workflow
async def wait_twice() -> list[int]:
    return [await wait_signal(news), await wait_signal(news)]


@workflow(on=news)
async def started(n: int) -> int:
    return n


@pytest.mark.parametrize("seed", range(5))
def test_concurrent_publishes_with_one_dedupe_id_are_one(seed: int) -> None:
    """Also while the run that waits for the signal has to be read first: one run is started, and it gets one signal."""
    world = World(SlowDisk(seed))

    async def story(engine: Engine) -> list[str]:
        await engine.start(wait_twice, id="cold")
        await until(lambda: engine._runs.named("cold") is None)
        await asyncio.gather(*(engine.publish(news, 7, dedupe="one") for _ in range(3)))
        await asyncio.sleep(5)
        return [run.id for run in await engine.runs("wf:started")]

    assert world.live(story, wait_twice, started, warm_max=0, hot_max=1) == ["started/on-1"]
    assert [type(record.entry) for record in world.histories()[0]] == [SignalPublished]
    check_journal(world.disk.rows, wait_twice, started)


def test_a_run_that_has_a_triggered_id_by_chance_is_not_shadowed(world: World) -> None:
    """The run that the signal starts gets an id of its own."""

    async def story(engine: Engine) -> dict[str, int]:
        await (await engine.start(started, 0, id="started/on-1")).result()
        await engine.publish(news, 7)
        await until(lambda: len(engine._runs) == 2)
        await asyncio.sleep(1)
        return {run.id: await engine.get(started, run.id).result() for run in await engine.runs("wf:started")}

    results = world.live(story, started)
    assert sorted(results.values()) == [0, 7]
    assert results["started/on-1"] == 0
    check_journal(world.disk.rows, started)


def test_a_function_under_the_name_of_a_step_runs_itself_after_a_crash(world: World) -> None:
    """Only the run's own code knows which of the two it asked for."""

    async def undecorated() -> str:
        calls.append("undecorated")
        if len(calls) == 1:
            await asyncio.sleep(3600)
        return "undecorated"

    @step
    async def charge() -> str:
        calls.append("decorated")
        return "decorated"

    @workflow
    async def main(decorated: bool) -> str:
        if decorated:
            return await charge()
        return await run_step("charge", undecorated)

    async def first(engine: Engine) -> None:
        await engine.start(main, False, id="one")
        await until(lambda: calls)

    world.crash(first, main)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == "undecorated"
    assert calls == ["undecorated"] * 2


@pytest.fixture
def _imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def app(folder: Path, file: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(
        f"from wfkit.api.definitions import workflow\n\n@workflow\nasync def in_{folder.name}() -> None: ...\n"
    )
    return str(folder / file)


@pytest.mark.usefixtures("_imports")
def test_a_file_is_not_taken_for_another_of_its_name(tmp_path: Path) -> None:
    """One that is imported already, and one of the standard library: both are refused with what was found instead."""
    first, second = app(tmp_path / "a", "same_name_app.py"), app(tmp_path / "b", "same_name_app.py")
    assert list(load_app(first).workflows) == ["in_a"]
    with pytest.raises(AppError, match=r"b/same_name_app.py is not what `import same_name_app` finds, .*a/same_name_app.py"):
        load_app(second)
    with pytest.raises(AppError, match=r"a/queue.py is not what `import queue` finds"):
        load_app(app(tmp_path / "a", "queue.py"))


@pytest.mark.usefixtures("_imports")
def test_the_folder_of_the_file_comes_first(tmp_path: Path) -> None:
    """Another folder that was added before, and has a file of that name, does not come in between."""
    first, second = app(tmp_path / "a", "one_app.py"), app(tmp_path / "b", "another_app.py")
    load_app(first)
    load_app(second)
    app(tmp_path / "b", "third_app.py")
    assert list(load_app(app(tmp_path / "a", "third_app.py")).workflows) == ["in_a"]
