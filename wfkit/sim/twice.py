"""Two executions of one schedule, which should be equal: where they differ all the same, and whose doing that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wfkit.core.entries import AttemptFailed, StepCompleted, StepFailed
from wfkit.sim.faults import Plan
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.words import short
from wfkit.sim.recording import Event, Recording
from wfkit.sim.reference import Reference
from wfkit.sim.services import Effect
from wfkit.sim.story import place
from wfkit.sim.trails import Trail, Trails

_USE_KEY = "use step_info().idempotency_key, the same on every attempt and after every crash"


def drawn_anew(reference: Reference, other: Recording[Any]) -> Iterator[str]:
    """Yield the steps that came to other values from equal arguments: something that is not controlled goes into them.

    Args:
        reference: of the one execution.
        other: the other one.
    """
    told: set[str] = set()
    for here, there, n in _pairs(reference.trails, Trails(other)):
        name = here.steps[n].name
        ends = [getattr(trail.ends.get(n, (0, None))[1], "value", None) for trail in (here, there)]
        apart = ends[0] != ends[1] or _effects(reference.base, here.id, n) != _effects(other, here.id, n)
        if apart and name not in told:
            told.add(name)
            yield name


def other_key(reference: Reference, other: Recording[Any]) -> Violation | None:
    """Return what it means that a step made another key from equal arguments; None if none did, or if it may have been read.

    Args:
        reference: of the one execution.
        other: the other one.
    """
    if any(point.phase == "put" for point in reference.base.trace):
        return None  # it may come from what a step before it has left there
    for here, there, n in _pairs(reference.trails, Trails(other)):
        for one, again in zip(_effects(reference.base, here.id, n), _effects(other, here.id, n), strict=False):
            if one != again:
                if one.name != again.name or None in (one.key, again.key) or one.key == again.key:
                    return None  # it differs in something else first, of which the key may be made
                step = here.steps[n].name
                return Violation(
                    "ledger",
                    "error",
                    one.name,
                    f"{one.name} gets another key each time {step} is executed",
                    here.workflow,
                    here.id,
                    n,
                    reference.line_of(step),
                    (f"executed once: key {one.key}", f"executed again: key {again.key}"),
                    f"{step} makes its key of something that differs between executions, so each is a new call to the outside",
                    _USE_KEY,
                )
        if here.ends.get(n) != there.ends.get(n):
            return None
    return None


def outlives(reference: Reference, one: Recording[Any], again: Recording[Any], found: str = "") -> Violation:
    """Return what it means that a schedule goes another way when it is executed again.

    Args:
        reference: of the search.
        one: what came of the schedule first.
        again: what came of it then.
        found: what was found in a schedule, and was not found again.
    """
    run, n, step = _where(one, again)
    return _not_again(reference, found, first_difference(reference, one, again), step, run, n)


def shown_once(reference: Reference, found: Violation, faults: Plan) -> Violation:
    """Return what it means that one process shows something in a schedule that another one does not."""
    schedule = ", ".join(map(str, faults)) or "no fault"
    return _not_again(reference, found.title, f"the schedule with {schedule} went two ways in two processes")


def _not_again(reference: Reference, found: str, told: str, step: str = "", run: str = "", n: int = 0) -> Violation:
    workflow = reference.subject.workflow.name
    return Violation(
        "resource",
        "warning",
        step or workflow,
        f"{step or workflow} does something else when the same schedule is executed again",
        workflow,
        run or reference.base.main,
        n,
        reference.line_of(step, workflow),
        (told, *((f"found once, and not again: {found}",) if found else ())),
        "something in the memory of the process outlives each crash here, and even the schedule; a real crash takes it",
        "move it into a @resource, which is made anew whenever the process starts",
    )


def first_difference(reference: Reference, one: Recording[Any], again: Recording[Any]) -> str:
    """Say where two executions of a schedule begin to differ: the step, its line, and both values."""
    _, _, step = _where(one, again)
    line = place(reference.line_of(step)) if step else ""
    who = (f"{step}, at {line}: " if line else f"{step}: ") if step else ""
    for first, second in zip(one.events, again.events, strict=False):
        if first != second:
            before, after = _told(first), _told(second)
            if before and after and before != after:
                return f"{who}{before}, and then {after}"
            break
    for point, other in zip(one.trace, again.trace, strict=False):
        if point != other:
            return f"{who}it reached {point}, and then {other} in its place"
    longer, shorter = sorted((one.trace, again.trace), key=len, reverse=True)
    if len(longer) > len(shorter):
        return f"{who}once it ended before {longer[len(shorter)]}"
    return f"{who}it wrote other values"


def _where(one: Recording[Any], again: Recording[Any]) -> tuple[str, int, str]:
    """Return where two executions begin to differ: the run, the command's number, and the step if it is one."""
    places = [(e.run, e.n) for e, other in zip(one.events, again.events, strict=False) if e != other]
    places += [(p.run or one.main, p.n) for p, other in zip(one.trace, again.trace, strict=False) if p != other]
    trails = Trails(one)
    for run, n in places:
        trail = trails.newest(run)
        if trail is not None and n in trail.steps:
            return run, n, trail.steps[n].name
    return "", 0, ""


def _told(event: Event) -> str:
    """Return an event in words; empty if it is none that holds a value."""
    thing = event.data[0] if event.data else None
    if isinstance(thing, Effect):
        return f"it asked for {thing.name} {short(thing.text)}" + (f" under the key {thing.key}" if thing.key else "")
    match getattr(thing, "entry", None):
        case StepCompleted(value=value):
            return f"it returned {short(bytes(value).decode())}"
        case StepFailed(error=error) | AttemptFailed(error=error):
            return f"it failed with {error.type}: {short(error.message)}"
        case _:
            return ""


def _pairs(ones: Trails, others: Trails) -> Iterator[tuple[Trail, Trail, int]]:
    """Yield the step calls that both executions made with equal arguments, in order."""
    for id, trails in ones.by_id.items():
        for here, there in zip(trails, others.by_id.get(id, ()), strict=False):
            for n, step in here.steps.items():
                if n in there.steps and (step.name, step.args) == (there.steps[n].name, there.steps[n].args):
                    yield here, there, n


def _effects(recording: Recording[Any], run: str, n: int) -> list[Effect]:
    return [effect for effect in recording.effects if (effect.run, effect.n) == (run, n)]
