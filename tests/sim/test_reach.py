"""What faults lead a workflow to: a branch that is never executed is never found wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import RESOURCES, World, charge, grave, note, pay, refund, reserve, shop, store, subject_of
from wfkit import Expect, Retry, Step, StepTimeout, Workflow, resource, saga, step, timeout, workflow
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import Explored, search
from wfkit.sim.faults import parse_fault
from wfkit.sim.simulation import Simulation
from wfkit.sim.words import words
from wfkit.testing import Replace, effect, replace, verify


def searched(workflow: Workflow[..., Any], *faults: str) -> Explored:
    return search(subject_of(workflow), Terms(faults=faults, budget=0.1))


def said(explored: Explored) -> list[str]:
    return [violation.title for violation in grave([each.violation for each in explored.found])]


# -- an undo that has something to take back -----------------------------------------------------------------------------


@step(undoes=pay)
async def refunds_if_it_can(amount: int) -> None:
    with suppress(ConnectionError):
        await shop.get().call("refund", amount=amount)


@workflow
async def pays_first() -> str:
    async with saga() as s:
        await s.do(pay, 3, undo=refunds_if_it_can)
        await note("paid")
    return "paid"


def test_faults_strike_undos_that_take_something_back() -> None:
    """Not only the first one that a fault leads to: where the payment itself is refused, there is nothing to refund."""
    explored = search(subject_of(pays_first), Terms(faults=("fatal", "fail"), budget=0))
    [found] = [each for each in explored.found if each.violation.about == "pay"]
    assert [fault.kind for fault in found.faults] == ["fatal", "fail"]


# -- a service that hangs for as long as anybody waits ------------------------------------------------------------------


@workflow
async def takes_a_hang_for_a_no() -> str:
    try:
        return await pay(3)
    except StepTimeout:
        return "unpaid"


@workflow
async def undoes_what_hung() -> str:
    try:
        async with saga() as s:
            return await s.do(pay, 3, undo=refund)
    except StepTimeout:
        return "unpaid"


patient = pay.with_options(retry=Retry(max_attempts=None))


@workflow
async def waits_half_an_hour() -> str:
    try:
        async with timeout("30m"):
            return await patient(3)
    except TimeoutError:
        return "unpaid"


@workflow
async def undoes_after_half_an_hour() -> str:
    try:
        async with timeout("30m"), saga() as s:
            return await s.do(patient, 3, undo=refund)
    except TimeoutError:
        return "unpaid"


@pytest.mark.parametrize(
    ("workflow", "is_found"),
    [
        (takes_a_hang_for_a_no, True),
        (undoes_what_hung, False),
        (waits_half_an_hour, True),
        (undoes_after_half_an_hour, False),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_service_hangs_for_as_long_as_it_is_asked_again(workflow: Workflow[[], str], is_found: bool) -> None:
    """So what comes after the last attempt, or after a timeout around them all, is tried where there are several."""
    explored = searched(workflow, "slow_n")
    assert explored.coverage.lines_missing == []
    assert said(explored) == [f'pay took effect, and {workflow.name} completed "unpaid" as if it had not'] * is_found


@step(expect=Expect(read_only=True), timeout="10s")
async def price() -> str:
    return str(await shop.get().read("price"))


once = price.with_options(retry=Retry(max_attempts=1))


@workflow
async def asks_a_service_that_hangs() -> list[str]:
    found = []
    for look in (price, once):
        try:
            found.append(await look())
        except StepTimeout:
            found.append("none")
    return found


def test_a_service_hangs_that_is_only_read() -> None:
    """Once where there is one attempt, and for as many as there are."""
    explored = searched(asks_a_service_that_hangs, "slow", "slow_n")
    assert explored.coverage.lines_missing == []
    assert explored.coverage.single_total == 2


def test_a_hang_ends_after_so_many_attempts() -> None:
    """As its parameter says."""
    fault = parse_fault("slow_n(2)@1:call.after:pay")
    assert (str(fault), words(fault)) == (
        "slow_n(2)@1:call.after:pay",
        "pay took effect, and its answers come after the timeout, 2 times",
    )
    recording = Simulation(subject_of(takes_a_hang_for_a_no), (fault,)).run()
    assert (recording.result, sum(point.phase == "call.after" for point in recording.trace)) == ("pay accepted", 3)


# -- a crash after what a step has declared -----------------------------------------------------------------------------


@resource
async def database() -> AsyncIterator[sqlite3.Connection]:
    yield sqlite3.connect(":memory:")


class Points(World):
    """A shop with a table of the orders that it has seen, and one of what they have earned."""

    def __init__(self) -> None:
        super().__init__()
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.db.executescript("CREATE TABLE seen (name PRIMARY KEY); CREATE TABLE points (name)")


@step
def earns_after_it_is_marked() -> None:
    db = database.get()
    with db:
        fresh = db.execute("INSERT OR IGNORE INTO seen VALUES ('o-1')").rowcount
    if fresh:
        effect("points", key="o-1")
        with db:
            db.execute("INSERT INTO points VALUES ('o-1')")


@step
def earns_and_marks_at_once() -> None:
    db = database.get()
    with db:
        if db.execute("INSERT OR IGNORE INTO seen VALUES ('o-1')").rowcount:
            effect("points")
            db.execute("INSERT INTO points VALUES ('o-1')")


@step
async def marks_after_it_has_earned() -> None:
    db = database.get()
    if await store.get().get("is seen") is None:
        effect("points")
        with db:
            db.execute("INSERT INTO seen VALUES ('o-1')")
            db.execute("INSERT INTO points VALUES ('o-1')")
        await store.get().put("is seen", value=True)


@step
async def gives_a_lock_back() -> None:
    try:
        await store.get().put("lock", "taken")
        effect("looked")
    finally:
        await store.get().put("lock", "free")


def as_many_points_as_orders(world: Points) -> bool:
    return world.db.execute("SELECT * FROM points").fetchall() == world.db.execute("SELECT * FROM seen").fetchall()


@pytest.mark.parametrize(
    ("step", "crash", "said"),
    [
        (earns_after_it_is_marked, "effect:points", "as_many_points_as_orders: it does not hold"),
        (earns_and_marks_at_once, "", ""),
        (marks_after_it_has_earned, "effect:points", "points happened twice instead of once"),
        (gives_a_lock_back, "step.effect_done_not_journaled:gives_a_lock_back", "looked happened twice instead of once"),
    ],
    ids=lambda it: getattr(it, "name", ""),
)
def test_a_process_dies_after_what_a_step_has_declared(step: Step[[], None], crash: str, said: str) -> None:
    """But not where a transaction is open that the crash would take back."""

    @workflow
    async def earns() -> None:
        await step()

    resources: list[Replace[Any]] = [*RESOURCES, replace(database, lambda world: world.db)]
    report = verify(
        earns, world=Points, resources=resources, faults=["crash"], invariants=[as_many_points_as_orders], budget="0.1s"
    )
    assert [(each.title, *each.faults) for each in report.findings] == [(said, f"crash@1:{crash}")] * bool(said)


def test_a_dead_process_gives_nothing_back() -> None:
    """What stands in a `finally` is not executed, though the step does not wait for anything where it dies."""

    @workflow
    async def locks() -> None:
        await gives_a_lock_back()

    recording = Simulation(subject_of(locks), (parse_fault("crash@1:effect:looked"),)).run()
    assert [str(point) for point in recording.trace if point.phase in ("put", "effect")] == [
        "1:put:lock",
        "1:effect:looked",
        "1:put:lock:2",
        "1:effect:looked:2",
        "1:put:lock:3",
    ]


# -- a service that is down ---------------------------------------------------------------------------------------------


def test_a_service_is_down_for_all_that_it_is_asked() -> None:
    """Also for what it is only read for; other services answer."""

    @workflow
    async def asks_all() -> list[str]:
        found = []
        for ask in (pay(3), price(), charge(3)):
            try:
                found.append(await ask)
            except ConnectionError as error:
                found.append(str(error))
        return found

    recording = Simulation(subject_of(asks_all), (parse_fault("outage@1:call.before:pay"),)).run()
    assert recording.result == ["shop is down", "shop is down", "charge-1"]


def test_a_service_refuses_nothing_that_it_has_done() -> None:
    """Who asks once more by the same key is given the first answer; one that knows no keys may refuse."""

    @workflow
    async def pays() -> str:
        return await pay(3)

    class Forgetful(World):
        def __init__(self) -> None:
            super().__init__()
            self.shop.keys = "ignored"

    faults = tuple(map(parse_fault, ("lost_ack@1:call.after:pay", "fatal@1:call.before:pay:2")))
    ends = [Simulation(subject_of(pays, world=world), faults).run() for world in (World, Forgetful)]
    assert [end.runs[end.main].status for end in ends] == ["completed", "failed"]


# -- within compensations -----------------------------------------------------------------------------------------------


@step
async def marks_before_it_gives_back(item: str) -> None:
    if await store.get().compare_and_set("marked", None, item):
        await store.get().put("given back", item)


@step
async def marks_when_it_has_given_back(item: str) -> None:
    await store.get().put("given back", item)
    await store.get().put("marked", item)


@pytest.mark.parametrize(
    ("undo", "faults"),
    [(marks_before_it_gives_back, ["crash@3:comp.put.after:marked"]), (marks_when_it_has_given_back, [])],
    ids=lambda it: getattr(it, "name", ""),
)
def test_what_a_compensation_reads_and_writes_goes_wrong_as_well(undo: Step[[str], None], faults: list[str]) -> None:
    """As in other steps."""

    @workflow
    async def gives_up() -> None:
        async with saga() as s:
            await s.do(reserve, "lamp", undo=undo)
            await note("lamp")
            raise ValueError("sold out")

    def what_is_marked_is_given_back(world: World) -> bool:
        return world.store.state.get("marked") == world.store.state.get("given back")

    invariants = [what_is_marked_is_given_back]
    report = verify(gives_up, world=World, resources=RESOURCES, faults=["crash"], invariants=invariants, budget="0.1s")
    assert [each for finding in report.findings if finding.oracle == "user" for each in finding.faults] == faults
