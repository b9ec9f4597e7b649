"""Lines that type checkers must accept, and the types that they must infer. Never run."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal, assert_type
from uuid import UUID

import wfkit
from wfkit import (
    Duration,
    Engine,
    NonRetryable,
    Received,
    Resource,
    Retry,
    RetryAfter,
    Run,
    Saga,
    Signal,
    State,
    StepError,
    Workflow,
    has_patch,
    info,
    logger,
    now,
    publish,
    resource,
    rng,
    run_step,
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
    unsafe,
    uuid4,
    wait_any,
    wait_signal,
    workflow,
)
from wfkit.testing import (
    Effect,
    FakeService,
    Finding,
    Instance,
    Recording,
    Replace,
    Report,
    TestEngine,
    always,
    averify,
    eventually,
    extra,
    fault_plans,
    ignores,
    on,
    outcome,
    replace,
    residue,
    simulate,
    verify,
)


@dataclass
class Order:
    id: str
    amount: Decimal


class CardDeclined(Exception): ...


class Bank:
    async def charge(self, amount: Decimal, idempotency_key: str) -> str:
        return f"{amount} {idempotency_key}"


# -- definitions -------------------------------------------------------------------------------------------------------

packed = Signal("order.packed", str)
cancelled = Signal("order.cancelled", int)
optional = Signal("order.note", str | None)
lines = Signal("order.lines", list[str])
progress = State("progress", int, default=lambda: 0)
notes = State("notes", dict[str, str])
week: Duration = "7 days"
assert_type(optional, Signal[str | None])
assert_type(lines, Signal[list[str]])


@resource
async def bank() -> AsyncIterator[Bank]:
    yield Bank()


assert_type(bank, Resource[Bank])


@step
async def reserve(order: Order, count: int = 1) -> bool:
    return count > 0


@step
def ship(order: Order, box: str) -> str:
    return box


@step(retry=Retry(max_attempts=None, initial="2s", max_interval=60.0, non_retryable=(CardDeclined,)), timeout="30s")
async def charge(order: Order) -> str:
    if order.amount > 100:
        raise RetryAfter(timedelta(seconds=30))
    if order.amount < 0:
        raise NonRetryable("nothing to pay")
    return await bank.get().charge(order.amount, idempotency_key=step_info().idempotency_key)


@step(name="render-label", total_timeout="1h")
def label(order: Order) -> bytes:
    return order.id.encode()


@step(undoes=charge, raises=(CardDeclined,))
async def refund(order: Order) -> None:
    call = undoes(charge)
    assert_type(call.result, str | None)
    assert_type(call.outcome, Literal["completed", "failed", "unknown"])
    assert_type(call.idempotency_key, str)


async def price(item: str, count: int) -> Decimal:
    return Decimal(len(item) * count)


def weigh(item: str) -> float:
    return float(len(item))


# -- workflow code -----------------------------------------------------------------------------------------------------


@workflow
async def fulfil(order: Order, note: str = "") -> str:
    async with saga() as s:
        assert_type(s, Saga)
        charged = await s.do(charge, order, undo=refund)
        assert_type(charged, str)
        s.undo(refund, order)
        async with timeout("3 days"):
            box = await wait_signal(packed)
        s.pivot()
        sent, reserved = await asyncio.gather(ship(order, box), reserve(order, count=2))
        assert_type(sent, str)
        assert_type(reserved, bool)
    await sleep(week)
    return sent


@workflow(name="follow-up", patches=("polite",), timeout=timedelta(days=30))
async def follow_up(order: Order) -> None:
    async with timeout(datetime(2030, 1, 1, tzinfo=UTC)):
        await sleep_until(datetime(2030, 1, 1, tzinfo=UTC))


@workflow(on=cancelled)
async def on_cancelled(code: int) -> int:
    return code


assert_type(on_cancelled, Workflow[[int], int])


@workflow
async def everything(order: Order) -> None:
    assert_type(await charge(order), str)
    assert_type(await label(order), bytes)
    assert_type(await charge.with_options(key="invoice/1", retry=Retry(2), timeout=5)(order), str)
    assert_type(await run_step("price", price, order.id, 2), Decimal)
    assert_type(await run_step("weigh", weigh, order.id), float)
    assert_type(await fulfil(order, note="child"), str)
    assert_type(start_child(fulfil, order, "detached", id="child-1", on_parent_end="cancel").id, str)

    task = asyncio.create_task(charge(order))
    assert_type(await task, str)

    assert_type(await wait_signal(packed, where={"order_id": "o1"}, timeout="1h"), str)
    assert_type(await wait_signal(lines, timeout=datetime(2030, 1, 1, tzinfo=UTC)), list[str])
    assert_type(await wait_signal("by.name"), Any)
    got = await wait_any(cancelled, packed, timeout="2 days")
    assert_type(got, Received[int] | Received[str])
    if cancelled.came(got):
        assert_type(got.value, int)
    else:
        assert_type(got.value, str)
    one = await wait_any(cancelled, packed, lines)
    if cancelled.came(one):
        assert_type(one.value, int)
    elif packed.came(one):
        assert_type(one.value, str)
    else:
        assert_type(one.value, list[str])
    with subscribe(packed, where={"order_id": order.id}):
        publish(cancelled, 4)
    send("order-2", packed, "box")
    send("order-2", "by.name", {"any": "thing"})
    publish("by.name", 3)

    progress.set(progress.get() + 1)
    assert_type(notes.get(), dict[str, str])
    assert_type(now(), datetime)
    assert_type(rng(), Random)
    assert_type(uuid4(), UUID)
    assert_type(has_patch("polite"), bool)
    assert_type(info().parent, str | None)
    assert_type(info().started_at, datetime)
    with unsafe("reads a constant file"):
        logger.info("order %s", order.id)
    try:
        await charge(order)
    except StepError as error:
        assert_type(error.type, str)


# -- outside -----------------------------------------------------------------------------------------------------------


async def main(order: Order) -> None:
    async with Engine.open(".wfkit/journal.duckdb", workflows=[fulfil, follow_up]) as engine:
        assert_type(engine, Engine)
        run = await engine.start(fulfil, order, "note", id="order-77", if_finished="restart", send=(packed, "box"))
        await engine.start(fulfil, order, "note", send=("packed", "box"))
        assert_type(run, Run[str])
        assert_type(run.id, str)
        assert_type(await run.result(), str)
        assert_type(await run.status(), str)
        assert_type(await run.state(progress), int)
        await run.send(packed, "box-3", dedupe="scan-9914")
        await run.send("by.name", {"any": "thing"})
        await run.cancel("changed my mind")
        await run.terminate()
        await engine.publish(cancelled, 5, dedupe="c-5")
        assert_type(engine.get(follow_up, "order-78"), Run[None])
        await engine.runs("status:failed", limit=5)
    assert_type(wfkit.run(fulfil, order, "note"), str)
    assert_type(fulfil.name, str)
    assert_type(wfkit.__version__, str)


async def undecorated(order: Order) -> None:
    assert_type(await charge.fn(order), str)
    assert_type(label.fn(order), bytes)
    assert_type(await fulfil.fn(order, ""), str)


# -- proving -----------------------------------------------------------------------------------------------------------


class FakeBank(Bank):
    def __init__(self) -> None:
        self.service = FakeService("bank", keys="honoured")

    async def charge(self, amount: Decimal, idempotency_key: str) -> str:
        return str(await self.service.call("charge", idempotency_key=idempotency_key, amount=str(amount)))


class Shop:
    def __init__(self) -> None:
        self.bank = FakeBank()


async def script(run: Run[str], shop: Shop) -> None:
    assert_type(await run.status(), str)
    await run.send(packed, shop.bank.service.name, dedupe="scan-1")


def bank_of(shop: Shop) -> Bank:
    return shop.bank


def never_twice(shop: Shop) -> bool:
    return len(shop.bank.service.effects) < 2


def has_charged(shop: Shop, recording: Recording[str]) -> None:
    assert recording.result is None or shop.bank.service.effects


def proves(order: Order) -> None:
    assert_type(replace(bank, bank_of), Replace[Shop])
    report = verify(
        fulfil,
        order,
        "note",
        world=Shop,
        resources=[replace(bank, lambda shop: shop.bank)],
        script=script,
        runs=[Instance(fulfil, order, "other", at="5s"), Instance(follow_up, order)],
        invariants=[
            never_twice,
            has_charged,
            always(never_twice),
            eventually(has_charged, within="2 days"),
            on(never_twice, classes="MS"),
        ],
        expect=[
            outcome(fault="slow", value="later"),
            ignores(cancelled, "superseded"),
            extra("mail", fault="slow", reason="tells of the delay"),
            residue("fee", "is kept"),
        ],
        faults=["crash", "dup@0:delivery:fulfil"],
        until="30 days",
        start=datetime(2026, 3, 2, tzinfo=UTC),
        budget=timedelta(seconds=2),
        seed=7,
    )
    assert_type(report, Report)
    assert_type(report.ok, bool)
    assert_type(report.findings, list[Finding])
    assert_type(report.findings[0].faults, tuple[str, ...])
    assert_type(report.findings[0].why, str | None)
    report.assert_ok()
    recording = simulate(fulfil, order, "note", world=Shop, faults="crash@2:step.effect_done_not_journaled:charge")
    assert_type(recording, Recording[str])
    assert_type(recording.result, str | None)
    assert_type(recording.error, BaseException | None)
    assert_type(recording.effects, list[Effect])
    verify(fulfil, order, "note", faults="crash").assert_ok()
    simulate(fulfil, order, "note", faults=fault_plans(max_faults=2).example()).assert_ok()


async def proves_beside_others(order: Order) -> None:
    assert_type(await averify(fulfil, order, "note", world=Shop), Report)
    async with TestEngine.open(workflows=[fulfil], resources={bank: FakeBank()}) as engine:
        assert_type(engine, TestEngine)
        run = await engine.start(fulfil, order, "note")
        await engine.advance("2 days")
        assert_type(engine.now(), datetime)
        assert_type(await run.result(), str)
