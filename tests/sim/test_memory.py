"""What modules keep in memory: a crash of a real process takes it, so it is no place for what a later step needs."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tests.sim import memories
from tests.sim.judging import RESOURCES, World, ask, shop, subject_of
from wfkit import Retry, Workflow, step, step_info, workflow
from wfkit.sim import memory, reached
from wfkit.sim.faults import Fault, parse_fault
from wfkit.sim.simulation import Simulation
from wfkit.testing import Finding, simulate, verify

ROOMS: dict[str, str] = {}
TOKEN: str | None = None
RATES: dict[str, int] = {}
SHELF: list[str] = []


class Vector:
    """As arrays are: what `==` gives has no truth value of its own."""

    def __eq__(self, other: object) -> Any:
        return self

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        raise ValueError("the truth value of a vector is ambiguous")


VECTORS = {"ann": [Vector()]}


@step
async def look_up(guest: str) -> None:
    ROOMS[guest] = await ask("room", guest=guest)


@step
async def give_key(guest: str) -> None:
    await ask("key", room=ROOMS[guest])


@workflow
async def keeps_in_a_dict(guest: str) -> None:
    await look_up(guest)
    await give_key(guest)


@step
async def log_in() -> None:
    global TOKEN  # noqa: PLW0603  # as such code is written
    TOKEN = await ask("token")


@step
async def use_token() -> None:
    if TOKEN is None:
        raise RuntimeError("nobody has logged in")
    await ask("use", token=TOKEN)


@workflow
async def keeps_in_a_global(guest: str) -> None:
    await log_in()
    await use_token()


@functools.cache
def basket(guest: str) -> dict[str, int]:
    return {}


@step
async def put_in(guest: str) -> None:
    basket(guest)["lamp"] = 1


@step
async def send_basket(guest: str) -> None:
    await ask("send", items=list(basket(guest)))


@workflow
async def keeps_in_a_cache(guest: str) -> None:
    await put_in(guest)
    await send_basket(guest)


@step
async def rate(currency: str) -> int:
    if currency not in RATES:
        await ask("rate", currency=currency)
        RATES[currency] = 3
    return RATES[currency]


@step
async def pay_in(currency: str) -> None:
    await ask("pay_in", rate=RATES.get(currency, 3))


@workflow
async def fills_its_cache_again(guest: str) -> None:
    await rate("eur")
    await pay_in("eur")


@step
async def embed(what: str) -> None:
    VECTORS[what] = [Vector()]
    await ask("embed", what=what)


@workflow
async def keeps_vectors(guest: str) -> None:
    await embed(guest)


@step
async def store(what: str) -> None:
    if what not in SHELF:
        SHELF.append(what)


@step
async def fetch(what: str) -> None:
    SHELF.remove(what)


@workflow
async def stores_outside(guest: str) -> None:
    await store(guest)
    await fetch(guest)


class WorldWithShelf(World):
    def __init__(self) -> None:
        super().__init__()
        SHELF.clear()


def said_against(workflow: Workflow[..., Any]) -> list[Finding]:
    report = verify(workflow, "ann", world=World, resources=RESOURCES, faults="crash", budget="0.1s")
    assert report.coverage["single_run"]
    return report.findings


@pytest.mark.parametrize(
    ("workflow", "kept"),
    [(keeps_in_a_dict, "ROOMS"), (keeps_in_a_global, "TOKEN"), (keeps_in_a_cache, "basket")],
    ids=["dict", "global", "cache"],
)
def test_what_a_later_step_needs_is_gone_after_a_crash(workflow: Workflow[..., Any], kept: str) -> None:
    """Wherever it is kept, the finding names it."""
    finding = next(each for each in said_against(workflow) if each.oracle == "difference")

    assert finding.severity == "error"
    assert finding.faults[0].startswith("crash@1:step.journaled:")
    assert finding.why == f"{kept} is kept in the memory of the process, which a crash takes away"


def test_a_schedule_shows_it_again() -> None:
    """In the same words as the search."""
    finding = next(each for each in said_against(keeps_in_a_dict) if each.oracle == "difference")
    recording = simulate(keeps_in_a_dict, "ann", world=World, resources=RESOURCES, faults=finding.faults)
    assert [each.title for each in recording.findings] == [finding.title]


def test_a_cache_that_is_filled_again_is_clean() -> None:
    """No schedule finds what another one has put there: otherwise the second one would go another way."""
    RATES.clear()
    assert said_against(fills_its_cache_again) == []
    RATES["eur"] = 4  # another one than schedules leave there
    report = verify(fills_its_cache_again, "ann", world=World, resources=RESOURCES, budget="0.1s")
    assert report.coverage["effects"] == 1, "what a test puts there is there"


def test_what_cannot_be_compared_does_no_harm() -> None:
    """Arrays in a module's list are what they are, and no error of whoever verifies."""
    assert said_against(keeps_vectors) == []


def test_what_the_world_uses_is_outside_and_outlives_a_crash() -> None:
    """It stands for other machines, which go on."""
    fault = "crash@1:step.journaled:store"
    report = verify(stores_outside, "ann", world=WorldWithShelf, resources=RESOURCES, faults=fault, budget="0.1s")

    assert report.findings == []
    assert report.coverage["single_run"] == 1


# -- wherever it is kept ------------------------------------------------------------------------------------------------


class Client:
    """What it knows by itself, and what it shares with all others."""

    served = 0
    known: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.token = ""
        self.seen: list[str] = []

    def login(self) -> None:
        self.token = "t"

    def see(self, what: str) -> int:
        self.seen.append(what)
        return len(self.seen)


@dataclass(slots=True)
class Slotted:
    token: str = ""


class Hoard(dict[str, str]):
    """A container of a class of its own."""


CLIENT = Client()
SLOTTED = Slotted()
HOARD = Hoard()
NUMBERS = itertools.count(1)
LOTS = random.Random(1)
TABLE = {"clients": [Client()]}


def remembering() -> Callable[[], int]:
    count = 0

    def remember() -> int:
        nonlocal count
        count += 1
        return count

    return remember


REMEMBER = remembering()


def with_default(known: list[str] = []) -> int:  # noqa: B006  # as it is written by mistake
    known.append("x")
    return len(known)


def count_calls() -> int:
    count_calls.calls += 1  # type: ignore[attr-defined]  # as above
    return int(count_calls.calls)  # type: ignore[attr-defined]  # as above


count_calls.calls = 0  # type: ignore[attr-defined]  # as above


def count_served() -> int:
    Client.served += 1
    return Client.served


def count_elsewhere() -> int:
    memories.COUNT += 1
    return memories.count_seen()


def log_in_once() -> str:
    before = CLIENT.token
    CLIENT.login()
    return before


def fill_slot() -> str:
    before, SLOTTED.token = SLOTTED.token, "t"
    return before


def look_in_table() -> int:
    TABLE["clients"][0].seen.append("x")
    return len(TABLE["clients"][0].seen)


REMEMBERING: dict[str, Callable[[], object]] = {
    "an object": log_in_once,
    "slots": fill_slot,
    "a list of an object": lambda: CLIENT.see("x"),
    "a dict of a class": lambda: (Client.known.setdefault(str(len(Client.known)), ""), len(Client.known)),
    "an attribute of a class": count_served,
    "an object in a table": look_in_table,
    "a container of a class of its own": lambda: (HOARD.setdefault(str(len(HOARD)), ""), len(HOARD)),
    "a variable around a function": REMEMBER,
    "a default value": with_default,
    "an attribute of a function": count_calls,
    "another module": count_elsewhere,
    "a counter": lambda: next(NUMBERS),
    "a generator of random numbers": lambda: LOTS.random(),
}
"""What comes to something else the second time, in one process."""


def workflow_of(remember: Callable[[], object]) -> Workflow[[], list[str]]:
    @step
    async def notice() -> str:
        await ask("notice")
        return str(remember())

    @workflow
    async def notices_twice() -> list[str]:
        return [await notice(), await notice()]

    return notices_twice


@pytest.mark.parametrize("where", REMEMBERING)
def test_every_life_of_every_schedule_begins_alike(where: str) -> None:
    """What a schedule leaves behind no other one finds, and what a life leaves behind not the next one."""
    subject = subject_of(workflow_of(REMEMBERING[where]))
    base = Simulation(subject).run()
    crashed = Simulation(subject, [parse_fault("crash@1:step.journaled:notice")], base=base).run()

    assert Simulation(subject).run().result == base.result
    assert base.result is not None
    assert base.result[0] != base.result[1]
    assert crashed.result == [base.result[0]] * 2


LIMIT = asyncio.Semaphore(1)
LOCKS: dict[str, asyncio.Lock] = {}
WHEN_FREE = asyncio.Condition()
TOKENS: asyncio.Queue[int] = asyncio.Queue()
TOKENS.put_nowait(1)
LOCK = threading.Lock()
RLOCK = threading.RLock()


@step
async def within_locks() -> str:
    token = await TOKENS.get()
    async with LIMIT, LOCKS.setdefault("a", asyncio.Lock()), WHEN_FREE:
        answer = await ask("pass")
    TOKENS.put_nowait(token)
    return answer


@step
def within_locks_of_threads() -> str:
    with LOCK, RLOCK:
        return str(shop.get().call_sync("pass", idempotency_key=step_info().idempotency_key))


@workflow
async def passes_through() -> str:
    return await within_locks() + await within_locks_of_threads()


def test_a_dead_process_holds_no_locks() -> None:
    """Whatever its steps held when it died: in the next life, and in the next schedule."""
    subject = subject_of(passes_through)
    base = Simulation(subject).run()
    for point in base.trace:
        for kind in ("crash", "zombie"):
            if point.phase == "call.before" or (kind == "crash" and point.phase == "call.after"):
                recording = Simulation(subject, [Fault(kind, point)], base=base).run()
                assert recording.result == base.result, f"{kind}@{point}"
    assert Simulation(subject).run().digest == base.digest


def test_who_waits_for_a_lock_lets_its_holder_go_on() -> None:
    """One attempt is held up while it holds the lock, and the next one waits for it: on virtual time, as all do."""
    subject = subject_of(passes_through)
    base = Simulation(subject).run()
    delay = parse_fault("delay@2:call.before:pass")
    recording = Simulation(subject, [delay], base=base).run()

    assert recording.faults == (delay,)
    assert [effect.name for effect in recording.effects] == ["pass", "pass"]


TICKETS = (number for number in range(1_000_000))


@step
async def take_ticket() -> int:
    number = next(TICKETS)
    await ask("begin" if number == 0 else "go on")
    return number


@workflow
async def takes_tickets() -> int:
    return await take_ticket()


def test_what_cannot_be_put_back_is_a_warning() -> None:
    """It is known by what it does: the first schedule is another one than all that follow."""
    [finding] = said_against_without_input(takes_tickets)

    assert (finding.oracle, finding.severity, finding.faults) == ("resource", "warning", ())
    assert finding.title == "take_ticket does something else when the same schedule is executed again"
    assert "@resource" in finding.story


def said_against_without_input(workflow: Workflow[[], Any]) -> list[Finding]:
    return verify(workflow, world=World, resources=RESOURCES, faults="crash", budget="0.1s").findings


def test_a_circuit_breaker_of_a_library_is_no_finding_of_the_schedule_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it remembers of failures makes other schedules fail: that is told as what it is."""
    monkeypatch.setattr(reached, "THINGS_MAX", 0)  # as if nothing of the user's could be put back
    monkeypatch.setattr(memory, "_known", {})
    report = verify(fails_over, world=World, resources=RESOURCES, faults=["crash", "fail_n"], budget="0.1s")

    assert [(each.oracle, each.severity) for each in report.findings] == [("resource", "warning")]


class Breaker:
    failures = 0

    async def call(self) -> str:
        if Breaker.failures >= 3:
            raise ValueError("the circuit is open")
        try:
            return await ask("pay")
        except ConnectionError:
            Breaker.failures += 1
            raise


BREAKER = Breaker()


@step(retry=Retry(max_attempts=6))
async def pay_through() -> str:
    return await BREAKER.call()


@workflow
async def fails_over() -> str:
    return await pay_through()
