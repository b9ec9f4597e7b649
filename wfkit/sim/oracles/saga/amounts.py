"""What was done is undone once, and as a whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.pairing import Deed
from wfkit.sim.oracles.words import listed, times
from wfkit.sim.reference import Told
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def undone_more_than_once(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """No undo of a run has the same effect twice, nor have two undos of the same thing."""
    undoing = [deed for deed in deeds.all if deed.trail is trail and _counts(deeds, deed)]
    for deed in undoing:
        told = Counter(map(deeds.reference.told, deed.effects))
        name = next((each[1] for each, count in told.items() if count > 1), None)
        if name is not None and not _is_usual(deeds, name):
            yield _twice_by_one(deeds, deed, name)
            return
    yield from _twice_by_two(deeds, undoing)


def _counts(deeds: Deeds, deed: Deed) -> bool:
    """Whether a call undoes something, of which nobody says that it may happen more than once."""
    is_lenient = deeds.reference.may_repeat(deed.step.name) or deed.effects[0].service == OPAQUE
    return deeds.reference.is_undo(deed.step) and not is_lenient


def _twice_by_one(deeds: Deeds, deed: Deed, name: str) -> Violation:
    effects = tuple(effect for effect in deed.effects if effect.name == name)
    has_key = any(effect.key is not None for effect in effects)
    return deeds.tell(
        deed._replace(effects=effects),
        "error",
        f"{name} happened {times(len(effects))}: {deed.step.name} undid more than was done",
        [f"{name} {effect.text}, {f'key {effect.key}' if effect.key else 'without a key'}" for effect in effects[:4]],
        "each attempt makes another key" if has_key else "the call has no idempotency key, so each attempt is a new one",
        "pass idempotency_key=step_info().idempotency_key: compensations run again after a crash, like all steps",
    )


def _is_usual(deeds: Deeds, name: str) -> bool:
    """Whether one command has this effect more than once without faults, too."""
    return any(count > 1 for (_, each, _), count in deeds.reference.per_command.items() if each == name)


def _twice_by_two(deeds: Deeds, undoing: list[Deed]) -> Iterator[Violation]:
    calls: dict[Told, list[Deed]] = defaultdict(list)
    for undo in undoing:
        if not deeds.pairing.is_guess(undo):
            for told in dict.fromkeys(map(deeds.reference.told, undo.effects)):
                calls[told].append(undo)
    for (_, name, _), undos in calls.items():
        undone = {deed.where: deed for undo in undos for deed in deeds.pairing.undone_by(undo)}
        done = sum(max(Counter(effect.name for effect in deed.effects).values()) for deed in undone.values())
        if not undone or len(undos) <= done:
            continue
        steps = listed(undo.step.name for undo in undos)
        yield deeds.tell(
            undos[-1],
            "error",
            f"{name} happened {times(len(undos))} for one {next(iter(undone.values())).name}: it was undone more than once",
            [f"#{undo.n} {undo.step.name}: {name} {undo.effects[0].text}, key {undo.effects[0].key}" for undo in undos[:4]],
            f"{len(undos)} calls of {steps} undid the same thing, each with a key of its own",
            f"undo it in one place; or give these calls one key: {undos[-1].step.name}.with_options(key=...)(...)",
        )
        return


def undone_by_half(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """An undo takes back all that its step has done. Services that keep what was done tell what is left of it."""
    for deed in deeds.forward(trail):
        undos = deeds.undos_of(deed)
        if deeds.is_final(deed) or not undos or not deeds.is_undone(deed) or any(map(deeds.pairing.is_guess, undos)):
            continue
        left, undone = deeds.states.half(deed, undos)
        left = [name for name in left if not deeds.is_said_to_stay(name)]
        if left and undone and all(undo.trail.ended_well(undo.n) for undo in undos):
            undo = undos[0].step.name
            yield deeds.tell(
                deed,
                "warning",
                f"{listed(left)} stays: {undo} took back {listed(undone)} alone",
                [f"done by {deed.step.name}: {listed((*undone, *left))}", f"taken back by {undo}: {listed(undone)}"],
                f"{deed.step.name} does more than {undo} undoes",
                f"undo all of it in {undo}, or say that it stays: expect=[residue({left[0]!r}, 'reason')]",
            )
            return
