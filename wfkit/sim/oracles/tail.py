"""The end of schedules that `until=` cuts short: faults cost time, so the last turns of a loop may fall beyond it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from wfkit.sim.faults import HOUR, KINDS, Fault
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Outcome, happened

_RESTART = 2_000_000
"""What one crash costs at most, in microseconds."""
_LASTING = ("delay", "outage", "jump+", "jump-", "freeze", "skew", "crash_long", "late")
"""Kinds that cost as much as their parameter says; microseconds."""


def without_tail(schedule: Schedule, outcome: Outcome) -> Outcome:
    """Return an outcome that has what comes last without faults, and did not come any more: there was no time left for it."""
    base, until = schedule.reference.base, schedule.reference.subject.until
    if until is None or base.stopped is None or schedule.recording.stopped is None:
        return outcome
    since = base.started + timedelta(microseconds=until - _lost(schedule.recording))
    usual = schedule.reference.outcomes[0]
    late = Counter(schedule.reference.told(effect) for effect in happened(base) if effect.at > since)
    missing = (usual.effects - outcome.effects) & late
    outcome = outcome._replace(effects=outcome.effects + missing)
    if missing or any(event.kind == "attempt" and event.at > since.timestamp() * 1e6 for event in base.events):
        outcome = outcome._replace(states=usual.states)
    return outcome._replace(runs=_runs(schedule, outcome, since))


def _runs(schedule: Schedule, outcome: Outcome, since: datetime) -> Any:
    """Return how runs ended: those that without faults began or ended last as they did there."""
    base, usual = schedule.reference.base, schedule.reference.outcomes[0]
    moment = since.timestamp() * 1e6
    ids = [id for id, run in base.runs.items() if max(record.entry.t for record in run.records) > moment]
    late = Counter(schedule.reference.run_end(id, base.runs[id]) for id in ids)
    missing = Counter(usual.runs) - Counter(outcome.runs)
    new = Counter(outcome.runs) - Counter(usual.runs)
    is_late = missing <= late and all(end.status == "running" for end in new)
    return usual.runs if is_late else outcome.runs


def _lost(recording: Recording[Any]) -> int:
    """Return how much time the faults may have cost, in microseconds."""
    return _RESTART * recording.lives + sum(map(_cost, recording.faults))


def _cost(fault: Fault) -> int:
    if fault.kind in _LASTING:
        return fault.amount
    if KINDS[fault.kind].is_counted:
        return HOUR * fault.amount
    return HOUR if fault.cls == "S" else _RESTART
