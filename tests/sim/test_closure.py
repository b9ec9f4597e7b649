"""One run from each durable state stands for all crashes, in any number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from wfkit.api.attempt import step_info
from wfkit.api.definitions import step, workflow
from wfkit.api.resources import resource
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.sim.faults import KINDS, Fault, Point, plain
from wfkit.sim.passes import closure
from wfkit.sim.recording import Recording
from wfkit.sim.services import FakeService, KeyValue
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject, replace


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")
        self.notes = KeyValue("notes")


@resource
async def bank() -> AsyncIterator[FakeService]:
    yield FakeService("nobody")


@resource
async def notes() -> AsyncIterator[KeyValue]:
    yield KeyValue("nobody")


@step
async def charge(number: int) -> None:
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key, number=number)


@step
async def charge_without_a_key(number: int) -> None:
    await bank.get().call("charge", number=number)


@step
async def charge_with_a_new_key_at_the_third_try(number: int) -> None:
    tries = await notes.get().get("tries", 0)
    await notes.get().put("tries", tries + 1)
    await bank.get().call("charge", idempotency_key=f"{number}/{tries // 2}", number=number)


@workflow
async def in_sequence(number: int) -> None:
    for each in range(number):
        await charge(each)


@workflow
async def twice_by_one_crash() -> None:
    await charge(1)
    await charge_without_a_key(2)


@workflow
async def twice_by_two_crashes() -> None:
    await charge(1)
    await charge_with_a_new_key_at_the_third_try(2)


@step
async def charge_with_a_new_key_at_the_third_attempt(number: int) -> None:
    await bank.get().call("charge", idempotency_key=f"{number}/{(step_info().attempt - 1) // 2}", number=number)


@workflow
async def twice_by_the_third_attempt() -> None:
    await charge_with_a_new_key_at_the_third_attempt(1)


@workflow
async def one() -> None:
    await charge(1)


def subject(workflow: Any, *args: Any) -> Subject:
    return Subject(
        workflow,
        args,
        world=World,
        resources=[replace(bank, lambda world: world.bank), replace(notes, lambda world: world.notes)],
    )


def crashes(subject: Subject, *faults: Fault) -> tuple[Recording[Any], list[Fault]]:
    """Return a schedule, and the crashes that can follow."""
    recording = Simulation(subject, faults).run()
    return recording, [Fault("crash", point) for point in recording.trace if _kills(point)]


def _kills(point: Point) -> bool:
    return plain(point.phase) in KINDS["crash"].phases


def doubles(recording: Recording[Any]) -> bool:
    payloads = [effect.text for effect in recording.effects]
    return len(payloads) > len(set(payloads))


@pytest.mark.parametrize(("steps", "runs_max"), [(10, 40), (50, 180)])
def test_sequential_steps_have_few_durable_states(steps: int, runs_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has three: called, done outside, recorded. So the number of runs grows with the steps, not with their square."""
    monkeypatch.setattr(closure, "CLOSURE_SECONDS", 300.0)  # a busy machine is no reason to stop counting
    coverage = search(subject(in_sequence, steps), Terms(faults=["crash"], budget=0)).coverage
    assert coverage.closed
    assert coverage.closure_runs is not None
    assert steps < coverage.closure_runs <= runs_max


@pytest.mark.parametrize(
    ("tried", "crashes_needed"),
    [
        (subject(one), None),
        (subject(in_sequence, 3), None),
        (subject(twice_by_one_crash), 1),
        (subject(twice_by_two_crashes), 2),
        (subject(twice_by_the_third_attempt), 2),
    ],
    ids=lambda value: value.workflow.name if isinstance(value, Subject) else "",
)
def test_the_closure_finds_what_all_pairs_of_crashes_show(tried: Subject, crashes_needed: int | None) -> None:
    """Brute force is the judge of the short cut, where it is affordable."""
    _, firsts = crashes(tried)
    by_one, by_two = False, False
    for first in firsts:
        once, seconds = crashes(tried, first)
        by_one |= doubles(once)
        by_two |= any(doubles(crashes(tried, first, second)[0]) for second in seconds if second != first)
    assert (by_one, by_two) == (crashes_needed == 1, crashes_needed is not None)

    errors = [found for found in search(tried, Terms(faults=["crash"], budget=0)).found if found.violation.severity == "error"]
    assert bool(errors) == (crashes_needed is not None)
    assert all(len(found.faults) == crashes_needed for found in errors if found.violation.oracle == "ledger")
