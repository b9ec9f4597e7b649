"""What a step draws by chance and hands to the outside must be what its run goes on with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wfkit.sim.drawn import ITEM, Path, differing
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.recording import CHANCE, Recording
from wfkit.sim.services import Effect
from wfkit.sim.volatile import leaves


def draws(schedule: Schedule) -> Iterator[Violation]:
    """Whoever draws again under a known key leaves the outside with the first draw: no other call may be told the second.

    That the other call is told what was drawn is seen without faults, where it gets the same value each time.
    """
    recording, told = schedule.recording, set[str]()
    for kept, lost in recording.collisions:
        if kept.name != lost.name or _call(kept) != _call(lost) or lost.name in told or not _draws(recording, lost):
            continue
        for path in sorted(differing(kept.payload, lost.payload)):
            drawn = _at(lost.payload, path)
            later = next((each for each in recording.effects if drawn in _told(each) and _call(each) != _call(lost)), None)
            if later is not None and _belong_together(schedule, lost, path, later):
                told.add(lost.name)
                yield _violation(schedule, kept, lost, path, later)
                break


def _violation(schedule: Schedule, kept: Effect, lost: Effect, path: Path, later: Effect) -> Violation:
    step = schedule.trails.step_of(lost)
    trail = schedule.trails.newest(lost.run)
    name = step.name if step is not None else lost.name
    first, second = _at(kept.payload, path), _at(lost.payload, path)
    return Violation(
        "ledger",
        "error",
        lost.name,
        f"{later.name} is told {second}, but {lost.service} keeps {first} of {lost.name}",
        trail.workflow if trail is not None else "",
        lost.run,
        lost.n,
        schedule.reference.line_of(name),
        (f"key {kept.key}: {kept.name} {kept.text}", f"the same key: {lost.name} {lost.text}", f"{later.name} {later.text}"),
        f"{name} draws {'.'.join(path)} again when it is executed again, and {lost.service} knows its key already",
        "draw it in a step of its own, whose result is recorded, and hand it over as an argument",
    )


def _belong_together(schedule: Schedule, one: Effect, path: Path, other: Effect) -> bool:
    """Whether without faults two calls are told the same, whatever it is."""
    reference = schedule.reference
    values: set[Any] = set()
    for recording in (reference.base, *reference.redrawn, *reference.elsewhen):
        here, there = (_same_call(recording, each) for each in (one, other))
        if here is None or there is None or _at(here.payload, path) not in _told(there):
            return False
        values.add(_at(here.payload, path))
    return len(values) > 1


def _same_call(recording: Recording[Any], effect: Effect) -> Effect | None:
    what = (*_call(effect), effect.service, effect.name)
    return next((each for each in recording.effects if (*_call(each), each.service, each.name) == what), None)


def _call(effect: Effect) -> tuple[str, int]:
    return effect.run, effect.n


def _draws(recording: Recording[Any], effect: Effect) -> bool:
    return any((read.run, read.n) == _call(effect) and read.what.startswith(CHANCE) for read in recording.reads)


def _at(value: Any, path: Path) -> Any:
    """Return the text or number in a JSON value that a path leads to; None if it leads to no single one."""
    for key in path:
        if key == ITEM or not isinstance(value, dict):
            return None
        value = value.get(key)
    return value if isinstance(value, str | int | float) else None


def _told(effect: Effect) -> list[Any]:
    return list(leaves(effect.payload))
