"""What modules keep in memory: a crash of a real process takes it, so it is no place for what a later step needs."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.sim.judging import RESOURCES, World, ask
from wfkit import Workflow, step, workflow
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
    report = verify(workflow, "ann", world=World, resources=RESOURCES, faults="crash_fresh", budget="1s")
    assert report.coverage["single_run"]
    return report.findings


@pytest.mark.parametrize(
    ("workflow", "kept"),
    [(keeps_in_a_dict, "ROOMS"), (keeps_in_a_global, "TOKEN"), (keeps_in_a_cache, "basket")],
    ids=["dict", "global", "cache"],
)
def test_what_a_later_step_needs_is_gone_after_a_crash(workflow: Workflow[..., Any], kept: str) -> None:
    """Wherever it is kept, the finding names it."""
    [finding] = said_against(workflow)

    assert (finding.oracle, finding.severity) == ("difference", "error")
    assert finding.faults[0].startswith("crash_fresh@1:step.journaled:")
    assert finding.why == f"{kept} is kept in the memory of the process, which a crash takes away"


def test_a_search_finds_it_unasked_and_a_schedule_shows_it_again() -> None:
    """Nobody who has made this mistake would think of asking for this fault."""
    report = verify(keeps_in_a_dict, "bob", world=World, resources=RESOURCES, budget="1s")

    assert [finding.why for finding in report.findings if finding.severity == "error"] == [
        "ROOMS is kept in the memory of the process, which a crash takes away"
    ]
    recording = simulate(keeps_in_a_dict, "bob", world=World, resources=RESOURCES, faults=report.findings[0].faults)
    assert [finding.title for finding in recording.findings] == [report.findings[0].title]


def test_a_cache_that_is_filled_again_is_clean() -> None:
    """No schedule finds what another one has put there: otherwise the second one would go another way."""
    RATES.clear()
    assert said_against(fills_its_cache_again) == []
    RATES["eur"] = 3
    report = verify(fills_its_cache_again, "ann", world=World, resources=RESOURCES, budget="1s")
    assert report.coverage["effects"] == 1, "what a test puts there is there"


def test_what_cannot_be_compared_does_no_harm() -> None:
    """Arrays in a module's list are what they are, and no error of whoever verifies."""
    assert said_against(keeps_vectors) == []


def test_what_the_world_uses_is_outside_and_outlives_a_crash() -> None:
    """It stands for other machines, which go on."""
    fault = "crash_fresh@1:step.journaled:store"
    report = verify(stores_outside, "ann", world=WorldWithShelf, resources=RESOURCES, faults=fault, budget="1s")

    assert report.findings == []
    assert report.coverage["single_run"] == 1
