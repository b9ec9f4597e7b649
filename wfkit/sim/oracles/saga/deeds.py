"""What was done and undone in a schedule, by step calls."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from wfkit.core.commands import RunStep
from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.reference import DECLARED, Reference, happened
from wfkit.sim.services import OPAQUE, Effect
from wfkit.sim.trails import Trail

_ASKING = ("call.before", "put")
"""Points at which a step asks the outside for something."""


class Deed(NamedTuple):
    """A step call that had effects outside."""

    trail: Trail
    n: int
    step: RunStep
    effects: tuple[Effect, ...]

    @property
    def name(self) -> str:
        return self.effects[0].name


class Deeds:
    """What was done and undone in a schedule, by step calls."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.reference = schedule.reference
        self.all = _done(schedule)
        self._effect_at: dict[tuple[str, int], int] = {}
        self._undo_at: dict[tuple[str, int], int] = {}
        self._late: set[tuple[str, int]] = set()
        """Calls of dead workers that arrived when nobody waited for them any more: no code can undo these in time."""
        self._in_vain_at: dict[tuple[str, int, str], int] = {}
        """When a service last told a step call that there was nothing to do, or refused it."""
        self._acted_at: dict[tuple[str, int, str], int] = {}
        """When a service last acted on a step call, or knew it by its key."""
        before = ""
        for index, event in enumerate(schedule.recording.events):
            if event.kind == "effect":
                self._effect_at[event.run, event.n] = self._undo_at[event.run, event.n] = index
                if before == "late":
                    self._late.add((event.run, event.n))
            elif event.kind in ("attempt", "repeated"):
                self._undo_at[event.run, event.n] = index
            if event.kind in ("effect", "repeated"):
                self._acted_at[event.run, event.n, event.data[0].service] = index
            elif event.kind == "nothing":
                self._in_vain_at[event.run, event.n, event.data[0].service] = index
            before = event.kind

    def has_undos(self, trail: Trail) -> bool:
        """Whether anything that the run did, or did without faults, can be undone."""
        base = self.reference.trails.newest(trail.id)
        return any(
            self.can_be_undone(each, n) for each in (trail, base) if each is not None for n in each.steps
        ) or self.compensates(trail)

    def can_be_undone(self, trail: Trail, n: int) -> bool:
        """Whether a step call has an undo: registered with it, or declared by `@step(undoes=...)`."""
        if any(undo.of == n for _, undo in trail.undos):
            return True
        step = self.reference.step(trail.steps[n].name)
        return step is not None and step.undoable

    def compensates(self, trail: Trail) -> bool:
        """Whether the run's code undoes things at all: in this schedule, or as it is written."""
        return bool(trail.undos) or self.has_undone(trail) or self.reference.undoes_by_hand(trail.workflow)

    def has_undone(self, trail: Trail) -> bool:
        return any(map(self.reference.is_undo, trail.steps.values()))

    def forward(self, *trails: Trail) -> list[Deed]:
        return [done for done in self.all if done.trail in trails and not self.reference.is_undo(done.step)]

    @functools.cached_property
    def completed(self) -> frozenset[str]:
        return frozenset(trail.id for trail in self.schedule.trails if trail.status == "completed")

    @functools.cached_property
    def usual(self) -> Deeds:
        """The same of the schedule without faults."""
        return Deeds(Schedule(self.reference, self.reference.base))

    def undos_of(self, done: Deed, within: Trail) -> list[int]:
        """Return the numbers of the commands of a run that undo a step call."""
        by_key = [
            n
            for n, step in within.steps.items()
            if step.undoes is not None and (step.undoes.step, step.undoes.key) == (done.step.name, done.step.key)
        ]
        return by_key or [n for n, step in within.steps.items() if step.undoes is None and self._undoes(step, done)]

    def _undoes(self, step: RunStep, done: Deed) -> bool:
        definition = self.reference.step(step.name)
        undone = definition.undoes.name if definition is not None and definition.undoes is not None else ""
        registered = any(
            undo.of == done.n and undo.undo == step.name and undo.args == step.args for _, undo in done.trail.undos
        )
        return registered or (undone == done.step.name and step.args == done.step.args)

    def is_undone(self, done: Deed, within: Trail) -> bool:
        """Whether a step call was undone when it had had its effect, or its undo itself failed for good."""
        for n in self.undos_of(done, within):
            if isinstance(within.ends.get(n, (0, None))[1], StepFailed):
                return True
            where = (done.trail.id, done.n)
            is_after = self._undo_at.get((within.id, n), 0) > self._effect_at.get(where, 0)
            is_done = is_after and not self.was_in_vain(done, within, n) and not self.is_idle(done, within, n)
            if within.ended_well(n) and (is_done or where in self._late):
                return True
        return False

    def was_in_vain(self, done: Deed, within: Trail, undo: int) -> bool:
        """Whether an undo found nothing to undo, although what it undoes had taken effect by then and no other undo had."""
        done_at = self._effect_at.get((done.trail.id, done.n), 0)
        services = {effect.service for effect in done.effects}
        told_so = max(self._in_vain_at.get((within.id, undo, service), 0) for service in services)
        acted = max(self._acted_at.get((within.id, n, service), 0) for n in self.undos_of(done, within) for service in services)
        return told_so > done_at > acted

    def is_idle(self, done: Deed, within: Trail, undo: int) -> bool:
        """Whether an undo asked nobody outside for anything, although services know of what it undoes."""
        if any(effect.service in (OPAQUE, DECLARED) for effect in done.effects):
            return False
        return (within.id, undo) not in self._asking

    @functools.cached_property
    def _asking(self) -> set[tuple[str, int]]:
        """The step calls that called a service, declared an effect, or wrote what is shared."""
        main = self.schedule.recording.main
        trace = self.schedule.recording.trace
        asked = {(point.run or main, point.n) for point in trace if point.phase.removeprefix("comp.") in _ASKING}
        return asked | {(event.run, event.n) for event in self.schedule.recording.events if event.kind == "effect"}

    def is_final(self, done: Deed) -> bool:
        """Whether a saga ended well, or passed its pivot, with this in it; or the user says that it stays."""
        trail = done.trail
        registered = [undo for _, undo in trail.undos if undo.of == done.n]
        if done.n in trail.released or self.is_residue(done):
            return True
        if registered:
            return False
        by_hand = {undo.undo for _, undo in trail.undos if undo.of is None}
        if any(undo.of is not None for _, undo in trail.undos):
            return not by_hand & set(self.reference.undos_of(done.step.name)) or _is_released(self.reference, done)
        return _is_released(self.reference, done)

    def is_residue(self, done: Deed) -> bool:
        names = {done.step.name, *(effect.name for effect in done.effects)}
        expect = self.reference.expect(done.step.name)
        return expect.read_only or any(each.what == "residue" and each.name in names for each in self.reference.subject.expect)

    def tell(
        self, about: Deed, severity: Severity, title: str, evidence: Sequence[str], why: str = "", fix: str = ""
    ) -> Violation:
        line = self.reference.line_of(about.step.name, about.trail.workflow)
        return Violation(
            "saga",
            severity,
            about.name,
            title,
            about.trail.workflow,
            about.trail.id,
            about.n,
            line,
            tuple(evidence),
            why,
            fix,
        )


def _done(schedule: Schedule) -> list[Deed]:
    effects: dict[tuple[str, int, int], list[Effect]] = defaultdict(list)
    trails: dict[tuple[str, int, int], Trail] = {}
    for effect in happened(schedule.recording):
        trail = schedule.trails.of(effect)
        if trail is not None:
            where = (trail.id, trail.start.generation, effect.n)
            effects[where].append(effect)
            trails[where] = trail
    return [Deed(trails[where], where[2], trails[where].steps[where[2]], tuple(found)) for where, found in effects.items()]


def _is_released(reference: Reference, done: Deed) -> bool:
    """Whether an undo that was registered by hand for a step call has been released."""
    names = set(reference.undos_of(done.step.name))
    registered = Counter(undo.undo for _, undo in done.trail.undos if undo.undo in names)
    left = Counter(undo.undo for undo in done.trail.unreleased if undo.undo in names)
    return bool(registered) and not left
