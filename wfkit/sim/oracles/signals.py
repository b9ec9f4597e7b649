"""A signal that was accepted is taken, or still pending on a run that lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TypeAlias

from wfkit.core.commands import SendSignal
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.schedule import DUPLICATING, Schedule
from wfkit.sim.oracles.words import short, times
from wfkit.sim.trails import Trail

_FIX = "take it after the wait has ended, too, or say why not: expect=[ignores(signal, 'reason')]"
_TAKE_ONCE = (
    "keep what was taken by who sent it, and leave out what comes again; or let the sender say dedupe=, the same each time"
)

Fact: TypeAlias = tuple[str, str]
"""A signal by its name and payload: deliveries of the same are one fact."""


def unread_in_base(schedule: Schedule) -> Iterator[Violation]:
    """Without faults: what a run was sent and never looked at, what came too late, and what was sent to nobody."""
    for trail in schedule.trails:
        if trail.ending is not None and trail.status == "completed":
            for name, count in unread_of(trail).items():
                if not schedule.reference.is_ignored(name):
                    yield _violation(
                        schedule, trail, name, f"{trail.workflow} ended without reading {name}", (f"unread: x{count}",)
                    )
    told: set[str] = set()
    too_late = [each for each in (*_refused_in_base(schedule), *_dropped(schedule)) if each[0].status == "completed"]
    for trail, name, title in (*too_late, *_too_early(schedule)):
        if name not in told and not schedule.reference.is_ignored(name):
            told.add(name)
            yield _violation(schedule, trail, name, title, ())
    yield from _sent_to_nobody(schedule)


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


def unread_of(trail: Trail) -> Counter[str]:
    """Return the signals that nobody has taken in a run, published ones apart: these it never asked to keep."""
    return Counter(signal.name for seq, signal in trail.signals.items() if seq not in trail.taken and not signal.published)


def _left(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    for trail in schedule.trails:
        taken = _taken(schedule.reference.trails.newest(trail.id))
        for name in unread_of(trail):
            if trail.status == "completed" and _taken(trail)[name] < taken[name]:
                yield trail, name, f"{trail.workflow} ended without reading {name}"


def _refused(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    for trail, name, title in (*_refused_deliveries(schedule), *_dropped(schedule), *_too_early(schedule)):
        usual = schedule.reference.trails.newest(trail.id)
        if trail.status == "completed" and _taken(trail)[name] < _taken(usual)[name]:
            yield trail, name, title


def _refused_deliveries(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    """Yield what the outside sent to runs that had ended."""
    for delivery in schedule.recording.deliveries:
        trail = schedule.trails.newest(delivery.run)
        if delivery.kind == "send" and delivery.refused.startswith("RunEnded") and trail is not None:
            yield trail, delivery.name, f"{delivery.name} came when {trail.workflow} had ended, and was refused"


def _refused_in_base(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    """Yield what a run had asked for and came too late, where the script does not deal with the refusal.

    A script that only tries what comes of a signal that its run never asks for loses nothing by that.
    """
    if schedule.recording.script_error.startswith("RunEnded"):
        for trail, name, title in _refused_deliveries(schedule):
            if any(name in each.waits.values() for each in schedule.trails.by_id[trail.id]):
                yield trail, name, title


def _dropped(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    """Yield what runs sent to runs that had ended."""
    for target, name, is_early in _lost(schedule):
        if not is_early and target.ending is not None:
            yield target, name, f"{name} came when {target.workflow} had ended, and was dropped"


def _too_early(schedule: Schedule) -> Iterator[tuple[Trail, str, str]]:
    """Yield what runs sent to runs that were not there yet."""
    for target, name, is_early in _lost(schedule):
        if is_early:
            yield target, name, f"{name} came before {target.workflow} was started, and was dropped"


def _lost(schedule: Schedule) -> Iterator[tuple[Trail, str, bool]]:
    """Yield what runs sent and nobody got: to whom, what, and whether that was before there was anybody."""
    for _, target, command, at in _sent(schedule):
        if target is not None and not _came(schedule, target, command):
            yield target, command[1].name, at < schedule.trails.by_id[target.id][0].start.t


def _sent_to_nobody(schedule: Schedule) -> Iterator[Violation]:
    """Tell of signals for runs that are never there: of a wrong id, or of runs that take no part."""
    told: set[str] = set()
    for sender, target, (_, command), _at in _sent(schedule):
        if target is not None or command.run_id in told:
            continue
        told.add(command.run_id)
        near = get_close_matches(command.run_id, schedule.trails.by_id, n=1)
        severity: Severity = "warning" if near else "info"
        meant = f": is it {near[0]!r}?" if near else ", which takes no part here"
        fix = f"fix the id: {near[0]!r}" if near else "let it take part: verify(..., runs=[Instance(...)])"
        title = f"{command.name} was sent to {command.run_id!r}{meant}"
        yield _violation(schedule, sender, command.name, title, (), severity=severity, n=command.n, fix=fix)


Sent: TypeAlias = tuple[str, SendSignal]
"""The id by which a signal of a run is known to its receiver, and the command."""


def _sent(schedule: Schedule) -> Iterator[tuple[Trail, Trail | None, Sent, int]]:
    """Yield what runs send: who, to whom, what, and when."""
    for trail in schedule.trails:
        for record in trail.records:
            for command in record.commands or ():
                if isinstance(command, SendSignal):
                    sent_as = f"{trail.id}/{trail.start.generation}/{command.n}"
                    yield trail, schedule.trails.newest(command.run_id), (sent_as, command), record.entry.t


def _came(schedule: Schedule, target: Trail, sent: Sent) -> bool:
    return any(signal.dedupe == sent[0] for each in schedule.trails.by_id[target.id] for signal in each.signals.values())


# -- deliveries that come twice -----------------------------------------------------------------------------------------


def displaced(schedule: Schedule) -> Iterator[Violation]:
    """Tell of facts that a run did not take since it took another one twice, though what it comes to looks the same."""
    if not schedule.kinds & DUPLICATING:
        return
    for trail in schedule.trails:
        base = schedule.reference.trails.newest(trail.id)
        if trail.status != "completed" or base is None:
            continue
        here, usual = _facts(trail), _facts(base)
        twice = [fact for fact in usual if here[fact] > usual[fact]]
        gone = [fact for fact in usual if here[fact] < usual[fact] and not schedule.reference.is_ignored(fact[0])]
        for taken in twice:
            missed = next((fact for fact in gone if fact[0] == taken[0] and fact != taken), None)
            if missed is not None:
                name = taken[0]
                title = f"{name}({short(taken[1])}) was taken {times(here[taken])}, in place of {name}({short(missed[1])})"
                yield _violation(schedule, trail, name, title, (), why=f"{name} was delivered twice", fix=_TAKE_ONCE)
                break


def _facts(trail: Trail) -> Counter[Fact]:
    taken = (trail.signals[seq] for seq in trail.taken if seq in trail.signals)
    return Counter((signal.name, bytes(signal.payload).decode()) for signal in taken)


def _taken(trail: Trail | None) -> Counter[str]:
    return Counter(trail.signals[seq].name for seq in trail.taken if seq in trail.signals) if trail is not None else Counter()


def _violation(
    schedule: Schedule,
    trail: Trail,
    name: str,
    title: str,
    evidence: tuple[str, ...],
    *,
    severity: Severity = "warning",
    n: int = 0,
    why: str = "",
    fix: str = _FIX,
) -> Violation:
    line = schedule.reference.line_of(workflow=trail.workflow)
    return Violation("signals", severity, name, title, trail.workflow, trail.id, n, line, evidence, why, fix)
