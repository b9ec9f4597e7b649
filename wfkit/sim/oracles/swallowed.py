"""Failures that nobody took notice of: a run completes as always, and only what the failed step does is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.completed import answered_for
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Outcome, Told, happened
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def swallowed(schedule: Schedule, outcome: Outcome, declare: str) -> Iterator[Violation]:
    """A step failed for good, and the run that called it told and did all else that it tells and does without faults.

    One that asked for something more has dealt with it, and so has one in which the same came about by another call, such
    as a majority. A child that failed is a failure of the run that awaited it. A run that returns nothing claims nothing.
    What comes last, after other things were done, is often a courtesy.

    Args:
        schedule: what is judged.
        outcome: what came of it.
        declare: how the user says that this result is expected.
    """
    reference = schedule.reference
    usual = reference.outcomes[0]
    missing = usual.effects - outcome.effects
    if schedule.cls not in ("S", "B") or not missing or outcome.effects - usual.effects:
        return
    for trail in schedule.trails:
        base = reference.trails.newest(trail.id)
        if base is None or not _completed_as_always(schedule, trail, base):
            continue
        for failed in _failed(schedule, trail):
            lost = [told for told in _done_by(schedule, failed) if told in missing and not _is_outvoted(outcome, missing, told)]
            if lost and not schedule.comes_last(trail, failed.of):
                yield _violation(schedule, trail, failed, lost[0], declare)
                return


class _Failed(NamedTuple):
    """A step call that failed for good, in a run or in a child of it that failed with it."""

    trail: Trail
    n: int
    of: int
    """The command of the run: the step, or the child."""

    @property
    def step(self) -> str:
        return self.trail.steps[self.n].name


def _violation(schedule: Schedule, trail: Trail, failed: _Failed, lost: Told, declare: str) -> Violation:
    step, (_, effect, payload) = failed.step, lost
    return Violation(
        "difference",
        "warning",
        step,
        f"{step} failed for good, and {trail.workflow} completed {short(bytes(trail.result or b'').decode())} as always",
        trail.workflow,
        failed.trail.id,
        failed.n,
        schedule.reference.line_of(step, trail.workflow),
        (f"fault-free: {effect} {short(payload)}", f"this run: no {effect}"),
        "the failure was swallowed: nothing else was done because of it, and the result does not tell of it",
        "let the exception leave the workflow, or return a result that tells of it; if it does no harm that it is missing, "
        f"declare it: {step} with Expect(at_least_once='reason'), or expect the result: {declare}",
    )


def _completed_as_always(schedule: Schedule, trail: Trail, base: Trail) -> bool:
    """Whether a run has the result and the state that it has without faults, and asked for nothing more to get there."""
    if trail.status != "completed" or base.status != "completed" or trail.returns_nothing:
        return False
    if not schedule.reference.has_whole_result_of(trail, base):
        return False
    failed = {each.step for each in _failed(schedule, trail)}
    return not any(_tells_more(schedule, each, failed) for each in _failed_with(schedule, trail))


def _tells_more(schedule: Schedule, trail: Trail, failed: AbstractSet[str]) -> bool:
    """Whether a run shows another state than without faults, or asks for more than once more what failed.

    What it asks for with other arguments is more: it may tell of the failure.
    """
    base = schedule.reference.trails.newest(trail.id)
    if base is None or trail.shown != base.shown:
        return True
    here, usual = (_asked(schedule, each) for each in (trail, base))
    return any(name not in failed for name, _ in here - usual)


def _failed_with(schedule: Schedule, trail: Trail) -> dict[Trail, int]:
    """Return a run, and the children that it awaited and that failed, each with the command that it is of."""
    found = {trail: 0}
    for n, command in trail.children.items():
        child = schedule.trails.newest(command.id)
        if command.awaited and n in trail.ends and child is not None and child.status == "failed":
            found |= dict.fromkeys(_failed_with(schedule, child), n)
    return found


def _failed(schedule: Schedule, trail: Trail) -> Iterator[_Failed]:
    """Yield the steps of which no call ended well, and that are to happen, and to happen once.

    Where a call of a step fails without faults, too, what the run does then is a part of all that it does as always.
    """
    well = {step.name for each in answered_for(schedule.trails, trail) for n, step in each.steps.items() if each.ended_well(n)}
    well |= schedule.reference.failing
    for each, child in _failed_with(schedule, trail).items():
        for n, (_, entry) in each.ends.items():
            failed = _Failed(each, n, child or n)
            if isinstance(entry, StepFailed) and failed.step not in well and not schedule.reference.may_repeat(failed.step):
                yield failed


def _done_by(schedule: Schedule, failed: _Failed) -> Iterator[Told]:
    """Yield what a step does without faults, where that is known."""
    reference = schedule.reference
    base = reference.trails.newest(failed.trail.id)
    for effect in happened(reference.base):
        trail = reference.trails.of(effect)
        if trail is not None and trail is base and effect.service != OPAQUE and trail.steps[effect.n].name == failed.step:
            yield reference.told(effect)


def _is_outvoted(outcome: Outcome, missing: Counter[Told], told: Told) -> bool:
    """Whether the same service did one of this name, whatever it was about, or all of them did more than are missing."""
    service, name, _ = told
    if any(each[:2] == (service, name) for each in outcome.effects):
        return True
    done, lacking = (sum(n for each, n in effects.items() if each[1] == name) for effects in (outcome.effects, missing))
    return done > lacking


def _asked(schedule: Schedule, trail: Trail) -> Counter[tuple[str, str]]:
    """Count all that a run asks for, by name and arguments."""
    requests = (schedule.reference.request(name, args) for name, args in trail.requests)
    return Counter([*requests, *((name, "") for name in trail.waits.values()), *(("timer", "") for _ in trail.timers)])
