"""Past its pivot a saga only goes forward: what stands there must work in the end."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed
from wfkit.sim.reference import Reference


def refused_past_pivot(schedule: Schedule) -> Iterator[Violation]:
    """A step that is refused past the pivot is tried again without end, though it declares that a refusal is final."""
    for fault in schedule.recording.faults:
        run = fault.point.run or schedule.recording.main
        trail = schedule.trails.newest(run) if fault.kind == "fatal" else None
        step = trail.steps.get(fault.point.n) if trail is not None else None
        refusals = _refusals(schedule.reference, step.name) if step is not None and step.is_past_pivot else ""
        if trail is not None and step is not None and refusals:
            yield Violation(
                "saga",
                "warning",
                step.name,
                f"{step.name} may be refused, and stands past the pivot",
                trail.workflow,
                run,
                fault.point.n,
                schedule.reference.line_of(step.name, trail.workflow),
                (f"{step.name} declares that {refusals} is final",),
                "past s.pivot() nothing is undone, and what fails is tried again without end, be it declared as final or not",
                f"put s.pivot() behind {step.name}: what may still be refused stands before the point of no return",
            )


def _refusals(reference: Reference, step: str) -> str:
    """Return the errors of the user's own that end a step at once. Builtin ones, such as TypeError, are no refusals."""
    definition = reference.step(step)
    errors = definition.non_retryable if definition is not None else ()
    own = [error.__name__ for error in errors if error.__module__ != "builtins"]
    return listed(own) if own else ""
