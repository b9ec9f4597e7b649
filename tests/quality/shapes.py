"""Workflows of still other shapes: long ones, nested ones, and ones that live among others.

Each bug stands beside the code as it should be. The verdicts are in the table at the end.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import NamedTuple

from tests.quality.case import Case, Found, publishes, sends
from tests.quality.outside import (
    ONCE,
    charge,
    dispatch,
    email,
    jitter,
    note,
    outside,
    pay,
    recall,
    refund,
    release,
    reserve,
    ship,
    store,
)
from wfkit import (
    Expect,
    Signal,
    State,
    StepError,
    info,
    now,
    saga,
    send,
    sleep,
    sleep_until,
    start_child,
    step,
    step_info,
    subscribe,
    timeout,
    undoes,
    wait_any,
    wait_signal,
    workflow,
)
from wfkit.testing import Instance, Volatile, ignores

DAY = 24 * 3600

# Children three deep. The one in the middle takes a failure for an answer, so nobody above learns that nothing was shipped.


@workflow
async def pick_and_ship(item: str) -> str:
    async with saga() as s:
        await s.do(reserve, item, undo=release)
        await s.do(dispatch, item, undo=recall)
    return f"{item} shipped"


@workflow
async def warehouse_that_shrugs(item: str) -> str:
    try:
        return await pick_and_ship(item)
    except Exception:  # noqa: BLE001  # the planted bug
        return f"{item} shipped"


@workflow
async def warehouse(item: str) -> str:
    await note(f"picking {item}")
    return await pick_and_ship(item)


@workflow
async def order_through_shrugging_warehouse() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        answer = await warehouse_that_shrugs("lamp")
    await email("customer@example.org")
    return answer


@workflow
async def order_through_warehouse() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        s.undo(recall, "lamp")
        s.undo(release, "lamp")
        answer = await warehouse("lamp")
    await email("customer@example.org")
    return answer


# A fan-out with a saga for each item. Items that fail are told of; or the summary counts them as done.


async def _one_item(item: str) -> bool:
    try:
        async with saga() as s:
            await s.do(reserve, item, undo=release)
            await s.do(dispatch, item, undo=recall)
    except (StepError, ConnectionError):
        return False
    return True


@workflow
async def fan_out_with_summary() -> dict[str, bool]:
    items = ("lamp", "table", "chair")
    async with asyncio.TaskGroup() as group:  # which waits for all of them, whatever is cancelled
        tasks = {item: group.create_task(_one_item(item)) for item in items}
    return {item: task.result() for item, task in tasks.items()}


@workflow
async def fan_out_cut_short_by_cancel() -> dict[str, bool]:
    items = ("lamp", "table", "chair")
    return dict(zip(items, await asyncio.gather(*map(_one_item, items)), strict=True))


@workflow
async def fan_out_counted_as_done() -> str:
    items = ("lamp", "table", "chair")
    await asyncio.gather(*map(_one_item, items))
    return f"{len(items)} shipped"


# An agent with a budget. It is kept in a store that two steps read and write; or the workflow counts for itself.


@step(expect=Expect(read_only=True))
async def think(messages: list[str]) -> str:
    return str(await outside.get().read("think", messages=messages))


@step
async def call_tool(query: str) -> str:
    return str(await outside.get().call("tool", idempotency_key=step_info().idempotency_key, query=query))


@step
async def spend(cost: int) -> int:
    left = int(await store.get().get("budget", 100)) - cost
    await store.get().put("budget", left)
    return left


@workflow
async def agent_with_stored_budget() -> list[str]:
    messages: list[str] = []
    while (wanted := await think(messages)) != "done":
        if await spend(10) < 0:
            break
        messages.append(await call_tool(wanted))
    return messages


@workflow
async def agent_with_counted_budget() -> list[str]:
    messages: list[str] = []
    left = 100
    while left > 0 and (wanted := await think(messages)) != "done":
        left -= 10
        messages.append(await call_tool(wanted))
    return messages


# A decision that races a timer: after it nobody looks; or it is taken also when it comes late.

approved = Signal("approved", str)
denied = Signal("denied", int)


@workflow
async def decision_until_deadline() -> str:
    try:
        got = await wait_any(approved, denied, timeout="2 days")
    except TimeoutError:
        await email("boss@example.org")
        return "expired"
    if approved.came(got):
        await charge(50)
    return "approved" if approved.came(got) else "denied"


@workflow
async def decision_with_reminder() -> str:
    while True:
        try:
            got = await wait_any(approved, denied, timeout="2 days")
        except TimeoutError:
            await email("boss@example.org")
            continue
        if approved.came(got):
            await charge(50)
            return "approved"
        if denied.came(got):
            return "denied"


# An entity that goes on for ever. What comes twice counts twice; or it keeps in mind what it has seen.


class Visit(NamedTuple):
    id: str
    points: int


visited = Signal("visited", Visit)


@workflow
async def points_counted_twice(total: int) -> None:
    while True:
        visit = await wait_signal(visited)
        total += visit.points
        await note(f"{visit.id}: {total}")


@workflow
async def points_that_remember(total: int) -> None:
    seen: list[str] = []
    while True:
        visit = await wait_signal(visited)
        if visit.id not in seen:
            seen.append(visit.id)
            total += visit.points
            await note(f"{visit.id}: {total}")


VISITS = sends(*((hour * 3600.0, visited, Visit(f"v{hour}", hour)) for hour in range(1, 6)))

# A child with a saga of its own, whose parent is cancelled. A child that nobody awaits goes on, and ships what is refunded.


@workflow
async def prepare(item: str) -> str:
    async with saga() as s:
        await s.do(reserve, item, undo=release)
        await sleep("1h")
        await s.do(dispatch, item, undo=recall)
    return item


@workflow
async def parent_that_awaits() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        s.undo(recall, "lamp")
        s.undo(release, "lamp")
        return await prepare("lamp")


# A timeout around a saga, or in it, where it is swallowed and what was done is kept.

ready = Signal("ready", str)


@workflow
async def timeout_around_saga() -> str:
    try:
        async with timeout("1 day"), saga() as s:
            await s.do(reserve, "lamp", undo=release)
            await s.do(pay, 50, undo=refund)
            return await wait_signal(ready)
    except TimeoutError:
        return "given up"


@workflow
async def timeout_swallowed_in_saga() -> str:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        try:
            async with timeout("1 day"):
                await s.do(pay, 50, undo=refund)
                await wait_signal(ready)
                await s.do(dispatch, "lamp", undo=recall)
        except TimeoutError:
            return "given up"
    return "ok"


# Readings in batches. A subscription for each batch hears nothing while the batch is written; one around all hears all.

reading = Signal("reading", int)
READINGS = publishes(*((minute * 60.0, reading, minute) for minute in range(10, 16)))


@step
async def write_batch(values: list[int]) -> None:
    await asyncio.sleep(150)
    await outside.get().call("batch", idempotency_key=step_info().idempotency_key, values=sorted(values))


@workflow
async def subscribed_for_each_batch() -> int:
    count = 0
    while count < 6:
        batch: list[int] = []
        with subscribe(reading):
            while len(batch) < 2:
                value = await wait_signal(reading)
                if value not in batch:
                    batch.append(value)
        await write_batch(batch)
        count += len(batch)
    return count


@workflow
async def subscribed_for_all_batches() -> int:
    seen: list[int] = []
    with subscribe(reading):
        while len(seen) < 6:
            batch: list[int] = []
            while len(batch) < 2:
                value = await wait_signal(reading)
                if value not in (*seen, *batch):
                    batch.append(value)
            await write_batch(batch)
            seen += batch
    return len(seen)


# Orders that are published start runs. A key that is made of the customer alone takes the second order for the first.


class Order(NamedTuple):
    id: str
    customer: str


ordered = Signal("ordered", Order)


@step
async def invoice(order: str, customer: str, key: str) -> None:
    await outside.get().call("invoice", idempotency_key=key, order=order, customer=customer)


@workflow(on=ordered)
async def invoices_by_customer(order: Order) -> None:
    await invoice(order.id, order.customer, f"invoice/{order.customer}")


@workflow(on=ordered)
async def invoices_by_order(order: Order) -> None:
    await invoice(order.id, order.customer, f"invoice/{order.id}")


@workflow
async def shop_is_open() -> None:
    await sleep("1 day")


ORDERS = publishes((60, ordered, Order("o1", "ann")), (120, ordered, Order("o2", "ann")))

# Sagas in sagas: the inner one is over when the outer one fails, and what it did stays.


@workflow
async def saga_in_saga() -> str:
    async with saga() as trip:
        await trip.do(pay, 50, undo=refund)
        async with saga() as parcel:
            await parcel.do(reserve, "lamp", undo=release)
        await trip.do(dispatch, "lamp", undo=recall)
    return "ok"


# A subscription that bills each month until it is cancelled, with progress that others can see.

progress = State("progress", int, default=lambda: 0)
stopped = Signal("stopped", str)


@step
async def bill(month: int) -> None:
    await outside.get().call("bill", idempotency_key=step_info().idempotency_key, month=month)


@workflow
async def bills_each_month(month: int) -> int:
    began = now()
    while True:
        await bill(month)
        progress.set(month)
        try:
            await wait_signal(stopped, timeout="30 days")
        except TimeoutError:
            month += 1
            continue
        await note(f"stopped after {(now() - began).days} days")
        return month


@step
async def bill_by_hand(month: int, customer: str) -> None:
    await outside.get().call("bill", idempotency_key=f"{customer}/bill", month=month)


@workflow
async def bills_by_one_key(month: int) -> int:
    while True:
        await bill_by_hand(month, info().id)
        try:
            await wait_signal(stopped, timeout="30 days")
        except TimeoutError:
            month += 1
            continue
        return month


@step
async def bill_anew(month: int) -> None:
    await outside.get().call("bill", idempotency_key=str(uuid.uuid4()), month=month)


@workflow
async def bills_anew_each_month(month: int) -> int:
    while True:
        await bill_anew(month)
        try:
            return len(await wait_signal(stopped, timeout="30 days"))
        except TimeoutError:
            month += 1


STOPPED = sends((75 * DAY, stopped, "moving"))
ON_THE_DAY = sends((90 * DAY, stopped, "moving"))

# A fallback: if the first carrier fails, the second one is asked. What the first has taken on all the same is taken back;
# unless a cancel comes, which `except Exception` does not see.


@step
async def ask_carrier(item: str) -> str:
    return str(await outside.get().call("reserve", idempotency_key=step_info().idempotency_key, item=item))


@step(undoes=ask_carrier)
async def tell_carrier_off(item: str) -> None:
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=item)


@workflow
async def fallback_by_hand() -> str:
    try:
        await ask_carrier.with_options(retry=ONCE)("lamp")
    except (StepError, ConnectionError):
        await tell_carrier_off("lamp")
        await ship("lamp by post")
    return "on its way"


@workflow
async def fallback_by_saga() -> str:
    try:
        async with saga() as s:
            await s.do(ask_carrier.with_options(retry=ONCE), "lamp", undo=tell_carrier_off)
    except (StepError, ConnectionError):
        await ship("lamp by post")
    return "on its way"


# A pair of runs that hand work to each other, one message after the other.

ping = Signal("ping", int)
pong = Signal("pong", int)


@workflow
async def plays_pong(other: str) -> int:
    for _ in range(3):
        ball = await wait_signal(ping, timeout="10 days")
        await note(f"ball {ball}")
        send(other, pong, ball)
    return 3


@workflow
async def plays_ping() -> int:
    other = start_child(plays_pong, info().id)
    for ball in range(3):
        send(other.id, ping, ball)
        await wait_signal(pong, timeout="10 days")
    return 3


@workflow
async def plays_ping_and_leaves() -> int:
    """It does not wait for the last ball: that comes to nobody."""
    other = start_child(plays_pong, info().id)
    for ball in range(3):
        send(other.id, ping, ball)
        if ball < 2:
            await wait_signal(pong, timeout="10 days")
    return 3


# A stock that two runs share: one takes, one gives back. Read in one step and written in the next.


@step(expect=Expect(read_only=True))
async def read_stock() -> int:
    return int(await store.get().get("stock", 10))


@step
async def write_stock(value: int) -> None:
    await store.get().put("stock", value)


@step
async def change_stock(by: int) -> None:
    key = step_info().idempotency_key
    while True:
        changes = await store.get().get("changes", {})
        if key in changes or await store.get().compare_and_set("changes", changes or None, {**changes, key: by}):
            return


@workflow
async def changes_stock_in_two_steps(by: int) -> None:
    await write_stock(await read_stock() + by)


@workflow
async def changes_stock_in_one_step(by: int) -> None:
    await change_stock(by)


# A deadline that moves: each extension puts it off. One that is delivered twice counts twice, or once.


class Extension(NamedTuple):
    id: str
    seconds: int


extended = Signal("extended", Extension)
EXTENDED = sends((1800, extended, Extension("e1", 1800)), (4000, extended, Extension("e2", 600)))


@workflow
async def auction_that_counts_twice() -> str:
    end = now().timestamp() + 3600
    extensions = 0
    while (left := end - now().timestamp()) > 0:
        try:
            end += (await wait_signal(extended, timeout=left)).seconds
        except TimeoutError:
            break
        extensions += 1
    await note(f"closed after {extensions} extensions")
    return "sold"


@workflow
async def auction() -> str:
    end = now().timestamp() + 3600
    seen: set[str] = set()
    while (left := end - now().timestamp()) > 0:
        try:
            extension = await wait_signal(extended, timeout=left)
        except TimeoutError:
            break
        end += extension.seconds if extension.id not in seen else 0
        seen.add(extension.id)
    await note(f"closed after {len(seen)} extensions")
    return "sold"


# A report at nine each morning, from a list of days.


@workflow
async def three_mornings() -> list[str]:
    written = []
    for _ in range(3):
        morning = now().replace(hour=9, minute=0, second=0, microsecond=0)
        while morning <= now():
            morning = morning.fromtimestamp(morning.timestamp() + DAY, morning.tzinfo)
        await sleep_until(morning)
        await note(f"report of {morning:%Y-%m-%d}")
        written.append(f"{morning:%Y-%m-%d}")
    return written


# A call that its caller gives up on, and makes again: the first one may have taken effect all the same.


@workflow
async def asks_again_after_timeout() -> str:
    try:
        async with timeout("30s"):
            return await charge(50)
    except TimeoutError:
        return await charge(50)


@workflow
async def asks_again_by_one_key() -> str:
    once = charge.with_options(key="order-7/charge")
    try:
        async with timeout("30s"):
            return await once(50)
    except TimeoutError:
        return await once(50)


# An undo that needs the result of the step, which is not known where its answer was lost; or that does nothing then.


@step
async def open_account(name: str) -> str:
    await outside.get().call("reserve", idempotency_key=step_info().idempotency_key, item=name)
    return name


@step
async def close_by_result(name: str) -> None:
    opened = undoes(open_account).result
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=opened)


@step
async def close_if_completed(name: str) -> None:
    if undoes(open_account).outcome == "completed":
        await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=name)


@step
async def close_by_name(name: str) -> None:
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=name)


@workflow
async def closes_by_result() -> None:
    async with saga() as s:
        await s.do(open_account, "ann", undo=close_by_result)
        await s.do(pay, 5, undo=refund)


@workflow
async def closes_if_completed() -> None:
    async with saga() as s:
        await s.do(open_account, "ann", undo=close_if_completed)
        await s.do(pay, 5, undo=refund)


@workflow
async def closes_by_name() -> None:
    async with saga() as s:
        await s.do(open_account, "ann", undo=close_by_name)
        await s.do(pay, 5, undo=refund)


# A point of no return, and a step without undo before the one that may fail.


@workflow
async def ships_after_pivot() -> str:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        await s.do(pay, 50, undo=refund)
        s.pivot()
        await ship("lamp")
        await email("customer@example.org")
    return "ok"


@workflow
async def ships_before_payment() -> str:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        await ship("lamp")
        await s.do(pay, 50, undo=refund)
    return "ok"


# A lock that is taken by a name drawn in the step: after a crash its owner does not know it again.


@step
async def lock_by_chance() -> str:
    me = str(uuid.uuid4())
    while not await store.get().compare_and_set("lock", None, me):
        await asyncio.sleep(5)
    return me


@step
async def lock_as(me: str) -> None:
    while not (await store.get().compare_and_set("lock", None, me) or await store.get().get("lock") == me):
        await asyncio.sleep(5)


@step
async def unlock(me: str) -> None:
    await store.get().compare_and_set("lock", me, None)


@workflow
async def locks_by_chance() -> None:
    me = await lock_by_chance()
    try:
        await note("inside")
    finally:
        await unlock(me)


@workflow
async def locks_by_id() -> None:
    me = info().id
    await lock_as(me)
    try:
        await note("inside")
    finally:
        await unlock(me)


# What was typed is saved once nothing more comes; a pipeline through a queue; items that fail are listed in the result, whose
# value differs from fault to fault and is declared so.

typed = Signal("typed", str)


@workflow
async def saves_when_idle() -> str:
    text = await wait_signal(typed)
    while True:
        try:
            text = await wait_signal(typed, timeout="10s")
        except TimeoutError:
            break
    await note(f"saved {text}")
    return text


@workflow
async def pipeline() -> int:
    parts: asyncio.Queue[int | None] = asyncio.Queue(maxsize=2)

    async def produce() -> None:
        for part in range(4):
            await jitter(part)
            await parts.put(part)
        await parts.put(None)

    total = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        while (part := await parts.get()) is not None:
            await note(f"part {part}")
            total += part
    return total


@workflow
async def lists_what_failed() -> Volatile[list[str]]:
    failed = []
    for item in ("lamp", "table", "chair"):
        try:
            await note(item)
        except (StepError, ConnectionError):
            failed.append(item)
    if failed:
        await email("shop@example.org")
    return failed


@workflow
async def counts_what_failed() -> int:
    failed = 0
    for item in ("lamp", "table", "chair"):
        try:
            await note(item)
        except (StepError, ConnectionError):
            failed += 1
    return failed


# A main line with a saga, in a task beside another one that watches. When the run is cancelled nobody awaits the main line.

aborted = Signal("aborted", str)


async def _main_line() -> str:
    async with saga() as s:
        await s.do(reserve, "lamp", undo=release)
        await sleep("2h")
        await s.do(pay, 9, undo=refund)
    return "done"


@workflow
async def leaves_main_line_alone() -> str:
    main = asyncio.create_task(_main_line())
    watcher = asyncio.create_task(wait_signal(aborted))
    await asyncio.wait([main, watcher], return_when=asyncio.FIRST_COMPLETED)
    if watcher.done():
        main.cancel()
        await asyncio.wait([main])
        return "aborted"
    return main.result()


@workflow
async def stays_with_main_line() -> str:
    async with asyncio.TaskGroup() as group:
        main = group.create_task(_main_line())
        watcher = group.create_task(wait_signal(aborted))
        await asyncio.wait([main, watcher], return_when=asyncio.FIRST_COMPLETED)
        main.cancel()
        watcher.cancel()
    return "aborted" if main.cancelled() else main.result()


# A child that lives as long as its parent.


@workflow
async def tells_that_it_lives() -> None:
    while True:
        await sleep("1h")
        await note("alive")


@workflow
async def supervised() -> str:
    start_child(tells_that_it_lives, on_parent_end="cancel")
    await charge(5)
    await sleep("150m")
    return "ok"


# Keys made of the run alone: the second step of the run is taken for the first.


@step
async def withdraw(amount: int) -> None:
    await outside.get().call("withdraw", idempotency_key=step_info().run_id, amount=amount)


@step
async def deposit(amount: int) -> None:
    await outside.get().call("deposit", idempotency_key=step_info().run_id, amount=amount)


@workflow
async def transfer_by_run() -> None:
    await withdraw(5)
    await deposit(5)


# == The verdicts =========================================================================================================

LATE = (
    ignores(extended, "the auction is over"),
    ignores(ready, "the customer is told"),
    ignores(typed, "it is saved"),
    ignores(aborted, "it is done"),
)

CASES = (
    Case("children three deep", order_through_shrugging_warehouse, found=Found("saga", tells=("dispatch",), severity=None)),
    Case("children three deep", order_through_warehouse),
    Case("saga for each item", fan_out_with_summary),
    Case(
        "saga for each item",
        fan_out_cut_short_by_cancel,
        found=Found("saga", by=("cancel",), tells=("TaskGroup", "cut it short")),
    ),
    Case("saga for each item", fan_out_counted_as_done, found=Found("saga", tells=("dispatch",), severity=None)),
    Case("agent with budget", agent_with_stored_budget, found=Found("difference", tells=("budget",))),
    Case("agent with budget", agent_with_counted_budget),
    Case(
        "decision",
        decision_until_deadline,
        script=sends((3600, approved, "yes")),
        found=Found("signals", by=("late",), tells=("approved",), severity="warning"),
    ),
    Case("decision", decision_with_reminder, script=sends((3600, approved, "yes"))),
    Case(
        "entity",
        points_counted_twice,
        (0,),
        script=VISITS,
        until="2 days",
        found=Found("ledger", by=("dup",), tells=("note",)),
    ),
    Case("entity", points_that_remember, (0,), script=VISITS, until="2 days"),
    Case("cancelled parent", parent_that_awaits),
    Case("timeout and saga", timeout_around_saga, script=sends((3600, ready, "box")), expect=LATE),
    Case(
        "timeout and saga",
        timeout_swallowed_in_saga,
        script=sends((3600, ready, "box")),
        found=Found("signals", by=("late",), tells=("ready",), severity="warning"),
    ),
    Case("batches", subscribed_for_each_batch, script=READINGS, found=Found("difference", tells=("batch",))),
    Case("batches", subscribed_for_all_batches, script=READINGS),
    Case(
        "published orders",
        shop_is_open,
        script=ORDERS,
        workflows=(invoices_by_customer,),
        found=Found("ledger", faults=0, tells=("invoice", "key")),
    ),
    Case("published orders", shop_is_open, script=ORDERS, workflows=(invoices_by_order,)),
    Case("saga in saga", saga_in_saga, found=Found("saga", tells=("reserve",), severity=None)),
    Case("each month", bills_each_month, (1,), script=STOPPED),
    Case("each month", bills_by_one_key, (1,), script=STOPPED, found=Found("ledger", faults=0, tells=("bill", "key"))),
    Case("to the day", bills_each_month, (1,), script=ON_THE_DAY),
    Case("to the day", bills_anew_each_month, (1,), script=ON_THE_DAY, found=Found("ledger", tells=("bill", "uuid4()"))),
    Case("fallback", fallback_by_hand, found=Found("saga", by=("cancel",), tells=("reserve",))),
    Case("fallback", fallback_by_saga),
    Case("ping and pong", plays_ping),
    Case("ping and pong", plays_ping_and_leaves, found=Found("signals", faults=0, tells=("pong",), severity="warning")),
    Case(
        "stock",
        changes_stock_in_two_steps,
        (-1,),
        run_id="a",
        runs=(Instance(changes_stock_in_two_steps, 5, id="b", at=30),),
        found=Found("difference", tells=("stock",)),
    ),
    Case("stock", changes_stock_in_one_step, (-1,), run_id="a", runs=(Instance(changes_stock_in_one_step, 5, id="b", at=30),)),
    Case(
        "auction",
        auction_that_counts_twice,
        script=EXTENDED,
        expect=LATE,
        found=Found("difference", by=("dup",), tells=("extensions",)),
    ),
    Case("auction", auction, script=EXTENDED, expect=LATE),
    Case("mornings", three_mornings),
    Case("given up on", asks_again_after_timeout, found=Found("ledger", tells=("charge", "given up on", "key"))),
    Case("given up on", asks_again_by_one_key),
    Case("undo of the unknown", closes_by_result, found=Found("saga", faults=2, tells=("reserve", "nothing to undo"))),
    Case("undo of the unknown", closes_if_completed, found=Found("saga", faults=2, tells=("reserve", "asked nobody"))),
    Case("undo of the unknown", closes_by_name),
    Case("no return", ships_after_pivot),
    Case("no return", ships_before_payment, found=Found("saga", tells=("ship",), severity="warning")),
    Case(
        "lock",
        locks_by_chance,
        run_id="a",
        runs=(Instance(locks_by_chance, id="b", at=1),),
        found=Found("difference", by=("crash",), tells=("lock",)),
    ),
    Case("lock", locks_by_id, run_id="a", runs=(Instance(locks_by_id, id="b", at=1),)),
    Case("idle", saves_when_idle, script=sends((5, typed, "a"), (8, typed, "ab"), (12, typed, "abc")), expect=LATE),
    Case("pipeline", pipeline),
    Case("partial", lists_what_failed),
    Case("partial", counts_what_failed, found=Found("difference", by=("fail_n", "lost_ack", "outage"), tells=("value=1",))),
    Case(
        "watcher",
        leaves_main_line_alone,
        script=sends((3600, aborted, "x")),
        expect=LATE,
        found=Found("saga", by=("cancel",), tells=("reserve", "nobody awaited")),
    ),
    Case("watcher", stays_with_main_line, script=sends((3600, aborted, "x")), expect=LATE),
    Case("supervised", supervised),
    Case("key of the run", transfer_by_run, found=Found("ledger", faults=0, tells=("deposit", "key"))),
)
