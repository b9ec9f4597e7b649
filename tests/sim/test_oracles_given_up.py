"""What a run gave up on may have taken effect; and what may be refused does not stand past the point of no return."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ParamSpec

import pytest

from tests.sim.judging import (
    ask,
    bank,
    campaign,
    charge,
    found,
    grave,
    mail,
    note,
    pay,
    refund,
    release,
    reserve,
    shop,
    subject_of,
)
from wfkit import Expect, Retry, RunFailed, Signal, State, Step, Workflow, saga, step, step_info, timeout, wait_signal, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Declaration, outcome, residue
from wfkit.testing import Volatile

P = ParamSpec("P")

LOST = "lost_ack@1:call.after:pay"
LOST_SECOND = "lost_ack@2:call.after:pay"
SLOW = "slow@2:call.after:pay"


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations]


def once(step: Step[P, Any]) -> Step[P, Any]:
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


# -- what is asked for afterwards ---------------------------------------------------------------------------------------


answered = Signal("answered", str)
payment = State("payment", str)


@step
async def pay_elsewhere(amount: int) -> str:
    return await ask("take", amount=amount)


@step(expect=Expect(read_only=True))
async def is_anything_charged() -> bool:
    return bool(await bank.get().read("charged"))


@step
async def cancel_charge(amount: int) -> None:
    await bank.get().call("cancel", idempotency_key=step_info().idempotency_key, amount=amount)


@step(expect=Expect(at_least_once="two mails do no harm"))
async def tell(text: str) -> None:
    await mail.get().send(text=text)


@step(expect=Expect(at_least_once="two of them do no harm"))
async def remind(amount: int) -> None:
    await bank.get().call("remind", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def pays_twice() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        await pay_elsewhere(3)
    return "paid"


@workflow
async def tries_all_providers() -> str:
    for pay_by in (charge, pay_elsewhere):
        with suppress(ConnectionError):
            await once(pay_by)(3)
            return "paid"
    return "not paid"


@workflow
async def pays_elsewhere(amount: int) -> None:
    await pay_elsewhere(amount)


@workflow
async def lets_a_child_pay() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        await pays_elsewhere(3)
    return "paid"


@workflow
async def charges_or_says_so(amount: int) -> str:
    try:
        return str(await once(charge)(amount))
    except ConnectionError:
        return "in doubt"


@workflow
async def charges(amount: int) -> None:
    await once(charge)(amount)


@workflow
async def pays_twice_for_a_child_in_doubt() -> str:
    if await charges_or_says_so(3) == "in doubt":
        await pay_elsewhere(3)
    return "paid"


@workflow
async def pays_twice_for_a_child_that_failed() -> str:
    try:
        await charges(3)
    except RunFailed:
        await pay_elsewhere(3)
    return "paid"


@workflow
async def cancels_what_a_child_left_in_doubt() -> str:
    if await charges_or_says_so(3) == "in doubt":
        await cancel_charge(3)
        await pay_elsewhere(3)
    return "paid"


@workflow
async def cancels_what_a_child_failed_to_do() -> str:
    try:
        await charges(3)
    except RunFailed:
        await cancel_charge(3)
        return "not paid"
    return "paid"


@workflow
async def calls_a_child_again() -> str:
    for _ in range(2):
        with suppress(RunFailed):
            await charges(3)
            return "paid"
    return "not paid"


@step
async def charge_at(provider: str, amount: int) -> None:
    service = {"bank": bank, "shop": shop}[provider]
    await service.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def tries_one_provider_after_another() -> str:
    for provider in ("bank", "shop"):
        with suppress(ConnectionError):
            await charge_at.with_options(retry=Retry(max_attempts=1))(provider, 3)
            return "paid"
    return "not paid"


@workflow
async def delivers_and_pays_back() -> Volatile[list[str]]:
    got = []
    try:
        await charge.with_options(retry=Retry(max_attempts=1))(3)
        got.append("lamp")
    except ConnectionError:
        await note_amount(3)
    return got


@step
async def note_amount(amount: int) -> None:
    await ask("give back", amount=amount)


@workflow
async def tells_of_a_failure() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        await tell("it did not go through")
        return "not paid"
    return "paid"


@workflow
async def leaves_out_the_rest() -> None:
    with suppress(ConnectionError):
        await once(charge)(3)
        await note("charged")


@workflow
async def looks_before_it_pays_elsewhere() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        if not await is_anything_charged():
            await pay_elsewhere(3)
    return "paid"


@workflow
async def cancels_before_it_pays_elsewhere() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        await refund(3)
        await pay_elsewhere(3)
    return "paid"


@workflow
async def takes_back_without_a_declared_undo() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        await cancel_charge(3)
        return "not paid"
    return "paid"


@workflow
async def tells_what_is_unclear() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        await tell("did the payment of 3 go through?")
        return "unclear"
    return "paid"


@workflow
async def waits_for_somebody() -> str:
    try:
        await once(pay)(3)
    except ConnectionError:
        with suppress(TimeoutError):
            async with timeout("1 day"):
                return await wait_signal(answered)
        return "unclear"
    return "paid"


@workflow
async def reminds_twice() -> str:
    try:
        await once(remind)(3)
    except ConnectionError:
        await pay_elsewhere(3)
    return "reminded"


@workflow
async def writes_down_that_a_mail_failed() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        await note("no receipt")
    return "done"


@workflow
async def shows_that_it_is_unclear() -> Volatile[str]:
    try:
        await once(charge)(3)
    except ConnectionError:
        payment.set("unclear")
        return "later"
    await note("paid")
    return "paid"


@step
async def push(who: str) -> None:
    await bank.get().call("push", idempotency_key=step_info().idempotency_key, who=who)


@step
async def write_to(who: str) -> None:
    await ask("letter", who=who)


@workflow
async def pushes_or_writes() -> str:
    try:
        await once(push)("ada")
    except ConnectionError:
        await write_to("ada")
    return "told"


@workflow
async def does_not_wait_for_a_charge() -> str:
    try:
        async with timeout("30s"):
            await charge(3)
    except TimeoutError:
        return "not paid"
    await note("paid")
    return "paid"


@workflow
async def cancels_a_charge_that_is_late() -> str:
    try:
        async with timeout("30s"):
            await charge(3)
    except TimeoutError:
        await cancel_charge(3)
        return "not paid"
    await note("paid")
    return "paid"


@workflow
async def pushes_to_some() -> int:
    told = 0
    with suppress(TimeoutError):
        async with timeout("30s"):
            for who in ("ada", "bob"):
                await push(who)
                told += 1
    return told


@workflow
async def notes_who_is_first() -> str:
    racers = {asyncio.create_task(push("ada")): "bank", asyncio.create_task(write_to("ada")): "shop"}
    done, late = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
    for racer in late:
        racer.cancel()
    first = min(racers[each] for each in done)
    await note(first)
    return first


@step
async def book_table(time: str) -> str:
    return str(await bank.get().call("table", idempotency_key=step_info().idempotency_key, time=time))


@step
async def leave_table(time: str) -> None:
    await bank.get().call("leave", idempotency_key=step_info().idempotency_key, time=time)


@workflow
async def books_another_table() -> Volatile[str]:
    for time in ("noon", "one"):
        with suppress(ConnectionError):
            return await book_table.with_options(retry=Retry(max_attempts=1))(time)
    return "none"


@workflow
async def leaves_a_table_before_it_books_another() -> Volatile[str]:
    for time in ("noon", "one"):
        try:
            return await book_table.with_options(retry=Retry(max_attempts=1))(time)
        except ConnectionError:
            await leave_table(time)
    return "none"


@workflow
async def asks_for_a_table_again_by_the_same_key() -> Volatile[str]:
    for guests in ("two", "two or three"):
        with suppress(ConnectionError):
            return await book_table.with_options(key="t1", retry=Retry(max_attempts=1))(guests)
    return "none"


@step
async def enter(amount: int) -> None:
    await bank.get().call("enter", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def enters_the_reverse() -> None:
    try:
        await once(enter)(3)
    except ConnectionError:
        await enter(-3)


@step
async def set_seat(seat: str) -> None:
    await bank.get().call("seat", idempotency_key=step_info().idempotency_key, seat=seat)


@workflow
async def sets_it_back() -> Volatile[str]:
    try:
        await once(set_seat)("taken")
    except ConnectionError:
        await set_seat("free")
        return "no seat"
    await note("seated")
    return "seated"


@workflow
async def has_a_fallback() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        return "by bill"
    return "by card"


LOST_CHARGE = "lost_ack@1:call.after:charge"
SLOW_CHARGE = "slow@2:call.after:charge"
LOST_CHARGE_OF_CHILD = "lost_ack@{}:1:call.after:charge"


@pytest.mark.parametrize(
    ("workflow", "fault", "went_on"),
    [
        (pays_twice, LOST_CHARGE, "charge took effect, and pays_twice went on to pay_elsewhere as if it had not"),
        (
            tries_all_providers,
            LOST_CHARGE,
            "charge took effect, and tries_all_providers went on to pay_elsewhere as if it had not",
        ),
        (
            tries_one_provider_after_another,
            LOST_CHARGE,
            "charge took effect, and tries_one_provider_after_another went on to charge_at as if it had not",
        ),
        (lets_a_child_pay, LOST_CHARGE, "charge took effect, and lets_a_child_pay went on to pays_elsewhere as if it had not"),
        (
            pays_twice_for_a_child_in_doubt,
            LOST_CHARGE_OF_CHILD.format("pays_twice_for_a_child_in_doubt-1/charges_or_says_so-1"),
            "charge took effect, and pays_twice_for_a_child_in_doubt went on to pay_elsewhere as if it had not",
        ),
        (
            pays_twice_for_a_child_that_failed,
            LOST_CHARGE_OF_CHILD.format("pays_twice_for_a_child_that_failed-1/charges-1"),
            "charge took effect, and pays_twice_for_a_child_that_failed went on to pay_elsewhere as if it had not",
        ),
        (
            delivers_and_pays_back,
            LOST_CHARGE,
            "charge took effect, and delivers_and_pays_back went on to note_amount as if it had not",
        ),
        (
            books_another_table,
            "lost_ack@1:call.after:table",
            "table took effect, and books_another_table went on to book_table as if it had not",
        ),
        (
            does_not_wait_for_a_charge,
            SLOW_CHARGE,
            'charge took effect, and does_not_wait_for_a_charge completed "not paid" as if it had not',
        ),
        (tells_of_a_failure, LOST, 'pay took effect, and tells_of_a_failure completed "not paid" as if it had not'),
        (leaves_out_the_rest, LOST_CHARGE, "charge took effect, and leaves_out_the_rest completed null as if it had not"),
        (has_a_fallback, LOST_CHARGE, 'charge took effect, and has_a_fallback completed "by bill" as if it had not'),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_doing_the_same_elsewhere_or_telling_nothing_of_a_call_does_not_settle_it(
    workflow: Workflow[..., Any], fault: str, went_on: str
) -> None:
    """With an undo or without one: what is asked for afterwards must have to do with the call."""
    [violation] = grave(found(subject_of(workflow), fault))
    assert (violation.oracle, violation.severity, violation.title) == ("saga", "warning", went_on)


@workflow
async def pays_in_two_generations(is_first: bool) -> str:
    if is_first:
        await note("begun")
        await charge(9)
        return "paid"
    try:
        await once(charge)(3)
    except ConnectionError:
        await pay_elsewhere(3)
    return "paid"


async def start_again(run: Any, world: Any) -> None:
    await run.result()
    await asyncio.sleep(60)
    await run.client.start(pays_in_two_generations, False, id=run.id, if_finished="restart")


def test_what_an_earlier_generation_asked_settles_nothing() -> None:
    """It counted its commands as well: its second one asked the bank, and that of this one does not."""
    subject = subject_of(pays_in_two_generations, True, script=start_again)
    [violation] = [each for each in found(subject, "lost_ack@1:call.after:charge") if each.oracle == "saga"]
    assert violation.title == "charge took effect, and pays_in_two_generations went on to pay_elsewhere as if it had not"


def test_a_call_without_an_undo_can_be_asked_about_or_declared() -> None:
    """The fix names the service to ask, and both ways to say that one too many does no harm."""
    [violation] = grave(found(subject_of(pays_twice), LOST_CHARGE))
    assert violation.fix.startswith("before you go on, ask bank what became of it, by its key, or take it back there")
    assert "charge with Expect(at_least_once='reason')" in violation.fix
    assert "expect=[residue('charge', 'reason')]" in violation.fix
    assert found(subject_of(pays_twice, expect=[residue("charge", "it is sorted out by hand")]), LOST_CHARGE) == []


@pytest.mark.parametrize(
    ("workflow", "fault"),
    [
        (looks_before_it_pays_elsewhere, LOST_CHARGE),
        (cancels_before_it_pays_elsewhere, LOST),
        (takes_back_without_a_declared_undo, LOST_CHARGE),
        (tells_what_is_unclear, LOST),
        (waits_for_somebody, LOST),
        (reminds_twice, "lost_ack@1:call.after:remind"),
        (writes_down_that_a_mail_failed, LOST_CHARGE),
        (shows_that_it_is_unclear, LOST_CHARGE),
        (
            cancels_what_a_child_left_in_doubt,
            LOST_CHARGE_OF_CHILD.format("cancels_what_a_child_left_in_doubt-1/charges_or_says_so-1"),
        ),
        (
            cancels_what_a_child_failed_to_do,
            LOST_CHARGE_OF_CHILD.format("cancels_what_a_child_failed_to_do-1/charges-1"),
        ),
        (calls_a_child_again, LOST_CHARGE_OF_CHILD.format("calls_a_child_again-1/charges-1")),
        (cancels_a_charge_that_is_late, SLOW_CHARGE),
        (pushes_to_some, "slow@2:call.after:push"),
        (notes_who_is_first, "slow@1:call.after:push"),
        (leaves_a_table_before_it_books_another, "lost_ack@1:call.after:table"),
        (asks_for_a_table_again_by_the_same_key, "lost_ack@1:call.after:table"),
        (enters_the_reverse, "lost_ack@1:call.after:enter"),
        (sets_it_back, "lost_ack@1:call.after:seat"),
        (pushes_or_writes, "lost_ack@1:call.after:push"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_has_to_do_with_a_call_settles_it(workflow: Workflow[..., Any], fault: str) -> None:
    """To ask its service, to take it back, to tell or show what it was about, to wait; or it may happen twice."""
    assert [each for each in found(subject_of(workflow), fault) if each.oracle == "saga"] == []


def test_a_declared_fallback_is_as_good_as_done() -> None:
    """Whoever expects this very result when the answer is lost has thought of what that leaves behind."""
    subject = subject_of(has_a_fallback, expect=[outcome(fault="lost_ack", value="by bill")])
    assert found(subject, LOST_CHARGE) == []


@step
async def reserve_for_somebody(what: str) -> None:
    await ask("reserve", what=what)


@step
async def open_a_ticket(what: str) -> None:
    await ask("ticket", what=what)


@workflow
async def reserves_or_opens_a_ticket() -> str:
    try:
        await once(reserve_elsewhere)("lamp")
    except ConnectionError:
        await open_a_ticket("lamp")
        return "somebody looks at it"
    return "reserved"


@step
async def reserve_elsewhere(what: str) -> None:
    await bank.get().call("reserve", idempotency_key=step_info().idempotency_key, what=what)


@workflow
async def reserves_or_reserves_elsewhere() -> str:
    try:
        await once(reserve_elsewhere)("lamp")
    except ConnectionError:
        await reserve_for_somebody("lamp")
        return "somebody looks at it"
    return "reserved"


@workflow
async def pays_or_pays_elsewhere() -> str:
    try:
        await once(charge)(3)
    except ConnectionError:
        await pay_elsewhere(3)
        return "somebody looks at it"
    return "paid"


@pytest.mark.parametrize(
    ("workflow", "fault", "is_flagged"),
    [
        (reserves_or_opens_a_ticket, "lost_ack@1:call.after:reserve", False),
        (reserves_or_reserves_elsewhere, "lost_ack@1:call.after:reserve", True),
        (pays_or_pays_elsewhere, LOST_CHARGE, True),
    ],
    ids=["refers to it", "so named as well", "the same amount"],
)
def test_a_declared_fallback_may_refer_to_a_call_but_not_repeat_it(
    workflow: Workflow[..., Any], fault: str, is_flagged: bool
) -> None:
    """That somebody is told is what was declared. That the customer pays twice is not."""
    subject = subject_of(workflow, expect=[outcome(fault="lost_ack", value="somebody looks at it")])
    assert bool(found(subject, fault)) is is_flagged


@workflow
async def notes_and_charges() -> str:
    with suppress(ConnectionError):
        await note.with_options(retry=Retry(max_attempts=1))("begun")
    try:
        await charge(3)
    except ConnectionError:
        return "not paid"
    return "paid"


def test_a_run_that_goes_another_way_for_another_reason_is_not_blamed_on_a_call() -> None:
    """A note was lost that changes nothing, and the charge failed: the result tells of the charge."""
    subject = subject_of(notes_and_charges)
    violations = grave(found(subject, "lost_ack@1:call.after:note", "fail_n@2:call.before:charge"))
    assert [each.oracle for each in violations] == ["difference"]


# -- past the pivot -----------------------------------------------------------------------------------------------------


class Declined(Exception):
    pass


class SoldOut(Exception):
    pass


class Closed(Exception):
    pass


SHARED = Retry(non_retryable=(Declined, SoldOut))


@step(raises=(Declined,), retry=SHARED)
async def buy(what: str) -> None:
    await ask("buy", what=what)


@step(raises=(Declined,), retry=Retry(non_retryable=(TypeError,)))
async def fetch(what: str) -> None:
    await ask("fetch", what=what)


@step(raises=(Closed,), retry=SHARED)
async def deliver(what: str) -> None:
    await ask("deliver", what=what)


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
        await deliver("lamp")


def test_what_may_be_refused_does_not_stand_past_the_pivot() -> None:
    """A step that declares a refusal as final is tried without end there."""
    violations = campaign(subject_of(buys_past_the_pivot))
    assert [signature(each) for each in violations.values()] == [[("saga", "warning", "buy")]]
    [[violation]] = violations.values()
    assert violation.title == "buy may be refused, and stands past the pivot"
    assert violation.evidence == ("buy declares that Declined is final",)


def test_what_is_only_tried_again_may_stand_past_the_pivot() -> None:
    """No refusals are a declared error, a programming error that ends a step, and what a shared policy has for other steps."""
    assert campaign(subject_of(buys_at_the_pivot, expect=(residue("buy", "it is ours"),))) == {}


# -- a summary that is always written -----------------------------------------------------------------------------------


@step
async def report(day: str, done: list[str], failed: list[str]) -> None:
    await ask("report", day=day, done=done, failed=failed)


@step
async def sync(who: str) -> None:
    await bank.get().call("sync", who=who)


async def sync_all(done: list[str], failed: list[str]) -> None:
    for who in ("ann", "bob"):
        try:
            await once(sync)(who)
            done.append(who)
        except ConnectionError:
            failed.append(who)


@workflow
async def reports_what_failed() -> str:
    done: list[str] = []
    failed: list[str] = []
    await sync_all(done, failed)
    await report("monday", done, failed)
    return "ok"


@workflow
async def reports_what_was_done() -> str:
    done: list[str] = []
    await sync_all(done, [])
    await report("monday", done, [])
    return "ok"


@pytest.mark.parametrize(("workflow", "about"), [(reports_what_failed, []), (reports_what_was_done, ["sync"])])
def test_who_reports_what_failed_has_told_of_it(workflow: Workflow[..., Any], about: list[str]) -> None:
    """Whether the report is written for that or in any case; a name that is left out of it says nothing."""
    violations = grave(found(subject_of(workflow), "lost_ack@2:call.after:sync"))
    assert [each.about for each in violations if each.oracle == "saga"] == about
