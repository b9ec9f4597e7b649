"""A signal that was accepted is taken, or still pending on a run that lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import DUPLICATING, Schedule
from wfkit.sim.oracles.words import times
from wfkit.sim.trails import Trail

_FIX = "take it after the wait has ended, too, or say why not: expect=[ignores(signal, 'reason')]"


def unread_in_base(schedule: Schedule) -> Iterator[Violation]:
    """Without faults: what a run was sent and never looked at."""
    for trail in schedule.trails:
        for name, count in _unread(trail).items():
            if trail.status == "completed" and not _is_ignored(schedule, name):
                yield _violation(
                    schedule, trail, name, f"{trail.workflow} ended without reading {name}", (f"unread: x{count}",)
                )


def unread(schedule: Schedule) -> Iterator[Violation]:
    """Under faults: what was taken without them, and now is refused or left unread. A run that failed reads no more."""
    if schedule.kinds & DUPLICATING or schedule.nominal == "B" or (schedule.nominal == "S" and schedule.failure_reached):
        return
    told: set[str] = set()
    for trail, name, title in (*_left(schedule), *_refused(schedule)):
        if name not in told and not _is_ignored(schedule, name):
            told.add(name)
            taken = _taken(schedule.reference.trails.newest(trail.id))[name]
            evidence = (f"fault-free: {name} taken {times(taken)}", f"this run: {name} taken {times(_taken(trail)[name])}")
            yield _violation(schedule, trail, name, title, evidence)


def _left(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    for trail in schedule.trails:
        taken = _taken(schedule.reference.trails.newest(trail.id))
        for name in _unread(trail):
            if trail.status == "completed" and _taken(trail)[name] < taken[name]:
                yield trail, name, f"{trail.workflow} ended without reading {name}"


def _refused(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    for delivery in schedule.recording.deliveries:
        trail = schedule.trails.newest(delivery.run)
        if (
            delivery.kind != "send"
            or not delivery.refused.startswith("RunEnded")
            or trail is None
            or trail.status != "completed"
        ):
            continue
        if _taken(trail)[delivery.name] < _taken(schedule.reference.trails.newest(trail.id))[delivery.name]:
            yield trail, delivery.name, f"{delivery.name} came when {trail.workflow} had ended, and was refused"


def _taken(trail: Trail | None) -> Counter[str]:
    return Counter(trail.signals[seq].name for seq in trail.taken if seq in trail.signals) if trail is not None else Counter()


def _unread(trail: Trail) -> Counter[str]:
    """Return the signals that nobody took in a run that ended, published ones apart: these it never asked to keep."""
    if trail.ending is None:
        return Counter()
    return Counter(signal.name for seq, signal in trail.signals.items() if seq not in trail.taken and not signal.published)


def _is_ignored(schedule: Schedule, name: str) -> bool:
    return any(each.what == "ignores" and each.name == name for each in schedule.reference.subject.expect)


def _violation(schedule: Schedule, trail: Trail, name: str, title: str, evidence: tuple[str, ...]) -> Violation:
    line = schedule.reference.line_of(workflow=trail.workflow)
    return Violation("signals", "warning", name, title, trail.workflow, trail.id, 0, line, evidence, fix=_FIX)
