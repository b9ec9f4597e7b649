"""Workflow bugs, each with its cure: what `verify` finds, and what it leaves in peace.

Of each bug there is the code as people write it, what is wrong with it, and the code as it should be. Where wfkit takes the
sting out of the wrong code by itself (the guard answers for the clock and for chance, sent signals wait, a saga awaits its
own steps), that code is clean, and the same code past the protection is found.

The verdicts are in the table at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from os import urandom
from time import time as wall_clock  # the guard does not see a name that was bound before
from typing import Any

from tests.quality.case import Case, Found, publishes, sends
from tests.quality.outside import (
    HOUR,
    ONCE,
    STUBBORN,
    Undo,
    audit,
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
    to_its_end,
    undo_all,
)
from wfkit import Signal, has_patch, info, now, saga, sleep, step, step_info, subscribe, unsafe, uuid4, wait_signal, workflow
from wfkit.testing import Instance, ignores

# == Determinism: the code asks for something else when it is replayed ====================================================

# D01: a branch on the wall clock. In replay both looks at it happen within a millisecond, so the other branch is taken.


@workflow
async def lane_by_time() -> None:
    """The guard answers with the run's own time."""
    began = time.time()
    await sleep("2h")
    await note("slow lane" if time.time() - began > HOUR else "fast lane")


@workflow
async def lane_by_unsafe_time() -> None:
    with unsafe("the planted bug"):
        began = time.time()
    await sleep("2h")
    with unsafe("the planted bug"):
        took = time.time() - began
    await note("slow lane" if took > HOUR else "fast lane")


@workflow
async def lane_by_bound_time() -> None:
    began = wall_clock()
    await sleep("2h")
    await note("slow lane" if wall_clock() - began > HOUR else "fast lane")


@workflow
async def lane_by_now() -> None:
    began = now()
    await sleep("2h")
    await note("slow lane" if now() - began > timedelta(hours=1) else "fast lane")


# D03: a fresh id for each replay. The call in the journal was for another one.


@workflow
async def order_by_uuid4() -> None:
    """The guard draws from the run's own generator."""
    order = str(uuid.uuid4())
    await note(order)
    await charge(10)


@workflow
async def order_by_unsafe_uuid4() -> None:
    with unsafe("the planted bug"):
        order = str(uuid.uuid4())
    await note(order)
    await charge(10)


@workflow
async def order_by_bound_urandom() -> None:
    order = str(uuid.UUID(bytes=urandom(16), version=4))
    await note(order)
    await charge(10)


@workflow
async def order_by_run_uuid4() -> None:
    order = str(uuid4())
    await note(order)
    await charge(10)


# D04: the order of a set of texts. It depends on PYTHONHASHSEED, so another process asks for the steps in another order.


@workflow
async def regions_of_a_set() -> None:
    for region in {"eu", "us", "ap", "sa", "af"}:  # noqa: PLC0208  # the planted bug
        await note(region)


@workflow
async def regions_in_order() -> None:
    for region in sorted({"eu", "us", "ap", "sa", "af"}):
        await note(region)


# D06: a cache in the module. The first execution fills it, so the replay leaves out a step that is in the journal.

LOADED: set[str] = set()


@workflow
async def settings_cached_in_module() -> None:
    if "settings" not in LOADED:
        await note("load settings")
        LOADED.add("settings")
    await charge(5)


@workflow
async def settings_loaded_in_step() -> None:
    await note("load settings")
    await charge(5)


# D09: a step that is begun and never awaited. The run ends while it is under way, and nobody will begin it again.


@workflow
async def mail_not_awaited() -> str:
    await charge(5)
    mail = asyncio.create_task(email("a@example.org"))
    await asyncio.sleep(0)
    return f"ok, mailed: {mail.done()}"


@workflow
async def mail_awaited() -> str:
    await charge(5)
    await email("a@example.org")
    return "ok"


# D11: the set that asyncio.wait returns. Its order is that of addresses; wfkit's own tasks have an order of their own.


@workflow
async def results_of_done() -> None:
    done, _ = await asyncio.wait([asyncio.create_task(jitter(i)) for i in range(8)])
    for task in done:
        await note(str(task.result()))


class Parcel:
    """Hashed by its address, as all objects are that do not say otherwise."""

    def __init__(self, number: int) -> None:
        self.number = number


@workflow
async def results_of_own_objects() -> None:
    for parcel in {Parcel(await jitter(i)) for i in range(8)}:
        await note(str(parcel.number))


@workflow
async def results_in_order() -> None:
    tasks = [asyncio.create_task(jitter(i)) for i in range(8)]
    await asyncio.wait(tasks)
    for task in tasks:
        await note(str(task.result()))


# == Idempotency: a step runs again, and so does its effect ===============================================================


@workflow
async def charge_by_step() -> str:
    """The cure of I01, I02 and I04: the key of the call, the same on every attempt and after every crash."""
    await charge(50)
    return "ok"


# I01: the key holds the number of the attempt, so each retry is another payment.


@step
async def charge_by_attempt(amount: int) -> None:
    key = f"{step_info().idempotency_key}-try{step_info().attempt}"
    await outside.get().call("charge", idempotency_key=key, amount=amount)


@workflow
async def key_with_attempt() -> str:
    await charge_by_attempt(50)
    return "ok"


# I02: the key is drawn in the step, so each attempt draws another.


@step
async def charge_by_uuid4(amount: int) -> None:
    await outside.get().call("charge", idempotency_key=str(uuid.uuid4()), amount=amount)


@workflow
async def key_drawn_in_step() -> str:
    await charge_by_uuid4(50)
    return "ok"


# I04: no key.


@step
async def charge_without_key(amount: int) -> None:
    await outside.get().call("charge", amount=amount)


@workflow
async def no_key() -> str:
    await charge_without_key(50)
    return "ok"


# I05: one key for all turns of a loop. The service takes the second charge for the first one, and drops it.


@step
async def charge_by_run(amount: int, run: str) -> None:
    await outside.get().call("charge", idempotency_key=f"{run}/charge", amount=amount)


@workflow
async def one_key_for_all_turns() -> None:
    for amount in (10, 20):
        await charge_by_run(amount, info().id)


@workflow
async def a_key_for_each_turn() -> None:
    for amount in (10, 20):
        await charge(amount)


# I07: look, act, then leave a mark. After a crash between mail and mark it is sent again; with the mark first, never.


@step
async def mail_unless_marked(to: str) -> None:
    if not await store.get().get("sent"):
        await outside.get().call("email", to=to)
        await store.get().put("sent", True)


@step
async def mail_by_key_unless_marked(to: str) -> None:
    if not await store.get().get("sent"):
        await outside.get().call("email", idempotency_key=step_info().idempotency_key, to=to)
        await store.get().put("sent", True)


@workflow
async def mark_after_effect() -> None:
    await mail_unless_marked("a@example.org")


@workflow
async def mark_beside_key() -> None:
    await mail_by_key_unless_marked("a@example.org")


# == Sagas: something is left behind ======================================================================================


@workflow
async def buy_in_saga() -> str:
    """The cure of all of these."""
    async with saga() as s:
        await s.do(reserve, "sku", undo=release)
        await s.do(pay, 50, undo=refund)
        await s.do(dispatch, "o", undo=recall)
    return "ok"


@workflow
async def buy_by_hand() -> str:
    """The same without a saga: each undo is known before its step begins, and a step is awaited to its end."""
    undos: list[Undo] = []
    try:
        undos.append((release, "sku"))
        await to_its_end(reserve("sku"))
        undos.append((refund, 50))
        await to_its_end(pay(50))
        undos.append((recall, "o"))
        await to_its_end(dispatch("o"))
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


# S01: the undo is registered when the step has returned. A step that took effect and lost its answer is not undone.


@workflow
async def undo_registered_after_step() -> str:
    undos: list[Undo] = []
    try:
        await to_its_end(reserve.with_options(retry=ONCE)("sku"))
        undos.append((release, "sku"))
        await to_its_end(pay.with_options(retry=ONCE)(50))
        undos.append((refund, 50))
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


@workflow
async def undo_registered_before_step() -> str:
    async with saga() as s:
        await s.do(reserve.with_options(retry=ONCE), "sku", undo=release)
        await s.do(pay.with_options(retry=ONCE), 50, undo=refund)
    return "ok"


# S03: undone in the order in which it was done. The goods are released before the refund, which depends on them.


@workflow
async def undone_forward() -> str:
    undos: list[Undo] = []
    try:
        undos.append((release, "sku"))
        await to_its_end(reserve("sku"))
        undos.append((refund, 50))
        await to_its_end(pay(50))
        undos.append((recall, "o"))
        await to_its_end(dispatch("o"))
    except BaseException:
        for undo, what in undos:
            await undo.with_options(retry=STUBBORN)(what)
        raise
    return "ok"


# S05: the failure is swallowed, and the run says that all is well.


@workflow
async def failure_swallowed() -> str:
    with contextlib.suppress(Exception):
        await pay(50)
        await dispatch("o")
    return "ok"


@workflow
async def failure_swallowed_in_saga() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        with contextlib.suppress(Exception):
            await s.do(dispatch, "o", undo=recall)
    return "ok"


@workflow
async def failure_leaves_saga() -> str:
    async with saga() as s:
        await s.do(pay, 50, undo=refund)
        await s.do(dispatch, "o", undo=recall)
    return "ok"


# S07: `except Exception` does not see a cancel, which is a BaseException: a cancelled run keeps the money.


@workflow
async def cancel_not_caught() -> str:
    undos: list[Undo] = []
    try:
        undos.append((refund, 50))
        await to_its_end(pay(50))
        undos.append((recall, "o"))
        await to_its_end(dispatch("o"))
    except Exception:
        await undo_all(undos)
        raise
    return "ok"


@workflow
async def cancel_caught() -> str:
    undos: list[Undo] = []
    try:
        undos.append((refund, 50))
        await to_its_end(pay(50))
        undos.append((recall, "o"))
        await to_its_end(dispatch("o"))
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


# S08: gather raises the first failure, and undoing begins while the others are under way. What they do is not undone.


@step
async def reserve_slowly(item: str) -> str:
    """The goods are held at once; the answer takes half a minute."""
    answer = await outside.get().call("reserve", idempotency_key=step_info().idempotency_key, item=item)
    await asyncio.sleep(30)
    return str(answer)


@step(undoes=reserve_slowly)
async def release_late(item: str) -> None:
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=item)


@workflow
async def undoing_beside_siblings() -> str:
    undos: list[Undo] = []

    async def goods() -> None:
        await reserve_slowly("sku")
        undos.append((release_late, "sku"))

    async def money() -> None:
        await pay.with_options(retry=ONCE)(50)
        undos.append((refund, 50))

    try:
        await asyncio.gather(goods(), money())
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


@workflow
async def undoing_after_siblings() -> str:
    undos: list[Undo] = [(release_late, "sku"), (refund, 50)]
    try:
        calls = [to_its_end(reserve_slowly("sku")), to_its_end(pay.with_options(retry=ONCE)(50))]
        failed = [end for end in await to_its_end(_ends_of(calls)) if isinstance(end, BaseException)]
        if failed:
            raise failed[0]
    except BaseException:
        await undo_all(undos)
        raise
    return "ok"


async def _ends_of(calls: list[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


@workflow
async def saga_around_siblings() -> str:
    """A saga that is left awaits the steps that it began, and then undoes them."""
    async with saga() as s:
        await asyncio.gather(
            s.do(reserve_slowly, "sku", undo=release_late), s.do(pay.with_options(retry=ONCE), 50, undo=refund)
        )
    return "ok"


# == Versions: new code meets runs that are under way =====================================================================


@workflow(name="monthly")
async def monthly() -> str:
    """What was deployed before."""
    await note("a")
    await sleep("1 day")
    await charge(5)
    await note("z")
    return "ok"


# V01: steps in another order.


@workflow(name="monthly")
async def steps_reordered() -> str:
    await sleep("1 day")
    await note("a")
    await charge(5)
    await note("z")
    return "ok"


@workflow(name="monthly", patches=("sleep first",))
async def steps_reordered_by_patch() -> str:
    if has_patch("sleep first"):
        await sleep("1 day")
        await note("a")
    else:
        await note("a")
        await sleep("1 day")
    await charge(5)
    await note("z")
    return "ok"


# V02: a step more.


@workflow(name="monthly")
async def step_added() -> str:
    await note("a")
    await audit()
    await sleep("1 day")
    await charge(5)
    await note("z")
    return "ok"


@workflow(name="monthly", patches=("audit",))
async def step_added_by_patch() -> str:
    await note("a")
    if has_patch("audit"):
        await audit()
    await sleep("1 day")
    await charge(5)
    await note("z")
    return "ok"


# == Time and signals =====================================================================================================

paid = Signal("paid", dict[str, int])
ok = Signal("ok", int)
reply = Signal("reply", int)

# T01: the rest of a day, by the wall clock. It differs in each replay, and is negative when the worker was down meanwhile.


@workflow
async def rest_by_time() -> None:
    """The guard answers with the run's own time."""
    deadline = now() + timedelta(days=1)
    await note("a")
    await asyncio.sleep(deadline.timestamp() - time.time())
    await note("b")


@workflow
async def rest_by_unsafe_time() -> None:
    deadline = now() + timedelta(days=1)
    await note("a")
    with unsafe("the planted bug"):
        rest = deadline.timestamp() - time.time()
    await asyncio.sleep(rest)
    await note("b")


@workflow
async def until_the_full_hour() -> None:
    await note("a")
    await asyncio.sleep(HOUR - wall_clock() % HOUR)
    await note("b")


@workflow
async def rest_by_now() -> None:
    deadline = now() + timedelta(days=1)
    await note("a")
    await sleep(deadline - now())
    await note("b")


# T03: the payment comes when the order has been cancelled, and nobody gives it back.


@step
async def pay_back(amount: int) -> None:
    await outside.get().call("pay back", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def late_payment_dropped() -> str:
    try:
        await wait_signal(paid, timeout="1h")
    except TimeoutError:
        await note("cancelled")
        return "cancelled"
    await ship("o")
    return "shipped"


@workflow
async def late_payment_returned() -> str:
    try:
        await wait_signal(paid, timeout="1h")
    except TimeoutError:
        await note("cancelled")
        with contextlib.suppress(TimeoutError):
            late = await wait_signal(paid, timeout="30 days")
            await pay_back(late["amt"])
        return "cancelled"
    await ship("o")
    return "shipped"


# T05: the timer is looked at before the answer. When a worker was down for a day both are there, and the answer was in time.


@workflow
async def timer_looked_at_first() -> str:
    timer = asyncio.create_task(sleep("1h"))
    answer = asyncio.create_task(wait_signal(ok))
    await asyncio.wait([timer, answer], return_when=asyncio.FIRST_COMPLETED)
    if timer.done():
        answer.cancel()
        return "rejected"
    await note("approved")
    await timer
    return "approved"


@workflow
async def wait_with_timeout() -> str:
    """A signal that arrived before the deadline wins, however late it is looked at."""
    try:
        await wait_signal(ok, timeout="1h")
    except TimeoutError:
        return "rejected"
    await note("approved")
    return "approved"


# E01: the wait begins when the question has been asked. An answer that is quicker than that is lost, if it is published.


@step
async def ask() -> None:
    await outside.get().call("ask", idempotency_key=step_info().idempotency_key)
    await asyncio.sleep(5)


@workflow
async def wait_after_asking() -> str:
    """Of a signal that is sent to the run, nothing is lost: it waits for the wait."""
    await ask()
    await wait_signal(reply)
    return "ok"


@workflow
async def subscribed_before_asking() -> str:
    with subscribe(reply):
        await ask()
        await wait_signal(reply)
    return "ok"


# E02: a payment that is delivered twice is counted twice.


@dataclass
class Payment:
    id: int
    amount: int


payment = Signal("payment", Payment)
PAYMENTS = sends((10, payment, Payment(1, 50)), (20, payment, Payment(2, 30)), (30, payment, Payment(3, 20)))


@workflow
async def deliveries_counted() -> None:
    got: list[Payment] = []
    while sum(one.amount for one in got) < 100:
        got.append(await wait_signal(payment))
    await note(f"paid by {sorted(one.id for one in got)}")


@workflow
async def payments_counted() -> None:
    got: dict[int, int] = {}
    while sum(got.values()) < 100:
        one = await wait_signal(payment)
        got[one.id] = one.amount
    await note(f"paid by {sorted(got)}")


# == What runs share ======================================================================================================

# Q01: read in one step, write in another. What a second run writes in between is lost.


@step
async def read(name: str) -> int:
    return int(await store.get().get(name, 0))


@step
async def write(name: str, value: int) -> None:
    await store.get().put(name, value)


@step
async def count(name: str) -> None:
    """Count this call, once: the keys of all calls that were counted are kept."""
    key = step_info().idempotency_key
    while True:
        counted = await store.get().get(name, [])
        if key in counted or await store.get().compare_and_set(name, counted or None, sorted([*counted, key])):
            return


@workflow
async def counted_in_two_steps() -> None:
    before = await read("n")
    await write("n", before + 1)


@workflow
async def counted_in_one_step() -> None:
    await count("n")


# Q03: the id of the run holds the time, so a start request that comes twice starts two runs.


@workflow
async def charge_once() -> str:
    await charge(50)
    return "ok"


def id_by_time() -> str:
    return f"order-{time.time_ns()}"


# R01: a history without end. A poll loop adds two entries a minute, for days.


@workflow
async def minutely() -> None:
    for _ in range(3 * 24 * 60):
        await sleep("1m")


@workflow
async def backing_off() -> None:
    wait = 60
    for _ in range(40):
        await sleep(wait)
        wait = min(wait * 2, 6 * HOUR)


# == The verdicts =========================================================================================================

SUPERSEDED = (ignores(ok, "superseded"),)

CASES = (
    Case("D01", lane_by_time),
    Case("D01", lane_by_unsafe_time, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D01", lane_by_bound_time, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D01", lane_by_now),
    Case("D03", order_by_uuid4),
    Case("D03", order_by_unsafe_uuid4, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D03", order_by_bound_urandom, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D03", order_by_run_uuid4),
    Case("D04", regions_of_a_set, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D04", regions_in_order),
    Case("D06", settings_cached_in_module, found=Found("replay", faults=None, tells=("note", "charge"))),
    Case("D06", settings_loaded_in_step),
    Case("D09", mail_not_awaited, found=Found("dangling", faults=0, tells=("email",))),
    Case("D09", mail_awaited),
    Case("D11", results_of_done),
    Case("D11", results_of_own_objects, found=Found("replay", faults=None, tells=("note",), severity=None)),
    Case("D11", results_in_order),
    Case("I01", key_with_attempt, found=Found("ledger", by=("crash", "lost_ack"), tells=("charge", "attempt"))),
    Case("I01", charge_by_step),
    Case("I02", key_drawn_in_step, found=Found("ledger", by=("crash", "lost_ack"), tells=("charge", "uuid"))),
    Case("I04", no_key, found=Found("ledger", by=("crash", "lost_ack"), tells=("charge", "key"))),
    Case("I05", one_key_for_all_turns, found=Found("ledger", faults=0, tells=("charge", "key"))),
    Case("I05", a_key_for_each_turn),
    Case("I07", mark_after_effect, found=Found("ledger", by=("crash", "lost_ack"), tells=("email", "key"))),
    Case("I07", mark_beside_key),
    Case("S01", undo_registered_after_step, found=Found("saga", by=("lost_ack", "cancel"), tells=("reserve",))),
    Case("S01", undo_registered_before_step),
    Case("S03", undone_forward, found=Found("saga", tells=("release", "refund"))),
    Case("S03", buy_in_saga),
    Case("S03", buy_by_hand),
    Case("S05", failure_swallowed, found=Found("saga", tells=("charge",))),
    Case("S05", failure_swallowed_in_saga, found=Found("saga", tells=("dispatch",))),
    Case("S05", failure_leaves_saga),
    Case("S07", cancel_not_caught, found=Found("saga", by=("cancel",), tells=("charge", "cancel"))),
    Case("S07", cancel_caught),
    Case("S08", undoing_beside_siblings, found=Found("saga", tells=("reserve",))),
    Case("S08", undoing_after_siblings),
    Case("S08", saga_around_siblings),
    Case("V01", steps_reordered, upgrade_from=monthly, found=Found("replay", by=("upgrade",), tells=("note",))),
    Case("V01", steps_reordered_by_patch, upgrade_from=monthly),
    Case("V02", step_added, upgrade_from=monthly, found=Found("replay", by=("upgrade",), tells=("audit",))),
    Case("V02", step_added_by_patch, upgrade_from=monthly),
    Case("T01", rest_by_time),
    Case("T01", rest_by_unsafe_time, found=Found("replay", faults=None, tells=("timer",), severity=None)),
    Case("T01", until_the_full_hour, found=Found("replay", faults=None, tells=("timer",), severity=None)),
    Case("T01", rest_by_now),
    Case(
        "T03",
        late_payment_dropped,
        script=sends((600, paid, {"amt": 50})),
        found=Found("signals", by=("late",), tells=("paid",), severity="warning"),
    ),
    Case("T03", late_payment_returned, script=sends((600, paid, {"amt": 50}))),
    Case(
        "T05",
        timer_looked_at_first,
        script=sends((600, ok, 1)),
        expect=SUPERSEDED,
        found=Found("difference", faults=2, by=("crash_long", "tie"), tells=("rejected",), severity="info"),
    ),
    Case("T05", wait_with_timeout, script=sends((600, ok, 1)), expect=SUPERSEDED),
    Case("E01", wait_after_asking, script=sends((600, reply, 1))),
    Case("E01", wait_after_asking, script=publishes((600, reply, 1)), found=Found("liveness", tells=("reply",))),
    Case("E01", subscribed_before_asking, script=publishes((600, reply, 1))),
    Case(
        "E02",
        deliveries_counted,
        script=PAYMENTS,
        found=Found("difference", by=("dup", "lost_event_ack"), tells=("payment",)),
    ),
    Case("E02", payments_counted, script=PAYMENTS),
    Case(
        "Q01",
        counted_in_two_steps,
        runs=(Instance(counted_in_two_steps, id="b", at=5),),
        run_id="a",
        found=Found("difference", tells=("write",)),
    ),
    Case("Q01", counted_in_one_step, runs=(Instance(counted_in_one_step, id="b", at=5),), run_id="a"),
    Case("Q03", charge_once, run_id=id_by_time, found=Found("ledger", by=("dup",), tells=("charge", "start"))),
    Case("Q03", charge_once, run_id="order-77"),
    Case("R01", minutely, found=Found("resource", faults=0, tells=("entries",), severity="warning")),
    Case("R01", backing_off),
)
