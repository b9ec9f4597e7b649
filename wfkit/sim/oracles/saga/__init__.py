"""A run leaves everything done, or everything undone: each effect that has an undo, once, in reverse."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.amounts import undone_by_half, undone_more_than_once
from wfkit.sim.oracles.saga.completed import must_be_complete, undone_in_vain
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.gave_up import left_by_inner_saga, left_without_undo, must_be_undone, undone_forward
from wfkit.sim.oracles.saga.given_up import given_up_on
from wfkit.sim.oracles.saga.pivot import refused_past_pivot
from wfkit.sim.oracles.schedule import Schedule

__all__ = ["refused_past_pivot", "saga"]

_GIVES_UP = ("failed", "cancelled", "timed_out")


def saga(schedule: Schedule) -> Iterator[Violation]:
    """Judge every run that ended: those that gave up must be undone, those that did not must be complete."""
    deeds = Deeds(schedule)
    may_lack = schedule.cls != "T" and (schedule.failure_reached or schedule.was_cancelled)
    for trail in schedule.trails:
        if trail.status == "completed" and may_lack:
            yield from must_be_complete(deeds, trail)
        if trail.status == "completed":
            yield from given_up_on(deeds, trail)
        if not deeds.has_undos(trail):
            continue
        yield from undone_more_than_once(deeds, trail)
        yield from undone_by_half(deeds, trail)
        if trail.status == "completed":
            yield from undone_in_vain(deeds, trail)
        if trail.status in _GIVES_UP:
            yield from must_be_undone(deeds, trail)
            yield from undone_forward(deeds, trail)
            yield from left_without_undo(deeds, trail)
            yield from left_by_inner_saga(deeds, trail)
