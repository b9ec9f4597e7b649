"""What a run gave up on may have taken effect; and what may be refused does not stand past the point of no return."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import ask, campaign, found, grave, note, pay, refund, release, reserve, subject_of
from wfkit import Expect, Retry, Step, Workflow, saga, step, timeout, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Declaration, residue
from wfkit.testing import Volatile

LOST = "lost_ack@1:call.after:pay"
LOST_SECOND = "lost_ack@2:call.after:pay"
SLOW = "slow@2:call.after:pay"


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations]


def once(step: Step[[int], Any]) -> Step[[int], Any]:
    return step.with_options(retry=Retry(max_attempts=1))


@step(expect=Expect(read_only=True))
async def is_paid(amount: int) -> bool:
    return await ask("look", amount=amount) == "paid"


@workflow
async def says_not_paid() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        return "not paid"
    await note("paid")
    return "paid"


@workflow
async def leaves_out_what_fails() -> str:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        try:
            await s.do(once(pay), 3, undo=refund)
        except ConnectionError:
            return "for nothing"
    return "paid"


@workflow
async def does_not_wait_for_long() -> str:
    try:
        async with timeout("30s"):
            await pay(3)
    except TimeoutError:
        return "not paid"
    await note("paid")
    return "paid"


@workflow
async def undoes_what_may_be_done() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        await refund(3)
        return "not paid"
    await note("paid")
    return "paid"


@workflow
async def asks_again() -> str:
    for _ in range(3):
        try:
            await once(pay).with_options(key="o1")(3)
        except ConnectionError:
            continue
        return "paid"
    return "not paid"


@workflow
async def looks_first() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        return "paid" if await is_paid(3) else "unclear"
    return "paid"


@workflow
async def does_its_best() -> None:
    await note("begun")
    with suppress(ConnectionError):
        await once(pay)(3)


@pytest.mark.parametrize(
    ("workflow", "fault", "how"),
    [
        (says_not_paid, LOST, "failed for good"),
        (leaves_out_what_fails, LOST_SECOND, "failed for good"),
        (does_not_wait_for_long, SLOW, "did not answer in time"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_a_run_gives_up_on_is_undone_or_counts_as_done(workflow: Workflow[..., Any], fault: str, how: str) -> None:
    """The money is gone, and the run says that it is not: no answer is no proof that nothing happened."""
    [violation] = grave(found(subject_of(workflow), fault))
    assert signature([violation]) == [("saga", "warning", "pay")]
    assert "pay took effect, and" in violation.title
    assert violation.why == f"pay {how}: that says nothing of whether it took effect"


@pytest.mark.parametrize(
    ("workflow", "fault", "expect"),
    [
        (undoes_what_may_be_done, LOST, ()),
        (asks_again, LOST, ()),
        (looks_first, LOST, ()),
        (does_its_best, LOST_SECOND, ()),
        (says_not_paid, LOST, (residue("pay", "they can call us"),)),
    ],
    ids=["undone", "asked again", "looked at", "as usual", "meant"],
)
def test_who_deals_with_what_may_be_done_is_right(
    workflow: Workflow[..., Any], fault: str, expect: tuple[Declaration, ...]
) -> None:
    """By undoing it, by asking again, by looking, by saying that it stays; or where it makes no difference."""
    assert [each for each in found(subject_of(workflow, expect=expect), fault) if each.oracle == "saga"] == []


@workflow
async def pays_one(amount: int) -> int:
    await pay(amount)
    return amount


@workflow
async def lists_what_was_paid() -> Volatile[list[int]]:
    ends = await asyncio.gather(*map(pays_one, (1, 2, 3)), return_exceptions=True)
    return [end for end in ends if isinstance(end, int)]


@workflow
async def lists_all() -> Volatile[list[int]]:
    await asyncio.gather(*map(pays_one, (1, 2, 3)), return_exceptions=True)
    return [1, 2, 3]


@pytest.mark.parametrize(("workflow", "about"), [(lists_what_was_paid, []), (lists_all, ["pay"])], ids=["tells", "does not"])
def test_a_volatile_result_that_differs_tells_of_a_failure(workflow: Workflow[..., Any], about: list[str]) -> None:
    """It may be another one each time, and a shorter list says that something is not in it."""
    violations = grave(found(subject_of(workflow), f"fatal@{workflow.name}-1/pays_one-2:1:call.before:pay"))
    assert [each.about for each in violations if each.oracle == "saga"] == about


# -- past the pivot -----------------------------------------------------------------------------------------------------


class Declined(Exception):
    pass


@step(raises=(Declined,), retry=Retry(non_retryable=(Declined,)))
async def buy(what: str) -> None:
    await ask("buy", what=what)


@step(raises=(Declined,), retry=Retry(non_retryable=(TypeError,)))
async def fetch(what: str) -> None:
    await ask("fetch", what=what)


@workflow
async def buys_past_the_pivot() -> None:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        s.pivot()
        await buy("lamp")


@workflow
async def buys_at_the_pivot() -> None:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        await buy("lamp")
        s.pivot()
        await fetch("lamp")


def test_what_may_be_refused_does_not_stand_past_the_pivot() -> None:
    """A step that declares a refusal as final is tried without end there."""
    violations = campaign(subject_of(buys_past_the_pivot))
    assert [signature(each) for each in violations.values()] == [[("saga", "warning", "buy")]]
    [[violation]] = violations.values()
    assert violation.title == "buy may be refused, and stands past the pivot"
    assert violation.evidence == ("buy declares that Declined is final",)


def test_what_is_only_tried_again_may_stand_past_the_pivot() -> None:
    """An error that a step declares, and a programming error that ends it, are no refusals."""
    assert campaign(subject_of(buys_at_the_pivot, expect=(residue("buy", "it is ours"),))) == {}
