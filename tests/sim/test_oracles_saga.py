"""Everything done, or everything undone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim.judging import (
    World,
    ask,
    book,
    campaign,
    found,
    grave,
    note,
    pay,
    refund,
    release,
    reserve,
    shop,
    subject_of,
    unbook,
)
from wfkit import Retry, Step, Workflow, saga, step, step_info, undoes, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import residue

ONCE = Retry(max_attempts=1)


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in grave(violations)]


@workflow
async def registers_too_late() -> str:
    undos: list[tuple[Step[[str], None], str]] = []
    try:
        await reserve.with_options(retry=ONCE)("a")
        undos.append((release, "a"))
        await book("b")
        undos.append((unbook, "b"))
    except BaseException:
        for undo, what in reversed(undos):
            await asyncio.shield(undo(what))
        raise
    return "ok"


def test_a_step_that_took_effect_and_did_not_return_is_undone() -> None:
    """An undo that is registered after the step misses exactly the step whose answer was lost."""
    violations = found(subject_of(registers_too_late), "lost_ack@1:call.after:reserve")
    assert signature(violations) == [("saga", "error", "reserve")]
    assert violations[0].title == "registers_too_late failed, and reserve was not undone"
    assert "was not registered" in violations[0].why


def test_a_step_that_was_refused_needs_no_undo() -> None:
    """What did not happen need not be undone; anything else would accuse correct sagas."""
    assert signature(found(subject_of(registers_too_late), "fatal@1:call.before:reserve")) == []


@workflow
async def undoes_forward() -> str:
    undos: list[tuple[Step[[str], None], str]] = []
    try:
        undos.append((release, "a"))
        await reserve("a")
        undos.append((unbook, "b"))
        await book("b")
        await pay(1)
    except Exception:
        for undo, what in undos:
            await undo(what)
        raise
    return "ok"


def test_undoing_in_the_order_of_doing_is_found() -> None:
    """What was built on must not be taken away before what stands on it."""
    violations = found(subject_of(undoes_forward), "fatal@3:call.before:pay")
    assert signature(violations) == [("saga", "error", "reserve")]
    assert violations[0].title == "release came before unbook, but book was done after reserve"


@workflow
async def sleeps_through_it() -> str:
    try:
        await reserve("a")
        await book("b")
    except Exception:  # noqa: BLE001  # the planted bug
        pass
    return "ok"


def test_a_swallowed_failure_is_found_by_what_is_missing() -> None:
    """A run that completes after a failure looks well; only its effects show that it is half done."""
    violations = found(subject_of(sleeps_through_it), "fatal@2:call.before:book")
    assert signature(violations) == [("saga", "error", "reserve")]
    assert violations[0].title == "sleeps_through_it completed after a failure, but book did not happen, and reserve was kept"


@step
async def credit(item: str) -> None:
    await shop.get().call("credit", item=item)


@workflow
async def credits_without_key() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=credit)
        await s.do(book, "b", undo=unbook)
    return "ok"


def test_an_undo_that_happens_twice_takes_two_faults() -> None:
    """A compensation is a step as well, and it runs only when something else has failed already."""
    subject = subject_of(credits_without_key)
    failure = "fatal@2:call.before:book"
    assert signature(found(subject, failure)) == []
    violations = found(subject, failure, "crash@4:comp.effect_done_not_journaled:credit")
    assert signature(violations) == [("saga", "error", "credit")]
    assert "no idempotency key" in violations[0].why


@workflow
async def two_bookings() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await s.do(book, "b", undo=unbook)
        await s.do(pay, 1, undo=refund)
    return "ok"


def test_a_crash_in_a_compensation_is_masked_and_its_failure_leaves_the_others() -> None:
    """Undoing goes on after a crash, and one compensation that fails holds up no other."""
    subject = subject_of(two_bookings)
    failure = "fatal@3:call.before:pay"
    assert signature(found(subject, failure, "crash@5:comp.effect_done_not_journaled:unbook")) == []
    assert signature(found(subject, failure, "lost_ack@5:comp.call.after:unbook")) == []


@workflow
async def mails_in_its_saga() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await note("it is reserved")
        await s.do(book, "b", undo=unbook)
    return "ok"


def test_what_has_no_undo_and_stays_is_a_warning_unless_that_is_said() -> None:
    """A letter cannot be unsent: its author has to say so once."""
    failure = "fatal@3:call.before:book"
    violations = found(subject_of(mails_in_its_saga), failure)
    assert signature(violations) == [("saga", "warning", "note")]
    assert "residue('note'" in violations[0].fix
    said = (residue("note", "a note does no harm"),)
    assert signature(found(subject_of(mails_in_its_saga, expect=said), failure)) == []


@workflow
async def hotel() -> str:
    async with saga() as s:
        await s.do(reserve, "room", undo=release)
    return "hotel"


@workflow
async def journey() -> str:
    async with saga() as s:
        booked = await hotel()
        await s.do(book, "train", undo=unbook)
    return booked


@workflow
async def careful_journey() -> str:
    async with saga() as s:
        s.undo(release, "room")
        booked = await hotel()
        await s.do(book, "train", undo=unbook)
    return booked


def test_what_a_child_did_is_undone_by_its_parent() -> None:
    """A child that completed has no saga any more, so its effects are its parent's to undo."""
    failure = "fatal@2:call.before:book"
    assert signature(found(subject_of(journey), failure)) == [("saga", "error", "reserve")]
    assert campaign(subject_of(careful_journey)) == {}


@step
async def reserve_slowly(item: str) -> None:
    await asyncio.sleep(30)
    await shop.get().call("reserve", idempotency_key=step_info().idempotency_key, item=item)


@step(undoes=reserve_slowly)
async def release_slowly(item: str) -> None:
    await shop.get().call("release", idempotency_key=step_info().idempotency_key, item=item)


@workflow
async def undoes_beside() -> str:
    slow = asyncio.create_task(reserve_slowly("a"))
    await asyncio.sleep(0)
    try:
        await pay(1)
        await slow
    except Exception:
        await release_slowly("a")
        await slow
        raise
    return "ok"


def test_an_undo_that_came_before_what_it_undoes_does_not_count() -> None:
    """Counting effects and undos would call this even, and the reservation stays."""
    violations = found(subject_of(undoes_beside), "fatal@2:call.before:pay")
    assert signature(violations) == [("saga", "error", "reserve")]
    assert "under way when undoing began" in violations[0].why


@step
async def release_another(item: str) -> None:
    """Look for the item under another name than it was reserved by, and take "not found" for done."""
    await shop.get().call("release", idempotency_key=step_info().idempotency_key, item=f"{item}-1")


@step
async def release_if_any(item: str) -> None:
    """As `release_another`, of a shop that refuses what it does not know."""
    try:
        await shop.get().call("give back", idempotency_key=step_info().idempotency_key, item=item)
    except LookupError:
        return


class StrictWorld(World):
    def __init__(self) -> None:
        super().__init__()

        @self.shop.on("give back")
        def give_back(state: dict[str, object], item: str) -> str:
            raise LookupError(f"no {item} here")


@workflow
async def undoes_another() -> None:
    async with saga() as s:
        await s.do(reserve, "a", undo=release_another)
        await s.do(pay, 1, undo=refund)


@workflow
async def undoes_what_is_refused() -> None:
    async with saga() as s:
        await s.do(reserve, "a", undo=release_if_any)
        await s.do(pay, 1, undo=refund)


@workflow
async def undoes_itself_twice() -> None:
    """The second release finds nothing: the first one has given back what there was."""
    try:
        await reserve("a")
        await pay(1)
    except Exception:
        await release("a")
        await release("a")
        raise


def test_an_undo_that_found_nothing_has_undone_nothing() -> None:
    """It ended well all the same: the room is still booked, and nobody will ever know."""
    violations = found(subject_of(undoes_another), "fatal@2:call.before:pay")
    assert signature(violations) == [("saga", "error", "reserve")]
    assert "release_another ended well, but the service had found nothing to undo" in violations[0].why
    assert signature(found(subject_of(undoes_what_is_refused, world=StrictWorld), "fatal@2:call.before:pay")) == [
        ("saga", "error", "reserve")
    ]


def test_an_undo_that_finds_nothing_is_fine_where_there_is_nothing() -> None:
    """Before the effect took place, or after another undo of the same thing."""
    assert signature(found(subject_of(undoes_another), "fatal@1:call.before:reserve")) == []
    assert signature(found(subject_of(undoes_itself_twice), "fatal@2:call.before:pay")) == []


@step
async def refund_what_is_known(amount: int) -> None:
    if undoes(pay).result is not None:
        await ask("refund", amount=amount)


@workflow
async def says_sorry() -> str:
    try:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await s.do(pay, 3, undo=refund_what_is_known)
    except Exception:  # noqa: BLE001  # as a batch does that goes on with the next one
        return "sorry"
    return "ok"


def test_a_saga_whose_failure_is_caught_has_undone_what_it_did() -> None:
    """The answer tells of the failure, so the run may complete; a payment that stays is none the better for it."""
    [violation] = found(subject_of(says_sorry), "slow_n@2:call.after:pay")
    assert (violation.oracle, violation.severity, violation.about) == ("saga", "error", "pay")
    assert violation.title == "a saga of says_sorry was undone, and pay was not"
    assert "refund_what_is_known ended well, but asked nobody" in violation.why
    assert found(subject_of(says_sorry), "fatal@2:call.before:pay") == []


# -- sagas within sagas -------------------------------------------------------------------------------------------------


async def reserves() -> None:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)


@workflow
async def inner_saga_comes_first() -> None:
    async with saga() as s:
        await reserves()
        await s.do(book, "b", undo=unbook)


@workflow
async def inner_saga_runs_in_a_task() -> None:
    async with saga() as s:
        await asyncio.gather(reserves(), s.do(pay, 3, undo=refund))
        await s.do(book, "b", undo=unbook)


@workflow
async def saga_runs_beside_another() -> None:
    async def books() -> None:
        async with saga() as s:
            await s.do(pay, 3, undo=refund)
            await s.do(book, "b", undo=unbook)

    await asyncio.gather(books(), reserves())


@workflow
async def undoes_the_inner_saga_by_hand() -> None:
    async with saga() as s:
        s.undo(release, "a")
        await reserves()
        await s.do(book, "b", undo=unbook)


@workflow
async def undoes_the_inner_saga_when_it_is_cancelled() -> None:
    async with saga() as s:
        await s.do(pay, 3, undo=refund)
        try:
            await reserves()
            await book("b")
        except BaseException:
            await release("a")
            raise


def test_an_undo_by_hand_that_is_cut_short_is_no_more_than_noted() -> None:
    """It had begun when the run was asked to stop once more, or for the first time: that takes a second mishap."""
    undoing = found(
        subject_of(undoes_the_inner_saga_when_it_is_cancelled), "fatal@3:call.before:book", "cancel@4:call.after:release"
    )
    assert [each.severity for each in undoing if each.about == "reserve"] == ["info"]
    assert grave(undoing) == []


@pytest.mark.parametrize(
    ("workflow", "n", "about"),
    [
        (inner_saga_comes_first, 2, ["reserve"]),
        (inner_saga_runs_in_a_task, 3, ["reserve"]),
        (saga_runs_beside_another, 3, []),
        (undoes_the_inner_saga_by_hand, 2, []),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_a_saga_within_a_saga_has_kept_stays_when_the_outer_one_fails(
    workflow: Workflow[..., Any], n: int, about: list[str]
) -> None:
    """It is over by then, wherever it stands in the block. One that runs beside another has nothing to do with it."""
    violations = grave(found(subject_of(workflow), f"fatal@{n}:call.before:book"))
    assert [each.about for each in violations] == about
    assert all(each.why.startswith("the saga within the saga was over") for each in violations)
