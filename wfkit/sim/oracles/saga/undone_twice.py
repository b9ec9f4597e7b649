"""What was undone more often than it was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.deeds import Deed, Deeds
from wfkit.sim.oracles.words import times
from wfkit.sim.reference import Told
from wfkit.sim.services import OPAQUE
from wfkit.sim.trails import Trail


def undone_more_than_once(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    told: Counter[tuple[int, Told]] = Counter()
    undoing = [done for done in deeds.all if done.trail is trail and deeds.reference.is_undo(done.step)]
    for done in undoing:
        expect = deeds.reference.expect(done.step.name)
        if expect.read_only or expect.idempotent or expect.at_least_once or done.effects[0].service == OPAQUE:
            continue
        told.update((done.n, deeds.reference.told(effect)) for effect in done.effects)
        name = next((each[1] for (n, each), count in told.items() if n == done.n and count > 1), None)
        if name is None or _is_usual(deeds, name):
            continue
        effects = [effect for effect in done.effects if effect.name == name]
        has_key = any(effect.key is not None for effect in effects)
        yield deeds.tell(
            Deed(trail, done.n, done.step, tuple(effects)),
            "error",
            f"{name} happened {times(len(effects))}: {done.step.name} undid more than was done",
            [f"{name} {effect.text}, {f'key {effect.key}' if effect.key else 'without a key'}" for effect in effects[:4]],
            "each attempt makes another key" if has_key else "the call has no idempotency key, so each attempt is a new one",
            "pass idempotency_key=step_info().idempotency_key: compensations run again after a crash, like all steps",
        )
        return


def _is_usual(deeds: Deeds, name: str) -> bool:
    """Whether one command has this effect more than once without faults, too."""
    return any(count > 1 for (_, each), count in deeds.reference.per_command.items() if each == name)
