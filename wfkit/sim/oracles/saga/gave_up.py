"""Runs that gave up: what they did is undone, in reverse."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.core.commands import CompleteRun
from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.causes import undoing_of, why_left
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.pairing import Deed
from wfkit.sim.oracles.words import listed
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def must_be_undone(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What can be undone is undone, in the run itself and in the children that it has awaited."""
    if not deeds.compensates(trail):
        return
    done = [deed for deed in deeds.forward(trail) if not deeds.is_final(deed)]
    if trail.unreleased or deeds.has_undone(trail):
        children = (deed for child in _completed_children(deeds, trail) for deed in deeds.forward(child))
        done += [deed for deed in children if not deeds.is_residue(deed)]
    left = [deed for deed in done if deeds.can_be_undone(deed.trail, deed.n) and not deeds.is_undone(deed)]
    if not left:
        return
    names = listed(deed.name for deed in left)
    undoing = undoing_of(deeds, left[0])
    came = f"and {names} {'was' if len({deed.name for deed in left}) == 1 else 'were'} not undone"
    if undoing:
        came = f"while {undoing} was still under way"
    yield deeds.tell(
        left[0],
        "info" if _was_interrupted(deeds, trail) else "error",
        f"{trail.workflow} {_ended(trail)}, {came}",
        deeds.left_behind(left),
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
    undone = []
    for deed in deeds.forward(trail):
        undos = [undo.n for undo in deeds.undos_of(deed) if undo.trail is trail]
        if undos and deeds.can_be_undone(trail, deed.n):
            undone.append((deed, undos))
    for earlier, undos_of_earlier in undone:
        ends = [trail.ends[n][0] for n in undos_of_earlier if n in trail.ends]
        if len(ends) < len(undos_of_earlier):
            continue  # one of them is under way
        for later, undos_of_later in undone:
            is_before = trail.asked[later.n] < max(ends) <= min(trail.asked[n] for n in undos_of_later)
            if is_before and trail.follows(later.n, earlier.n):
                yield _forward(deeds, earlier, undos_of_earlier[-1], later, undos_of_later[0])
                return


def _forward(deeds: Deeds, earlier: Deed, undo_of_earlier: int, later: Deed, undo_of_later: int) -> Violation:
    trail = earlier.trail
    first, second = trail.steps[undo_of_earlier].name, trail.steps[undo_of_later].name
    is_by_saga = trail.steps[undo_of_earlier].compensation and trail.steps[undo_of_later].compensation
    return deeds.tell(
        earlier,
        "error",
        f"{first} came before {second}, but {later.step.name} was done after {earlier.step.name}",
        [
            f"done: {earlier.step.name} (#{earlier.n}), then {later.step.name} (#{later.n})",
            f"undone: {first} (#{undo_of_earlier}), then {second} (#{undo_of_later})",
        ],
        f"a saga undoes in reverse of registering, and {second} was registered before {first}"
        if is_by_saga
        else "compensations run in the order in which things were done, not in reverse",
        "register undos in the order in which things are done, or let s.do(step, ..., undo=...) register them"
        if is_by_saga
        else "undo in reverse: for undo in reversed(undos); a saga does so by itself",
    )


def left_without_undo(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What a saga did that nothing undoes stays when it gives up."""
    within = {n for commands in trail.failed_sagas for n in commands}
    for deed in deeds.forward(trail):
        if deed.n not in within or deeds.can_be_undone(trail, deed.n) or deeds.is_final(deed) or deed.services == {OPAQUE}:
            continue
        if any(undo.undo == deed.step.name for _, undo in trail.undos) or deeds.is_undone(deed):
            continue
        yield deeds.tell(
            deed,
            "warning",
            f"{deed.name} stays although the saga around it was undone",
            deeds.left_behind([deed]),
            *_why_it_stays(deeds, deed),
        )
        return


def _why_it_stays(deeds: Deeds, deed: Deed) -> tuple[str, str]:
    in_vain = next((undo for undo in deeds.undos_of(deed) if deeds.was_in_vain(deed, undo)), None)
    if in_vain is not None:
        return deeds.told_of_vain(deed, in_vain), f"register {in_vain.step.name} with what {deed.step.name} is called with"
    late = _registered_after(deeds, deed)
    if late and not deed.trail.ended_well(deed.n):
        return f"{deed.step.name} took effect but did not return, and {late} is registered after it", (
            f"register it before: s.undo({late}, ...), or await s.do({deed.step.name}, ..., undo={late})"
        )
    return f"{deed.step.name} has no undo", (
        f"give it an undo, put s.pivot() before it, or say that it stays: expect=[residue({deed.name!r}, 'reason')]"
    )


def _registered_after(deeds: Deeds, deed: Deed) -> str:
    """Return the undo that the code registers by hand as soon as a step has ended well; empty if there is none."""
    base = deeds.reference.trails.newest(deed.trail.id)
    if base is None or deed.n not in base.ends:
        return ""
    end, _ = base.ends[deed.n]
    return next((undo.undo for seq, undo in base.undos if seq == end and undo.of is None), "")


def left_by_inner_saga(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """What a saga within a saga did stays when the outer one gives up: the inner one was over by then."""
    for deed in deeds.forward(trail):
        if deed.n in trail.kept_within and not deeds.is_residue(deed) and not deeds.is_undone(deed):
            is_cut_short = any(0 < undo.trail.asked[undo.n] < undo.trail.cancelled for undo in deeds.undos_of(deed))
            yield deeds.tell(
                deed,
                "info" if is_cut_short else "warning",
                f"{deed.name} stays although the saga around it was undone",
                deeds.left_behind([deed]),
                f"the saga within the saga was over when {trail.workflow} {_ended(trail)}: its undos were released",
                f"use one saga for both, or say that it stays: expect=[residue({deed.name!r}, 'reason')]",
            )
            return


def _ended(trail: Trail) -> str:
    return "timed out" if trail.status == "timed_out" else "was cancelled" if trail.status == "cancelled" else "failed"
