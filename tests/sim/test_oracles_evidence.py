"""What excuses a difference is what was seen, without faults or in an experiment, and not what might have been."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from tests.sim.judging import World, ask, bank, mail, shop, store, subject_of
from tests.sim.judging import found as judged
from wfkit import Expect, Retry, Run, Signal, Workflow, now, sleep, sleep_until, step, step_info, wait_signal, workflow
from wfkit.sim.campaign import Campaign, Terms
from wfkit.sim.explore import search
from wfkit.sim.passes.fault_free import fault_free
from wfkit.sim.subject import Instance, Subject
from wfkit.testing import Volatile


def found(subject: Subject, *faults: str) -> list[tuple[str, str, str]]:
    """Return the rule, the severity and the title of what is said of one schedule, by the reference of a search."""
    campaign = Campaign(subject)
    reference = fault_free(campaign)
    violations = judged(campaign.subject, *faults, reference=reference)
    return [(each.oracle, each.severity, each.title) for each in violations]


# -- effects of one command, of which there may be more -----------------------------------------------------------------


class Full(World):
    def __init__(self) -> None:
        super().__init__()
        self.store.state["pending"] = ["i1", "i2", "i3", "i4", "i5"]


async def pay(invoice: str) -> None:
    await shop.get().call("pay", idempotency_key=f"pay/{invoice}", invoice=invoice)


@step
async def pay_two() -> int:
    batch = (await store.get().get("pending"))[:2]
    for invoice in batch:
        await pay(invoice)
        await store.get().put("pending", [each for each in await store.get().get("pending") if each != invoice])
    return len(batch)


@workflow
async def drains() -> Volatile[int]:
    turns = 0
    while await pay_two():
        turns += 1
    return turns


@step
async def pay_two_cursor_first() -> int:
    batch = (await store.get().get("pending"))[:2]
    await store.get().put("pending", (await store.get().get("pending"))[2:])
    for invoice in batch:
        await pay(invoice)
    return len(batch)


@workflow
async def loses() -> str:
    while await pay_two_cursor_first():
        pass
    return "all paid"


def test_a_batch_that_goes_on_where_it_stopped_repeats_nothing() -> None:
    """One command pays three, since it began anew: each of them once."""
    assert found(subject_of(drains, world=Full), "crash@1:put.after:pending") == []
    [(oracle, _, title)] = found(subject_of(loses, world=Full), "crash@1:put.after:pending")
    assert (oracle, title) == ("difference", "pay happened 3 times instead of 5 times")


# -- failures that are dealt with without any fault ----------------------------------------------------------------------


class Declined(Exception): ...


class Poor(World):
    def __init__(self) -> None:
        super().__init__()

        @self.bank.on("charge")
        def charge(state: dict[str, Any]) -> str:
            raise Declined


@step(raises=(Declined,), retry=Retry(non_retryable=(Declined,)))
async def charge() -> None:
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key)


@workflow
async def buys() -> str:
    try:
        await charge()
    except Declined:
        return "declined"
    return "bought"


def test_who_deals_with_one_failure_may_fail_by_another() -> None:
    """A card is declined as always; a bank that does not answer is something new."""
    assert found(subject_of(buys, world=Poor), "fail_n@1:call.before:charge") == []


# -- clocks and chance of steps -------------------------------------------------------------------------------------------


@step
async def insert(rows: list[str]) -> int:
    began, count = time.time(), 0
    for row in rows:
        with suppress(ConnectionError):
            await shop.get().call("insert", idempotency_key=f"{step_info().idempotency_key}/{row}", row=row)
            count += 1
    print("took", time.time() - began)  # noqa: T201  # nothing but that
    return count


@workflow
async def loses_rows() -> str:
    await insert(["a", "b", "c"])
    return "inserted"


@step
async def send_once() -> str:
    if await store.get().get("sent"):
        return "already"
    await asyncio.sleep(random.random())
    await store.get().put("sent", value=True)
    await ask("send")
    return "sent"


@workflow
async def loses_a_mail() -> str:
    await send_once()
    return "ok"


@step
async def toss() -> bool:
    await ask("toss")
    return random.random() < 0.5


@workflow
async def tosses() -> str:
    ways = [await toss() for _ in range(6)]
    await ask_again("".join(str(int(way)) for way in ways))
    return "won" if ways[0] else "lost"


@step
async def ask_again(what: str) -> None:
    await ask("note", what=what)


@pytest.mark.parametrize(
    ("losing", "fault"), [(loses_rows, "fail@1:call.before:insert"), (loses_a_mail, "crash@1:put.after:sent")]
)
def test_a_step_that_measures_itself_or_waits_is_judged_like_others(losing: Workflow[[], str], fault: str) -> None:
    """What it returns does not depend on what it read: it is the same at other times and with other chance."""
    [(oracle, severity, _)] = found(subject_of(losing), fault)
    assert (oracle, severity) == ("difference", "error")


def test_a_choice_may_fall_otherwise_when_it_is_made_again() -> None:
    """Even if it falls alike every other time."""
    subject = subject_of(tosses)
    for n in range(1, 7):
        assert found(subject, f"crash@{n}:step.effect_done_not_journaled:toss") == []


@step
async def reserve_in_time() -> str:
    try:
        async with asyncio.timeout(5):
            await ask("hold")
    except TimeoutError:
        return "not held"
    return "held"


@workflow
async def reserves_in_time() -> str:
    return await reserve_in_time()


def test_a_step_that_does_not_wait_so_long_ran_out_of_time() -> None:
    """Held up for an hour, it gave the call up, which never arrived: it says the truth."""
    subject = subject_of(reserves_in_time)
    assert [severity for _, severity, _ in found(subject, "delay@1:call.before:hold")] == ["info"]
    assert [severity for _, severity, _ in found(subject, "lost_ack@1:call.after:hold")] == []


# -- at least once ------------------------------------------------------------------------------------------------------


class WithInbox(World):
    def __init__(self) -> None:
        super().__init__()

        @self.mail.on("send")
        def send(state: dict[str, Any], to: str) -> None:
            state.setdefault("inbox", []).append(to)


@step(expect=Expect(at_least_once="a mail too many"))
async def write_to(to: str) -> None:
    await mail.get().send(to=to)


@workflow
async def writes() -> None:
    await write_to("ann")


def test_what_may_happen_twice_may_be_seen_twice() -> None:
    """In the state of the service where it happened."""
    assert found(subject_of(writes, world=WithInbox), "crash@1:step.effect_done_not_journaled:write_to") == []


# -- who comes first ------------------------------------------------------------------------------------------------------


@step
async def take(who: str) -> bool:
    while True:
        owner = await store.get().get("lamp")
        if owner is not None:
            return bool(owner == who)
        if await store.get().compare_and_set("lamp", None, who):
            return True


@workflow
async def buy(who: str) -> str:
    return "bought" if await take(who) else "sold out"


async def silent(run: Run[Any], world: World) -> None: ...


async def starts_bob(run: Run[Any], world: World) -> None:
    await asyncio.sleep(20)
    await run.client.start(buy, "bob", id="b")


BOB = (Instance(buy, "bob", id="b", at=20),)


@pytest.mark.parametrize("around", [{"runs": BOB}, {"runs": BOB, "script": silent}, {"script": starts_bob}])
def test_the_other_one_may_win_whatever_the_script(around: dict[str, Any]) -> None:
    """Whoever is held up loses to whoever is not."""
    assert found(subject_of(buy, "ann", id="a", **around), "delay@1:step.before:take") == []


# -- the end of a loop ----------------------------------------------------------------------------------------------------


@workflow
async def hourly() -> None:
    for turn in range(1_000):
        await ask_again(str(turn))
        await sleep("1h")


@workflow
async def hourly_marking_first() -> None:
    for turn in range(1_000):
        await mark_and_send(turn)
        await sleep("1h")


@step
async def mark_and_send(turn: int) -> None:
    if await store.get().get("turn", -1) >= turn:
        return
    await store.get().put("turn", turn)
    await ask("send", turn=turn)


def test_a_turn_that_falls_beyond_the_end_is_not_missing() -> None:
    """A day is a multiple of an hour, and a restart takes a second."""
    day = {"until": 24 * 3_600_000_000}
    assert found(subject_of(hourly, **day), "crash@start.before_journal:hourly") == []
    [(_, severity, title)] = found(subject_of(hourly_marking_first, **day), "crash@3:put.after:turn")
    assert (severity, title) == ("error", "send happened 24 times instead of 25 times")


# -- order, and what has nothing to do with it ---------------------------------------------------------------------------


class Part(NamedTuple):
    id: str
    n: int


part = Signal("part", Part)


@step(expect=Expect(at_least_once="the reader leaves out what comes twice"))
async def enqueue(id: str, n: int) -> None:
    await mail.get().send(id=id, n=n)


@workflow
async def adds() -> int:
    for n in (1, 2):
        await enqueue(f"m{n}", n)
    return sum([(await wait_signal(part)).n for _ in range(2)])


async def pumps(run: Run[Any], world: World) -> None:
    for read in range(3):
        while len(world.mail.messages) <= read:
            await asyncio.sleep(0.25)
            if (await run.status()) != "running":
                return
        message = world.mail.messages[read]
        await run.send(part, Part(message["id"], message["n"]), dedupe=str(read))


def test_another_order_excuses_only_what_comes_of_order() -> None:
    """With a mere pause where the process died all is as usual, so it is the message that came twice."""
    fault = "crash@1:step.effect_done_not_journaled:enqueue"
    assert ("difference", "error", "adds completed 2 instead of completed 3") in found(subject_of(adds, script=pumps), fault)


# -- what no moment is right for -----------------------------------------------------------------------------------------


@workflow
async def pays_rent() -> None:
    begun = now()
    await sleep_until(begun.replace(month=begun.month % 12 + 1))
    await ask_again("rent")


paid = Signal("paid", None)


@workflow
async def waits_for_payment() -> None:
    try:
        await wait_signal(paid, timeout="1 day")
    except TimeoutError:
        raise ValueError("nobody has paid") from None


async def pays(run: Run[Any], world: World) -> None:
    await run.send(paid, None)


@workflow
async def pays_on_the_first_of_the_next_month() -> None:
    begun = now()
    await sleep_until(begun.replace(month=begun.month + 1, day=1))


def test_a_search_begins_at_the_end_of_a_year_as_well() -> None:
    """There is no month 13."""
    explored = search(subject_of(pays_on_the_first_of_the_next_month), Terms(faults=["dst"], budget=0))
    assert [str(fault) for each in explored.found for fault in each.faults] == ["dst@calendar:2026-12-31"]


def test_arithmetic_that_fails_on_some_days_is_no_matter_of_timing() -> None:
    """What the workflow raises by itself may be."""
    [(oracle, severity, title)] = found(subject_of(pays_rent), "dst@calendar:2026-10-31")
    assert (oracle, severity, title) == ("difference", "error", "pays_rent failed with ValueError instead of completed null")
    on_the_31st = subject_of(pays_rent, start=datetime(2026, 1, 31, 10, tzinfo=UTC))
    [(_, severity, _)] = found(on_the_31st)
    assert severity == "warning"
    said = found(subject_of(waits_for_payment, script=pays), "late@1:delivery:paid")
    assert ("difference", "info") in [each[:2] for each in said]
    assert [severity for _, severity, _ in said if severity == "error"] == []
