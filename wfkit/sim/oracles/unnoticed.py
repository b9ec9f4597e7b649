"""Refusals that nobody took notice of: the answer said no, no exception was raised, and all else is as always."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Outcome, Told
from wfkit.sim.trails import Trail


def unnoticed(schedule: Schedule, outcome: Outcome, declare: str) -> Iterator[Violation]:
    """A call was refused by its answer, and the run that made it told and did all else that it tells and does without faults.

    What is excused is what `swallowed` excuses: a run that returns nothing, the same from another service, such as of a
    majority, and a courtesy that comes last, after other things were done.

    Args:
        schedule: what is judged.
        outcome: what came of it.
        declare: how the user says that this result is expected.
    """
    usual = schedule.reference.outcomes[0]
    missing = usual.effects - outcome.effects
    if len(schedule.recording.planned) != 1 or not missing or outcome.effects - usual.effects or outcome.runs != usual.runs:
        return
    if not schedule.goes_the_usual_way or not all(_tells_the_same(schedule, trail) for trail in schedule.trails):
        return
    for event in schedule.recording.events:
        if event.kind != "declined":
            continue
        (label,) = event.data
        trail = schedule.trails.newest(event.run)
        lost = [told for told in missing if told[1] == label]
        if trail is None or not lost or _came_about_elsewhere(outcome, missing, lost[0]):
            continue
        if _matters(schedule, trail, event.n):
            yield _violation(schedule, trail, event.n, lost[0], declare)
            return


def _violation(schedule: Schedule, trail: Trail, n: int, lost: Told, declare: str) -> Violation:
    step, (_, effect, payload) = trail.steps[n].name, lost
    why, fix = _cause(schedule, trail, n)
    declaration = f"if it does no harm that it is missing, declare it: {declare}"
    return Violation(
        "difference",
        "warning",
        step,
        f"{effect} was refused, and {trail.workflow} completed {short(bytes(trail.result or b'').decode())} as always",
        trail.workflow,
        trail.id,
        n,
        schedule.reference.line_of(step, trail.workflow),
        (f"fault-free: {effect} {short(payload)}", f"this run: no {effect}"),
        why,
        f"{fix}; {declaration}" if fix else declaration,
    )


def _cause(schedule: Schedule, trail: Trail, n: int) -> tuple[str, str]:
    """Return who took no notice; empty if the refused attempt failed by it, and only a later one ended well."""
    since = itertools.dropwhile(lambda event: event.kind != "declined", schedule.recording.events)
    if any(event.kind == "attempt" and event.data[1] > 1 and (event.run, event.n) == (trail.id, n) for event in since):
        return "", ""
    step = trail.steps[n].name
    why = (
        f"{step} returned something other than usual, and nobody took notice of it"
        if schedule.came_to_another(trail, n)
        else f"{step} took no notice of the status of the answer"
    )
    return why, f"let {step} call raise_for_status(), or act on what it returns"


def _tells_the_same(schedule: Schedule, trail: Trail) -> bool:
    """Whether a run has the result and the state that it has without faults, and waited for nothing more to get there."""
    base = schedule.reference.trails.newest(trail.id)
    if base is None or trail.shown != base.shown or len(trail.timers) > len(base.timers) or len(trail.waits) > len(base.waits):
        return False
    return schedule.reference.has_whole_result_of(trail, base)


def _came_about_elsewhere(outcome: Outcome, missing: Counter[Told], lost: Told) -> bool:
    """Whether more of this name came about at other services than is missing."""
    service, name, _ = lost
    came = sum(count for told, count in outcome.effects.items() if told[1] == name and told[0] != service)
    return came > sum(count for told, count in missing.items() if told[1] == name)


def _matters(schedule: Schedule, trail: Trail, n: int) -> bool:
    """Whether a call is one to happen once, of a run that claims something, and something, or nothing else, came after it."""
    if trail.status != "completed" or trail.returns_nothing or not trail.ended_well(n):
        return False
    return not schedule.reference.may_repeat(trail.steps[n].name) and not schedule.comes_last(trail, n)
