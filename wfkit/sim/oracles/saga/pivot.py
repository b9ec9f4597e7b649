"""Past its pivot a saga only goes forward: what stands there must work in the end."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.core.entries import AttemptFailed
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed
from wfkit.sim.reference import Reference
from wfkit.sim.trails import Trail


def refused_past_pivot(schedule: Schedule) -> Iterator[Violation]:
    """A step that is refused past the pivot is tried again without end, though it declares that a refusal is final."""
    for fault in schedule.recording.faults:
        run = fault.point.run or schedule.recording.main
        trail = schedule.trails.newest(run) if fault.kind == "fatal" else None
        step = trail.steps.get(fault.point.n) if trail is not None else None
        if trail is None or step is None or not step.is_past_pivot:
            continue
        refusals = _refusals(schedule.reference, trail, fault.point.n)
        if refusals:
            yield Violation(
                "saga",
                "warning",
                step.name,
                f"{step.name} may be refused, and stands past the pivot",
                trail.workflow,
                run,
                fault.point.n,
                schedule.reference.line_of(step.name, trail.workflow),
                (f"{step.name} declares that {listed(refusals)} {'is' if len(refusals) == 1 else 'are'} final",),
                "past s.pivot() nothing is undone, and what fails is tried again without end, be it declared as final or not",
                f"put s.pivot() behind {step.name}: what may still be refused stands before the point of no return",
            )


def _refusals(reference: Reference, trail: Trail, n: int) -> list[str]:
    """Return the errors of the user's own that a step declares as final, and that attempts of it failed with.

    A policy is often shared by steps of which only some are refused. Builtin errors, such as TypeError, are no refusals.
    """
    definition = reference.step(trail.steps[n].name)
    errors = definition.non_retryable if definition is not None else ()
    failures = [
        record.entry.error for record in trail.records if isinstance(record.entry, AttemptFailed) and record.entry.n == n
    ]
    raised = {name for failure in failures for name in (failure.type, *failure.bases)}
    return [error.__name__ for error in errors if error.__module__ != "builtins" and error.__name__ in raised]
