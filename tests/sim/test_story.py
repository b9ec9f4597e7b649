"""A finding is told in the terms of the business: who called what, what went wrong when, and what came of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from wfkit import Retry, Signal, resource, sleep, step, wait_signal, workflow
from wfkit.api.definitions import where_defined
from wfkit.sim.faults import KINDS, Fault, Point, kinds_at, parse_fault
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.services import NO_EFFECT, FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.story import place, tell
from wfkit.sim.subject import Instance, Replace, Subject, replace
from wfkit.sim.words import words
from wfkit.testing import http_transport


@resource
async def bank() -> Any:
    yield None


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


packed = Signal("packed", str)


@step
async def charge(order: str, amount: float) -> str:
    key = str(uuid.uuid4())
    return str(await bank.get().call("charge", idempotency_key=key, amount=amount))


@step
async def mail(order: str) -> None:
    await bank.get().call("mail", to=order)


@workflow
async def fulfil(order: str) -> str:
    got = await charge(order, 49.0)
    await wait_signal(packed)
    await sleep("2h")
    await mail(order)
    return got


@workflow
async def many(count: int) -> None:
    for _ in range(count):
        await mail("a@b")
    await charge("order-77", 1.0)
    for _ in range(count):
        await mail("a@b")


async def script(run: Any, world: Any) -> None:
    await asyncio.sleep(3600)
    await run.send(packed, "box-3", dedupe="scan-1")


RESOURCES: list[Replace[World]] = [replace(bank, lambda world: world.bank)]
SUBJECT = Subject(fulfil, ("order-77",), World, RESOURCES, script=script)
TWICE = Violation(
    "ledger",
    "error",
    "charge",
    "charge happened twice",
    "fulfil",
    "fulfil-1",
    1,
    where_defined(charge.fn),
    ("fault-free: charge x1", "this run: charge x2"),
)


def recorded(*faults: str, subject: Subject = SUBJECT) -> Recording[Any]:
    return Simulation(subject, [parse_fault(text) for text in faults]).run()


def told(*faults: str, subject: Subject = SUBJECT, violation: Violation = TWICE, **more: Any) -> list[str]:
    return tell(recorded(*faults, subject=subject), violation, code="WF063", **more).split("\n")


def test_a_crash_is_told_from_the_call_to_the_second_effect() -> None:
    """A crash is told from the call to the second effect."""
    fault = "crash@1:step.effect_done_not_journaled:charge"
    keys = [str(effect.key)[:4] for effect in recorded(fault).effects if effect.name == "charge"]
    assert told(fault, why="it is so", fix="mend it", replay="wfkit verify --replay F", test="simulate()", shrunk_from=5) == [
        f"WF063  {'fulfil: charge happened twice':<72}  {place(where_defined(charge.fn))} charge()",
        f"  schedule (1 fault, shrunk from 5): {fault}",
        "  10:00:00  start of fulfil(order-77) arrives",
        f"  10:00:00  #1 charge(order-77, 49.0) called, key {keys[0]}...        -> bank.charge  EFFECT 1",
        "  10:00:00  worker crashed after charge() succeeded, before its result was journaled",
        "  10:00:01  worker restarted, replayed 1 of 1 entries, reached #1 again: no result in the journal",
        f"  10:00:01  #1 charge(order-77, 49.0) called, key {keys[1]}... (NEW)  -> bank.charge  EFFECT 2",
        "  11:00:01  packed(box-3) arrives",
        "  13:00:01  #3 timer fired after 2h",
        "  13:00:01  #4 mail(order-77) called, no key                     -> bank.mail    EFFECT 1",
        "  13:00:01  completed: charge-2",
        "  fault-free: charge x1   this run: charge x2",
        "  why: it is so",
        "  fix: mend it",
        "  replay: wfkit verify --replay F",
        "  test:   simulate()",
    ]


def test_a_result_in_the_journal_is_not_reached_again() -> None:
    """A result in the journal is not reached again."""
    assert "  10:00:01  worker restarted, replayed 2 of 2 entries" in told("crash@2:wait.registered:packed")


@workflow
async def again(order: str) -> str:
    return await charge(order, 1.0)


async def start_twice(run: Any, world: Any) -> None:
    await run.result()
    await run.client.start(again, "order-77", id=run.id, if_finished="restart")


def test_a_generation_counts_its_commands_anew() -> None:
    """A generation counts its commands anew."""
    subject = Subject(again, ("order-77",), World, RESOURCES, script=start_twice)
    lines = told("crash@start.journaled:again:2", subject=subject, violation=TWICE._replace(workflow="again", run="again-1"))
    assert "  10:00:01  worker restarted, replayed 1 of 1 entries" in lines
    assert not any("NEW" in line for line in lines)


def test_a_dead_workers_call_arrives_late() -> None:
    """A dead worker's call arrives late."""
    lines = told("zombie@1:call.before:charge")
    assert any(line.startswith("  10:00:30  the old worker's call arrives, key ") and "EFFECT 2" in line for line in lines)


def test_days_are_shown_where_there_are_more_than_one() -> None:
    """Days are shown where there are more than one."""
    lines = told("crash_long@3:timer.set:sleep")
    assert "  03-02 11:00:00  worker crashed after the timer was set, and is down for 1d" in lines
    assert "  03-03 11:00:00  worker restarted, replayed 3 of 3 entries" in lines


def test_a_refused_signal_is_told() -> None:
    """A refused signal is told."""
    lines = told("fatal@1:call.before:charge")
    assert "  10:00:00  charge is refused for good" in lines
    assert "  10:00:00  failed: NonRetryable: charge: refused" in lines
    assert any("packed(box-3) is refused: RunEnded: run fulfil-1 is failed" in line for line in lines)


def test_a_delivery_that_comes_twice_is_told_twice() -> None:
    """A delivery that comes twice is told twice."""
    lines = told("dup@1:delivery:packed")
    assert "  11:00:00  packed(box-3) arrives again" in lines


def test_runs_are_named_where_there_are_several() -> None:
    """Runs are named where there are several."""
    subject = Subject(fulfil, ("a",), World, RESOURCES, script=script, runs=[Instance(fulfil, "b", id="second")])
    lines = told("crash@1:step.before:charge", subject=subject)
    assert "  10:00:00  second    start of fulfil(b) arrives" in lines
    assert any(line.startswith("  10:00:00  fulfil-1  #1 charge(a, 49.0) called") for line in lines)


def test_what_it_is_not_about_is_left_out_of_long_stories() -> None:
    """What it is not about is left out of long stories."""
    violation = TWICE._replace(workflow="many", run="many-1", n=31)
    lines = told(
        "crash@31:step.effect_done_not_journaled:charge", subject=Subject(many, (30,), World, RESOURCES), violation=violation
    )
    assert "  ... 31 more entries" in lines
    assert "  ... 30 more entries" in lines
    assert len(lines) < 15
    assert [line.rpartition("  ")[2] for line in lines if "EFFECT" in line] == ["EFFECT 1", "EFFECT 2"]


@step(retry=Retry(max_attempts=None, initial="6h", max_interval="6h"))
async def take_the_lock() -> None:
    raise RuntimeError("taken")


@workflow
async def locked_out() -> None:
    await take_the_lock()


def test_of_what_goes_on_in_the_same_way_two_turns_and_the_last_are_told() -> None:
    """Many attempts fail alike: when they began, how they go and how long that went on is all there is to know."""
    violation = TWICE._replace(workflow="locked_out", run="locked_out-1", about="take_the_lock")
    lines = told(subject=Subject(locked_out), violation=violation)
    attempts = [line for line in lines if "take_the_lock() called" in line]
    assert len(attempts) == 3
    assert any(line.startswith("  ... ") for line in lines)


@step(timeout="10m")
def writes() -> None:
    """Write something, as soon as its thread gets on."""


@workflow
async def writes_it() -> None:
    await writes()


def test_a_thread_that_outlives_its_attempt_is_told() -> None:
    """It cannot be stopped, so what it writes comes after all that is told before."""
    lines = told("delay@1:step.before:writes", subject=Subject(writes_it))
    late = "  11:00:00  the thread of attempt 1 of #1 writes() runs on"
    assert lines.index(late) > lines.index("  10:10:01  completed: null")
    assert not any("runs on" in line for line in told("delay(5m)@1:step.before:writes", subject=Subject(writes_it)))


def test_long_values_are_cut() -> None:
    """Long values are cut."""
    subject = Subject(fulfil, ("x" * 5_000,), World, RESOURCES, script=script)
    assert max(map(len, told(subject=subject))) < 200


def test_expected_and_found_stand_together() -> None:
    """Expected and found stand together."""
    evidence = ("recorded: note(1)", "replayed: note(2)", "recorded: note(3)", "looked at: x at " + __file__)
    lines = told(violation=TWICE._replace(evidence=evidence))
    assert lines[-3:] == [
        "  recorded: note(1)   replayed: note(2)",
        "  recorded: note(3)",
        "  looked at: x at tests/sim/test_story.py",
    ]


def test_every_fault_has_words_at_every_point() -> None:
    """Every fault has words at every point."""
    for kind in KINDS.values():
        for phase in kind.phases:
            text = words(Fault(kind.name, Point("", 1, phase, "charge")))
            assert "  " not in text
            assert text == text.strip()
    assert all(kind in KINDS.values() for kind in kinds_at("call.before"))


@step(retry=Retry(max_attempts=1))
async def book(order: str) -> None:
    await bank.get().post("/bookings", json={"order": order})


@workflow
async def books(order: str) -> None:
    await book(order)


def has_it(state: dict[str, Any], order: str) -> Any:
    return NO_EFFECT


def answers_409(state: dict[str, Any], order: str) -> Any:
    return 409, {"error": "it is booked"}


def looks_it_up(state: dict[str, Any], order: str) -> Any:
    return state[order]


@pytest.mark.parametrize(
    ("handler", "came"),
    [
        (has_it, "there was nothing to do"),
        (answers_409, "answered 409"),
        (looks_it_up, "its handler raised KeyError"),
    ],
)
def test_a_call_that_does_nothing_is_told_with_what_came_of_it(handler: Callable[..., Any], came: str) -> None:
    """Nothing to do, a refusal and a failure of the handler are three things."""

    def world() -> World:
        made = World()
        made.bank.on("POST /bookings")(handler)
        return made

    def client(world: World) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=http_transport(world.bank), base_url="https://bank.example")

    lines = told(subject=Subject(books, ("order-77",), world, [replace(bank, client)]))
    assert f"  10:00:00  #1 book(order-77) called, no key  -> bank.POST /bookings: {came}" in lines
