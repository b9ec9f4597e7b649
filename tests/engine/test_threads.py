"""Sync steps, in threads and in real time."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from wfkit.api.attempt import step_info
from wfkit.api.definitions import Retry, Workflow, step, workflow
from wfkit.api.registry import Registry
from wfkit.engine.engine import Engine, run, running
from wfkit.errors import StepError, StepTimeout
from wfkit.journal.memory import MemoryDisk

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
once = Retry(max_attempts=1)


def live(story: Callable[[Engine], Awaitable[T]], *workflows: Workflow[..., Any], **options: Any) -> T:
    async def life() -> T:
        async with running(MemoryDisk().open(), Registry(workflows), **options) as engine:
            return await story(engine)

    return asyncio.run(life())


@step
def where(x: int) -> tuple[int, bool, str]:
    return x, threading.current_thread() is threading.main_thread(), step_info().step


@workflow
async def ask_where() -> list[tuple[int, bool, str]]:
    return list(await asyncio.gather(*(where(x) for x in range(3))))


def test_a_sync_step_runs_in_a_thread_and_knows_where_it_is() -> None:
    """It may block: the engine's loop goes on meanwhile."""
    assert run(ask_where) == [(0, False, "where"), (1, False, "where"), (2, False, "where")]


def test_threads_are_bounded_and_used_again() -> None:
    """As many as sync steps run at the same time, and no more."""
    threads: set[str] = set()
    busy, most, lock = 0, 0, threading.Lock()

    @step
    def work(x: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            threads.add(threading.current_thread().name)
        time.sleep(0.01)
        with lock:
            busy -= 1
        return x

    @workflow
    async def main() -> int:
        return sum(await asyncio.gather(*(work(x) for x in range(30))))

    async def story(engine: Engine) -> int:
        return await (await engine.start(main)).result()

    assert live(story, main, steps_max=4) == 435
    assert most <= 4
    assert len(threads) <= 4


def test_the_result_of_a_sync_step_that_was_given_up_is_dropped() -> None:
    """Nobody can stop a thread: the attempt has failed all the same, and the next one starts."""
    leave, attempts = threading.Event(), []

    @step(timeout="50ms", retry=Retry(max_attempts=2, initial="1ms"))
    def stuck() -> str:
        attempts.append(step_info().attempt)
        if len(attempts) == 1:
            leave.wait(20)
            return "late"
        return "in time"

    @workflow
    async def main() -> str:
        return await stuck()

    async def story(engine: Engine) -> str:
        told = await (await engine.start(main, id="one")).result()
        leave.set()
        await asyncio.sleep(0.05)
        assert len(await engine.get(main, "one").history()) == 4
        return told

    assert live(story, main) == "in time"
    assert attempts == [1, 2]


def test_a_thread_that_hangs_keeps_neither_engine_nor_process_alive(tmp_path: Path) -> None:
    """It is left behind: the process ends when its work is done."""
    script = tmp_path / "app.py"
    script.write_text(
        """
import time
from wfkit.api.definitions import Retry, step, workflow
from wfkit.engine.engine import run
from wfkit.errors import StepTimeout

@step(timeout="100ms", retry=Retry(max_attempts=1))
def hang() -> None:
    time.sleep(600)

@workflow
async def main() -> str:
    try:
        await hang()
    except StepTimeout:
        return "gave up"
    return ""

print(run(main))
"""
    )
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT)}, check=True
    )
    assert ended.stdout == "gave up\n"


def test_a_sync_step_may_raise_anything() -> None:
    """`StopIteration`, `SystemExit`, a cancel: each is an error of the step."""
    errors: list[BaseException] = [StopIteration("a"), SystemExit("b"), asyncio.CancelledError("c"), GeneratorExit("d")]

    @step(retry=once)
    def throw(x: int) -> None:
        raise errors[x]

    @workflow
    async def main() -> list[str]:
        told = []
        for x in range(4):
            try:
                await throw(x)
            except StepError as exc:
                told.append(exc.type)
        return told

    assert run(main) == ["StopIteration", "StepExit", "CancelledError", "GeneratorExit"]


def test_steps_that_wait_for_a_thread_do_not_use_up_their_time() -> None:
    """The timeout of an attempt counts from when it runs."""

    @step(timeout="300ms", retry=once)
    def work() -> None:
        time.sleep(0.1)

    @workflow
    async def main() -> str:
        try:
            await asyncio.gather(*(work() for _ in range(8)))
        except StepTimeout:
            return "timeout"
        return "done"

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert live(story, main, steps_max=1) == "done"
