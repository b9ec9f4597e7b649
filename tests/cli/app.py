"""An app whose runs end, or wait, in every way that the command line has to show."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal

from wfkit import (
    NonRetryable,
    Retry,
    Signal,
    State,
    logger,
    saga,
    sleep,
    start_child,
    step,
    step_info,
    timeout,
    wait_signal,
    workflow,
)


@dataclass
class Order:
    id: str
    amount: Decimal
    card: str = "visa"


packed = Signal("order.packed", dict)
progress = State("progress", str)
patient = Retry(max_attempts=5, initial="1h", max_interval="1h")


@step
async def reserve(order: Order) -> str:
    print("this is printed by the user's code")  # noqa: T201 (to see where it goes)
    os.write(1, b"and this by what it calls\n")
    return "hold-1"


@step
async def release(order: Order) -> None:
    pass


@step(retry=Retry(max_attempts=3, initial="1ms"))
async def charge(order: Order) -> str:
    if order.card == "declined":
        raise NonRetryable("card 4242 is declined")
    if order.card == "flaky" and step_info().attempt < 3:
        raise ConnectionError("503 Service Unavailable")
    return f"ch-{order.id}"


@step(retry=patient)
async def refund(order: Order) -> None:
    raise ConnectionError("the bank is closed")


@step(retry=patient)
async def ship(order: Order) -> str:
    raise ConnectionError("503 Service Unavailable")


@step
async def sync(number: int) -> int:
    return number


@workflow
async def pay(order: Order) -> str:
    logger.info("paying for %s", order.id)
    async with saga() as s:
        await s.do(reserve, order, undo=release)
        progress.set("reserved")
        return await s.do(charge, order, undo=release)


@workflow
async def pack(order: Order) -> str:
    async with timeout("3 days"):
        box = await wait_signal(packed, where={"order_id": order.id})
    return str(box)


@workflow
async def undo(order: Order) -> None:
    async with saga() as s:
        await s.do(reserve, order, undo=refund)
        raise ValueError("it cannot be packed")


@workflow
async def parcel(order: Order) -> str:
    return await ship(order)


@workflow
async def batch(count: int) -> int:
    return sum(await asyncio.gather(*(sync(number) for number in range(count))))


@workflow
async def family(order: Order) -> int:
    start_child(nap, "2 days")
    inner = asyncio.create_task(parcel(order))
    await batch(2)
    await inner
    return 1


@workflow
async def nap(length: str) -> str:
    await sleep(length)
    return "rested"


@workflow
async def edited(order: Order) -> str:
    await reserve(order)
    await sleep("50ms")
    return "done"


@workflow
async def mistaken(order: Order) -> str:
    await reserve(order)
    return order.name  # type: ignore[attr-defined, no-any-return]  # the mistake


@workflow
async def two(order: Order, count: int = 3, *, note: str = "none") -> str:
    return f"{order.id} {count} {note}"
