"""What the user demands of the world."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from wfkit.api.definitions import where_defined
from wfkit.sim.findings import Violation
from wfkit.sim.invariants import Check, asking_of, failed, name_of
from wfkit.sim.oracles.schedule import Schedule


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
