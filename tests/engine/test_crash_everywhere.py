"""A crash at every write of a workflow that uses everything: the result is the same, and no completed step runs twice."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.engine.world import START, World, check_journal
from wfkit.api.attempt import step_info
from wfkit.api.definitions import Retry, run_step, step, workflow
from wfkit.api.primitives import State, info, now, rng, sleep, start_child, timeout, uuid4
from wfkit.api.saga import saga, undoes
from wfkit.api.signals import Signal, publish, send, wait_signal
from wfkit.core.commands import RunStep
from wfkit.core.entries import StepCompleted, StepFailed
from wfkit.engine.engine import Engine

packed = Signal("packed", str)
paid = Signal("paid", int)
progress = State("progress", str)


@dataclass
class Order:
    id: str
    amount: Decimal


began: Counter[str] = Counter()
ended: Counter[str] = Counter()
keys: defaultdict[str, set[str]] = defaultdict(set)
calls: list[str] = []
"""The keys of all attempts, in the order in which they began."""


@pytest.fixture(autouse=True)
def _forget() -> None:
    forget()


def forget() -> None:
    for told in (began, ended, keys, calls):
        told.clear()


async def act(name: str) -> None:
    """Take effect: what a step does to the outside."""
    began[name] += 1
    keys[name].add(step_info().idempotency_key)
    calls.append(step_info().idempotency_key)
    await asyncio.sleep(0.01)
    ended[name] += 1


@step
async def charge(order: Order) -> Decimal:
    await act("charge")
    return order.amount


@step
async def refund(order: Order) -> None:
    await act("refund")
    assert undoes(charge).result == order.amount


@step(retry=Retry(max_attempts=3, initial="1s"))
async def ship(order: Order) -> str:
    await act(f"ship-{step_info().attempt}")
    if step_info().attempt == 1:
        raise ConnectionError
    return "shipped"


@step(retry=Retry(max_attempts=1))
async def refuse(x: int) -> None:
    await act("refuse")
    raise LookupError(x)


@step
async def notify(x: int) -> int:
    await act(f"notify-{x}")
    return x


async def plain(x: int) -> int:
    await act("plain")
    return x + 1


@workflow
async def pay(order: Order) -> int:
    await sleep("2s")
    await notify(100)
    return 7


@workflow
async def clerk(to: str) -> None:
    await notify(200)
    send(to, paid, 5)
    publish(packed, "box")


@workflow
async def audit(x: int) -> int:
    return await notify(x)


@workflow(timeout="10m")
async def fulfil(order: Order) -> list[Any]:
    told: list[Any] = []
    progress.set("begun")
    waiting = asyncio.create_task(wait_signal(packed, timeout="1m"))
    start_child(clerk, info().id)
    told += await asyncio.gather(*(notify(x) for x in range(3)))
    told.append(await wait_signal(paid))
    told.append(await waiting)
    told.append(await ship(order))
    told.append(await pay(order))
    try:
        async with saga() as s:
            told.append(str(await s.do(charge, order, undo=refund)))
            async with timeout("3s"):
                await sleep("1h")
    except TimeoutError:
        told.append("undone")
    try:
        await refuse(1)
    except LookupError as exc:
        told.append(str(exc))
    told.append(await run_step("plain", plain, 1))
    told.append(await wait_signal(paid, timeout="1s") if rng().random() < 0 else uuid4().version)
    start_child(audit, 300, id=f"{info().id}-audit")
    progress.set("done")
    told.append(now().tzname())
    return told


ALL = (fulfil, pay, clerk, audit)
ORDER = Order("o-1", Decimal("9.90"))
EXPECTED = [0, 1, 2, 5, "box", "shipped", 7, "9.90", "undone", "1", 2, 4, "UTC"]


async def place(engine: Engine) -> tuple[list[Any], int]:
    """Start the order, or attach to it, and see it and all that it started to their ends."""
    run = await engine.start(fulfil, ORDER, id="order")
    result = await run.result()
    assert await run.state(progress) == "done"
    return result, await engine.get(audit, "order-audit").result()


def writes() -> int:
    """Return how many units a life without a crash writes."""
    world = World()
    assert world.live(place, *ALL) == (EXPECTED, 300)
    check_journal(world.disk.rows, *ALL)
    forget()
    return len(world.disk.units)


WRITES = 16
"""So many units a life writes; `test_every_write_has_its_crash` holds it to that."""


def outcomes(world: World) -> set[str]:
    """Return the keys of the steps whose outcome is durable."""
    found = set()
    for history in world.histories().values():
        steps = {
            command.n: command.key for record in history for command in record.commands or () if isinstance(command, RunStep)
        }
        found |= {steps[record.entry.n] for record in history if isinstance(record.entry, StepCompleted | StepFailed)}
    return found


def asked_for(world: World) -> set[str]:
    """Return the keys of the steps whose command is durable."""
    records = [record for history in world.histories().values() for record in history]
    return {command.key for record in records for command in record.commands or () if isinstance(command, RunStep)}


def check(world: World) -> None:
    """Let the last life happen: it ends as one without a crash, and runs nothing whose outcome was durable before.

    Nothing has begun so far whose command is not durable.
    """
    assert set(calls) <= asked_for(world)
    durable, before = outcomes(world), len(calls)
    assert world.live(place, *ALL) == (EXPECTED, 300)
    check_journal(world.disk.rows, *ALL)
    assert durable.isdisjoint(calls[before:])
    assert len(outcomes(world)) == len(set(calls)) == 11
    assert [name for name, found in keys.items() if len(found) > 1] == []


def test_every_write_has_its_crash() -> None:
    """The range of the tests below covers the whole life."""
    assert writes() == WRITES


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_write_changes_nothing(when: str) -> None:
    """Before a unit is durable, and after it but before anybody heard."""
    again: Counter[str] = Counter()
    for at in range(WRITES):
        forget()
        world = World()
        setattr(world.disk, f"crash_{when}", at)
        world.crash_at_write(place, *ALL)
        check(world)
        again.update(name for name, times in ended.items() if times > 1)
    if when == "before":
        assert again["charge"] == 1, "a step runs again if the crash comes between its effect and its entry, and only then"


@pytest.mark.parametrize("options", [{"hot_max": 1}, {"hot_max": 1, "warm_max": 0}], ids=["evicted", "cold"])
def test_a_crash_at_any_write_changes_nothing_for_runs_that_are_evicted(options: dict[str, int]) -> None:
    """Whose entries go through the inbox."""
    for at in range(WRITES):
        forget()
        world = World()
        world.disk.crash_before = at
        world.crash_at_write(place, *ALL, **options)
        check(world)


def test_two_crashes_at_any_two_writes_change_nothing() -> None:
    """Also while the first crash is being recovered from."""
    for first in range(WRITES):
        for second in range(0, WRITES, 2):
            forget()
            world = World()
            world.disk.crash_before = first
            world.crash_at_write(place, *ALL)
            world.disk.crash_after = len(world.disk.units) + second
            world.crash_at_write(place, *ALL)
            check(world)


def test_time_does_not_go_back_in_a_life_after_a_crash(world: World) -> None:
    """The second life begins where the first one ended."""
    world.disk.crash_before = 10
    world.crash_at_write(place, *ALL)
    assert world.clock.now() >= START
    check(world)
