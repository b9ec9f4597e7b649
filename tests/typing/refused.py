"""Lines that type checkers must refuse. Never run.

Each line names the error that mypy and pyright have to find in it. Both report a comment that has nothing to excuse, so
a line that begins to be accepted fails the check just as one that is refused by surprise.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import wfkit
from wfkit import (
    Engine,
    Retry,
    Run,
    Signal,
    State,
    publish,
    resource,
    run_step,
    saga,
    send,
    sleep,
    start_child,
    step,
    undoes,
    wait_any,
    wait_signal,
    workflow,
)
from wfkit.testing import Instance, TestEngine, averify, extra, replace, simulate, verify


@dataclass
class Order:
    id: str


packed = Signal("order.packed", str)
cancelled = Signal("order.cancelled", int)
progress = State("progress", int)


@step
async def charge(order: Order) -> str:
    return order.id


@step
def ship(order: Order, box: str) -> str:
    return box + order.id


@step
async def refund(order: Order) -> None: ...


async def price(item: str, count: int) -> int:
    return len(item) * count


@workflow
async def fulfil(order: Order) -> str:
    return await charge(order)


def number(value: int) -> None: ...


def text(value: str) -> None: ...


@resource
async def bank() -> AsyncIterator[list[str]]:
    yield []


# -- definitions -------------------------------------------------------------------------------------------------------

Retry(max_attempts="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Retry(non_retryable=ValueError)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
charge.with_options(attempts=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ship.fn(Order("1"), 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@step(retries=3)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def misspelt(order: Order) -> None: ...


@step(undoes=price)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
async def undoes_no_step(order: Order) -> None: ...


@workflow  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def not_async(order: Order) -> str:
    return order.id


@workflow(on=packed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def wrong_payload(code: int) -> None: ...


@workflow(patches="polite")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
async def patches_as_text(order: Order) -> None: ...


@resource  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def not_a_generator() -> list[str]:
    return []


# -- workflow code -----------------------------------------------------------------------------------------------------


async def in_workflow(order: Order) -> None:
    await charge("order-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await charge()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await charge(order, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await ship(order, box=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number(await charge(order))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text(ship(order, "box"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await run_step("price", price, "tea")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await run_step("price", price, "tea", "two")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await fulfil("order-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_child(fulfil, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    start_child(fulfil, order, on_parent_end="wait")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with saga() as s:
        await s.do(charge, order)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        await s.do(charge, "order-1", undo=refund)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await s.do(charge, order, undo=price)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        s.undo(refund, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with saga():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    number(await wait_signal(packed))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await wait_signal(packed, until="1h")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    got = await wait_any(cancelled, packed)
    if cancelled.came(got):
        text(got.value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    else:
        number(got.value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send("order-2", packed, 5)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    publish(cancelled, "five")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    progress.set("half")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text(progress.get())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await sleep(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number(undoes(charge).idempotency_key)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bank.get().charge(order)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- outside -----------------------------------------------------------------------------------------------------------


async def outside(order: Order) -> None:
    async with Engine.open(app=fulfil) as engine:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        run = await engine.start(fulfil, order, if_finished="again")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await engine.start(fulfil, "order-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await engine.start(charge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        number(await run.result())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await run.send(packed, 3)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
        await run.state(packed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await run.resend(packed, "box")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        await engine.publish(cancelled, "five")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with Engine.open(workflows=[fulfil]):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    wfkit.run(fulfil)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    number(wfkit.run(fulfil, order))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    wfkit.nonsense()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# -- proving -----------------------------------------------------------------------------------------------------------


class Ledger:
    def __init__(self) -> None:
        self.rows: list[str] = []


async def script(run: Run[int], world: Ledger) -> None: ...


async def other_world(run: Run[str], world: Order) -> None: ...


async def prove(order: Order) -> None:
    verify(fulfil)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, "order-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(charge.fn, order, world=Ledger())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, world=Ledger, resources=[replace(bank, lambda world: world.columns)])  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownLambdaType, reportUnknownMemberType]
    verify(fulfil, order, world=Ledger, resources=[replace(bank, lambda world: len(world.rows))])  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    verify(fulfil, order, world=Ledger, script=script)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, world=Ledger, script=other_world)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, faults=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, io="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, budget=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, runs=[fulfil])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, runs=[Instance(charge, order)])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify(fulfil, order, expect=[extra("mail", reason="no fault is named")])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]
    text(verify(fulfil, order).passed)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    number(simulate(fulfil, order).result)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    simulate(fulfil, order, faults=[3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    simulate(fulfil, order, budget="5s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await averify(fulfil, "order-1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with TestEngine.open(workflows=[fulfil]) as engine:
        await engine.advance(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await engine.rewind("1h")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    with TestEngine.open(workflows=[fulfil]):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
