"""What a schedule comes to is what it comes to without faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from wfkit.sim.drawn import differing, masked, unordered
from wfkit.sim.faults import KINDS, plain
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import DUPLICATING, INTERLEAVED, Schedule
from wfkit.sim.oracles.swallowed import swallowed
from wfkit.sim.oracles.tail import without_tail
from wfkit.sim.oracles.unnoticed import unnoticed
from wfkit.sim.oracles.words import short, times
from wfkit.sim.reference import Outcome, RunEnd
from wfkit.sim.services import canonical
from wfkit.sim.trails import broke_down

_VALUE_CHARS_MAX = 120


class _Difference(NamedTuple):
    about: str
    title: str
    evidence: tuple[str, ...]
    workflow: str = ""
    step: str = ""
    run: str = ""
    n: int = 0
    is_value: bool = False
    """The same things came about, with other values in them."""
    is_status: bool = False
    """A run did not end as it does without faults."""


def difference(schedule: Schedule) -> Iterator[Violation]:
    """Compare the whole outcome, where the faults entitle to none but the usual ones."""
    reference = schedule.reference
    if schedule.is_declared or _moves_what_may_be_late(schedule):
        return
    if schedule.business_failed:
        outcome = reference.outcome(schedule.recording)
        yield from unnoticed(schedule, outcome, _declaration(schedule))
        if schedule.kinds == {"fatal"} and len(schedule.recording.planned) == 1:
            yield from swallowed(schedule, outcome, _declaration(schedule))
        return
    if schedule.cls == "T" and _is_cut_short(schedule):
        return
    outcome = without_tail(schedule, _without_extra(schedule, reference.outcome(schedule.recording)))
    if outcome in reference.outcomes:
        return
    is_service_failing = schedule.cls in ("S", "T") and any(fault.cls == "S" for fault in schedule.recording.faults)
    is_dealt_with = is_service_failing and (schedule.failure_reached or _fails_as_told(schedule))
    lost = _lost(schedule, outcome)
    found = lost or (_other_result(schedule, outcome) if is_dealt_with else _first(schedule, outcome))
    if found is None and is_dealt_with:
        yield from swallowed(schedule, outcome, _declaration(schedule))
    if found is None or (schedule.is_redrawn and lost is None):
        return
    is_timing = (
        lost is None
        and not (found.is_status and _broke_down(schedule))
        and (
            schedule.cls == "T"
            or schedule.may_branch_on_time
            or _comes_of_order(schedule)
            or schedule.cuts_what_acts
            or (found.is_value and reference.reads_clock and schedule.costs_time)
            or _depends_on_order(schedule, outcome)
            or any(_have_swapped_places(outcome, usual) for usual in reference.outcomes)
        )
    )
    why, fix = _cause(schedule, found, is_lost=lost is not None)
    yield Violation(
        "difference",
        "info" if is_timing else "error",
        f"timing: {found.about if found.is_value else found.title}" if is_timing else found.about,
        f"it depends on timing: {found.title}" if is_timing else found.title,
        found.workflow or reference.subject.workflow.name,
        found.run or schedule.recording.main,
        found.n,
        reference.line_of(found.step, found.workflow or reference.subject.workflow.name),
        found.evidence,
        why,
        f"if this is meant, declare it: {_declaration(schedule)}" if is_dealt_with else fix,
    )


def _fails_as_told(schedule: Schedule) -> bool:
    """Whether the main run fails by an error of its own, as a step has told by its result that a service did not answer."""
    main = schedule.trails.newest(schedule.recording.main)
    return bool(schedule.went_on) and main is not None and main.status == "failed" and not _broke_down(schedule)


def _cause(schedule: Schedule, found: _Difference, *, is_lost: bool) -> tuple[str, str]:
    """Return why the outcome differs, and what to do about it; empty where that is not known."""
    if is_lost:
        return INTERLEAVED if schedule.is_interleaved else ("", "")
    if schedule.cls == "S" and schedule.went_on:
        return f"{schedule.went_on} went on without an answer, and returned something other than usual", (
            f"let the exception leave it, so that it is tried again; or if this is meant, declare it: {_declaration(schedule)}"
        )
    if schedule.took_no_notice and found.about in {
        fault.point.label for fault in schedule.recording.faults if fault.cls == "S"
    }:
        step = schedule.took_no_notice
        return f"{step} took no notice that its call failed", (
            "let the exception leave it (over HTTP: raise_for_status()), so that it is tried again"
        )
    return "", ""


def _comes_of_order(schedule: Schedule) -> bool:
    """Whether things came in another order, and that order is what matters.

    It is not, if the usual comes of it when a crash is replaced by a pause of the same length in the step that it struck. That
    shows nothing where timers are late as well, or where several steps begin anew.
    """
    if not schedule.is_reordered:
        return False
    recording, reference = schedule.recording, schedule.reference
    died = [event for event in recording.events if event.kind == "wrote" and getattr(event.data[0].entry, "died", False)]
    if len(recording.planned) != 1 or recording.planned[0].kind != "crash" or len(died) != 1:
        return True
    point, step = recording.planned[0].point, (died[0].run, died[0].n)
    if plain(point.phase) not in KINDS["delay"].phases or any(trail.timers for trail in schedule.trails):
        return True
    here, usual = (trails.newest(step[0]) for trails in (schedule.trails, reference.trails))
    if here is None or usual is None or not (here.ended_well(step[1]) and usual.ended_well(step[1])):
        return True
    pause = here.ends[step[1]][1].t - usual.ends[step[1]][1].t
    return pause <= 0 or reference.outcome(reference.paused(recording.planned[0], pause)) not in reference.outcomes


def _broke_down(schedule: Schedule) -> bool:
    """Whether a run failed by an error that Python raised in its own code: no moment is right for that."""
    return any(broke_down(trail) for trail in schedule.trails)


def _lost(schedule: Schedule, outcome: Outcome) -> _Difference | None:
    """Return how a state that the runs share differs, although each of them did what it usually does.

    That no clock, no chance and no order excuses: what a step wrote was lost, or was written twice.
    """
    if schedule.nominal not in ("M", "S") or schedule.is_reordered or not schedule.goes_the_usual_way:
        return None
    base = schedule.reference.outcomes[0]
    changed = {service for service, _, _ in (outcome.effects - base.effects) + (base.effects - outcome.effects)}
    steady = [service for service in dict(base.states) if service not in changed and _is_steady(schedule, service)]
    here, usual = (each._replace(states=tuple(s for s in each.states if s[0] in steady)) for each in (outcome, base))
    return _of_states(schedule, here, usual)


def _is_steady(schedule: Schedule, service: str) -> bool:
    """Whether a service is always left in the same state without faults."""
    return len({dict(each.states).get(service) for each in schedule.reference.outcomes}) == 1


def _moves_what_may_be_late(schedule: Schedule) -> bool:
    """Whether time was shifted for nothing but signals that the user expects to come too late, or never to be read."""
    shifting = [fault for fault in schedule.recording.planned if fault.cls == "T"]
    return bool(shifting) and all(
        fault.point.phase == "delivery" and schedule.reference.is_ignored(fault.point.label) for fault in shifting
    )


def _is_cut_short(schedule: Schedule) -> bool:
    """Whether the outside did not make all that it makes without faults: then there is nothing to compare."""
    base = schedule.reference.base
    return bool(schedule.came_less) or len(schedule.recording.deliveries) < len(base.deliveries) or _starts_less(schedule)


def _starts_less(schedule: Schedule) -> bool:
    starts = {each.run for each in schedule.reference.base.deliveries if each.kind == "start"}
    return not starts <= schedule.recording.runs.keys()


def _without_extra(schedule: Schedule, outcome: Outcome) -> Outcome:
    """Return the outcome without the effects that the user expects under these faults, above the usual ones."""
    extra = {each.name for each in schedule.reference.subject.expect if each.what == "extra" and each.fault in schedule.kinds}
    if not extra:
        return outcome
    usual = schedule.reference.outcomes[0].effects
    effects = {told: min(n, usual[told]) if told[1] in extra else n for told, n in outcome.effects.items()}
    return outcome._replace(effects=+Counter(effects))


def _declaration(schedule: Schedule) -> str:
    """Return what the user writes to expect this result under these faults."""
    kind, value = schedule.recording.faults[0].kind, repr(schedule.recording.result)
    told = value if len(value) <= _VALUE_CHARS_MAX else "<this result>"
    return f"expect=[outcome(fault={kind!r}, value={told})]"


def _depends_on_order(schedule: Schedule, outcome: Outcome) -> bool:
    """Whether the outcomes without faults differ by themselves, and this one is of their kind."""
    usual = schedule.reference.outcomes
    return len({str(each) for each in usual}) > 1 and _kind_of(outcome) in set(map(_kind_of, usual))


def _have_swapped_places(outcome: Outcome, usual: Outcome) -> bool:
    """Whether the same things came to other runs: who was first got the last one, and nothing is lost by that."""
    here, there = (Counter(end._replace(label="") for end in each.runs) for each in (outcome, usual))
    effects = [Counter(told[:2] for told in each.effects.elements()) for each in (outcome, usual)]
    return outcome.runs != usual.runs and here == there and effects[0] == effects[1] and outcome.states == usual.states


def _kind_of(outcome: Outcome) -> tuple[object, ...]:
    effects = Counter(told[:2] for told in outcome.effects.elements())
    return tuple(end[:4] for end in outcome.runs), frozenset(effects.items())


def _other_result(schedule: Schedule, outcome: Outcome) -> _Difference | None:
    """Return how a run that was started from outside completes with another result, although a step failed it."""
    completed = (trail for trail in schedule.trails if trail.status == "completed")
    if any(schedule.reference.is_undo(step) for trail in completed for step in trail.steps.values()):
        return None  # it has undone what it did, and says so
    known = {end for each in schedule.reference.outcomes for end in each.runs}
    subject = schedule.reference.subject
    asked_for = [end for end in outcome.runs if end.label or end.workflow == subject.workflow.name]
    if any(end.status != "completed" and end not in known for end in asked_for):
        return None  # one of them has failed, so others may get what it did not
    for end in asked_for:
        if end not in known:
            usual = next((each for each in schedule.reference.outcomes[0].runs if each[:2] == end[:2]), None)
            if usual is not None and usual.status == "completed":
                return _ended_otherwise(usual, end)
    return None


def _first(schedule: Schedule, outcome: Outcome) -> _Difference | None:
    """Return the most telling difference from the base: ends of runs before effects, effects before states."""
    base = schedule.reference.outcomes[0]
    here, usual = Counter(outcome.runs), Counter(base.runs)
    new, missing = sorted((here - usual).elements()), sorted((usual - here).elements())
    statuses = [(old, end) for end in new for old in missing if old[:2] == end[:2] and old[2:4] != end[2:4]]
    if statuses:
        return _ended_otherwise(*statuses[0])
    by_effect = _of_effects(schedule, outcome, base)
    if by_effect is not None and not by_effect.is_value:
        return by_effect
    results = [(old, end) for end in new for old in missing if old[:2] == end[:2]]
    if results:
        return _ended_otherwise(*results[0])
    if by_effect is not None:
        return by_effect
    if new and not missing and schedule.kinds & DUPLICATING and _repeat(new, base):
        new = []  # what was asked for twice ran twice, and that came to nothing more
    if new:
        return _Difference(new[0].workflow, f"one more {new[0].workflow} was started", (f"this run: {_end(new[0])}",))
    if missing:
        gone = missing[0].workflow
        return _Difference(gone, f"{gone} was not started", (f"fault-free: {_end(missing[0])}",))
    return _of_states(schedule, outcome, base)


def _repeat(new: Sequence[RunEnd], base: Outcome) -> bool:
    """Whether runs only did once more what another run does without faults."""
    known = {end._replace(label="") for end in base.runs}
    return all(end._replace(label="") in known for end in new)


def _ended_otherwise(usual: RunEnd, end: RunEnd) -> _Difference:
    return _Difference(
        "result" if usual.status == end.status else "status",
        f"{end.workflow} {_end(end)} instead of {_end(usual)}",
        (f"fault-free: {_end(usual)}", f"this run: {_end(end)}"),
        end.workflow,
        is_value=usual.status == end.status and _has_same_shape(usual.result, end.result),
        is_status=usual.status != end.status,
    )


def _end(end: RunEnd) -> str:
    return f"{end.status}{f' with {end.error}' if end.error else ''}{f' {short(end.result)}' if end.result else ''}"


def _has_same_shape(one: str, other: str) -> bool:
    if not one or not other:
        return one == other
    mine, theirs = msgspec.json.decode(one), msgspec.json.decode(other)
    paths = differing(mine, theirs)
    if () in paths:
        return type(mine) is type(theirs) is not bool
    return bool(masked(mine, paths) == masked(theirs, paths))


def _of_effects(schedule: Schedule, outcome: Outcome, base: Outcome) -> _Difference | None:
    new, missing = sorted((outcome.effects - base.effects).elements()), sorted((base.effects - outcome.effects).elements())
    if not new and not missing:
        return None
    named = (new or missing)[0][:2]
    mine, theirs = [told for told in new if told[:2] == named], [told for told in missing if told[:2] == named]
    _, name = named
    effect = next((each for each in reversed(schedule.recording.effects) if (each.service, each.name) == named), None)
    step = schedule.trails.step_of(effect) if effect is not None else None
    trail = schedule.trails.of(effect) if effect is not None else None
    usual, now = (sum(n for told, n in each.effects.items() if told[:2] == named) for each in (base, outcome))
    if mine and theirs and usual == now:
        title = f"{name} happened with {short(mine[0][2])} instead of {short(theirs[0][2])}"
    else:
        title = f"{name} happened {times(now)} instead of {times(usual)}"
    return _Difference(
        name,
        title,
        (
            *(f"fault-free: {name} {short(told[2])}" for told in theirs[:2]),
            *(f"this run: {name} {short(told[2])}" for told in mine[:2]),
        ),
        trail.workflow if trail is not None else "",
        step.name if step is not None else "",
        effect.run if effect is not None else "",
        effect.n if effect is not None else 0,
        is_value=usual == now and Counter(t[:2] for t in new) == Counter(t[:2] for t in missing),
    )


def _of_states(schedule: Schedule, outcome: Outcome, base: Outcome) -> _Difference | None:
    here, usual = dict(outcome.states), dict(base.states)
    for service in sorted(here.keys() | usual.keys()):
        mine, theirs = here.get(service, "{}"), usual.get(service, "{}")
        if mine == theirs:
            continue
        one, other = msgspec.json.decode(mine), msgspec.json.decode(theirs)
        path = min(differing(one, other))
        where = ".".join((service, *path))
        found, expected = canonical(_at(one, path)), canonical(_at(other, path))
        writer = _writer_of(schedule)
        return _Difference(
            service,
            f"{where} is {short(found)} instead of {short(expected)}",
            (f"fault-free: {where} = {expected}", f"this run: {where} = {found}"),
            step=writer,
            is_value=True,
        )
    return None


def _at(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(value, dict):
            return unordered(value)
        value = value.get(key)
    return value


def _writer_of(schedule: Schedule) -> str:
    """Return the last step that wrote shared state."""
    for point in reversed(schedule.recording.trace):
        if point.phase == "put":
            trail = schedule.trails.newest(point.run or schedule.recording.main)
            step = trail.steps.get(point.n) if trail is not None else None
            return step.name if step is not None else ""
    return ""
