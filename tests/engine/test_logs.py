"""What workflows and steps log, and what the engine says of a workflow that does not end its turn."""

import asyncio
import logging
import time

import pytest

from tests.engine.world import World, until
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import logger, sleep
from wfkit.engine.engine import Engine


@step
async def work() -> None:
    logger.info("in the step")


@workflow
async def main() -> str:
    logger.info("before")
    await work()
    await sleep("10s")
    logger.info("after")
    return "done"


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wfkit.run")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "wfkit.run"]


def test_a_workflow_logs_once_whatever_is_replayed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Evicted, crashed and rebuilt: what was told is not told again."""

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await asyncio.sleep(5)

    world.crash(first, main)
    world.live(lambda _engine: asyncio.sleep(1), main)
    assert world.live(lambda engine: engine.get(main, "one").result(), main, hot_max=1) == "done"
    assert lines(caplog) == ["before", "in the step", "after"]


def test_records_are_stamped_with_run_and_step(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """For whoever filters them."""

    async def story(engine: Engine) -> None:
        await (await engine.start(main, id="one")).result()

    world.live(story, main)
    stamped = [(r.run_id, r.workflow, getattr(r, "step", None)) for r in caplog.records if r.name == "wfkit.run"]  # type: ignore[attr-defined]  # the stamp
    assert stamped == [("one", "main", None), ("one", "main", "work"), ("one", "main", None)]


def test_what_a_void_activation_logged_is_not_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It never happened."""

    @workflow
    async def broken() -> None:
        logger.info("never")
        raise NameError("typo")

    async def story(engine: Engine) -> None:
        run = await engine.start(broken, id="one")
        await until(lambda: len(world.history("one")) == 2)
        assert await run.status() == "blocked"

    world.live(story, broken)
    assert lines(caplog) == []


def test_a_log_handler_that_raises_does_not_hold_up_the_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of in the engine's own log."""

    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("disk full")

    @workflow
    async def loud() -> str:
        logger.warning("hello")
        await sleep("1s")
        return "done"

    async def story(engine: Engine) -> str:
        return await (await engine.start(loud)).result()

    handler = Broken()
    logging.getLogger("wfkit.run").addHandler(handler)
    try:
        assert world.live(story, loud) == "done"
    finally:
        logging.getLogger("wfkit.run").removeHandler(handler)
    assert "a log handler failed" in caplog.text


def test_an_activation_that_takes_long_is_reported_with_its_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """While it goes on, once, and with the run's id."""
    reported = logging.getLogger("wfkit.engine")
    seen: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    spin = time.perf_counter  # the guard gives workflow code the run's own time

    def real_time() -> float:
        from wfkit.api.primitives import unsafe

        with unsafe("a test must end"):
            return spin()

    @workflow
    async def busy() -> int:
        rounds, end = 0, real_time() + 20
        while real_time() < end and not seen:
            rounds += 1  # the line
        return rounds

    async def story(engine: Engine) -> int:
        return await (await engine.start(busy, id="busy-run")).result()

    handler = Listening()
    reported.addHandler(handler)
    try:
        assert world.live(story, busy) > 0
    finally:
        reported.removeHandler(handler)
    assert len(seen) == 1
    assert "busy-run" in seen[0]
    assert "test_logs.py" in seen[0]
