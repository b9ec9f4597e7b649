"""What step calls did outside under a key, as another process can tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from wfkit.core.commands import RunStep
from wfkit.sim.recording import Recording
from wfkit.sim.services import Effect, canonical
from wfkit.sim.trails import Trails


class Deed(Struct, frozen=True):
    """An effect, and the step call that had it."""

    run: str
    n: int
    step: str
    args: Raw
    service: str
    name: str
    key: str
    payload: Raw


def deeds(recording: Recording[Any]) -> list[Deed]:
    """Return what the steps of a schedule did outside under a key, in order."""
    trails = Trails(recording)
    found = []
    for effect in recording.effects:
        step = trails.step_of(effect)
        if step is not None and effect.key is not None:
            payload = Raw(effect.text.encode())
            found.append(Deed(effect.run, effect.n, step.name, step.args, effect.service, effect.name, effect.key, payload))
    return found


def may_differ(recording: Recording[Any]) -> bool:
    """Whether another process can do otherwise: whether a key or a payload has a part that is not as the journal has it."""
    trails = Trails(recording)
    keyed = ((effect, trails.step_of(effect)) for effect in recording.effects if effect.key is not None)
    return any(step is not None and not _is_journaled(effect, step) for effect, step in keyed)


def _is_journaled(effect: Effect, step: RunStep) -> bool:
    args = msgspec.json.decode(step.args)
    known = {canonical(args), *(canonical(part) for arg in args for part in _parts(arg))}
    payload = msgspec.json.decode(effect.text)
    sent = payload.values() if isinstance(payload, dict) else [payload]
    return canonical(effect.key) in (canonical(step.key), *known) and all(canonical(value) in known for value in sent)


def _parts(value: Any) -> Iterator[Any]:
    """Yield a value and what stands in it; but no items of a list, since which of them is taken may depend on an order."""
    yield value
    if isinstance(value, dict):
        for each in value.values():
            yield from _parts(each)
