"""What users demand, and when they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.judging import World, charge, found, subject_of
from wfkit import sleep, workflow
from wfkit.sim.invariants import always, eventually, on, sometimes
from wfkit.sim.recording import Recording

CRASH = "crash@1:step.journaled:charge"


@workflow
async def buy() -> None:
    await charge(1)
    await sleep("1 day")


def never_charged(world: World) -> bool:
    return not world.bank.effects


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
