"""One schedule as the oracles see it: what its faults entitle it to, and what they brought about."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from wfkit.core.entries import SignalPublished, SignalReceived, StepCompleted, StepFailed
from wfkit.core.retry import DEATHS_MAX
from wfkit.sim.faults import KINDS, FaultClass, class_of
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference, happened
from wfkit.sim.services import canonical
from wfkit.sim.trails import Trail, Trails

DUPLICATING = frozenset({"dup", "lost_event_ack"})
_SLOWING = frozenset({"delay", "slow", "slow_n", "outage", "fail", "fail_n", "lost_ack"})
"""Kinds that cost time: minutes and hours, by themselves or by the attempts that follow."""
_HOLDING_UP = frozenset({"delay", "slow", "slow_n", "outage"})
"""Kinds that hold a step up for an hour, or until its timeout, or several of them."""
INTERLEAVED = (
    "another run came in between: what had been read was no longer so when it was acted on",
    "read, decide and write at once: compare_and_set in one step, or whatever the store offers for that",
)
"""Why runs that share something get in each other's way, and what to do about it."""
_RESTART_SECONDS = 2
"""What one crash costs at most: the process is down for a second, and attempts begin anew."""


class Schedule:
    """A recording beside its reference.

    Args:
        reference: the schedules without faults.
        recording: what is judged.
    """

    def __init__(self, reference: Reference, recording: Recording[Any]) -> None:
        self.reference = reference
        self.recording = recording
        self.kinds = frozenset(fault.kind for fault in recording.faults)

    @functools.cached_property
    def trails(self) -> Trails:
        return self.reference.trails if self.recording is self.reference.base else Trails(self.recording)

    @functools.cached_property
    def nominal(self) -> FaultClass:
        """What the faults are by name. One that comes early is made before its point is reached, if it ever is."""
        early = tuple(fault for fault in self.recording.planned if fault.kind == "early")
        return class_of((*self.recording.faults, *early))

    @functools.cached_property
    def was_given_up(self) -> bool:
        """Whether the engine held a step to be the cause of all the crashes: a limit of its own, and no workflow's fault."""
        return self.recording.lives > DEATHS_MAX and any(
            isinstance(entry, StepFailed) and entry.error.type == "WorkerDied"
            for trail in self.trails
            for _, entry in trail.ends.values()
        )

    @property
    def is_endless(self) -> bool:
        """Whether it was cut short, and not since the user said `until=`: what it comes to is not known."""
        return self.recording.stopped is not None and (
            self.recording.stopped.by != "time" or self.reference.subject.until is None
        )

    @property
    def business_failed(self) -> bool:
        """Whether somebody refused, or cancelled: what the outcome is then, only the workflow's author knows."""
        return any(fault.cls == "B" for fault in self.recording.faults)

    @functools.cached_property
    def cls(self) -> FaultClass:
        """What the faults entitle the schedule to. Where time ran out by their delay, time is what they shifted."""
        nominal = self.nominal
        return "T" if nominal in ("M", "S") and self._ran_out_of_time else nominal

    @functools.cached_property
    def _ran_out_of_time(self) -> bool:
        if "delay" in self.kinds and (
            self._has_new_timeouts or self._gave_up_calls or (self.may_branch_on_time and not self.reference.subject.runs)
        ):
            return True
        return any(self._outran(trail, self.reference.trails.newest(trail.id)) for trail in self.trails)

    @property
    def may_branch_on_time(self) -> bool:
        """Whether a run was held up that looks at a clock: it may then do something else, if hardly the same thing again."""
        return bool(self.kinds & _HOLDING_UP) and self.reference.reads_clock

    @property
    def costs_time(self) -> bool:
        """Whether the faults hold up more than a restart does: then a value may hold a time that the workflow measured."""
        return bool(self.kinds & _SLOWING)

    @property
    def is_interleaved(self) -> bool:
        """Whether a run was held up while others went on."""
        return "delay" in self.kinds and len(self.recording.runs) > 1

    @functools.cached_property
    def goes_the_usual_way(self) -> bool:
        """Whether every run asked for what it asks for without faults, and no step failed for good."""
        return not self._has_new_timeouts and not self.failure_reached and _ways(self.trails) == _ways(self.reference.trails)

    @functools.cached_property
    def _has_new_timeouts(self) -> bool:
        return _timeouts(self.trails) > _timeouts(self.reference.trails)

    @property
    def _gave_up_calls(self) -> bool:
        """Whether a step did not wait for an answer so long, and went on without it, or failed for good."""
        failed: set[tuple[str, int]] = set()
        for event in self.recording.events:
            if event.kind == "impatient":
                return True
            if event.kind == "unanswered":
                failed.add((event.run, event.n))
            elif event.kind == "attempt" and event.data[1] > 1:
                failed.discard((event.run, event.n))  # it was repeated, which is nothing to a workflow
        return bool(failed)

    def _outran(self, here: Trail, base: Trail | None) -> bool:
        """Whether a timer fired, or a wait closed, that without faults was a little too late to do so."""
        is_slow = bool(self.kinds & _SLOWING)
        if base is None:
            return False
        if here.cancel is not None and here.cancel.timeout and base.cancel is None:
            return is_slow
        if is_slow and base.cancel is not None:
            return True  # how far it comes until it is cancelled is always a matter of time
        for n, due in here.timers.items():
            if n not in here.ends or n in base.ends:
                continue
            if n not in base.timers:
                if is_slow and not (self.failure_reached or self.went_on):
                    return True
            elif is_slow or base.timers[n] - base.cut.get(n, due) <= _RESTART_SECONDS * 1_000_000 * (self.recording.lives - 1):
                return True
        return is_slow and any(n in here.waits and n not in base.cut for n in here.cut if n in base.waits)

    @functools.cached_property
    def is_reordered(self) -> bool:
        """Whether a run's own steps, timers and signals came in another order than without faults, or others won."""
        return any(
            _has_other_winner(trail, base) or not _in_order(trail.order, base.order)
            for trail in self.trails
            if (base := self.reference.trails.newest(trail.id)) is not None
        )

    @functools.cached_property
    def cuts_what_acts(self) -> bool:
        """Whether a workflow stopped waiting for a step that has acted, here or without faults.

        How far such a step comes is a matter of time, since nobody waits for it.
        """
        acted = {(effect.run, effect.n) for effect in (*self.reference.base.effects, *self.recording.effects)}
        return any((trail.id, n) in acted for trail in self.trails for n in trail.cut if n in trail.steps)

    @functools.cached_property
    def came_less(self) -> frozenset[str]:
        """Names of the signals of which less was sent than without faults, or sent before the receiver was there."""
        if self._moved_a_start:
            return self.reference.sent
        return frozenset(_arrivals(self.reference.base) - _arrivals(self.recording))

    @functools.cached_property
    def _moved_a_start(self) -> bool:
        deliveries = self.reference.base.deliveries
        moved = [fault.point.n for fault in self.recording.planned if fault.kind in ("late", "swap", "early")]
        return any(index < len(deliveries) and deliveries[index].kind == "start" for index in moved)

    @functools.cached_property
    def is_redrawn(self) -> bool:
        """Whether a step that draws by chance or returns a time was executed again, and drew something else.

        That it does is seen without faults: one that only measures itself, or waits a random moment, comes to the same. Or it
        is declared, such as of the answers of a language model.
        """
        if any(self.came_to_another(trail, n) for trail, n in self._declared_to_differ()):
            return True
        for read in self.recording.reads:
            here, base = self.trails.newest(read.run), self.reference.trails.newest(read.run)
            step = self.trails.step_at(read)
            if step is None or step.name not in self.reference.redrawing:
                continue
            if here is None or base is None or self.came_to_another(here, read.n):
                return True
        return False

    def _declared_to_differ(self) -> Iterator[tuple[Trail, int]]:
        """Yield the calls of steps whose whole result is `Volatile`."""
        declared = self.reference.volatile_steps
        if declared:
            yield from ((trail, n) for trail in self.trails for n, step in trail.steps.items() if step.name in declared)

    def came_to_another(self, here: Trail, n: int) -> bool:
        """Whether a step call has another result than without faults."""
        base = self.reference.trails.newest(here.id)
        if base is None or n not in base.steps or base.steps[n].name != here.steps[n].name:
            return False
        mine, theirs = (trail.ends.get(n, (0, None))[1] for trail in (here, base))
        return isinstance(mine, StepCompleted) and isinstance(theirs, StepCompleted) and mine.value != theirs.value

    def comes_last(self, trail: Trail, n: int) -> bool:
        """Whether a run did other things, and all of them before this command had ended: then it may be a courtesy."""
        done = {effect.n for effect in happened(self.recording) if self.trails.of(effect) is trail} | trail.children.keys()
        ended, _ = trail.ends[n]
        return bool(done) and all(trail.asked[each] < ended for each in done)

    @functools.cached_property
    def failure_reached(self) -> bool:
        """Whether a step failed for good that does not without faults: the workflow itself had to deal with it."""
        return bool(_failed_steps(self.trails) - _failed_steps(self.reference.trails))

    @functools.cached_property
    def went_on(self) -> str:
        """Name of a step that went on without an answer: a service failed it, and that very attempt returned something else.

        Empty if there is none, or if what it returned is what it returns without faults.
        """
        return next((trail.steps[n].name for trail, n in self._unfazed if self.came_to_another(trail, n)), "")

    @functools.cached_property
    def took_no_notice(self) -> str:
        """Name of a step that a service failed, and that very attempt returned what it returns without faults; or empty."""
        return next((trail.steps[n].name for trail, n in self._unfazed if not self.came_to_another(trail, n)), "")

    @functools.cached_property
    def _unfazed(self) -> list[tuple[Trail, int]]:
        """The step calls that ended well in the very attempt that a service failed."""
        struck: set[tuple[str, int]] = set()
        for event in self.recording.events:
            if event.kind == "fault" and event.data[0].cls == "S":
                struck.add((event.run, event.n))
            elif event.kind == "attempt" and event.data[1] > 1:
                struck.discard((event.run, event.n))
        found = ((self.trails.newest(run), n) for run, n in sorted(struck))
        return [(trail, n) for trail, n in found if trail is not None and trail.ended_well(n)]

    @functools.cached_property
    def is_declared(self) -> bool:
        """Whether the user expects the main run's result under one of these faults."""
        subject, run = self.reference.subject, self.recording.run
        result = run.result if run is not None else None
        if result is None:
            return False
        outcomes = [each for each in subject.expect if each.what == "outcome"]
        if (
            not self.kinds & {each.fault for each in outcomes}
            and self.nominal == "S"
            and (self.failure_reached or self.went_on)
        ):
            # However a service fails, what the workflow sees is a step that failed for good, or that says so.
            values = [each.value for each in outcomes if each.fault in KINDS and KINDS[each.fault].cls in ("S", "B")]
        else:
            values = [each.value for each in outcomes if each.fault in self.kinds]
        encode = subject.workflow.signature.result.encode
        return any(canonical(msgspec.json.decode(encode(value))) == canonical(msgspec.json.decode(result)) for value in values)

    @functools.cached_property
    def was_cancelled(self) -> bool:
        """Whether somebody asked a run to stop, other than a parent or the run's own timeout."""
        return "cancel" in self.kinds


def _in_order(here: list[tuple[str, int | str, int]], base: list[tuple[str, int | str, int]]) -> bool:
    common = set(here) & set(base)
    return [came for came in here if came in common] == [came for came in base if came in common]


def _has_other_winner(here: Trail, base: Trail) -> bool:
    """Whether a step or child was cut short that without faults came to its end, or the other way round."""
    decided = {n for n in here.cut if n in base.ends} | {n for n in base.cut if n in here.ends}
    return any(n in here.steps or n in here.children for n in decided)


def _arrivals(recording: Recording[Any]) -> Counter[str]:
    """Count the signals that came to a run or to the bus; also those that came when their receiver had ended."""
    refused = Counter(each.name for each in recording.deliveries if each.refused.startswith("RunEnded"))
    return refused + Counter(
        record.entry.name
        for records in recording.histories.values()
        for record in records
        if isinstance(record.entry, SignalPublished)
        or (isinstance(record.entry, SignalReceived) and not record.entry.published)
    )


def _ways(trails: Trails) -> dict[str, list[Counter[str]]]:
    """Count what each generation of each run asked for, by name."""
    return {
        id: [
            Counter([step.name for step in trail.steps.values()] + [child.workflow for child in trail.children.values()])
            for trail in generations
        ]
        for id, generations in trails.by_id.items()
    }


def _timeouts(trails: Trails) -> Counter[str]:
    """Count the steps that failed for good by their timeout; an attempt that is repeated is nothing to a workflow."""
    return Counter(
        trail.steps[n].name
        for trail in trails
        for n, (_, entry) in trail.ends.items()
        if isinstance(entry, StepFailed) and entry.error.type == "StepTimeout" and n in trail.steps
    )


def _failed_steps(trails: Trails) -> Counter[tuple[str, str, str]]:
    """Count the steps that failed for good, by their error: who deals with one has not yet dealt with another."""
    return Counter(
        (trail.workflow, trail.steps[n].name, entry.error.type)
        for trail in trails
        for n, (_, entry) in trail.ends.items()
        if isinstance(entry, StepFailed) and n in trail.steps and not trail.steps[n].compensation
    )
