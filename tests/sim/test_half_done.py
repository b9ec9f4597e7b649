"""Why something did not happen: an attempt had done one half but did not complete, and the last one left out the other."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import httpx
import pytest

from tests.sim.judging import ask, note, shop, store
from wfkit import Run, Workflow, step, workflow
from wfkit.sim.services import NO_EFFECT, FakeService, KeyValue
from wfkit.sim.subject import Replace, replace
from wfkit.testing import http_transport, simulate

database: Any = None
web: Any = None


class World:
    """A shop that reserves once, a store, and a database."""

    replaces = {  # noqa: RUF012  # as worlds are written
        f"{__name__}:database": lambda world: world.database,
        f"{__name__}:web": lambda world: world.web,
    }

    def __init__(self) -> None:
        self.shop = FakeService("shop")
        self.store = KeyValue("store")
        self.web = httpx.AsyncClient(base_url="https://shop.example", transport=http_transport(self.shop))
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE done (what TEXT PRIMARY KEY)")
        self.database.execute("CREATE TABLE points (what TEXT)")
        self.database.commit()

        @self.shop.on("reserve")
        def reserve(state: dict[str, Any]) -> object:
            if state.get("reserved"):
                return NO_EFFECT("taken")
            state["reserved"] = True
            return "reserved"


RESOURCES: tuple[Replace[World], ...] = (replace(shop, lambda world: world.shop), replace(store, lambda world: world.store))


def is_new(what: str) -> bool:
    with database:
        return bool(database.execute("INSERT OR IGNORE INTO done VALUES (?)", (what,)).rowcount)


@step
async def marks_and_books() -> None:
    if is_new("booked"):
        await ask("book")


@step
async def marks_and_posts() -> None:
    if is_new("posted"):
        (await web.post("/charges")).raise_for_status()


@step
def marks_and_earns() -> None:
    if is_new("earned"):
        with database:
            database.execute("INSERT INTO points VALUES ('earned')")


@step
async def claims() -> bool:
    return is_new("claimed")


@step
async def puts_and_books() -> None:
    if await store.get().get("booked") is None:
        await store.get().put("booked", value=True)
        await ask("book")


@step
async def reserves_and_books() -> None:
    if await shop.get().call("reserve") == "reserved":
        await ask("book")


@step
async def books_unless_closed() -> None:
    if await store.get().get("closed") is None:
        await ask("book")


@workflow
async def commits_before_the_call() -> str:
    await marks_and_books()
    return "booked"


@workflow
async def commits_before_the_post() -> str:
    await marks_and_posts()
    return "paid"


@workflow
async def commits_twice() -> str:
    await marks_and_earns()
    return "earned"


@workflow
async def claims_without_an_owner() -> str:
    if await claims():
        await note("claimed")
    return "done"


@workflow
async def puts_before_the_call() -> str:
    await puts_and_books()
    return "booked"


@workflow
async def calls_twice() -> str:
    await reserves_and_books()
    return "booked"


@workflow
async def looks_before_the_call() -> str:
    await books_unless_closed()
    return "booked"


async def closes(run: Run[Any], world: World) -> None:
    """Somebody else closes the shop, a moment after it was open."""
    await asyncio.sleep(0.5)
    await world.store.put("closed", value=True)


def each_order_earns(world: World) -> bool:
    done, points = (world.database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("done", "points"))
    return bool(done == points)


@pytest.mark.parametrize(
    ("workflow", "fault", "why", "fix"),
    [
        (
            commits_before_the_call,
            "crash@1:call.before:book",
            "attempt 1 of marks_and_books had committed but did not complete, and attempt 2 left out book",
            "commit after the call, or in one transaction",
        ),
        (
            commits_before_the_call,
            "fail@1:call.before:book",
            "attempt 1 of marks_and_books had committed but did not complete, and attempt 2 left out book",
            "commit after the call, or in one transaction",
        ),
        (
            puts_before_the_call,
            "crash@1:call.before:book",
            "attempt 1 of puts_and_books had put booked but did not complete, and attempt 2 left out book",
            "let an attempt that finds the first half done do the other half",
        ),
        (
            calls_twice,
            "crash@1:call.before:book",
            "attempt 1 of reserves_and_books had called reserve but did not complete, and attempt 2 left out book",
            "let an attempt that finds the first half done do the other half",
        ),
        (
            claims_without_an_owner,
            "crash@1:step.effect_done_not_journaled:claims",
            "attempt 1 of claims had committed but did not complete, and attempt 2 returned false instead of true",
            "let an attempt know by step_info().idempotency_key what an earlier one did",
        ),
    ],
    ids=["crash", "failure", "store", "service", "result"],
)
def test_a_half_that_was_left_out_is_told_as_the_cause(workflow: Workflow[[], str], fault: str, why: str, fix: str) -> None:
    """With what the first attempt left behind, which is where it is mended."""
    [finding] = simulate(workflow, world=World, resources=RESOURCES, faults=fault).findings
    assert (finding.oracle, finding.why) == ("difference", why)
    assert f"fix: {fix}" in finding.story


def test_a_transaction_that_was_left_out_is_told_as_the_cause_of_a_broken_invariant() -> None:
    """The second attempt commits as well, but has changed nothing."""
    fault = "crash@1:commit:marks_and_earns"
    [finding] = simulate(commits_twice, world=World, resources=RESOURCES, faults=fault, invariants=[each_order_earns]).findings
    assert finding.oracle == "user"
    assert (
        finding.why == "attempt 1 of marks_and_earns had committed but did not complete, and attempt 2 did not commit the rest"
    )


def test_a_refused_attempt_that_had_committed_is_told_as_the_cause() -> None:
    """It did take notice of the refusal; the one after it had no reason to. That may be meant, and is declared then."""
    fault = "fatal@1:call.before:POST /charges"
    [finding] = simulate(commits_before_the_post, world=World, resources=RESOURCES, faults=fault).findings
    assert (
        finding.why == "attempt 1 of marks_and_posts had committed but did not complete, and attempt 2 left out POST /charges"
    )
    assert "fix: commit after the call" in finding.story
    assert "declare it: expect=[outcome(fault='fatal', value='paid')]" in finding.story


def test_what_others_wrote_is_no_half_of_a_step() -> None:
    """An attempt that has left nothing behind has not made the next one go another way."""
    fault = "fail@1:call.before:book"
    [finding] = simulate(looks_before_the_call, world=World, resources=RESOURCES, faults=fault, script=closes).findings
    assert (finding.title, finding.why) == ("book happened never instead of once", None)
