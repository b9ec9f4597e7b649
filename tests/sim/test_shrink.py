"""A schedule that fails is reduced to the simplest one that fails in the same way, whatever it was found with."""

from __future__ import annotations

import itertools

import pytest

from wfkit.sim.faults import HOUR, Fault, Plan, Point, parse_fault
from wfkit.sim.shrink import RUNS_MAX, shrink

PHASES = ("step.before", "call.before", "call.after", "step.effect_done_not_journaled", "step.journaled")
TRACE = [Point("", n, phase, "charge" if n < 5 else "ship") for n in range(1, 8) for phase in PHASES]


def plan(*texts: str) -> Plan:
    return tuple(map(parse_fault, texts))


class Tried:
    """Fails under these faults, and counts how often it was asked."""

    def __init__(self, *needed: str) -> None:
        self.needed = set(needed)
        self.runs = 0

    def __call__(self, faults: Plan) -> bool:
        self.runs += 1
        return self.needed <= set(map(str, faults))


def test_faults_that_do_not_matter_are_dropped() -> None:
    """Faults that do not matter are dropped."""
    tried = Tried("crash@3:step.journaled:charge")
    found = plan("slow@1:call.after:charge", "crash@3:step.journaled:charge", "cancel@6:step.before:ship")
    assert shrink(found, tried, TRACE) == plan("crash@3:step.journaled:charge")


def test_faults_that_only_matter_together_stay() -> None:
    """Faults that only matter together stay."""
    tried = Tried("crash@3:step.journaled:charge", "lost_ack@4:call.after:charge")
    found = plan("lost_ack@4:call.after:charge", "crash@3:step.journaled:charge", "fatal@6:call.before:ship")
    assert shrink(found, tried, TRACE) == plan("crash@3:step.journaled:charge", "lost_ack@4:call.after:charge")


@pytest.mark.parametrize(
    ("given", "simpler"),
    [
        ("zombie@1:call.before:charge", "crash@1:call.before:charge"),
        ("outage@1:call.before:charge", "fail@1:call.before:charge"),
        ("slow@1:call.after:charge", "lost_ack@1:call.after:charge"),
        ("slow_n@1:call.after:charge", "slow@1:call.after:charge"),
        ("zombie@1:call.before:charge", "crash@1:step.effect_done_not_journaled:charge"),
    ],
)
def test_a_kind_is_replaced_by_a_simpler_one(given: str, simpler: str) -> None:
    """A kind is replaced by a simpler one."""
    assert shrink(plan(given), lambda faults: faults in (plan(given), plan(simpler)), TRACE) == plan(simpler)


def test_a_kind_goes_only_where_it_fits() -> None:
    """A kind goes only where it fits."""
    asked: list[Fault] = []

    def never(faults: Plan) -> bool:
        asked.extend(faults)
        return False

    shrink(plan("slow@1:call.after:charge"), never, TRACE)
    assert asked
    for fault in asked:
        assert parse_fault(str(fault)) == fault


def test_a_fault_moves_to_the_earliest_point_of_its_phase() -> None:
    """A fault moves to the earliest point of its phase."""

    def fails(faults: Plan) -> bool:
        return len(faults) == 1 and faults[0].kind == "crash" and faults[0].point.phase == "step.journaled"

    assert shrink(plan("crash@7:step.journaled:ship"), fails, TRACE) == plan("crash@1:step.journaled:charge")


def test_it_stays_where_it_matters() -> None:
    """It stays where it matters."""
    tried = Tried("crash@7:step.journaled:ship")
    assert shrink(plan("crash@7:step.journaled:ship"), tried, TRACE) == plan("crash@7:step.journaled:ship")


def test_a_parameter_goes_back_to_its_default() -> None:
    """A parameter goes back to its default."""
    given = Fault("delay", Point("", 1, "call.before", "charge"), 5 * HOUR)
    found = shrink((given,), lambda faults: [fault.kind for fault in faults] == ["delay"], TRACE)
    assert found == plan("delay@1:call.before:charge")


@pytest.mark.parametrize(("kind", "phase"), [("fail_n", "call.before"), ("slow_n", "call.after")])
def test_a_call_fails_no_more_often_than_it_must(kind: str, phase: str) -> None:
    """A call fails no more often than it must."""
    given = Fault(kind, Point("", 1, phase, "charge"), 7)
    found = shrink((given,), lambda faults: any(each.kind == kind and each.amount >= 3 for each in faults), TRACE)
    assert found == plan(f"{kind}(3)@1:{phase}:charge")


def test_a_fault_moves_to_the_main_run() -> None:
    """There its reader begins, and other runs may then be left out."""
    other = Point("other-1", 1, "step.journaled", "charge")
    found = shrink((Fault("crash", other),), lambda faults: len(faults) == 1, [other, *TRACE])
    assert found == plan("crash@1:step.journaled:charge")


def test_the_result_does_not_depend_on_what_was_found() -> None:
    """The result does not depend on what was found."""

    def fails(faults: Plan) -> bool:
        kinds = {(fault.kind, fault.point.phase) for fault in faults}
        return bool(
            kinds & {("crash", "step.effect_done_not_journaled"), ("zombie", "call.before"), ("lost_ack", "call.after")}
        )

    results = {
        shrink(plan(*found), fails, TRACE)
        for found in itertools.permutations(
            ["zombie@5:call.before:ship", "lost_ack@3:call.after:charge", "crash@6:step.effect_done_not_journaled:ship"], 2
        )
    }
    assert results == {plan("crash@1:step.effect_done_not_journaled:charge")}


def test_one_point_has_one_fault() -> None:
    """One point has one fault."""
    faults = plan("fail@1:call.before:charge", "outage@2:call.before:charge")

    def fails(faults: Plan) -> bool:
        assert len({fault.point for fault in faults}) == len(faults)
        return len(faults) == 2

    assert len(shrink(faults, fails, TRACE)) == 2


def test_it_takes_few_runs() -> None:
    """It takes few runs."""
    tried = Tried("crash@3:step.journaled:charge")
    shrink(plan("slow@1:call.after:charge", "crash@3:step.journaled:charge", "cancel@6:step.before:ship"), tried, TRACE)
    assert tried.runs <= 10


def test_it_ends_even_if_nothing_is_simpler() -> None:
    """It ends even if nothing is simpler."""
    tried = Tried("late@1:delivery:packed")
    long = [Point("", n, "delivery", f"signal{n}") for n in range(300)]
    faults = (Fault("late", long[299]), Fault("late", long[298]))
    tried.needed = set(map(str, faults))
    assert set(shrink(faults, tried, long)) == set(faults)
    assert tried.runs <= RUNS_MAX
