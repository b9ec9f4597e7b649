"""More of what teams write, in other shapes: what `verify` finds in them, and what it leaves in peace.

Of most there is the code as it is often written, and then its cure. The verdicts are in the table at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from datetime import UTC, datetime

from tests.quality.case import Case, Found, publishes, sends
from tests.quality.outside import (
    HOUR,
    ONCE,
    Undo,
    charge,
    dispatch,
    email,
    note,
    outside,
    pay,
    recall,
    refund,
    release,
    reserve,
    ship,
    store,
    to_its_end,
    undo_all,
)
from wfkit import (
    Signal,
    StepError,
    info,
    now,
    saga,
    send,
    sleep,
    start_child,
    step,
    step_info,
    subscribe,
    wait_signal,
    workflow,
)
from wfkit.testing import Instance, ignores

# Children with compensation: the child's saga is over when its parent fails, so the parent must undo the child.


@workflow
async def book_hotel(city: str) -> str:
    async with saga() as s:
        await s.do(reserve, city, undo=release)
        await s.do(pay, 80, undo=refund)
    return f"hotel in {city}"


@workflow
async def trip_without_undo_of_child() -> str:
    async with saga() as s:
        hotel = await book_hotel("Rome")
        await s.do(dispatch, "tickets", undo=recall)
    return hotel


@workflow
async def trip_with_undo_of_child() -> str:
    async with saga() as s:
        s.undo(release, "Rome")  # does nothing where the child has undone it by itself
        s.undo(refund, 80)
        hotel = await book_hotel("Rome")
        await s.do(dispatch, "tickets", undo=recall)
    return hotel


# A gather of sagas: one of them fails and undoes its own; the others are complete, and stay so.


async def _one_parcel(item: str) -> None:
    async with saga() as s:
        await s.do(reserve, item, undo=release)
        await s.do(dispatch, item, undo=recall)


@workflow
async def saga_for_each_parcel() -> str:
    await asyncio.gather(*(_one_parcel(item) for item in ("lamp", "table", "chair")))
    return "ok"


@workflow
async def one_saga_for_all_parcels() -> str:
    async with saga() as s:
        items = ("lamp", "table", "chair")
        await asyncio.gather(*(s.do(reserve, item, undo=release) for item in items))
        await asyncio.gather(*(s.do(dispatch, item, undo=recall) for item in items))
    return "ok"


# An agent that makes the key of its tool calls by hand: the second call is taken for the first.


@step
async def use_tool_by_run(query: str, task: str) -> str:
    return str(await outside.get().call("use tool", idempotency_key=f"{task}/tool", query=query))


@workflow
async def agent_with_one_key(task: str) -> list[str]:
    return [await use_tool_by_run(query, task) for query in ("weather", "trains", "hotels")]


@workflow
async def agent_with_key_for_each_turn(task: str) -> list[str]:
    return [await use_tool_by_run(query, f"{task}/{turn}") for turn, query in enumerate(("weather", "trains", "hotels"))]


# A signal that races a timer: who withdraws while the parcel rests is not heard.

withdrawn = Signal("withdrawn", str)


@workflow
async def deaf_while_resting() -> str:
    await sleep("1h")
    await ship("o")
    return "shipped"


@workflow
async def listening_while_resting() -> str:
    try:
        await wait_signal(withdrawn, timeout="1h")
    except TimeoutError:
        await ship("o")
        return "shipped"
    return "withdrawn"


# Polling: looking changes nothing and may be repeated; asking for the report is repeated with every look.


@step
async def look(turn: int) -> str:
    return str(await outside.get().read("report", look=turn))


@workflow
async def poll_with_backoff() -> str:
    wait = 60
    for turn in itertools.count():
        if await look(turn) == "ready":
            break
        await sleep(wait)
        wait = min(wait * 2, HOUR)
    await note("report is ready")
    return "ready"


@step
async def order_and_look(turn: int) -> str:
    await outside.get().call("order report")
    return str(await outside.get().read("report", look=turn))


@workflow
async def poll_that_orders_again() -> str:
    for turn in itertools.count():
        if await order_and_look(turn) == "ready":
            break
        await sleep("1m")
    return "ready"


# A fan-out: at most two at a time, and all of them are awaited; or the first answer wins, and the others are left behind.


@step
async def price(shop: int) -> int:
    await asyncio.sleep(shop)
    return int(await outside.get().read("price", shop=shop))


@workflow
async def cheapest_of_all() -> int:
    at_once = asyncio.Semaphore(2)

    async def ask(shop: int) -> int:
        async with at_once:
            return await price(shop)

    return min(await asyncio.gather(*(ask(shop) for shop in range(6))))


@workflow
async def first_of_all() -> int:
    prices = [asyncio.create_task(price(shop)) for shop in range(6)]
    done, _ = await asyncio.wait(prices, return_when=asyncio.FIRST_COMPLETED)
    return min(task.result() for task in done)


# A child that shall outlive its parent: as a task it is cancelled with the parent, started as a child it lives on.


@workflow
async def ask_how_it_was(to: str) -> None:
    await sleep("2 days")
    await email(to)


@workflow
async def survey_in_a_task() -> str:
    await charge(5)
    survey = asyncio.create_task(ask_how_it_was("a@example.org"))
    await sleep("1m")
    return f"ok, asked: {survey.done()}"


@workflow
async def survey_in_a_child() -> str:
    await charge(5)
    start_child(ask_how_it_was, "a@example.org")
    await sleep("1m")
    return "ok"


# Published readings: between two waits nobody listens. With a subscription they are kept.

reading = Signal("reading", int)
READINGS = publishes((600, reading, 20), (1200, reading, 21), (1800, reading, 22))


@step
async def write_down(value: int) -> None:
    await outside.get().call("write down", idempotency_key=step_info().idempotency_key, value=value)


@workflow
async def deaf_between_readings() -> None:
    seen: list[int] = []
    while len(seen) < 3:
        value = await wait_signal(reading)
        if value not in seen:  # one that is delivered twice is written down once
            seen.append(value)
            await write_down(value)


@workflow
async def subscribed_to_readings() -> None:
    seen: list[int] = []
    with subscribe(reading):
        while len(seen) < 3:
            value = await wait_signal(reading)
            if value not in seen:
                seen.append(value)
                await write_down(value)


# A step in a thread: when the answer is lost it runs again, like any other.


@step
def charge_in_thread(amount: int) -> str:
    return str(outside.get().call_sync("charge", amount=amount))


@step
def charge_in_thread_by_key(amount: int) -> str:
    return str(outside.get().call_sync("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@workflow
async def thread_without_key() -> str:
    return await charge_in_thread(50)


@workflow
async def thread_with_key() -> str:
    return await charge_in_thread_by_key(50)


# Ids from the clock: in a step, each attempt has another one; in the workflow, each replay has (the guard does not see
# `datetime.now`). From the workflow's now() it is the same each time.


@step
async def charge_by_clock(amount: int) -> None:
    await outside.get().call("charge", idempotency_key=f"charge-{time.time_ns()}", amount=amount)


@step
async def charge_by_id(amount: int, id: str) -> None:
    await outside.get().call("charge", idempotency_key=id, amount=amount)


@workflow
async def key_by_clock_in_step() -> None:
    await charge_by_clock(50)


@workflow
async def id_by_datetime() -> None:
    await note(f"order {datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    await sleep("1h")
    await charge(50)


@workflow
async def key_by_workflow_time() -> None:
    await charge_by_id(50, f"charge-{now():%Y%m%d-%H%M%S-%f}")


# Undoing by hand, and one undo was forgotten when a step was added.


@step
async def grant_points(points: int) -> None:
    await outside.get().call("grant", idempotency_key=step_info().idempotency_key, points=points)


@step(undoes=grant_points)
async def revoke_points(points: int) -> None:
    await outside.get().call("revoke", idempotency_key=step_info().idempotency_key, points=points)


@workflow
async def undo_forgotten() -> str:
    undos: list[Undo] = []
    try:
        undos.append((refund, 50))
        await to_its_end(pay(50))
        await to_its_end(grant_points(5))
        undos.append((recall, "o"))
        await to_its_end(dispatch("o"))
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


@workflow
async def undo_for_each() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        await s.do(grant_points, 5, undo=revoke_points)
        await s.do(dispatch, "o", undo=recall)
    return "ok"


# One step with two effects, of which only the first has a key; or both have the same key, and the second is dropped.


@step
async def charge_and_mail(amount: int) -> None:
    await outside.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount)
    await outside.get().call("email", to="a@example.org", amount=amount)


@step
async def charge_and_mail_by_one_key(amount: int) -> None:
    key = step_info().idempotency_key
    await outside.get().call("charge", idempotency_key=key, amount=amount)
    await outside.get().call("email", idempotency_key=key, to="a@example.org", amount=amount)


@step
async def charge_and_mail_by_two_keys(amount: int) -> None:
    key = step_info().idempotency_key
    await outside.get().call("charge", idempotency_key=f"{key}/charge", amount=amount)
    await outside.get().call("email", idempotency_key=f"{key}/email", to="a@example.org", amount=amount)


@workflow
async def second_effect_without_key() -> None:
    await charge_and_mail(50)


@workflow
async def two_effects_by_one_key() -> None:
    await charge_and_mail_by_one_key(50)


@workflow
async def two_effects_by_two_keys() -> None:
    await charge_and_mail_by_two_keys(50)


# A key by hand that lacks what tells two things apart: the customer, the month.


@step
async def bill(customer: str, month: int, key: str) -> None:
    await outside.get().call("bill", idempotency_key=key, customer=customer, month=month)


@workflow
async def key_without_customer(customer: str) -> None:
    await bill(customer, 11, "bill/11")


@workflow
async def key_with_customer(customer: str) -> None:
    await bill(customer, 11, f"bill/{customer}/11")


@workflow
async def key_without_month() -> None:
    for month in (10, 11, 12):
        await bill("ann", month, "bill/ann")
        await sleep("30 days")


@workflow
async def key_with_month() -> None:
    for month in (10, 11, 12):
        await bill("ann", month, f"bill/ann/{month}")
        await sleep("30 days")


# A result drawn by a step: until it is in the journal it may be drawn anew, from then on it is the same. That is correct.


@step
async def draw_ticket() -> str:
    return str(uuid.uuid4())


@workflow
async def ticket_from_step() -> str:
    ticket = await draw_ticket()
    await note(f"ticket {ticket}")
    return ticket


# Numbers from a counter in the module: the replay counts on.

NUMBERS = itertools.count(1)


@workflow
async def number_from_module() -> None:
    await note(f"invoice {next(NUMBERS)}")
    await charge(50)


# A loop of attempts within a step that the engine repeats as well: 5 times 4 calls.


@step
async def notify_with_own_retries() -> None:
    for _ in range(5):
        with contextlib.suppress(ConnectionError):
            await outside.get().call("notify", idempotency_key=step_info().idempotency_key)
            return
    raise ConnectionError("no luck in 5 attempts")


@step
async def notify_once() -> None:
    await outside.get().call("notify", idempotency_key=step_info().idempotency_key)


@workflow
async def retries_in_retries() -> None:
    await notify_with_own_retries()


@workflow
async def retries_by_policy() -> None:
    await notify_once()


# A compensation that does not bear to be repeated: after a crash in it, the money is given back twice.


@step
async def credit_without_key(amount: int) -> None:
    await outside.get().call("credit", amount=amount)


@workflow
async def undo_without_key() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=credit_without_key)
        await s.do(dispatch, "o", undo=recall)
    return "ok"


# Read and write in one step: that is no transaction either.


@step
async def take_from_stock() -> None:
    left = await store.get().get("left", 10)
    await store.get().put("left", left - 1)


@step
async def take_from_stock_by_key() -> None:
    """The store remembers who has taken, so nobody takes twice, and nothing that another took is lost."""
    key = step_info().idempotency_key
    while True:
        taken = await store.get().get("taken", [])
        if key in taken or await store.get().compare_and_set("taken", taken or None, sorted([*taken, key])):
            return


@workflow
async def stock_without_transaction() -> None:
    await take_from_stock()


@workflow
async def stock_by_compare_and_set() -> None:
    await take_from_stock_by_key()


# A cancel that is taken for an answer: the run ends well, and keeps the money.


@workflow
async def cancel_taken_for_an_answer() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            return "stopped"
        await s.do(dispatch, "o", undo=recall)
    return "ok"


@workflow
async def cancel_leaves_saga() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        await sleep("1h")
        await s.do(dispatch, "o", undo=recall)
    return "ok"


# Two runs that want the last one. A step that looks and then writes is overtaken between the two; the time that the
# workflow measures is no excuse. Whoever comes first may get it.


@step
async def take_last(who: str) -> bool:
    if await store.get().get("last", who) != who:
        return False
    await store.get().put("last", who)
    return True


@step
async def take_last_at_once(who: str) -> bool:
    return bool(await store.get().compare_and_set("last", None, who)) or await store.get().get("last") == who


@workflow
async def last_by_look_and_write(who: str) -> float:
    began = now()
    if await take_last(who):
        await note("it is yours")
    return (now() - began).total_seconds()


@workflow
async def last_by_compare_and_set(who: str) -> float:
    began = now()
    if await take_last_at_once(who):
        await note("it is yours")
    return (now() - began).total_seconds()


# A refund that is tried again by the workflow: the second call of the step has another key than the first.


@workflow
async def refund_tried_again() -> None:
    try:
        await grant_points.with_options(retry=ONCE)(5)
    except (StepError, ConnectionError):
        await sleep("10m")
        await grant_points(5)


@workflow
async def refund_tried_again_by_key() -> None:
    try:
        await grant_points.with_options(retry=ONCE, key="points/order-7")(5)
    except (StepError, ConnectionError):
        await sleep("10m")
        await grant_points.with_options(key="points/order-7")(5)


# Who cannot restock tells the shop, and tells the customer as always: another mail, not the same one twice.


@workflow
async def tells_the_shop_when_it_fails() -> None:
    try:
        await ship("o")
    except (StepError, ConnectionError):
        await email("shop@example.org")
    await email("customer@example.org")


# Children that report to their parent, which does not wait for the last one.

done = Signal("done", int)


@workflow
async def reports_back(boss: str, part: int) -> None:
    await charge(part)
    send(boss, done, part)


@workflow
async def two_of_three_reports() -> int:
    for part in range(3):
        start_child(reports_back, info().id, part)
    return sum([await wait_signal(done) for _ in range(2)])


@workflow
async def all_three_reports() -> int:
    for part in range(3):
        start_child(reports_back, info().id, part)
    return sum([await wait_signal(done, timeout="10 days") for _ in range(3)])


# Workers at a queue: one that dies of a failure leaves its part undone, and all the others waiting.


@workflow
async def workers_that_die() -> None:
    parts: asyncio.Queue[int] = asyncio.Queue()
    for part in range(4):
        parts.put_nowait(part)

    async def work() -> None:
        while True:
            await charge(await parts.get())
            parts.task_done()

    workers = [asyncio.create_task(work()) for _ in range(2)]
    await parts.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@workflow
async def workers_in_a_group() -> None:
    parts: asyncio.Queue[int] = asyncio.Queue()
    for part in range(4):
        parts.put_nowait(part)

    async def work() -> None:
        while not parts.empty():
            await charge(parts.get_nowait())
            await sleep("1s")

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(work())


# An undo that looks for the wrong thing, finds none, and takes that for done; and one that looks for what was done.


@step
async def release_by_order(item: str) -> None:
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=f"order of {item}")


@step
async def release_if_reserved(item: str) -> None:
    """Say so in the log, too, whether there was anything to release or not."""
    key = step_info().idempotency_key
    await outside.get().call("release", idempotency_key=f"{key}/release", item=item)
    await outside.get().call("log", idempotency_key=f"{key}/log", what=f"released {item}")


@workflow
async def undo_finds_nothing() -> None:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release_by_order)
        await s.do(pay, 50, undo=refund)


@workflow
async def undo_finds_what_was_done() -> None:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release_if_reserved)
        await s.do(pay, 50, undo=refund)


# A date that a step reads, as people write it.


@step
async def write_invoice() -> str:
    written = datetime.now(UTC).isoformat()
    await outside.get().call("invoice", idempotency_key=step_info().idempotency_key, written=written)
    return written


@workflow
async def invoice_with_date() -> str:
    return await write_invoice()


# A key made of the date, so that nobody is charged twice a day: whoever is charged at midnight is charged twice.


@step
async def charge_of_the_day(customer: str) -> None:
    await outside.get().call("fee", idempotency_key=f"{customer}/{datetime.now(UTC):%Y-%m-%d}", customer=customer)


@workflow
async def fee_by_the_day_of_the_step() -> None:
    await sleep("3 days")
    await charge_of_the_day("ann")


@step
async def charge_for(customer: str, day: str) -> None:
    written = datetime.now(UTC).isoformat()
    await outside.get().call("fee", idempotency_key=f"{customer}/{day}", customer=customer, written=written)


@workflow
async def fee_by_the_day_of_the_workflow() -> None:
    await sleep("3 days")
    await charge_for("ann", f"{now():%Y-%m-%d}")


# == The verdicts =========================================================================================================

WITHDRAWN = sends((1200, withdrawn, "changed my mind"))

CASES = (
    Case("child in saga", trip_without_undo_of_child, found=Found("saga", tells=("dispatch",))),
    Case("child in saga", trip_with_undo_of_child),
    Case("gather of sagas", saga_for_each_parcel, found=Found("saga", tells=("reserve",))),
    Case("gather of sagas", one_saga_for_all_parcels),
    Case("agent", agent_with_one_key, ("t1",), found=Found("ledger", faults=0, tells=("use tool", "key"))),
    Case("agent", agent_with_key_for_each_turn, ("t1",)),
    Case(
        "signal and timer",
        deaf_while_resting,
        script=WITHDRAWN,
        found=Found("signals", faults=0, tells=("withdrawn",), severity="warning"),
    ),
    Case(
        "signal and timer",
        listening_while_resting,
        script=WITHDRAWN,
        expect=(ignores(withdrawn, "once it is shipped, it comes back as a return"),),
    ),
    Case("polling", poll_with_backoff),
    Case("polling", poll_that_orders_again, found=Found("ledger", tells=("order report", "key"))),
    Case("fan-out", cheapest_of_all),
    Case("fan-out", first_of_all, found=Found("dangling", faults=0, tells=("price",))),
    Case("child that lives on", survey_in_a_task, found=Found("dangling", faults=0, tells=("ask_how_it_was",))),
    Case("child that lives on", survey_in_a_child),
    Case("published", deaf_between_readings, script=READINGS, found=Found("liveness", tells=("reading",))),
    Case("published", subscribed_to_readings, script=READINGS),
    Case("thread", thread_without_key, found=Found("ledger", by=("crash", "lost_ack"), tells=("charge", "key"))),
    Case("thread", thread_with_key),
    Case("id by clock", key_by_clock_in_step, found=Found("ledger", by=("crash", "lost_ack"), tells=("charge", "time"))),
    Case("id by clock", id_by_datetime, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("id by clock", key_by_workflow_time),
    Case("undo forgotten", undo_forgotten, found=Found("saga", tells=("grant",), severity=None)),
    Case("undo forgotten", undo_for_each),
    Case("two effects", second_effect_without_key, found=Found("ledger", by=("crash", "lost_ack"), tells=("email", "key"))),
    Case("two effects", two_effects_by_one_key, found=Found("ledger", faults=0, tells=("email", "key"))),
    Case("two effects", two_effects_by_two_keys),
    Case(
        "key by hand",
        key_without_customer,
        ("ann",),
        run_id="a",
        runs=(Instance(key_without_customer, "bob", id="b", at=5),),
        found=Found("ledger", faults=0, tells=("bill", "bob")),
    ),
    Case("key by hand", key_with_customer, ("ann",), run_id="a", runs=(Instance(key_with_customer, "bob", id="b", at=5),)),
    Case("key by hand", key_without_month, found=Found("ledger", faults=0, tells=("bill", "key"))),
    Case("key by hand", key_with_month),
    Case("drawn in step", ticket_from_step),
    Case("module counter", number_from_module, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("nested retries", retries_in_retries, found=Found("resource", tells=("notify",), severity="warning")),
    Case("nested retries", retries_by_policy),
    Case("undo without key", undo_without_key, found=Found("saga", faults=2, tells=("credit",))),
    Case(
        "read and write",
        stock_without_transaction,
        run_id="a",
        runs=(Instance(stock_without_transaction, id="b", at=5),),
        found=Found("difference", tells=("left",)),
    ),
    Case(
        "read and write",
        stock_by_compare_and_set,
        run_id="a",
        runs=(Instance(stock_by_compare_and_set, id="b", at=5),),
    ),
    Case("cancel as answer", cancel_taken_for_an_answer, found=Found("saga", by=("cancel",), tells=("charge",))),
    Case("cancel as answer", cancel_leaves_saga),
    Case(
        "the last one",
        last_by_look_and_write,
        ("ann",),
        run_id="a",
        runs=(Instance(last_by_look_and_write, "bob", id="b", at=5),),
        found=Found("ledger", tells=("note", "came in between")),
    ),
    Case(
        "the last one",
        last_by_compare_and_set,
        ("ann",),
        run_id="a",
        runs=(Instance(last_by_compare_and_set, "bob", id="b", at=5),),
    ),
    Case("tried again", refund_tried_again, found=Found("ledger", by=("lost_ack",), tells=("grant", "key of its own"))),
    Case("tried again", refund_tried_again_by_key),
    Case("tells of failure", tells_the_shop_when_it_fails),
    Case(
        "reports",
        two_of_three_reports,
        found=Found("signals", faults=0, tells=("done", "dropped"), severity="warning"),
    ),
    Case("reports", all_three_reports),
    Case("workers", workers_that_die, found=Found("liveness", tells=("workers_that_die", "Queue.join"))),
    Case("workers", workers_in_a_group),
    Case("undo in vain", undo_finds_nothing, found=Found("saga", tells=("reserve", "nothing to undo"))),
    Case("undo in vain", undo_finds_what_was_done),
    Case("date in step", invoice_with_date),
    Case(
        "day in key",
        fee_by_the_day_of_the_step,
        found=Found("ledger", faults=2, tells=("fee", "datetime.now()", "step_info().idempotency_key")),
    ),
    Case("day in key", fee_by_the_day_of_the_workflow),
)
