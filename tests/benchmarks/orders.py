"""An app as people have one: orders are reserved, paid, packed and shipped; a declined card fails one."""

from __future__ import annotations

from dataclasses import dataclass

from wfkit import Retry, sleep, step, workflow


@dataclass(frozen=True)
class Order:
    id: int
    card: str = "visa"
    packing_seconds: float = 0.0


@step
async def reserve_stock(order: Order) -> str:
    return f"hold-{order.id}"


@step(retry=Retry(max_attempts=2, initial=0.1))
async def charge_card(order: Order, hold: str) -> str:
    if order.card == "declined":
        raise ValueError(f"503: the bank does not take the card for {hold}")
    return f"charge-{order.id}"


@step
async def ship_parcel(order: Order, charge: str) -> str:
    return f"parcel-{order.id} for {charge}"


@step
async def give_back(order: Order) -> str:
    return f"refund-{order.id}"


@workflow
async def order_saga(order: Order) -> str:
    hold = await reserve_stock(order)
    charge = await charge_card(order, hold)
    await sleep(order.packing_seconds)
    return await ship_parcel(order, charge)


@workflow
async def refund(order: Order) -> str:
    return await give_back(order)
