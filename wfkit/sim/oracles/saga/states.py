"""What step calls have changed in the states of services, and whether it is back to what it was."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from wfkit.sim.oracles.saga.pairing import Call, Deed
from wfkit.sim.recording import Recording
from wfkit.sim.services import canonical

Place: TypeAlias = tuple[str, ...]
"""Where a value stands: the service, and the keys from the outside in; for an item of a list, the item itself."""


class Changed(NamedTuple):
    """What one call of a service has changed."""

    by: str
    """The effect, or the key that was written."""
    before: Mapping[Place, Any]
    """What was in the places that it changed; None where there was nothing."""


class States:
    """The states that services had in a schedule."""

    def __init__(self, recording: Recording[Any]) -> None:
        self._recording = recording
        self._end: dict[str, Mapping[Place, Any]] = {}

    def is_back(self, deed: Call | Deed) -> bool:
        """Whether a step call has changed something, and all of that is at the end as it was before."""
        before: dict[Place, Any] = {}
        for changed in self._changed_by(deed):
            before = {**changed.before, **before}
        return bool(before) and self._is_as(before)

    def half(self, deed: Deed, undos: Iterable[Call]) -> tuple[list[str], list[str]]:
        """Return what its undos have left alone of what a step call did, and what they have not."""
        touched = {place for undo in undos for changed in self._changed_by(undo) for place in changed.before}
        left: list[str] = []
        undone: list[str] = []
        for changed in self._changed_by(deed):
            is_undone = bool(touched & changed.before.keys()) or self._is_as(changed.before)
            (undone if is_undone else left).append(changed.by)
        return left, undone

    def _changed_by(self, call: Call | Deed) -> list[Changed]:
        return self._changes.get((call.trail.id, call.n), [])

    def _is_as(self, before: Mapping[Place, Any]) -> bool:
        return all(self._at_end(place[0]).get(place) == value for place, value in before.items())

    @functools.cached_property
    def _changes(self) -> Mapping[tuple[str, int], list[Changed]]:
        """Return what each step call has changed, in order."""
        found: dict[tuple[str, int], list[Changed]] = defaultdict(list)
        later: dict[str, Mapping[Place, Any]] = {}
        for change in reversed(self._recording.changes):
            before = _flat(change.service, json.loads(canonical(change.before)))
            after = later.get(change.service, self._at_end(change.service))
            places = [place for place in before.keys() | after.keys() if before.get(place) != after.get(place)]
            if places:
                found[change.run, change.n].insert(0, Changed(change.by, {place: before.get(place) for place in places}))
            later[change.service] = before
        return found

    def _at_end(self, service: str) -> Mapping[Place, Any]:
        if service not in self._end:
            self._end[service] = _flat(service, json.loads(self._recording.states.get(service, "{}")))
        return self._end[service]


def _flat(service: str, state: Any) -> Mapping[Place, Any]:
    """Return every value of a state by its place. Of equal items of a list it is their number."""
    return dict(_leaves((service,), state))


def _leaves(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves((*place, key), each)
    elif isinstance(value, list):
        for item, count in Counter(map(canonical, value)).items():
            yield (*place, "[]", item), count
    else:
        yield place, value
