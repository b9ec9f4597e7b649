"""A step that fails for good is missed by somebody: its run does something about it, or tells of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import ask, bank, charge, found, grave, mail, note, subject_of
from wfkit import Expect, Retry, RunFailed, State, Workflow, now, step, step_info, workflow
from wfkit.sim.subject import outcome

DOWN = "outage@1:call.before:charge"
"""Every call fails for good."""
ONE_FAILS = "fail_n@1:call.before:charge"

progress = State("progress", str)


@step
async def charge_by_note(amount: int) -> str:
    """Do by another step what `charge` does."""
    return str(await bank.get().call("charge", idempotency_key=step_info().idempotency_key, by="note", amount=amount))


@step(expect=Expect(at_least_once="it is a courtesy"))
async def thank(name: str) -> None:
    await mail.get().send(name=name)


@step(expect=Expect(read_only=True))
async def is_closed() -> bool:
    return bool(await bank.get().read("closed"))


@step
async def price_of(item: str) -> int:
    await ask("price", item=item)
    return 5


@workflow
async def nobody_looks() -> str:
    await asyncio.gather(charge(1), charge(2), return_exceptions=True)
    await note("all charged")
    return "ok"


@workflow
async def passes_over_it() -> str:
    for amount in (1, 2):
        with suppress(ConnectionError):
            await charge(amount)
    return "ok"


@workflow
async def leaves_out_what_follows() -> str:
    with suppress(ConnectionError):
        await charge(1)
        await note("charged")
    return "ok"


@workflow
async def tries_in_vain() -> str:
    for _ in range(2):
        with suppress(ConnectionError):
            await charge(1)
            break
    return "ok"


@workflow
async def ships() -> str:
    await note("shipped")
    return "shipped"


@workflow
async def lets_a_child_go_on() -> str:
    await price_of("lamp")
    with suppress(ConnectionError):
        await charge(1)
    await ships()
    return "ok"


@workflow
async def charges(amount: int) -> str:
    return await charge(amount)


@workflow
async def passes_over_a_child() -> str:
    with suppress(RunFailed):
        await charges(1)
    await note("charged")
    return "ok"


@workflow
async def passes_over_all_children() -> list[str]:
    ends = await asyncio.gather(charges(1), charges(2), return_exceptions=True)
    await note("all charged")
    return ["ok" for _ in ends]


@step
async def add_member(who: str) -> None:
    await bank.get().call("add", idempotency_key=step_info().idempotency_key, who=who)


@step
async def add_customer(who: str) -> None:
    await ask("add", who=who)


@step
async def add_guest(who: str) -> None:
    await mail.get().call("add", idempotency_key=step_info().idempotency_key, who=who)


@workflow
async def adds_to_one_of_two() -> str:
    await add_customer("ann")
    with suppress(ConnectionError):
        await add_member("ann")
    await note("added")
    return "ok"


class Declined(Exception):
    """The bank says no."""


@step(retry=Retry(max_attempts=None, non_retryable=(Declined,)))
async def settle(amount: int) -> None:
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def passes_over_a_refusal() -> str:
    with suppress(Declined):
        await settle(1)
    await note("charged")
    return "ok"


@pytest.mark.parametrize(
    ("workflow", "fault"),
    [
        (nobody_looks, DOWN),
        (passes_over_it, DOWN),
        (leaves_out_what_follows, ONE_FAILS),
        (tries_in_vain, DOWN),
        (lets_a_child_go_on, "fail_n@2:call.before:charge"),
        (passes_over_a_child, "fail_n@passes_over_a_child-1/charges-1:1:call.before:charge"),
        (passes_over_all_children, "outage@passes_over_all_children-1/charges-1:1:call.before:charge"),
        (adds_to_one_of_two, "fail_n@2:call.before:add"),
        (passes_over_a_refusal, "fatal@1:call.before:charge"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_failure_that_changes_nothing_is_swallowed(workflow: Workflow[..., Any], fault: str) -> None:
    """What the step does is missing, and nobody could know."""
    about = {adds_to_one_of_two: "add_member", passes_over_a_refusal: "settle"}.get(workflow, "charge")
    [violation] = grave(found(subject_of(workflow), fault))
    assert (violation.oracle, violation.severity, violation.about) == ("difference", "warning", about)
    told = '["ok","ok"]' if workflow is passes_over_all_children else '"ok"'
    assert violation.title == f"{about} failed for good, and {workflow.name} completed {told} as always"


def test_a_swallowed_failure_is_silenced_by_the_result_that_its_fix_names() -> None:
    """Whoever expects the usual result under this fault knows that something is missing."""
    [violation] = grave(found(subject_of(passes_over_it), DOWN))
    assert violation.fix.endswith("expect=[outcome(fault='outage', value='ok')]")
    assert found(subject_of(passes_over_it, expect=[outcome(fault="outage", value="ok")]), DOWN) == []


@workflow
async def claims_nothing() -> None:
    with suppress(ConnectionError):
        await charge(1)


@workflow
async def wants_a_majority() -> str:
    ends = await asyncio.gather(*map(charge, (1, 2, 3)), return_exceptions=True)
    if sum(isinstance(end, str) for end in ends) < 2:
        raise ConnectionError("too few")
    await note("charged")
    return "ok"


@step
async def store_at(place: int) -> str:
    return str(await bank.get().call(f"store {place}", idempotency_key=step_info().idempotency_key))


@workflow
async def wants_a_majority_of_places() -> str:
    ends = await asyncio.gather(*map(store_at, (1, 2, 3)), return_exceptions=True)
    if sum(isinstance(end, str) for end in ends) < 2:
        raise ConnectionError("too few")
    await note("stored")
    return "ok"


@workflow
async def wants_two_of_three_services() -> str:
    ends = await asyncio.gather(add_member("ann"), add_customer("ann"), add_guest("ann"), return_exceptions=True)
    if sum(not isinstance(end, BaseException) for end in ends) < 2:
        raise ConnectionError("too few")
    await note("added")
    return "ok"


@workflow
async def wants_one_of_two() -> str:
    ends = await asyncio.gather(charge(1), charge_by_note(1), return_exceptions=True)
    if not any(isinstance(end, str) for end in ends):
        raise ConnectionError("none")
    await note("charged")
    return "ok"


@workflow
async def tells_that_a_child_failed() -> str:
    try:
        await charges(1)
    except RunFailed:
        await note("not charged")
    return "ok"


@workflow
async def charges_or_asks_why(amount: int) -> str:
    try:
        return await charge(amount)
    except ConnectionError:
        await is_closed()
        raise


@workflow
async def lets_a_child_look_why() -> str:
    with suppress(RunFailed):
        await charges_or_asks_why(1)
    await note("done")
    return "ok"


@workflow
async def looks_why() -> str:
    try:
        await charge(1)
    except ConnectionError:
        await is_closed()
    return "ok"


@workflow
async def thanks_if_it_can() -> str:
    await charge(1)
    with suppress(ConnectionError):
        await thank("ann")
    await note("charged")
    return "ok"


@workflow
async def does_something_last() -> str:
    await note("done")
    with suppress(ConnectionError):
        await charge(1)
    return "ok"


@workflow
async def goes_on_with_another_value() -> str:
    price = 4
    with suppress(ConnectionError):
        price = await price_of("lamp")
    await charge(price)
    return "ok"


@workflow
async def shows_that_something_is_missing() -> str:
    with suppress(ConnectionError):
        await charge(1)
        progress.set("charged")
    await note("done")
    return "ok"


@workflow
async def does_something_after_a_child() -> str:
    await ships()
    with suppress(ConnectionError):
        await charge(1)
    return "ok"


@step(retry=Retry(max_attempts=None, non_retryable=(Declined,)))
async def pay_by_card(amount: int) -> None:
    if amount > 100:
        raise Declined
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def tells_of_cards_that_are_declined() -> str:
    ends = await asyncio.gather(pay_by_card(1), pay_by_card(200), return_exceptions=True)
    if any(isinstance(end, Declined) for end in ends):
        await note("declined")
    return "ok"


@step(expect=Expect(read_only=True))
async def think(history: list[str]) -> str:
    return str(await bank.get().read("thought", of=history))


@workflow
async def tells_its_model() -> str:
    history = ["charge the customer"]
    try:
        history.append(await charge(1))
    except ConnectionError as error:
        history.append(f"error: {error}")
    await think(history)
    await note("done")
    return "ok"


@workflow
async def notes_the_day() -> str:
    with suppress(ConnectionError):
        await charge(1)
    await is_due(now().isoformat())
    await note("charged")
    return "ok"


@step(expect=Expect(read_only=True))
async def is_due(day: str) -> bool:
    return bool(await bank.get().read("due", day=day))


def test_another_time_in_an_argument_tells_of_no_failure() -> None:
    """It is another one in each run, whatever happens."""
    [violation] = grave(found(subject_of(notes_the_day), ONE_FAILS))
    assert violation.title == 'charge failed for good, and notes_the_day completed "ok" as always'


@pytest.mark.parametrize(
    ("workflow", "fault"),
    [
        (claims_nothing, ONE_FAILS),
        (wants_a_majority, ONE_FAILS),
        (wants_a_majority_of_places, "fail_n@1:call.before:store 1"),
        (wants_two_of_three_services, "fail_n@1:call.before:add"),
        (wants_one_of_two, ONE_FAILS),
        (
            tells_that_a_child_failed,
            "fail_n@tells_that_a_child_failed-1/charges-1:1:call.before:charge",
        ),
        (lets_a_child_look_why, "fail_n@lets_a_child_look_why-1/charges_or_asks_why-1:1:call.before:charge"),
        (looks_why, ONE_FAILS),
        (thanks_if_it_can, "fail_n@2:call.before:send"),
        (does_something_last, "fail_n@2:call.before:charge"),
        (shows_that_something_is_missing, ONE_FAILS),
        (does_something_after_a_child, "fail_n@2:call.before:charge"),
        (goes_on_with_another_value, "fail_n@1:call.before:price"),
        (tells_its_model, ONE_FAILS),
        (tells_of_cards_that_are_declined, "fatal@1:call.before:charge"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_failure_that_is_dealt_with_is_not_swallowed(workflow: Workflow[..., Any], fault: str) -> None:
    """By others of its kind, by asking for something else, by going on otherwise; or it may be missing, or comes last."""
    assert found(subject_of(workflow), fault) == []
