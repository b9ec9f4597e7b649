"""A signal that was accepted is taken, or still pending on a run that lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfkit.core.commands import SendSignal
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import DUPLICATING, Schedule
from wfkit.sim.oracles.words import times
from wfkit.sim.trails import Trail

_FIX = "take it after the wait has ended, too, or say why not: expect=[ignores(signal, 'reason')]"


def unread_in_base(schedule: Schedule) -> Iterator[Violation]:
    """Without faults: what a run was sent and never looked at."""
    for trail in schedule.trails:
        for name, count in _unread(trail).items():
            if trail.status == "completed" and not schedule.reference.is_ignored(name):
                yield _violation(
                    schedule, trail, name, f"{trail.workflow} ended without reading {name}", (f"unread: x{count}",)
                )
    told: set[str] = set()
    for trail, name in _dropped(schedule):
        if trail.status == "completed" and name not in told and not schedule.reference.is_ignored(name):
            told.add(name)
            yield _violation(schedule, trail, name, f"{name} came when {trail.workflow} had ended, and was dropped", ())


def unread(schedule: Schedule) -> Iterator[Violation]:
    """Under faults: what was taken without them, and now is refused or left unread. A run that failed reads no more."""
    if schedule.kinds & DUPLICATING or schedule.nominal == "B" or (schedule.nominal == "S" and schedule.failure_reached):
        return
    told: set[str] = set()
    for trail, name, title in (*_left(schedule), *_refused(schedule)):
        if name not in told and not schedule.reference.is_ignored(name):
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
    for trail, name in _dropped(schedule):
        usual = schedule.reference.trails.newest(trail.id)
        if trail.status == "completed" and _taken(trail)[name] < _taken(usual)[name]:
            yield trail, name, f"{name} came when {trail.workflow} had ended, and was dropped"


def _dropped(schedule: Schedule) -> Iterator[tuple[Trail, str]]:
    """Yield what runs sent to runs that had ended."""
    for trail in schedule.trails:
        for record in trail.records:
            for command in record.commands or ():
                target = schedule.trails.newest(command.run_id) if isinstance(command, SendSignal) else None
                if isinstance(command, SendSignal) and target is not None and target.ending is not None:
                    sent_as = f"{trail.id}/{trail.start.generation}/{command.n}"
                    generations = schedule.trails.by_id[command.run_id]
                    if not any(signal.dedupe == sent_as for each in generations for signal in each.signals.values()):
                        yield target, command.name


def _taken(trail: Trail | None) -> Counter[str]:
    return Counter(trail.signals[seq].name for seq in trail.taken if seq in trail.signals) if trail is not None else Counter()


def _unread(trail: Trail) -> Counter[str]:
    """Return the signals that nobody took in a run that ended, published ones apart: these it never asked to keep."""
    if trail.ending is None:
        return Counter()
    return Counter(signal.name for seq, signal in trail.signals.items() if seq not in trail.taken and not signal.published)


def _violation(schedule: Schedule, trail: Trail, name: str, title: str, evidence: tuple[str, ...]) -> Violation:
    line = schedule.reference.line_of(workflow=trail.workflow)
    return Violation("signals", "warning", name, title, trail.workflow, trail.id, 0, line, evidence, fix=_FIX)
