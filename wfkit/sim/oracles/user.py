"""What the user demands of the world."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from wfkit.api.definitions import where_defined
from wfkit.sim.findings import Violation
from wfkit.sim.invariants import Check, asking_of, failed, name_of
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.reference import Reference


def invariants(schedule: Schedule) -> Iterator[Violation]:
    """Ask the invariants at the end, and tell which ones of `always` did not hold on the way."""
    recording, subject = schedule.recording, schedule.reference.subject
    broken = {name: (told, where) for name, told, where in recording.broken}
    for check in subject.invariants:
        asking = asking_of(check)
        if schedule.nominal not in asking.classes:
            continue
        name = name_of(check)
        if asking.when == "always" and name in broken:
            told, where = broken[name]
            yield _violation(schedule, check, told, f"it did not hold at {where}")
        elif asking.when == "eventually" and recording.ended > asking.within:
            yield _violation(schedule, check, "it had not come to rest in time", "")
        elif asking.when not in ("always", "sometimes"):
            answer = failed(check, recording.world, recording)
            if answer is not None:
                yield _violation(schedule, check, answer, "")


def never_held(reference: Reference, held: Collection[str]) -> Iterator[Violation]:
    """Tell which of `sometimes` held in no schedule of a search.

    Args:
        reference: of the search.
        held: the names of those that held in one.
    """
    schedule = Schedule(reference, reference.base)
    for check in reference.subject.invariants:
        if asking_of(check).when == "sometimes" and name_of(check) not in held:
            violation = _violation(schedule, check, "it held in no schedule", "")
            yield violation._replace(severity="warning", fix="give an input or a script that brings it about, or fix the check")


def mistyped(schedule: Schedule) -> Iterator[Violation]:
    """Tell of declarations about what is not there without faults, where something of nearly that name is."""
    reference = schedule.reference
    signals = reference.sent.union(*(trail.waits.values() for trail in schedule.trails))
    effects = {effect.name for effect in schedule.recording.effects} | reference.steps.keys()
    for each in reference.subject.expect:
        known = signals if each.what == "ignores" else effects
        near = get_close_matches(each.name, known, n=1)
        if each.name and each.name not in known and near:
            yield Violation(
                "user",
                "info",
                each.name,
                f"{each.what}({each.name!r}) fits nothing: is it {near[0]!r}?",
                reference.subject.workflow.name,
                schedule.recording.main,
            )


def _violation(schedule: Schedule, check: Check, told: str, evidence: str) -> Violation:
    name = name_of(check)
    return Violation(
        "user",
        "error",
        name,
        f"{name}: {told}",
        schedule.reference.subject.workflow.name,
        schedule.recording.main,
        line=where_defined(inspect.unwrap(check)),
        evidence=(evidence,) if evidence else (),
    )
