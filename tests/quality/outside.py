"""What the workflows of this folder touch: an outside world, and the steps that reach it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from wfkit import Retry, Step, resource, step, step_info
from wfkit.testing import NO_EFFECT, FakeService, KeyValue, Replace, replace

R = TypeVar("R")

ONCE = Retry(max_attempts=1)
STUBBORN = Retry(max_attempts=20)
HOUR = 3600


class World:
    """A service that takes and gives back, and a store that all runs share."""

    def __init__(self) -> None:
        self.out = FakeService("outside")
        self.store = KeyValue("store")
        self._keeps("reserve", until="release")
        self._keeps("charge", until="refund")
        self._keeps("dispatch", until="recall")
        self._keeps("grant", until="revoke")
        self.out.on("credit")(_credit)
        self.out.on_read("report")(_report)
        self.out.on_read("think")(_think)
        self.out.on_read("price")(_price)

    def _keeps(self, do: str, until: str) -> None:
        """What `do` takes is kept until it is given back. Where nothing is kept, giving back does nothing."""

        @self.out.on(do)
        def take(state: dict[str, Any], **what: Any) -> str:
            kept = state.setdefault(do, [])
            kept.append(what)
            kept.sort(key=repr)
            return f"{do} accepted"

        @self.out.on(until)
        def give_back(state: dict[str, Any], **what: Any) -> object:
            kept = state.get(do, [])
            if what not in kept:
                return NO_EFFECT
            kept.remove(what)
            return f"{until} accepted"


def _credit(state: dict[str, Any], **what: Any) -> object:
    """Give money back that was once charged, as often as asked."""
    return "credited" if what in state.get("charge", []) else NO_EFFECT


def _report(state: dict[str, Any], look: int) -> str:
    return "ready" if look >= 3 else "not yet"


def _think(state: dict[str, Any], messages: list[str]) -> str:
    """Ask for a look-up twice, then answer."""
    return f"look up {len(messages)}" if len(messages) < 3 else "done"


def _price(state: dict[str, Any], shop: int) -> int:
    return 100 + (shop * 7) % 5


@resource
async def outside() -> AsyncIterator[FakeService]:
    yield FakeService("outside")


@resource
async def store() -> AsyncIterator[KeyValue]:
    yield KeyValue("store")


RESOURCES: tuple[Replace[World], ...] = (
    replace(outside, lambda world: world.out),
    replace(store, lambda world: world.store),
)


# -- steps that stand alone ---------------------------------------------------------------------------------------------


@step
async def charge(amount: int) -> str:
    return str(await outside.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step
async def ship(order: str) -> str:
    return str(await outside.get().call("ship", idempotency_key=step_info().idempotency_key, order=order))


@step
async def email(to: str) -> None:
    await outside.get().call("email", idempotency_key=step_info().idempotency_key, to=to)


@step
async def note(what: str) -> None:
    await outside.get().call("note", idempotency_key=step_info().idempotency_key, what=what)


@step
async def jitter(i: int) -> int:
    """Take a while, and do nothing."""
    await asyncio.sleep((i * 7) % 5)
    return i


@step
async def audit() -> str:
    return "audited"


# -- steps and what undoes them -----------------------------------------------------------------------------------------


@step
async def reserve(item: str) -> str:
    return str(await outside.get().call("reserve", idempotency_key=step_info().idempotency_key, item=item))


@step(undoes=reserve)
async def release(item: str) -> None:
    await outside.get().call("release", idempotency_key=step_info().idempotency_key, item=item)


@step
async def pay(amount: int) -> str:
    return str(await outside.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step(undoes=pay)
async def refund(amount: int) -> None:
    await outside.get().call("refund", idempotency_key=step_info().idempotency_key, amount=amount)


@step
async def dispatch(order: str) -> str:
    return str(await outside.get().call("dispatch", idempotency_key=step_info().idempotency_key, order=order))


@step(undoes=dispatch)
async def recall(order: str) -> None:
    await outside.get().call("recall", idempotency_key=step_info().idempotency_key, order=order)


# -- undoing by hand ----------------------------------------------------------------------------------------------------

Undo = tuple[Step[[Any], None], Any]


async def undo_all(undos: Sequence[Undo]) -> None:
    """Undo in reverse. One that fails does not stop the others, and a cancel that comes meanwhile is put off."""
    await to_its_end(_undo_each(undos))


async def _undo_each(undos: Sequence[Undo]) -> None:
    failed: list[Exception] = []
    for undo, what in reversed(undos):
        try:
            await undo.with_options(retry=STUBBORN)(what)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the others come first
            failed.append(exc)
    if failed:
        raise ExceptionGroup("not all could be undone", failed)


async def to_its_end(call: Coroutine[Any, Any, R]) -> R:
    """Await a call to its end, whatever is cancelled meanwhile; then the cancel goes on.

    What was cancelled on its way may have taken effect: only when its end is known can it be undone.
    """
    task = asyncio.create_task(call)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None or task.exception() is not None:
        return task.result()
    raise cancelled
