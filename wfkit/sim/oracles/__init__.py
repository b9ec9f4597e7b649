"""The rules that a schedule is judged by, one module a family.

Each family is a function of a schedule that yields what is wrong with it. Which of them apply follows from the class of
the faults: see `Schedule.cls`.
"""

from __future__ import annotations

from typing import Any

from wfkit.sim.findings import Violation
from wfkit.sim.oracles import ambient, difference, draws, ledger, liveness, resource, saga, signals, user, vacuous
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.subject import Subject

_EXPLAINS = frozenset({"ledger", "saga", "liveness", "replay", "ambient", "signals"})
"""Where one of these has spoken, that the outcome differs says nothing more."""


def judge_base(subject: Subject, reference: Reference) -> list[Violation]:
    """Return what is wrong with the schedule without faults."""
    assert reference.subject is subject
    schedule = Schedule(reference, reference.base)
    if schedule.is_endless:
        return [*liveness.stopped(schedule)]
    return [
        *liveness.blocked_in_base(schedule),
        *resource.dangling(schedule),
        *resource.unawaited(schedule),
        *resource.size(schedule),
        *ledger.collisions(schedule),
        *ambient.asides(schedule),
        *ledger.refused_children(schedule),
        *saga.saga(schedule),
        *signals.unread_in_base(schedule),
        *user.invariants(schedule),
        *user.mistyped(schedule),
        *vacuous.proves_nothing(schedule),
    ]


def judge(subject: Subject, reference: Reference, recording: Recording[Any]) -> list[Violation]:
    """Return what is wrong with a schedule, given what its faults entitle it to."""
    assert reference.subject is subject
    reference.learn(recording)
    schedule = Schedule(reference, recording)
    if schedule.was_given_up:
        return []
    found = [*ledger.collisions(schedule), *ambient.asides(schedule), *user.invariants(schedule), *resource.amplified(schedule)]
    found += saga.refused_past_pivot(schedule)
    if not _is_same(reference, recording):
        found += [
            *draws.draws(schedule),
            *liveness.liveness(schedule),
            *resource.dangling(schedule),
            *saga.saga(schedule),
            *signals.unread(schedule),
        ]
        if schedule.cls in ("M", "S"):
            found += [*ledger.repeats(schedule), *ledger.opaque(schedule)]
        elif schedule.nominal == "T":
            found += ledger.rekeyed(schedule)
        elif schedule.nominal in ("M", "S"):
            found += ledger.given_up_on(schedule)
        if not any(violation.oracle in _EXPLAINS and violation.severity != "info" for violation in found):
            differing = [*difference.difference(schedule)]
            found += differing if _is_grave(differing) else [*differing, *signals.displaced(schedule)]
    return found


def _is_grave(found: list[Violation]) -> bool:
    return any(violation.severity != "info" for violation in found)


def _is_same(reference: Reference, recording: Recording[Any]) -> bool:
    """Whether nothing came of the faults that these rules could find: by far the most schedules are so."""
    is_quiet = not recording.stopped and not any(delivery.refused for delivery in recording.deliveries)
    return is_quiet and not reference.awaits_more and reference.is_same(recording)
