"""What users demand, and when they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.judging import World, charge, found, subject_of
from wfkit import Signal, sleep, wait_signal, workflow
from wfkit.errors import DefinitionError, FaultSyntaxError
from wfkit.sim.invariants import always, eventually, on, sometimes
from wfkit.sim.recording import Recording
from wfkit.sim.subject import extra, ignores, outcome, residue

CRASH = "crash@1:step.journaled:charge"


@workflow
async def buy() -> None:
    await charge(1)
    await sleep("1 day")


def never_charged(world: World) -> bool:
    return not world.bank.effects


async def is_never_asked(world: World) -> bool:
    return False


def charged_by_a_completed_run(world: World, recording: Recording[Any]) -> None:
    assert recording.status != "completed" or len(world.bank.effects) == 1, "completed, and not charged once"


def test_an_invariant_is_asked_at_rest_with_and_without_faults() -> None:
    """What the user says must hold is asked in every schedule, and the finding leads to the line that says it."""
    subject = subject_of(buy, invariants=(never_charged, charged_by_a_completed_run))
    for faults in ((), (CRASH,)):
        [violation] = found(subject, *faults)
        assert (violation.oracle, violation.severity, violation.about) == ("user", "error", "never_charged")
        assert violation.line.startswith(f"{__file__}:")


def test_always_tells_where_it_did_not_hold() -> None:
    """What is broken and mended again at the end is seen only on the way."""
    [violation] = found(subject_of(buy, invariants=(always(never_charged),)))
    assert violation.evidence == ("it did not hold at 1:call.after:charge",)


def test_an_invariant_is_asked_in_its_classes_only() -> None:
    """Some things hold only while nothing fails for good; a class that does not exist is refused, not ignored."""
    subject = subject_of(buy, invariants=(on(never_charged, classes="B"),))
    assert found(subject, CRASH) == []
    [violation] = found(subject, "cancel@1:step.journaled:charge")
    assert violation.about == "never_charged"
    with pytest.raises(ValueError, match="'X' is no fault class"):
        on(never_charged, classes="MX")


def test_eventually_has_a_time_and_sometimes_is_not_asked_of_one_schedule() -> None:
    """A promise without a term cannot be broken; and a thing that happens sometimes need not happen here."""
    in_time = eventually(charged_by_a_completed_run, within="2 days")
    too_late = eventually(charged_by_a_completed_run, within="1h")
    assert found(subject_of(buy, invariants=(in_time, sometimes(never_charged)))) == []
    [violation] = found(subject_of(buy, invariants=(too_late,)))
    assert violation.title == "charged_by_a_completed_run: it had not come to rest in time"


def test_an_invariant_that_raises_does_not_hold() -> None:
    """It looked for what is not there in this schedule: the search goes on, and the finding names the schedule."""

    def looks_for_a_lamp(world: World) -> bool:
        return bool(world.store.state["lamp"])

    [violation] = found(subject_of(buy, invariants=(looks_for_a_lamp,)), CRASH)
    assert violation.title == "looks_for_a_lamp: it raised KeyError: 'lamp'"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"invariants": (is_never_asked,)}, "the invariant is_never_asked is async"),
        ({"invariants": (always(is_never_asked),)}, "the invariant is_never_asked is async"),
        ({"expect": residue("charge", "-")}, "expect=.* is no list"),
    ],
    ids=["async", "async, always", "no list"],
)
def test_what_would_never_be_asked_is_refused(options: dict[str, Any], told: str) -> None:
    """A check that nobody awaits, and a declaration that stands alone where a list is meant."""
    with pytest.raises(DefinitionError, match=told):
        subject_of(buy, **options)


def test_a_kind_of_fault_that_does_not_exist_is_refused() -> None:
    """What is expected under it would never be looked at."""
    with pytest.raises(FaultSyntaxError, match="'lostack' is no kind of fault"):
        outcome(fault="lostack", value=1)
    with pytest.raises(FaultSyntaxError, match="'lostack' is no kind of fault"):
        extra("charge", fault="lostack", reason="-")


@workflow
async def asks() -> str:
    await charge(1)
    return await wait_signal(Signal("yes", str))


async def agrees(run: Any, _world: World) -> None:
    await run.send(Signal("yes", str), "yes")


def test_a_name_that_is_nearly_right_is_told_of() -> None:
    """Without faults there is nothing of that name. One that is far from all others may be of what only faults bring about."""
    meant = (ignores("yess", "-"), residue("chrge", "-"), extra("apology", fault="slow", reason="-"))
    subject = subject_of(asks, script=agrees, expect=meant)
    assert [(each.severity, each.title) for each in found(subject)] == [
        ("info", "ignores('yess') fits nothing: is it 'yes'?"),
        ("info", "residue('chrge') fits nothing: is it 'charge'?"),
    ]
