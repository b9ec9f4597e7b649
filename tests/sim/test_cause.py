"""A cause is named from evidence: with one thing held constant, the finding is gone."""

from __future__ import annotations

import dataclasses
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from wfkit import Workflow, resource, sleep, step, step_info, workflow
from wfkit.sim.cause import Cause, find_cause
from wfkit.sim.faults import parse_fault
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.services import FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject, replace


@resource
async def bank() -> Any:
    yield None


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


async def pay(key: str | None) -> str:
    return str(await bank.get().call("pay", idempotency_key=key))


@step
async def by_chance(order: str) -> str:
    return await pay(f"{order}-{uuid.uuid4()}")


@step
async def by_clock(order: str) -> str:
    return await pay(f"{order}-{time.time()}")


@step
async def by_attempt(order: str) -> str:
    return await pay(f"{order}-{step_info().attempt}")


@step
async def without_key(order: str) -> str:
    time.time()
    random.random()  # both are read, and matter to nobody
    return await pay(None)


@step
async def later_attempts_pay_more(order: str) -> str:
    await pay(step_info().idempotency_key)
    if step_info().attempt > 1:
        await bank.get().call("pay", idempotency_key=order)
    return order


@step
async def refused_at_first() -> None:
    if step_info().attempt == 1:
        raise ConnectionError


@workflow(name="buy")
async def buy_after_a_refusal(order: str) -> str:
    await refused_at_first()
    return await without_key(order)


def paying(one: Callable[[str], Any]) -> Workflow[[str], str]:
    @workflow(name="buy")
    async def buy(order: str) -> str:
        result: str = await one(order)
        await sleep(1)
        return result

    return buy


OWN = Cause("as the oracle says", "as the oracle says")
TWICE = Violation("ledger", "error", "pay", "pay happened twice", "buy", "buy-1", 1, why=OWN.why, fix=OWN.fix)


def judged(recording: Recording[Any]) -> list[Violation]:
    return [TWICE] if sum(effect.name == "pay" for effect in recording.effects) > 1 else []


class Experiment:
    def __init__(self, one: Callable[[str], Any]) -> None:
        self.subject = Subject(paying(one), ("order",), World, [replace(bank, lambda world: world.bank)])
        self.faults = [parse_fault(f"crash@1:step.effect_done_not_journaled:{one.name}")]  # type: ignore[attr-defined]  # a step
        self.held: list[frozenset[str]] = []

    def run(self, hold: frozenset[str] = frozenset()) -> Recording[Any]:
        self.held.append(hold)
        return Simulation(self.subject, self.faults, hold=hold).run()

    def cause(self, judge: Callable[[Recording[Any]], list[Violation]] = judged) -> Cause:
        return find_cause(TWICE, self.run(), self.run, judge)


@pytest.mark.parametrize(("one", "source"), [(by_chance, "uuid.uuid4()"), (by_clock, "time.time()")], ids=["chance", "clock"])
def test_a_key_that_is_made_anew_is_traced_to_its_line(one: Any, source: str) -> None:
    """A key that is made anew is traced to its line."""
    line = one.fn.__code__.co_firstlineno + 2
    why, fix = Experiment(one).cause()
    made = f"the key is made by {source} at tests/sim/test_cause.py:{line} {one.name}(), inside the step"
    assert why == f"{made}; each execution makes another one"
    assert "step_info().idempotency_key" in fix


def test_a_key_of_the_attempt_is_traced_to_its_step() -> None:
    """A key of the attempt is traced to its step."""
    why, _ = Experiment(by_attempt).cause()
    line = by_attempt.fn.__code__.co_firstlineno
    where = f"by_attempt(), at tests/sim/test_cause.py:{line},"
    assert why == f"the key depends on the number of the attempt: {where} gives each attempt another one"


def test_an_attempt_that_acts_otherwise_is_named() -> None:
    """An attempt that acts otherwise is named."""
    assert "acts on step_info().attempt" in Experiment(later_attempts_pay_more).cause().why


def test_what_is_read_and_does_not_matter_is_not_blamed() -> None:
    """What is read and does not matter is not blamed."""
    experiment = Experiment(without_key)
    assert experiment.cause() == OWN
    assert experiment.held[1:] == [frozenset({"random"}), frozenset({"time"}), frozenset({"attempt"})]


def test_only_what_was_read_is_held() -> None:
    """Only what was read is held."""
    experiment = Experiment(by_attempt)
    experiment.cause()
    assert experiment.held[1:] == [frozenset({"attempt"})]


def test_a_run_that_does_not_get_there_is_no_evidence() -> None:
    """Were the first attempt the only one, the run would fail before it pays: that says nothing of paying twice."""
    experiment = Experiment(without_key)
    experiment.subject = dataclasses.replace(experiment.subject, workflow=buy_after_a_refusal)
    experiment.faults = [parse_fault("crash@2:step.effect_done_not_journaled:without_key")]
    assert experiment.cause() == OWN


def test_what_schedules_do_not_show_is_not_blamed_on_them() -> None:
    """What schedules do not show is not blamed on them."""
    assert Experiment(by_chance).cause(lambda _: []) == OWN
