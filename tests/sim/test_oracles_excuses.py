"""What a clock, chance, order and failures excuse, and what they do not: campaigns as users run them."""

from __future__ import annotations

import asyncio
import datetime as calendar
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sim.judging import ask, bank, book, charge, found, note, pay, refund, release, reserve, store, subject_of, unbook
from wfkit import (
    NonRetryable,
    Retry,
    Signal,
    Step,
    StepError,
    Workflow,
    info,
    now,
    saga,
    send,
    sleep,
    start_child,
    step,
    step_info,
    wait_signal,
    workflow,
)
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Instance, Subject, ignores, outcome


def told(subject: Subject, *faults: str) -> dict[tuple[str, str], Violation]:
    """Return what a campaign of these kinds of faults says, but for infos: by rule and what it is about."""
    explored = search(subject, Terms(faults=faults or None, budget=0.2))
    violations = [each.violation for each in explored.found if each.violation.severity != "info"]
    return {(each.oracle, each.about): each for each in violations}


# -- values that hold a time, and updates that are lost ---------------------------------------------------------------------


@step
async def stamp() -> float:
    return time.time()


@step
async def take(item: str) -> None:
    left = await store.get().get(item, 3)
    await store.get().put(item, left - 1)


@workflow
async def takes_and_measures(item: str) -> float:
    began = now()
    await stamp()
    await take(item)
    return (now() - began).total_seconds()


@step
async def read(item: str) -> int:
    return int(await store.get().get(item, 0))


@step
async def write(item: str, value: int) -> None:
    await store.get().put(item, value)


@workflow
async def counts_and_measures(item: str) -> float:
    began = now()
    await write(item, await read(item) + 1)
    return (now() - began).total_seconds()


def test_reading_a_clock_excuses_no_update_that_is_lost_or_made_twice() -> None:
    """Values that hold a time differ; a count of goods in the same workflow must not."""
    both = {"id": "a", "runs": (Instance(takes_and_measures, "lamp", id="b", at=5),)}
    assert set(told(subject_of(takes_and_measures, "lamp", **both), "crash")) == {("difference", "store")}
    both = {"id": "a", "runs": (Instance(counts_and_measures, "lamp", id="b", at=5),)}
    [violation] = told(subject_of(counts_and_measures, "lamp", **both), "delay").values()
    assert (violation.oracle, violation.title) == ("difference", "store.lamp is 1 instead of 2")
    assert "another run came in between" in violation.why


@workflow
async def keeps_how_long_it_took(item: str) -> dict[str, float]:
    began = now()
    await charge(1)
    charged = now()
    await sleep("1h")
    await write(item, int((now() - charged).total_seconds()))
    return {"charge": (charged - began).total_seconds(), "rest": (now() - charged).total_seconds()}


def test_a_time_that_was_measured_may_differ_wherever_it_is_kept() -> None:
    """A crash costs a second, and whoever measures it keeps another number."""
    assert told(subject_of(keeps_how_long_it_took, "lamp")) == {}


paid = Signal("paid", int)


async def pays(run: Any, world: Any) -> None:
    for amount in (1, 2):
        await asyncio.sleep(10)
        await run.send(paid, amount)


@workflow
async def counts_deliveries_and_reads_the_clock() -> dict[str, object]:
    began = now()
    return {"paid": [await wait_signal(paid), await wait_signal(paid)], "began": began.isoformat()}


def test_reading_a_clock_excuses_no_delivery_that_is_counted_twice() -> None:
    """The second delivery is no matter of time, though the code names a clock."""
    assert ("difference", "result") in told(subject_of(counts_deliveries_and_reads_the_clock, script=pays), "dup")


@step
async def ticket() -> dict[str, str]:
    await ask("print")
    naive = calendar.datetime.utcnow()  # noqa: DTZ003  # as people write it
    return {"utc": datetime.now(UTC).isoformat(), "naive": naive.isoformat(), "day": str(datetime.today())}  # noqa: DTZ002


@workflow
async def dates_of_steps() -> dict[str, str]:
    dates = await ticket()
    await note(dates["utc"])
    return dates


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
def test_dates_that_steps_read_are_those_of_the_simulation() -> None:
    """Otherwise two executions of one schedule would differ by the real clock."""
    subject = subject_of(dates_of_steps)
    explored = search(subject, Terms(faults=("crash",), budget=0))
    assert [each.violation for each in explored.found if each.violation.severity != "info"] == []
    shown = explored.base.result
    assert shown is not None
    assert shown["utc"] == subject.start.isoformat()
    assert shown["naive"] == subject.start.replace(tzinfo=None).isoformat()
    assert {read.what for read in explored.base.reads} >= {"datetime.now()", "datetime.utcnow()"}
    assert abs(datetime.now(UTC).timestamp() - time.time()) < 60


# -- runs that share something ---------------------------------------------------------------------------------------------


@step
async def take_last(item: str, who: str) -> bool:
    return bool(await store.get().compare_and_set(item, None, who)) or await store.get().get(item) == who


@step
async def take_last_by_two(item: str, who: str) -> bool:
    if await store.get().get(item, who) != who:
        return False
    await store.get().put(item, who)
    return True


@workflow
async def buys(who: str) -> str:
    if not await take_last("tv", who):
        return "sold out"
    await note("yours")
    return "bought"


@workflow
async def buys_by_two(who: str) -> str:
    if not await take_last_by_two("tv", who):
        return "sold out"
    await note("yours")
    return "bought"


def test_who_comes_first_gets_the_last_one_and_nobody_else() -> None:
    """Held up between reading and writing, for less than a timeout, a step overwrites what another run wrote."""
    rivals = {"id": "a", "runs": (Instance(buys, "bob", id="b", at=5), Instance(buys, "cid", id="c", at=10))}
    assert told(subject_of(buys, "ann", **rivals)) == {}
    rivals = {"id": "a", "runs": (Instance(buys_by_two, "bob", id="b", at=5),)}
    [violation] = told(subject_of(buys_by_two, "ann", **rivals), "delay").values()
    assert (violation.oracle, violation.title) == ("ledger", "note happened twice instead of once")
    assert "another run came in between" in violation.why


# -- failures that are dealt with -------------------------------------------------------------------------------------------


@step
async def write_to(who: str, what: str) -> None:
    await ask("letter", who=who, what=what)


@workflow
async def tells_of_the_failure() -> str:
    try:
        await charge(1)
    except (StepError, ConnectionError):
        await write_to("shop", "not charged")
    await write_to("customer", "done")
    return "done"


def test_who_deals_with_a_failure_may_do_more_of_the_same_kind_but_nothing_twice() -> None:
    """Another mail because of a failure is right, the same mail again is not."""
    assert told(subject_of(tells_of_the_failure)) == {}


@workflow
async def pays_again() -> str:
    try:
        return await charge.with_options(retry=Retry(max_attempts=1))(1)
    except (StepError, ConnectionError):
        return await charge(1)


@workflow
async def pays_again_by_one_key() -> str:
    try:
        return await charge.with_options(retry=Retry(max_attempts=1), key="charge/1")(1)
    except (StepError, ConnectionError):
        return await charge.with_options(key="charge/1")(1)


def test_a_call_that_is_made_again_by_another_step_needs_the_same_key() -> None:
    """A key of the step tells two calls apart, even if both mean one payment."""
    violation = told(subject_of(pays_again), "lost_ack")["ledger", "charge"]
    assert "each with a key of its own" in violation.why
    assert "with_options(key=" in violation.fix
    assert told(subject_of(pays_again_by_one_key), "lost_ack") == {}


@workflow
async def refuses_politely() -> str:
    try:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await s.do(pay, 3, undo=refund)
    except (StepError, ConnectionError):
        return "sorry"
    return "ok"


def test_who_has_undone_everything_may_say_so_and_who_has_a_fallback_declares_it_once() -> None:
    """However a service fails, the workflow sees a step that failed for good."""
    assert told(subject_of(refuses_politely)) == {}

    @workflow
    async def falls_back() -> str:
        try:
            await charge(1)
        except (StepError, ConnectionError):
            return "by bank"
        return "by card"

    assert ("difference", "result") in told(subject_of(falls_back))
    assert told(subject_of(falls_back, expect=(outcome(fault="slow", value="by bank"),))) == {}


@step
async def book_room(room: str) -> None:
    await ask("book", room=room)


@step
async def leave_room(room: str) -> None:
    await ask("unbook", room=room)


@workflow
async def books(room: str) -> None:
    async with saga() as s:
        await s.do(book_room, room, undo=leave_room)


@workflow
async def party() -> None:
    async with saga() as s:
        for room in ("blue", "red"):
            s.undo(leave_room, room)
            await books(room)


@workflow
async def party_that_forgets() -> None:
    async with saga() as s:
        await s.do(reserve, "drinks", undo=release)
        for room in ("blue", "red"):
            await books(room)


def test_what_undoes_a_step_is_known_from_the_saga_that_registered_it_in_another_run_too() -> None:
    """No step here says what it undoes."""
    assert told(subject_of(party)) == {}
    assert ("saga", "book") in told(subject_of(party_that_forgets))


# -- signals from run to run, and such as may be late -------------------------------------------------------------------------

report = Signal("report", int)


@workflow
async def reporter(boss: str, number: int) -> None:
    await charge(number)
    send(boss, report, number)


@workflow
async def listens_to_two_of_three() -> int:
    for number in range(3):
        start_child(reporter, info().id, number)
    return sum([await wait_signal(report) for _ in range(2)])


def test_what_a_run_sends_to_one_that_has_ended_is_a_warning() -> None:
    """It is dropped in silence, so nobody else would tell of it."""
    violation = told(subject_of(listens_to_two_of_three), "tie")["signals", "report"]
    assert violation.severity == "warning"
    assert "was dropped" in violation.title
    allowed = (ignores(report, "two are enough"),)
    assert told(subject_of(listens_to_two_of_three, expect=allowed), "tie") == {}


@workflow
async def waits_an_hour() -> str:
    try:
        return f"paid {await wait_signal(paid, timeout='1h')}"
    except TimeoutError:
        return "not paid"


def test_that_a_signal_comes_late_is_not_told_as_timing_where_it_may() -> None:
    """What is declared as ignored is no news."""

    def timing(**options: Any) -> list[Violation]:
        late = found(subject_of(waits_an_hour, script=pays, **options), "late@1:delivery:paid")
        return [each for each in late if each.oracle == "difference"]

    assert timing() != []
    assert timing(expect=(ignores(paid, "they get it back"),)) == []


# -- what the engine itself gives up, and what others cut short ---------------------------------------------------------------


@workflow
async def two_at_a_time() -> list[int]:
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(5):
        queue.put_nowait(number)
    done: list[int] = []

    async def worker() -> None:
        while not queue.empty():
            number = queue.get_nowait()
            await write_to("shop", str(number))
            done.append(number)
            await sleep("1s")

    await asyncio.gather(worker(), worker())
    return sorted(done)


def test_that_a_step_is_held_to_be_the_cause_of_many_crashes_is_no_fault_of_the_workflow() -> None:
    """The engine gives a step up after five deaths; five crashes of the simulation are none of its doing."""
    subject = subject_of(two_at_a_time)
    crashes = [f"crash@2:step.before:write_to{f':{time}' if time > 1 else ''}" for time in range(1, 6)]
    assert found(subject, *crashes) == []


@step
async def beat() -> None:
    await ask("beat")


@workflow
async def heart() -> None:
    while True:
        await sleep("10m")
        await beat()


@workflow
async def lives_for_a_while() -> None:
    start_child(heart, on_parent_end="cancel")
    await sleep("25m")
    await note("the end")


def test_how_far_a_run_comes_that_is_cancelled_is_a_matter_of_time() -> None:
    """A slower service leaves less done until the deadline."""
    assert told(subject_of(lives_for_a_while)) == {}


@workflow
async def undoes_by_hand() -> str:
    begun: list[Step[[str], None]] = []
    try:
        begun.append(release)
        await reserve("a")
        begun.append(unbook)
        await book("a")
        await note("done")
    except BaseException:
        for undo in reversed(begun):
            await undo("a")
        raise
    return "ok"


def test_who_undoes_by_hand_need_not_provide_for_a_second_mishap() -> None:
    """A saga does; by hand it is worth a note, not a warning."""
    subject = subject_of(undoes_by_hand)
    assert told(subject) == {}
    for second in ("cancel@4:step.before:unbook", "fatal@4:call.before:unbook"):
        cut_short = found(subject, "fatal@3:call.before:note", second)
        assert [(each.oracle, each.severity, each.about) for each in cut_short] == [("saga", "info", "reserve")]


# -- steps with a timeout of their own ----------------------------------------------------------------------------------------


async def charges_within_a_minute(amount: int) -> str:
    async with asyncio.timeout(60):
        return str(await bank.get().call("charge", amount=amount))


@step(retry=Retry(max_attempts=1))
async def charge_in_time(amount: int) -> str:
    return await charges_within_a_minute(amount)


@step
async def charge_without_key(amount: int) -> str:
    return await charges_within_a_minute(amount)


@step
async def charge_by_attempt(amount: int) -> str:
    return await charges_within_a_minute(amount + step_info().attempt)


@step
async def charge_at_first(amount: int) -> str:
    if step_info().attempt > 1:
        raise NonRetryable("it is charged already")
    return await charges_within_a_minute(amount)


@workflow
async def pays_in_time() -> str:
    return await charge_in_time(3)


@workflow
async def pays_in_time_or_writes() -> str:
    try:
        return await charge_in_time(3)
    except TimeoutError:
        await write_to("customer", "please pay")
        return "not paid"


@workflow
async def pays_twice_if_it_is_slow() -> str:
    return await charge_without_key(3)


@workflow
async def pays_more_if_it_is_slow() -> str:
    return await charge_by_attempt(3)


@workflow
async def fails_the_second_time() -> str:
    return await charge_at_first(3)


@pytest.mark.parametrize(
    ("workflow", "point", "expected"),
    [
        (pays_in_time, "call.before", "info"),
        (pays_in_time_or_writes, "call.before", "info"),
        (pays_twice_if_it_is_slow, "call.after", "error"),
        (pays_more_if_it_is_slow, "call.before", "error"),
        (fails_the_second_time, "call.before", "error"),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_step_that_fails_since_it_did_not_wait_is_a_matter_of_time(
    workflow: Workflow[..., Any], point: str, expected: str
) -> None:
    """It is the same whoever keeps the time; an attempt that is repeated is nothing to a workflow, and excuses nothing."""
    assert {each.severity for each in found(subject_of(workflow), f"delay@1:{point}:charge")} == {expected}


# -- losers of a race, and undoing on the way forward ------------------------------------------------------------------------


@workflow
async def takes_the_first_answer(amount: int) -> str:
    both = [asyncio.create_task(ask("quote", of="one")), asyncio.create_task(ask("quote", of="other"))]
    _, late = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
    return "answered"


def test_how_far_the_loser_of_a_race_comes_is_no_news() -> None:
    """Nobody waits for it: whether it acted before it was stopped is a matter of time."""
    assert told(subject_of(takes_the_first_answer, 1)) == {}


@workflow
async def gives_back_what_it_does_not_need(amount: int) -> None:
    async with saga() as trip:
        await trip.do(reserve, "near", undo=release)
        await trip.do(reserve, "far", undo=release)
        await release("far")
        await trip.do(pay, amount, undo=refund)


def test_an_undo_on_the_way_forward_needs_none_itself() -> None:
    """It takes something back, so there is nothing of it that could be left behind."""
    assert told(subject_of(gives_back_what_it_does_not_need, 1)) == {}


# -- campaigns that show less than they seem to -------------------------------------------------------------------------------


@workflow
async def always_fails(amount: int) -> None:
    raise LookupError("no such account")


def test_a_workflow_that_fails_without_any_fault_is_told_of() -> None:
    """That nothing was found would be no news then: most of it was never tried."""
    found = search(subject_of(always_fails, 1), Terms(budget=0)).found
    assert [each.violation.title for each in found] == [
        "proves nothing: without any fault always_fails fails: LookupError: no such account"
    ]


class Silence:
    """A world that plays no part."""


@step
async def print_label(amount: int) -> None:
    """Do what nobody knows of."""


@workflow
async def prints(amount: int) -> None:
    await print_label(amount)


def test_a_world_that_plays_no_part_leaves_steps_as_they_are_without_one() -> None:
    """Somebody may give a world for its script alone: what runs twice is still what may happen twice."""
    assert [key[0] for key in told(Subject(prints, (1,), world=Silence))] == ["ledger"]
