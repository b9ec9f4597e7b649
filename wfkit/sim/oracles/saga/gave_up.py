"""Runs that gave up: what they did is undone, in reverse."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.core.commands import CompleteRun
from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.causes import undoing_of, why_left
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.words import listed
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def must_be_undone(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    if not deeds.compensates(trail):
        return
    judged = [done for done in deeds.forward(trail) if deeds.can_be_undone(trail, done.n) and not deeds.is_final(done)]
    left = [done for done in judged if not deeds.is_undone(done, trail)]
    if trail.unreleased or deeds.has_undone(trail):
        children = [done for child in _completed_children(deeds, trail) for done in deeds.forward(child)]
        left += [
            done
            for done in children
            if deeds.can_be_undone(done.trail, done.n)
            and not deeds.is_residue(done)
            and not deeds.is_undone(done, done.trail)
            and not deeds.is_undone(done, trail)
        ]
    if not left:
        return
    names = listed(done.name for done in left)
    undoing = undoing_of(deeds, trail, left[0])
    came = f"and {names} {'was' if len({d.name for d in left}) == 1 else 'were'} not undone"
    if undoing:
        came = f"while {undoing} was still under way"
    yield deeds.tell(
        left[0],
        "info" if _was_interrupted(deeds, trail) else "error",
        f"{trail.workflow} {_ended(trail)}, {came}",
        [*(f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}" for done in left[:4])],
        *why_left(deeds, trail, left[0]),
    )


def _was_interrupted(deeds: Deeds, trail: Trail) -> bool:
    """Whether a run was undoing by hand when it was asked to stop, or when an undo failed for good.

    A saga goes on then. Who undoes by hand seldom provides for it, and it takes a second mishap.
    """
    undoing = [n for n, step in trail.steps.items() if deeds.reference.is_undo(step)]
    if trail.undos or not undoing:
        return False
    is_cut_short = trail.cancelled > min(trail.asked[n] for n in undoing)
    return is_cut_short or any(isinstance(trail.ends.get(n, (0, None))[1], StepFailed) for n in undoing)


def _completed_children(deeds: Deeds, trail: Trail) -> Iterator[Trail]:
    for command in trail.children.values():
        child = deeds.schedule.trails.newest(command.id)
        if command.awaited and child is not None and isinstance(child.ending, CompleteRun):
            yield child
            yield from _completed_children(deeds, child)


def undone_forward(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What was done later, and because of what was done before, is undone first."""
    undone = [(done, undos[0]) for done in deeds.forward(trail) if (undos := deeds.undos_of(done, trail))]
    for earlier, undo_of_earlier in undone:
        for later, undo_of_later in undone:
            end = trail.ends.get(undo_of_earlier)
            is_before = end is not None and trail.asked[later.n] < end[0] <= trail.asked[undo_of_later]
            if trail.follows(later.n, earlier.n) and is_before:
                first, second = trail.steps[undo_of_earlier].name, trail.steps[undo_of_later].name
                yield deeds.tell(
                    earlier,
                    "error",
                    f"{first} came before {second}, but {later.step.name} was done after {earlier.step.name}",
                    [
                        f"done: {earlier.step.name} (#{earlier.n}), then {later.step.name} (#{later.n})",
                        f"undone: {first} (#{undo_of_earlier}), then {second} (#{undo_of_later})",
                    ],
                    "compensations run in the order in which things were done, not in reverse",
                    "undo in reverse: for undo in reversed(undos); a saga does so by itself",
                )
                return


def left_without_undo(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What a saga did that nothing can undo stays when it gives up."""
    undos = [n for n, step in trail.steps.items() if step.compensation]
    registered = [seq for seq, undo in trail.undos if undo.of is not None]
    if not undos or not registered or len(registered) < len(trail.undos):
        return
    opened, left = min(registered), min(trail.asked[n] for n in undos)
    for done in deeds.forward(trail):
        asked = trail.asked[done.n]
        is_within = opened <= asked < left and not any(seq <= asked for seq in trail.releases)
        has_undo = any(undo.of == done.n or undo.undo == done.step.name for _, undo in trail.undos)  # or is one itself
        if is_within and not has_undo and not deeds.is_residue(done) and done.effects[0].service != OPAQUE:
            yield deeds.tell(
                done,
                "warning",
                f"{done.name} stays although the saga around it was undone",
                [f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}"],
                f"{done.step.name} has no undo",
                f"give it an undo, put s.pivot() before it, or say that it stays: expect=[residue({done.name!r}, 'reason')]",
            )
            return


def left_by_inner_saga(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What a saga within a saga did stays when the outer one gives up: the inner one was over by then."""
    undone = {n for _, undo in trail.undos if (n := undo.of) is not None and n not in trail.released}
    opened = {undo.of: seq for seq, undo in trail.undos}
    for done in deeds.forward(trail):
        over = trail.released.get(done.n)
        if over is None or deeds.is_residue(done) or deeds.is_undone(done, trail):
            continue
        around = [n for n in undone if opened[n] < opened[done.n] and trail.follows(done.n, n)]
        if around:
            yield deeds.tell(
                done,
                "warning",
                f"{done.name} stays although the saga around it was undone",
                [f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}"],
                f"the saga within the saga was over when {trail.workflow} {_ended(trail)}: its undos were released",
                f"use one saga for both, or say that it stays: expect=[residue({done.name!r}, 'reason')]",
            )
            return


def _ended(trail: Trail) -> str:
    return "timed out" if trail.status == "timed_out" else "was cancelled" if trail.status == "cancelled" else "failed"
