"""What a schedule comes to, against what it comes to without faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim.judging import bank, charge, found, note, store, subject_of
from wfkit import Retry, Signal, Workflow, sleep, step, step_info, timeout, wait_signal, workflow
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Declaration, Instance, outcome

paid = Signal("paid", int)


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations]


@step
async def read() -> int:
    return int(await store.get().get("n", 0))


@step
async def write(value: int) -> None:
    await store.get().put("n", value)


@workflow
async def counts_in_two_steps() -> None:
    await write(await read() + 1)


def test_an_update_that_is_lost_to_another_run_is_found_in_the_state() -> None:
    """Each run's effects are right here; only the state of the service shows that one update was lost."""
    subject = subject_of(counts_in_two_steps, runs=(Instance(counts_in_two_steps, at=5),))
    [violation] = found(subject, "delay@2:step.before:write")
    assert signature([violation]) == [("difference", "error", "store")]
    assert violation.title == "store.n is 1 instead of 2"
    assert violation.evidence == ("fault-free: store.n = 2", "this run: store.n = 1")


async def pays(run: Any, world: Any) -> None:
    for amount in (1, 2):
        await asyncio.sleep(10)
        await run.send(paid, amount)


@workflow
async def counts_deliveries() -> list[int]:
    got = [await wait_signal(paid), await wait_signal(paid)]
    await note(f"paid {got}")
    return got


def test_a_delivery_that_is_counted_twice_is_found_in_the_effects() -> None:
    """A signal without a key that comes twice is another input, and what was made of it shows that."""
    [violation] = found(subject_of(counts_deliveries, script=pays), "dup@1:delivery:paid")
    assert signature([violation])[0][:2] == ("difference", "error")
    assert "[1,1]" in violation.title


@step
async def quote() -> str:
    return str(await bank.get().call("quote", idempotency_key=step_info().idempotency_key))


@workflow
async def quote_or_nothing() -> str:
    try:
        await quote.with_options(retry=Retry(max_attempts=1), timeout="1m")()
    except OSError:
        return "nothing"
    return "a quote"


def test_another_answer_under_a_failing_service_is_declared_or_found() -> None:
    """A fallback is legitimate if somebody said so, and then for that value alone."""
    fault = "fail@1:call.before:quote"
    [violation] = found(subject_of(quote_or_nothing), fault)
    assert signature([violation]) == [("difference", "error", "result")]
    assert violation.title == 'quote_or_nothing completed "nothing" instead of completed "a quote"'
    assert "outcome(fault='fail'" in violation.fix
    assert found(subject_of(quote_or_nothing, expect=(outcome(fault="fail", value="nothing"),)), fault) == []
    assert found(subject_of(quote_or_nothing, expect=(outcome(fault="fail", value="other"),)), fault) != []


@step
async def quote_or_none() -> str | None:
    try:
        return str(await bank.get().call("quote", idempotency_key=step_info().idempotency_key))
    except ConnectionError:
        return None


@workflow
async def takes_none_for_an_answer() -> str:
    return await quote_or_none() or "nothing"


@workflow
async def fails_without_a_quote() -> str:
    got = await quote_or_none()
    if got is None:
        raise LookupError("no quote")
    return got


@workflow
async def breaks_down_without_a_quote() -> int:
    return int((await quote_or_none() or "none-").rpartition("-")[2])


@pytest.mark.parametrize(
    ("workflow", "expect", "abouts"),
    [
        (takes_none_for_an_answer, (), ["quote"]),
        (breaks_down_without_a_quote, (), ["status"]),
        (takes_none_for_an_answer, (outcome(fault="slow", value="nothing"),), []),
        (fails_without_a_quote, (), []),
    ],
    ids=["taken", "broken", "declared", "failed"],
)
def test_a_step_that_goes_on_without_an_answer_is_found_unless_that_is_declared_or_fails_the_run(
    workflow: Workflow[..., Any], expect: tuple[Declaration, ...], abouts: list[str]
) -> None:
    """It is named, since the workflow cannot know; a run that fails of it has told of it."""
    violations = found(subject_of(workflow, expect=expect), "fail@1:call.before:quote")
    assert signature(violations) == [("difference", "error", about) for about in abouts]
    assert all(each.why.startswith("quote_or_none went on without an answer") for each in violations)
    assert all("outcome(fault='fail'" in each.fix for each in violations if each.about == "quote")


def test_a_business_failure_entitles_to_another_answer() -> None:
    """A refused charge is news to the workflow: it may decide otherwise than without."""

    @workflow
    async def charge_or_nothing() -> str:
        try:
            await charge(1)
        except Exception:  # noqa: BLE001  # whatever it is
            return "nothing"
        return "charged"

    assert found(subject_of(charge_or_nothing), "fatal@1:call.before:charge") == []


@workflow
async def gives_up_after_an_hour() -> str:
    try:
        async with timeout("1h"):
            await sleep("30m")
            await note("half an hour is over")
    except TimeoutError:
        return "too late"
    return "in time"


def test_what_depends_on_timing_is_told_in_one_line_that_is_no_error() -> None:
    """By whichever fault: an expired deadline is right then, and a report full of those hides what is wrong."""
    explored = search(subject_of(gives_up_after_an_hour), Terms(faults=["crash_long", "jump+", "outage"], budget=0.1))
    [told] = explored.found
    title = "it depends on timing: note happened never instead of once"
    assert (told.violation.severity, told.violation.title, len(told.faults)) == ("info", title, 1)
    assert told.times > 1
