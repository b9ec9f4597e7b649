"""Workflows that an engine serves in these tests."""

from __future__ import annotations

from dataclasses import dataclass

from wfkit import Signal, State, logger, sleep, step, wait_signal, workflow

fact = Signal("fact", int)
progress = State("progress", int)


@dataclass
class Order:
    id: str
    amount: int


@step
async def charge(order: Order) -> str:
    logger.info("charging %s", order.id)
    return f"charged {order.amount}"


@workflow
async def pay(order: Order) -> str:
    progress.set(1)
    return await charge(order)


@workflow
async def add_up(count: int) -> int:
    """Takes as many facts as it is told to, and returns their sum."""
    total = 0
    for _ in range(count):
        total += await wait_signal(fact)
    return total


@workflow
async def refuse(why: str) -> None:
    raise ValueError(why)


@workflow
async def nap(length: str) -> str:
    await sleep(length)
    return "rested"


@workflow(on=Signal("ordered", Order))
async def ordered(order: Order) -> str:
    return order.id


@workflow
async def family(order: Order) -> str:
    return await pay(order)
