"""Strategies for Hypothesis: plans of faults, and inputs from type hints."""

from __future__ import annotations

import ast
import enum
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from msgspec import Struct

from wfkit import resource, step, workflow
from wfkit.testing import FakeService, FaultPlan, Recording, fault_plans, inputs, replace, simulate


@resource
async def bank() -> Any:
    yield None


@step
async def charge(amount: int) -> str:
    return str(await bank.get().call("charge", amount=amount))


@workflow
async def buy(times: int) -> str:
    for amount in range(times):
        await charge(amount)
    return "done"


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


def run(plan: Any) -> Recording[str]:
    return simulate(buy, 2, world=World, resources=[replace(bank, lambda world: world.bank)], faults=plan)


def charged_too_often(plan: FaultPlan) -> bool:
    return len(run(plan).effects) > 2


def test_a_falsifying_example_names_the_faults() -> None:
    """Hypothesis shows a plan before its last run; it is known by then what it means."""

    @settings(
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        max_examples=50,
        phases=[Phase.generate],
    )
    @given(plan=fault_plans())
    def holds(plan: FaultPlan) -> None:
        assert not charged_too_often(plan)

    with pytest.raises(AssertionError) as caught:
        holds()
    told = "\n".join(getattr(caught.value, "__notes__", ()))
    (shown,) = re.findall(r"plan=(\[.*?\])", told)
    assert len(run(ast.literal_eval(shown)).effects) > 2  # what is shown can be pasted as `faults=`


def test_faults_may_strike_where_only_faults_lead() -> None:
    """Each fault is looked up in the trace of a schedule with those before it: a retry has points of its own."""
    first = FaultPlan([7])
    base, once = run(()), run(first)
    assert len(once.trace) > len(base.trace)
    first_fault, second_fault = run(FaultPlan([7, 1_003])).planned
    assert first_fault in run(first).planned
    assert second_fault.point in set(once.trace) - set(base.trace)
    assert run(FaultPlan([1_003])).planned == ()


def test_what_a_number_means_stays_when_another_is_left_out() -> None:
    """So that a plan can be reduced number by number."""
    several = run(FaultPlan([3, 40, 11])).planned
    assert len(several) == 3
    assert run(FaultPlan([40])).planned == several[1:2]
    assert run(FaultPlan([3, 11])).planned == (several[0], several[2])


def test_a_plan_shrinks_to_the_one_fault_that_it_takes() -> None:
    """In few examples: whoever waits for Hypothesis waits for simulations."""
    plans: list[FaultPlan] = []

    @settings(
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        max_examples=50,
        print_blob=False,
    )
    @given(plan=fault_plans())
    def holds(plan: FaultPlan) -> None:
        plans.append(plan)
        assert not charged_too_often(plan)

    with pytest.raises(AssertionError):
        holds()
    assert len(run(plans[-1]).planned) == 1
    assert max(len(run(plan).planned) for plan in plans) > 1
    assert len(plans) < 100


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(Struct):
    sku: str
    count: int = 1


@dataclass
class Order:
    lines: list[Line]
    at: datetime
    colour: Colour
    price: float
    notes: dict[str, Annotated[str, "free"]] = field(default_factory=dict)


class Address(TypedDict):
    street: str


@workflow
async def ordered(
    order: Order, to: Address | None, how: Literal["slow", "fast"], wait: timedelta, pair: tuple[int, str], tags: set[str]
) -> None: ...


@settings(database=None, derandomize=True, deadline=None, max_examples=50, phases=[Phase.generate])
@given(args=inputs(ordered))
def test_inputs_are_made_from_type_hints(args: tuple[Any, ...]) -> None:
    """Structs, dataclasses and all: each travels as JSON and comes back as it was."""
    assert isinstance(args[0], Order)
    assert all(isinstance(line, Line) for line in args[0].lines)
    assert ordered.signature.decode(ordered.signature.encode(args, {})) == args


def test_neither_pytest_nor_hypothesis_is_imported_before_they_are_used() -> None:
    """So that a test suite without Hypothesis can use the rest, and a shell starts quickly."""
    report = (
        "import sys, wfkit.testing; from wfkit.testing import *;print({'hypothesis', 'pytest', 'httpx'} & set(sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "set()"
