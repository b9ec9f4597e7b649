"""What happens more often than without faults, and keys that stand for two things."""

from __future__ import annotations

import asyncio
import time
import uuid
from itertools import count

from tests.sim.judging import bank, campaign, charge, found, grave, reference_of, shop, subject_of
from wfkit import Expect, Retry, info, run_step, sleep, start_child, step, step_info, workflow
from wfkit.sim.services import effect
from wfkit.sim.subject import Subject, extra

CRASH = "crash@1:step.effect_done_not_journaled:"


@step
async def charge_by_nothing(amount: int) -> None:
    await bank.get().call("charge", amount=amount)


@workflow
async def without_key() -> None:
    await charge_by_nothing(5)


@step
async def charge_by_chance(amount: int) -> None:
    await bank.get().call("charge", idempotency_key=str(uuid.uuid4()), amount=amount)


@workflow
async def with_fresh_key() -> None:
    await charge_by_chance(5)


def test_an_effect_without_key_happens_twice_after_a_crash() -> None:
    """The classic: charged, crashed before the journal knew, charged again; the finding says what to do."""
    [violation] = found(subject_of(without_key), CRASH + "charge_by_nothing")
    assert (violation.oracle, violation.severity, violation.about) == ("ledger", "error", "charge")
    assert violation.title == "charge happened twice instead of once"
    assert violation.evidence == ("fault-free: charge x1", "this run: charge x2")
    assert "no idempotency key" in violation.why
    assert "step_info().idempotency_key" in violation.fix
    assert violation.line.startswith(f"{__file__}:")


def test_a_key_drawn_in_the_step_is_told_apart_from_no_key() -> None:
    """Its author believes to have a key, so being told to use one would explain nothing."""
    [violation] = found(subject_of(with_fresh_key), CRASH + "charge_by_chance")
    assert violation.oracle == "ledger"
    assert "makes another key" in violation.why


def test_a_lost_answer_shows_it_as_well() -> None:
    """Retries repeat an effect without any crash."""
    [violation] = found(subject_of(without_key), "lost_ack@1:call.after:charge")
    assert violation.oracle == "ledger"


def test_what_is_declared_extra_is_expected_under_its_fault_alone() -> None:
    """A declaration for one fault must not hide the same damage under another."""
    subject = subject_of(without_key, expect=(extra("charge", fault="lost_ack", reason="the bank sorts it out"),))
    assert found(subject, "lost_ack@1:call.after:charge") == []
    assert grave(found(subject, CRASH + "charge_by_nothing")) != []


@workflow
async def paid_once() -> None:
    await charge(5)


def test_a_second_run_of_the_same_order_pays_twice() -> None:
    """Keys of steps protect within a run; a repeated start request makes a second run with keys of its own."""
    numbers = count()
    subject = subject_of(paid_once, id=lambda: f"order-{time.time_ns()}-{next(numbers)}")
    [violation] = found(subject, "dup@0:delivery:paid_once")
    assert violation.oracle == "ledger"
    assert "start request" in violation.why


@step
async def charge_for(run: str, amount: int) -> None:
    await bank.get().call("charge", idempotency_key=run, amount=amount)


@workflow
async def one_key_for_two() -> None:
    await charge_for(info().id, 5)
    await charge_for(info().id, 7)


@workflow
async def one_key_for_the_same() -> None:
    await charge_for(info().id, 5)
    await charge_for(info().id, 5)


def test_a_key_for_two_payments_is_found_without_any_fault() -> None:
    """A service that honours keys drops the second payment silently: money is missing, and nothing fails."""
    [violation] = found(subject_of(one_key_for_two))
    assert (violation.oracle, violation.severity, violation.about) == ("ledger", "error", "charge")
    assert violation.evidence[1].endswith('charge {"amount":7}')
    assert found(subject_of(one_key_for_the_same)) == []


@step
async def charge_at_some_time() -> None:
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key, at=time.time())


@workflow
async def payload_drawn_anew() -> None:
    await charge_at_some_time()


def test_a_payload_drawn_anew_under_its_key_is_no_collision() -> None:
    """A time stamp in the payload differs in each attempt of the same call; the key keeps it one effect."""
    assert campaign(subject_of(payload_drawn_anew)) == {}


@step
async def declares(key: str | None) -> None:
    effect("letter", key=step_info().idempotency_key if key else None, to="ann")


@workflow
async def declared(key: str | None) -> None:
    await declares(key)


def test_declared_effects_of_one_key_are_one() -> None:
    """An effect declared by hand is judged by its key as those of services are."""
    assert campaign(Subject(declared, ("k",))) == {}
    [violation] = found(Subject(declared, (None,)), CRASH + "declares")
    assert (violation.severity, violation.about) == ("error", "letter")


# -- steps of which nothing is known --------------------------------------------------------------------------------------


@step
async def opaque(number: int) -> int:
    return number


@step(expect=Expect(idempotent=True))
async def harmless(number: int) -> int:
    return number


@step
async def keyed(number: int) -> str:
    return step_info().idempotency_key


@workflow
async def unknown_steps() -> None:
    for number in range(3):
        await opaque(number)
    await harmless(1)
    await keyed(1)
    await run_step("inline", opaque.fn, 5)
    await sleep("1h")


def test_an_opaque_step_without_key_that_ran_twice_is_a_warning() -> None:
    """Without a world nothing is known of a step but that it ran: that is suspicion, not proof."""
    verdicts = campaign(Subject(unknown_steps))
    told = {(each.oracle, each.severity, each.about) for violations in verdicts.values() for each in violations}
    assert told == {("ledger", "warning", "opaque"), ("ledger", "warning", "inline")}
    [violation] = verdicts[CRASH + "opaque"]
    assert "Expect(read_only=True)" in violation.fix


# -- retries made by the workflow ------------------------------------------------------------------------------------------


@step(retry=Retry(max_attempts=1))
async def tool(query: str) -> str:
    return str(await shop.get().call("tool", idempotency_key=step_info().idempotency_key, query=query))


@workflow
async def calls_again() -> str:
    for _ in range(3):
        try:
            return await tool("weather")
        except ConnectionError:
            continue
    return "none"


def test_a_workflow_that_calls_again_repeats_only_what_took_effect() -> None:
    """Calling again after a refusal is right; calling again after a lost answer is what doubles."""
    reference = reference_of(subject_of(calls_again))
    assert grave(found(reference.subject, "fail@1:call.before:tool", reference=reference)) == []
    assert [each.oracle for each in found(reference.subject, "lost_ack@1:call.after:tool", reference=reference)] == ["ledger"]


# -- ids of children ------------------------------------------------------------------------------------------------------


@workflow
async def parcel(number: int) -> None:
    await charge(number)


@workflow
async def sends_parcels(numbers: list[int], by_number: bool) -> None:
    for number in numbers:
        start_child(parcel, number, id=f"parcel-{number}" if by_number else "parcel")
    await sleep("1h")


def test_a_child_with_the_id_of_another_run_is_not_started() -> None:
    """The engine attaches to a run with the same input, and drops the start of any other without a word to the workflow."""
    [violation] = found(subject_of(sends_parcels, [1, 2], False))
    assert (violation.oracle, violation.severity, violation.about) == ("ledger", "warning", "parcel")
    assert violation.evidence == ("there: parcel [1]", "not started: parcel [2]")
    assert found(subject_of(sends_parcels, [1, 2], True)) == []
    assert found(subject_of(sends_parcels, [1, 1], False)) == []


@step
async def charge_all(amounts: list[int]) -> None:
    key = step_info().idempotency_key
    calls = (bank.get().call("charge", idempotency_key=f"{key}/{amount}", amount=amount) for amount in amounts)
    await asyncio.gather(*calls)


@workflow
async def charges_side_by_side() -> None:
    await charge_all([1, 2, 3])


def test_calls_of_a_step_are_told_apart_by_what_they_are_about() -> None:
    """The first of them did not arrive, so those of the next attempt stand at other places: they have the keys they had."""
    faults = ("jump+@1:step.before:charge_all", "fail@1:call.before:charge")
    assert grave(found(subject_of(charges_side_by_side), *faults)) == []
