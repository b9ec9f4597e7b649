"""Workflows that run twice: in a simulation, and on a journal file in processes that are killed.

Their waits are milliseconds, since one of the two really waits. What comes of them does not depend on what is quicker.
The bank knows idempotency keys; the others do not, so that whatever is done twice shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from wfkit.api.attempt import step_info
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import State, sleep
from wfkit.api.resources import resource
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, wait_signal
from wfkit.engine.client import Run
from wfkit.sim.services import FakeService, Mailbox
from wfkit.sim.subject import Replace, Subject, replace

SOON = Retry(max_attempts=3, initial="5ms")


class Declined(Exception):
    """A business error, which is not retried."""


ERRORS: dict[str, type[Exception]] = {"ConnectionError": ConnectionError, "Declined": Declined}
"""What services raise, by the name that travels."""


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")
        self.agency = FakeService("agency", keys="ignored")
        self.mail = Mailbox()

        @self.bank.on("pay")
        def pay(state: dict[str, Any], number: int, idempotency_key: str) -> str:
            if number % 2 and is_first(self.bank, idempotency_key):
                raise ConnectionError("the bank is busy")
            return f"receipt-{number}"

        @self.agency.on("book")
        def book(state: dict[str, Any], what: str) -> str:
            if what == "car":
                raise Declined("no car is left")
            return f"{what}-1"

        @self.agency.on("cancel")
        def cancel(state: dict[str, Any], what: str, idempotency_key: str) -> None:
            if what == "hotel" and is_first(self.agency, idempotency_key):
                raise ConnectionError("the agency is busy")


def is_first(service: FakeService, key: str) -> bool:
    return [call.key for call in service.attempts].count(key) == 1


@resource
async def bank() -> AsyncIterator[FakeService]:
    yield FakeService("nobody")


@resource
async def agency() -> AsyncIterator[FakeService]:
    yield FakeService("nobody")


@resource
async def mail() -> AsyncIterator[Mailbox]:
    yield Mailbox("nobody")


@step(retry=SOON)
async def pay(number: int) -> str:
    return str(await bank.get().call("pay", idempotency_key=step_info().idempotency_key, number=number))


@step
def confirm(text: str) -> None:
    mail.get().send_sync(text=text)


@workflow
async def pay_by_instalments() -> list[str]:
    """Ten steps, in the loop and in threads; every other payment is refused at first."""
    receipts = []
    for number in range(5):
        receipts.append(await pay(number))
        await confirm(receipts[-1])
    return receipts


@step(retry=Retry(max_attempts=3, initial="5ms", non_retryable=(Declined,)))
async def book(what: str) -> str:
    return str(await agency.get().call("book", idempotency_key=step_info().idempotency_key, what=what))


@step(retry=SOON)
async def cancel(what: str) -> None:
    await agency.get().call("cancel", idempotency_key=step_info().idempotency_key, what=what)


@workflow
async def travel() -> None:
    """A saga that fails at its end and is undone, with one compensation that is refused at first."""
    async with saga() as trip:
        await trip.do(book, "flight", undo=cancel)
        await trip.do(book, "hotel", undo=cancel)
        await trip.do(book, "car", undo=cancel)


answer = Signal("answer", str)
stage = State("stage", str, lambda: "")


@workflow
async def pack(item: str, wait_ms: int) -> str:
    await sleep(f"{wait_ms}ms")
    await confirm(f"{item} is packed")
    return item


@workflow
async def ask_and_send() -> list[str]:
    """Two children at a time, a timer, and a signal that comes once it is awaited."""
    items = await asyncio.gather(pack("book", 5), pack("pen", 150))
    await sleep("10ms")
    stage.set("waiting")
    where = await wait_signal(answer)
    await confirm(f"sent to {where}")
    return [*items, where]


async def reply(run: Run[Any], world: World) -> None:
    """Answer as soon as the run waits for it."""
    while await run.state(stage) != "waiting":
        await asyncio.sleep(0.01)
    await run.send(answer, "the harbour", dedupe="answer-1")


_SERVICES: tuple[Replace[World], ...] = (
    replace(bank, lambda world: world.bank),
    replace(agency, lambda world: world.agency),
    replace(mail, lambda world: world.mail),
)
SUBJECTS = {
    "steps": Subject(pay_by_instalments, world=World, resources=_SERVICES),
    "saga": Subject(travel, world=World, resources=_SERVICES),
    "waits": Subject(ask_and_send, world=World, resources=_SERVICES, script=reply),
}
