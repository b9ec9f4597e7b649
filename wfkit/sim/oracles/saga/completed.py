"""Runs that completed: what they do without faults is done, or undone and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.causes import why_left
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.pairing import Deed
from wfkit.sim.oracles.words import listed
from wfkit.sim.reference import Reference, Told
from wfkit.sim.trails import Trail, Trails


def must_be_complete(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """A run that completes after a failure has done all that can be undone, or has dealt with the failure."""
    base = deeds.reference.trails.newest(trail.id)
    if base is None or base.status != "completed":
        return
    own = answered_for(deeds.schedule.trails, trail, deeds.completed)
    if not any(map(deeds.has_undos, own)):
        return
    usual = deeds.usual
    kept = [deed for deed in deeds.forward(*own) if not deeds.is_undone_within(deed, trail) and not deeds.is_residue(deed)]
    done_there = usual.forward(*answered_for(deeds.reference.trails, base, deeds.completed))
    undoable = (deed for deed in done_there if usual.can_be_undone(deed.trail, deed.n))
    expected = [deed for deed in undoable if not usual.is_undone_within(deed, base)]
    here, there = told_of(deeds.reference, kept), told_of(deeds.reference, done_there)
    missing = told_of(deeds.reference, expected) - here
    if not missing or here - there:
        return  # complete, or another way was taken
    tells_the_same = has_same_result(deeds.reference, trail, base)
    undid = any(map(deeds.has_undone, own))
    held = [deed for deed in kept if deeds.can_be_undone(deed.trail, deed.n)]
    if tells_the_same:
        if undid and result_of(deeds.reference, trail) == "null":
            return  # it tells nothing, and has dealt with the failure
    else:
        is_meant = bool(trail.releases) and not trail.unreleased and not deeds.schedule.was_cancelled
        if not held or undid or is_meant or not deeds.compensates(trail):
            return
    never = listed(told[1] for told in missing)
    about = held[0] if held else expected[0]._replace(trail=trail)
    stays = f", and {listed(deed.name for deed in held)} was kept" if held else ""
    cause = "cancel" if deeds.schedule.was_cancelled and trail.cancel is not None else "failure"
    yield deeds.tell(
        about,
        "error",
        f"{trail.workflow} completed after a {cause}, but {never} did not happen{stays}",
        [
            *(f"fault-free: {told[1]} {told[2]} x{count}" for told, count in list(missing.items())[:4]),
            *(f"kept: {deed.name} {deed.effects[0].text}" for deed in held[:4]),
        ],
        f"the {cause} was swallowed: the run says that all is well"
        if tells_the_same
        else f"the {cause} was taken for an answer",
        "let the exception leave the block, or undo what was done and return a result that tells of it",
    )


def answered_for(trails: Trails, trail: Trail, completed: frozenset[str] = frozenset()) -> list[Trail]:
    """Return a run, and with it the children that it awaited, but for those that `completed`: they answer for themselves."""
    found = [trail]
    for command in trail.children.values():
        child = trails.newest(command.id)
        if command.awaited and child is not None and child.id not in completed:
            found += answered_for(trails, child, completed)
    return found


def told_of(reference: Reference, deeds: Sequence[Deed]) -> Counter[Told]:
    return Counter(reference.told(effect) for deed in deeds for effect in deed.effects)


def result_of(reference: Reference, trail: Trail) -> str:
    return reference.result_text(trail.workflow, trail.result)


def has_same_result(reference: Reference, trail: Trail, base: Trail) -> bool:
    """Whether two runs tell the same. What is drawn anew tells nothing; what may differ, and does, tells something."""
    return reference.has_whole_result_of(trail, base) and result_of(reference, trail) == result_of(reference, base)


def undone_in_vain(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """A run may catch what leaves a saga, and complete. What that saga undid is undone all the same."""
    registered = {undo.of for _, undo in trail.undos}
    left = [
        deed
        for deed in deeds.forward(trail)
        if deed.n in registered
        and not deeds.is_final(deed)
        and any(undo.trail.ended_well(undo.n) for undo in deeds.undos_of(deed))
        and not deeds.is_undone(deed)
    ]
    if left:
        yield deeds.tell(
            left[0],
            "error",
            f"a saga of {trail.workflow} was undone, and {listed(deed.name for deed in left)} was not",
            deeds.left_behind(left),
            *why_left(deeds, trail, left[0]),
        )
