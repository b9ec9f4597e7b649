"""What is left under way, and what is used up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import charge, found, shop, subject_of
from wfkit import Retry, Workflow, sleep, step, step_info, workflow
from wfkit.sim.findings import Violation


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations]


@workflow
async def forgets_when_it_fails() -> str:
    task = asyncio.create_task(slow())
    try:
        await charge(1)
    except Exception:  # noqa: BLE001  # whatever it is
        return "failed"
    await task
    return "ok"


@step
async def slow() -> None:
    await asyncio.sleep(60)


def test_a_step_that_nobody_awaits_is_found() -> None:
    """A step forgotten on the way out of a failure is cut off half way when the workflow returns."""
    subject = subject_of(forgets_when_it_fails)
    assert found(subject) == []
    [violation] = found(subject, "fatal@1:call.before:charge")
    assert signature([violation]) == [("dangling", "error", "slow")]
    assert violation.n == 2


@workflow
async def forgets_to_await_a_step() -> str:
    slow()  # type: ignore[unused-coroutine]  # the mistake
    return await charge(1)


@step
async def posts() -> None:
    _post()  # type: ignore[unused-coroutine]  # the mistake


async def _post() -> None: ...


@workflow
async def forgets_within_a_step() -> None:
    await posts()


@workflow
async def awaits_later() -> str:
    calls = [charge(1), charge(2)]
    first, _ = await asyncio.gather(*calls)
    with suppress(TimeoutError):
        await asyncio.wait_for(slow(), 0)
    return first


@pytest.mark.parametrize(
    ("workflow", "about"), [(forgets_to_await_a_step, "slow()"), (forgets_within_a_step, "_post()"), (awaits_later, "")]
)
def test_a_call_that_nobody_awaits_is_found(workflow: Workflow[..., Any], about: str) -> None:
    """In workflow code and in steps: it does nothing, and Python only warns of it. One that is awaited later is in order."""
    found_here = found(subject_of(workflow))
    assert signature(found_here) == ([("dangling", "error", about)] if about else [])
    assert all(__file__ in each.line for each in found_here)


@workflow
async def ticks(turns: int) -> None:
    for _ in range(turns):
        await sleep("1m")


@step
async def large(size: int) -> str:
    return "x" * size


@workflow
async def loads(size: int) -> int:
    return len(await large(size))


def test_a_long_history_and_a_large_value_are_warnings() -> None:
    """Both grow quietly with an input, and both stop a run one day; the limits are the engine's own."""
    assert signature(found(subject_of(ticks, 2_100))) == [("resource", "warning", "entries")]
    assert found(subject_of(ticks, 1_900)) == []
    assert signature(found(subject_of(loads, 300 * 1024))) == [("resource", "warning", "large")]
    assert found(subject_of(loads, 200 * 1024)) == []


@step
async def retries_by_itself() -> None:
    for _ in range(5):
        with suppress(ConnectionError):
            await shop.get().call("hook", idempotency_key=step_info().idempotency_key)
            return
    raise ConnectionError


@workflow
async def hooks() -> None:
    await retries_by_itself()


@workflow
async def hooks_in_one_attempt() -> None:
    await retries_by_itself.with_options(retry=Retry(max_attempts=1))()


@step
async def many() -> None:
    for number in range(9):
        await shop.get().call("hook", idempotency_key=f"{step_info().idempotency_key}/{number}", number=number)


@workflow
async def hooks_by_the_dozen() -> None:
    await many()


def test_retries_within_retries_are_a_warning_and_many_calls_are_not() -> None:
    """Five attempts of four tries each are twenty calls to a service that is down; a step of many calls is no such thing."""
    [violation] = found(subject_of(hooks), "outage@1:call.before:hook")
    assert signature([violation]) == [("resource", "warning", "hook")]
    assert "20 times" in violation.title
    assert found(subject_of(hooks_by_the_dozen), "outage@1:call.before:hook") == []


def test_retries_of_a_step_that_the_engine_attempts_once_are_its_own() -> None:
    """Nothing multiplies with them, and a crash between them starts them anew."""
    faults = ("fail_n@1:call.before:hook", "crash@1:call.before:hook:4")
    assert found(subject_of(hooks_in_one_attempt), *faults) == []
