"""Correct workflows of every shape: whatever goes wrong, nothing is said against them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sim.judging import (
    World,
    ask,
    book,
    campaign,
    charge,
    mail,
    note,
    pay,
    refund,
    release,
    reserve,
    shop,
    store,
    subject_of,
    unbook,
)
from wfkit import (
    Expect,
    Retry,
    Signal,
    StepError,
    info,
    now,
    publish,
    saga,
    send,
    sleep,
    start_child,
    step,
    step_info,
    subscribe,
    timeout,
    uuid4,
    wait_any,
    wait_signal,
    workflow,
)
from wfkit.sim.subject import Instance, Subject, ignores

ONCE = Retry(max_attempts=1)


# -- fan-out ------------------------------------------------------------------------------------------------------------


@workflow
async def answers_that_count() -> list[str]:
    """The bank numbers its answers: who comes first is no property of the workflow."""
    return list(await asyncio.gather(*(charge(amount) for amount in (1, 2, 3))))


@step
async def slow_item(seconds: int) -> int:
    await asyncio.sleep(seconds)
    await ask("item", seconds=seconds)
    return seconds


@workflow
async def summary_in_order_of_arrival() -> str:
    seen = [await call for call in asyncio.as_completed([slow_item(seconds) for seconds in (3, 1, 2)])]
    await note(f"done: {seen}")
    return str(seen)


@workflow
async def first_answer_wins() -> int:
    """The losers are cancelled, and their end is awaited."""
    calls = [asyncio.create_task(slow_item(seconds)) for seconds in (1, 5, 9)]
    done, others = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for call in others:
        call.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return done.pop().result()


@workflow
async def group_of_tasks() -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(charge(amount)) for amount in (4, 5)]
    return len(tasks)


# -- values drawn anew --------------------------------------------------------------------------------------------------


@step
async def roll() -> int:
    return random.randint(1, 1_000_000)


@step
async def stamp() -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "at": time.time(), "name": "stamp"}


@workflow
async def result_drawn_in_step() -> dict[str, Any]:
    stamped = await stamp()
    await note(f"{stamped['id']} {await roll()}")
    return stamped


@step
async def note_with_time(what: str) -> None:
    await ask("note", what=what, at=time.time(), request=str(uuid.uuid4()))


@workflow
async def payload_with_time() -> None:
    await note_with_time("a")
    await note_with_time("b")


@workflow
async def how_long_it_took() -> float:
    began = now()
    await charge(1)
    await sleep("1m")
    await charge(2)
    took = (now() - began).total_seconds()
    await note(f"took {took}")
    return took


@workflow
async def ids_and_dates() -> str:
    await note(f"{uuid4()} {now():%Y-%m-%d}")
    return f"{info().id} {now().isoformat()}"


@workflow
async def branch_by_chance() -> str:
    if await roll() % 2:
        await note("odd")
        return "odd"
    await charge(2)
    await charge(3)
    return "even"


# -- failures that are dealt with ---------------------------------------------------------------------------------------


@workflow
async def mail_as_far_as_possible() -> str:
    await charge(1)
    with contextlib.suppress(StepError, ConnectionError):
        await note("mail")
    return "ok"


@workflow
async def another_shop() -> str:
    try:
        async with saga() as s:
            await s.do(reserve.with_options(retry=ONCE), "shop 1", undo=release)
    except (StepError, ConnectionError):
        async with saga() as s:
            await s.do(reserve, "shop 2", undo=release)
    return "ok"


@workflow
async def each_item_on_its_own() -> None:
    for item in ("a", "b", "c"):
        with contextlib.suppress(StepError, ConnectionError):
            async with saga() as s:
                await s.do(reserve, item, undo=release)
                await s.do(book, item, undo=unbook)


# -- sagas --------------------------------------------------------------------------------------------------------------


@workflow
async def trip() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await asyncio.gather(s.do(book, "b", undo=unbook), s.do(pay, 3, undo=refund))
    await note("done")
    return "ok"


@workflow
async def trip_past_pivot() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await s.do(pay, 3, undo=refund)
        s.pivot()
        await note("ticket")
        await book("b")
    return "ok"


@workflow
async def sagas_one_after_another() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
    async with saga() as s:
        await s.do(book, "b", undo=unbook)
        await s.do(pay, 3, undo=refund)
    return "ok"


@workflow
async def saga_in_saga() -> str:
    async with saga() as outer:
        await outer.do(reserve, "a", undo=release)
        async with saga() as inner:
            outer.undo(unbook, "b")
            await inner.do(book, "b", undo=unbook)
        await outer.do(pay, 3, undo=refund)
    return "ok"


@workflow
async def undone_side_by_side() -> str:
    """Two branches, each with its own saga: nothing orders the one's undo behind the other's."""

    async def branch(item: str, room: str) -> None:
        async with saga() as s:
            await s.do(reserve, item, undo=release)
            await sleep("1s")
            await s.do(book, room, undo=unbook)
            await sleep("1m")

    ends = await asyncio.gather(branch("a", "b"), branch("c", "d"), return_exceptions=True)
    return "ok" if not any(isinstance(end, BaseException) for end in ends) else "partly"


@workflow
async def side_by_side_past_their_pivots() -> str:
    """When it is asked to stop, one branch may be past its point of no return while the other one is undone."""

    async def branch(item: str, amount: int) -> None:
        async with saga() as s:
            await s.do(reserve, item, undo=release)
            await sleep(f"{amount}s")
            await s.do(pay, amount, undo=refund)
            s.pivot()
            await note(item)

    ends = await asyncio.gather(branch("a", 1), branch("b", 60), return_exceptions=True)
    return "ok" if not any(isinstance(end, BaseException) for end in ends) else "partly"


@workflow
async def gives_up_by_itself() -> None:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await s.do(pay, 3, undo=refund)
        raise ValueError("sold out")


@workflow
async def says_that_it_gave_up() -> str:
    try:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await s.do(pay, 3, undo=refund)
    except (StepError, ConnectionError):
        return "sorry"
    return "ok"


@workflow
async def no_saga_at_all() -> str:
    """There is an undo for what it does, but it never uses one."""
    await reserve("a")
    await pay(3)
    return "ok"


@workflow
async def failing_tells_somebody() -> str:
    try:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await s.do(pay, 3, undo=refund)
    except BaseException:
        await asyncio.shield(note("it failed"))
        raise
    return "ok"


# -- signals and time ---------------------------------------------------------------------------------------------------

approved = Signal("approved", str)
declined = Signal("declined", int)
packed = Signal("packed", str)


async def approves(run: Any, world: Any) -> None:
    await asyncio.sleep(600)
    await run.send(approved, "ann", dedupe="1")


async def approves_late(run: Any, world: Any) -> None:
    await asyncio.sleep(5 * 3600)
    await run.send(approved, "ann", dedupe="1")


async def packs(run: Any, world: Any) -> None:
    for box in ("a", "b", "c"):
        await asyncio.sleep(60)
        await run.send(packed, box, dedupe=box)


@workflow
async def approval() -> str:
    who = await wait_signal(approved)
    await charge(1)
    return who


@workflow
async def approval_or_not() -> str:
    got = await wait_any(approved, declined, timeout="1 day")
    if approved.came(got):
        await charge(1)
        return "approved"
    return "declined"


@workflow
async def charge_then_approval() -> str:
    """When the charge fails the run fails, and nobody reads the approval any more."""
    await charge(1)
    await wait_signal(approved)
    await charge(2)
    return "ok"


@workflow
async def boxes_in_any_order() -> list[str]:
    boxes: set[str] = set()
    while len(boxes) < 3:
        boxes.add(await wait_signal(packed))
    await note(f"packed {sorted(boxes)}")
    return sorted(boxes)


@workflow
async def entity() -> None:
    """It lives for ever, and waits at its end as it does without faults."""
    while True:
        box = await wait_signal(packed)
        await note(box)


@workflow
async def asks_a_person_when_it_fails() -> str:
    try:
        await charge(1)
    except (StepError, ConnectionError):
        await wait_signal(declined)  # nobody plays this person
    return "ok"


@workflow
async def reminders_until_approved() -> str:
    for turn in range(20):
        try:
            await wait_signal(approved, timeout="2h")
        except TimeoutError:
            await note(f"reminder {turn}")
        else:
            return "ok"
    return "never"


@workflow
async def polls_with_deadline() -> str:
    async with timeout("10m"):
        for turn in itertools.count():
            if await look(turn) == 3:
                break
            await sleep("1m")
    return "ok"


@step
async def look(turn: int) -> int:
    await shop.get().read("look", turn=turn)
    return turn


# -- children, publishers -----------------------------------------------------------------------------------------------


@workflow
async def child(number: int) -> str:
    await charge(number)
    return f"child {number}"


@workflow
async def parent() -> list[str]:
    return sorted(await asyncio.gather(*(child(number) for number in range(3))))


@workflow
async def parent_of_free_child() -> str:
    start_child(child, 1)
    await charge(9)
    return "ok"


done = Signal("done", str)


@workflow
async def worker(boss: str) -> None:
    await charge(5)
    send(boss, done, "worker")


@workflow
async def boss() -> str:
    start_child(worker, info().id)
    return await wait_signal(done, timeout="10 days")


@workflow
async def announcer() -> None:
    await sleep("1m")
    publish(done, "news")


@workflow
async def listener() -> str:
    with subscribe(done):
        await note("I listen")
        return await wait_signal(done)


# -- steps of which more is said ----------------------------------------------------------------------------------------


@step(expect=Expect(at_least_once="a second mail does no harm"))
async def mail_without_key(to: str) -> None:
    await mail.get().send(to=to)


@step(expect=Expect(idempotent=True))
async def put_address(address: str) -> None:
    await shop.get().call("address", address=address)


@step(expect=Expect(read_only=True))
async def ask_price(item: str) -> str:
    return str(await shop.get().call("price", item=item))


@workflow
async def declared_steps() -> str:
    await mail_without_key("ann")
    await put_address("here")
    return await ask_price("lamp")


@step
async def bulk(numbers: list[int]) -> None:
    for number in numbers:
        await shop.get().call("row", idempotency_key=f"{step_info().idempotency_key}/{number}", number=number)


@workflow
async def many_calls_in_one_step() -> None:
    await bulk(list(range(8)))


@step
async def put_once(value: str) -> None:
    await store.get().put("value", value)


@workflow
async def writes_state() -> None:
    await put_once("a")
    await sleep("1h")
    await put_once("b")


@step
def in_thread(day: str) -> str:
    return f"{day} {datetime.now(UTC):%Y}"[:4]


@workflow
async def step_in_thread() -> str:
    return await in_thread("monday")


class StockWorld(World):
    """There is one left."""

    def __init__(self) -> None:
        super().__init__()
        self.shop.state["left"] = 1

        @self.shop.on("take")
        def take(state: dict[str, Any], who: str) -> str:
            if state["left"] == 0:
                return "sold out"
            state["left"] -= 1
            return "taken"


@step
async def take(who: str) -> str:
    return await ask("take", who=who)


@workflow
async def customer(who: str) -> str:
    """Who comes first gets it."""
    got = await take(who)
    await note(f"{who}: {got}")
    return got


@workflow(timeout="2h")
async def limited_in_time() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await sleep("1h")
        await s.do(book, "b", undo=unbook)
    return "ok"


news = Signal("news", str)


@workflow(on=news)
async def reader(what: str) -> str:
    await note(f"read {what}")
    return what


@workflow
async def newspaper() -> str:
    await charge(1)
    publish(news, "hello")
    return "ok"


@step
async def opaque(number: int) -> str:
    return step_info().idempotency_key


@step
async def undo_opaque(number: int) -> str:
    return step_info().idempotency_key


@workflow
async def saga_without_world() -> str:
    async with saga() as s:
        for number in range(3):
            await s.do(opaque, number, undo=undo_opaque)
    return "ok"


BOXES = {"script": packs}
LATER = (ignores(approved, "it may be late"),)

SUBJECTS: list[Subject] = [
    *(
        subject_of(each)
        for each in (
            answers_that_count,
            summary_in_order_of_arrival,
            first_answer_wins,
            group_of_tasks,
            result_drawn_in_step,
            payload_with_time,
            how_long_it_took,
            ids_and_dates,
            branch_by_chance,
            mail_as_far_as_possible,
            another_shop,
            each_item_on_its_own,
            trip,
            trip_past_pivot,
            sagas_one_after_another,
            saga_in_saga,
            side_by_side_past_their_pivots,
            gives_up_by_itself,
            no_saga_at_all,
            failing_tells_somebody,
            polls_with_deadline,
            asks_a_person_when_it_fails,
            parent,
            parent_of_free_child,
            boss,
            declared_steps,
            many_calls_in_one_step,
            writes_state,
            step_in_thread,
        )
    ),
    subject_of(customer, "ann", world=StockWorld, runs=(Instance(customer, "bob", at=5),)),
    subject_of(limited_in_time),
    subject_of(newspaper, workflows=(reader,)),
    Subject(saga_without_world),
    subject_of(approval, script=approves),
    subject_of(approval_or_not, script=approves, expect=LATER),
    subject_of(charge_then_approval, script=approves),
    subject_of(reminders_until_approved, script=approves_late, expect=LATER),
    subject_of(boxes_in_any_order, **BOXES),
    subject_of(entity, **BOXES),
    subject_of(listener, runs=(Instance(announcer, at=5),)),
    subject_of(child, 1, script=approves, runs=(Instance(parent, at=1), Instance(child, 1, at=1))),
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.workflow.name)
def test_nothing_is_said_against_a_correct_workflow(subject: Subject) -> None:
    """Under no fault and under every single one there is neither an error nor a warning."""
    assert campaign(subject) == {}
