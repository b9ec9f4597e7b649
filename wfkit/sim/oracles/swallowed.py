"""Failures that nobody took notice of: a run completes as always, and only what the failed step does is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Outcome, Told, happened
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def swallowed(schedule: Schedule, outcome: Outcome, declare: str) -> Iterator[Violation]:
    """A step failed for good, and the run that called it told and did all else that it tells and does without faults.

    One that asked for something more has dealt with it, and so has one in which the same came about by another call, such as
    a majority. A run that returns nothing claims nothing. What comes last, after other things were done, is often a courtesy.

    Args:
        schedule: what is judged.
        outcome: what came of it.
        declare: how the user says that this result is expected.
    """
    reference = schedule.reference
    usual = reference.outcomes[0]
    missing = usual.effects - outcome.effects
    if schedule.cls != "S" or not missing or outcome.effects - usual.effects:
        return
    for trail in schedule.trails:
        base = reference.trails.newest(trail.id)
        if base is None or not _completed_as_always(schedule, trail, base):
            continue
        for n, step in _failed(schedule, trail):
            lost = [
                told for told in _done_by(schedule, base, step) if told in missing and not _is_outvoted(outcome, missing, told)
            ]
            if lost and _is_relied_on(schedule, trail, n):
                yield _violation(schedule, trail, n, lost[0], declare)
                return


def _violation(schedule: Schedule, trail: Trail, n: int, lost: Told, declare: str) -> Violation:
    step, (_, effect, payload) = trail.steps[n].name, lost
    return Violation(
        "difference",
        "warning",
        step,
        f"{step} failed for good, and {trail.workflow} completed {short(bytes(trail.result or b'').decode())} as always",
        trail.workflow,
        trail.id,
        n,
        schedule.reference.line_of(step, trail.workflow),
        (f"fault-free: {effect} {short(payload)}", f"this run: no {effect}"),
        "the failure was swallowed: nothing else was done because of it, and the result does not tell of it",
        "let the exception leave the workflow, or return a result that tells of it; if it does no harm that it is missing, "
        f"declare it: {step} with Expect(at_least_once='reason'), or expect the result: {declare}",
    )


def _completed_as_always(schedule: Schedule, trail: Trail, base: Trail) -> bool:
    """Whether a run has the result and the state that it has without faults, and asked for nothing more to get there."""
    if trail.status != "completed" or base.status != "completed" or trail.result is None or bytes(trail.result) == b"null":
        return False
    here, there = (schedule.reference.whole_result_text(each.workflow, each.result) for each in (trail, base))
    failed = {name for _, name in _failed(schedule, trail)}
    return here == there and trail.shown == base.shown and not set(_asked(trail) - _asked(base)) - failed


def _failed(schedule: Schedule, trail: Trail) -> Iterator[tuple[int, str]]:
    """Yield the steps of which no call ended well, and that are to happen, and to happen once."""
    well = {step.name for n, step in trail.steps.items() if trail.ended_well(n)}
    for n, (_, entry) in trail.ends.items():
        if (
            isinstance(entry, StepFailed)
            and (name := trail.steps[n].name) not in well
            and not schedule.reference.may_repeat(name)
        ):
            yield n, name


def _is_relied_on(schedule: Schedule, trail: Trail, n: int) -> bool:
    """Whether something was done after a step had failed, or nothing at all."""
    done = {effect.n for effect in happened(schedule.recording) if schedule.trails.of(effect) is trail} | trail.children.keys()
    failed, _ = trail.ends[n]
    return not done or any(trail.asked[each] >= failed for each in done)


def _done_by(schedule: Schedule, base: Trail, step: str) -> Iterator[Told]:
    """Yield what a step does without faults, where that is known."""
    reference = schedule.reference
    for effect in happened(reference.base):
        if effect.service != OPAQUE and reference.trails.of(effect) is base and base.steps[effect.n].name == step:
            yield reference.told(effect)


def _is_outvoted(outcome: Outcome, missing: Counter[Told], told: Told) -> bool:
    """Whether the same service did one of this name, whatever it was about, or all of them did more than are missing."""
    service, name, _ = told
    if any(each[:2] == (service, name) for each in outcome.effects):
        return True
    done, lacking = (sum(n for each, n in effects.items() if each[1] == name) for effects in (outcome.effects, missing))
    return done > lacking


def _asked(trail: Trail) -> Counter[str]:
    """Count all that a run asks for, by name."""
    return Counter([*(name for name, _ in trail.requests), *trail.waits.values(), *("timer" for _ in trail.timers)])
