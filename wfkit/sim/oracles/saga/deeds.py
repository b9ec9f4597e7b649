"""What was done and undone in a schedule, by step calls."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from wfkit.core.entries import StepCompleted, StepFailed
from wfkit.sim.faults import plain
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.saga.pairing import Call, Deed, Pairing, Where
from wfkit.sim.oracles.saga.states import States
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Reference, happened
from wfkit.sim.services import DECLARED, OPAQUE, Effect
from wfkit.sim.trails import Trail


class Deeds:
    """What was done and undone in a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.reference = schedule.reference
        self.all = _deeds(schedule)
        self._effect_at: dict[tuple[str, int], int] = {}
        self._undo_at: dict[tuple[str, int], int] = {}
        self._late: set[tuple[str, int]] = set()
        """Calls of dead workers that arrived when nobody waited for them any more: no code can undo these in time."""
        self._in_vain_at: dict[tuple[str, int, str], int] = {}
        """When a service last told a step call that there was nothing to do, or refused it."""
        self._acted_at: dict[tuple[str, int, str], int] = {}
        """When a service last acted on a step call, or knew it by its key."""
        self._asked: dict[tuple[str, int], set[str]] = defaultdict(set)
        """The services that a step call has reached."""
        before = ""
        for index, event in enumerate(schedule.recording.events):
            where = (event.run, event.n)
            if event.kind == "effect":
                self._effect_at[where] = self._undo_at[where] = index
                if before == "late":
                    self._late.add(where)
            elif event.kind in ("attempt", "repeated"):
                self._undo_at[where] = index
            if event.kind in ("effect", "repeated", "nothing"):
                service = event.data[0].service
                self._asked[where].add(service)
                told = self._in_vain_at if event.kind == "nothing" else self._acted_at
                told[event.run, event.n, service] = index
            before = event.kind

    # -- what was done --------------------------------------------------------------------------------------------------

    def forward(self, *trails: Trail) -> list[Deed]:
        return [deed for deed in self.all if deed.trail in trails and not self.reference.is_undo(deed.step)]

    def can_be_undone(self, trail: Trail, n: int) -> bool:
        """Whether a step call has an undo: registered with it, or declared by `@step(undoes=...)`."""
        if any(undo.of == n for _, undo in trail.undos):
            return True
        step = self.reference.step(trail.steps[n].name)
        return step is not None and step.undoable

    def is_final(self, deed: Deed) -> bool:
        """Whether a saga ended well, or passed its pivot, with this in it; or the user says that it stays."""
        trail = deed.trail
        if deed.n in trail.released or self.is_residue(deed):
            return True
        if any(undo.of == deed.n for _, undo in trail.undos):
            return False
        return deed.step.is_past_pivot or _is_released(self.reference, deed)

    def is_residue(self, deed: Deed) -> bool:
        names = {deed.step.name, *(effect.name for effect in deed.effects)}
        return self.reference.expect(deed.step.name).read_only or any(map(self.is_said_to_stay, names))

    def is_said_to_stay(self, name: str) -> bool:
        """Whether the user says so of an effect or a step."""
        return any(each.what == "residue" and each.name == name for each in self.reference.subject.expect)

    @functools.cached_property
    def completed(self) -> frozenset[str]:
        return frozenset(trail.id for trail in self.schedule.trails if trail.status == "completed")

    @functools.cached_property
    def usual(self) -> Deeds:
        """The same of the schedule without faults."""
        return Deeds(Schedule(self.reference, self.reference.base))

    # -- what runs undo -------------------------------------------------------------------------------------------------

    def has_undos(self, trail: Trail) -> bool:
        """Whether anything that the run did, or did without faults, can be undone."""
        base = self.reference.trails.newest(trail.id)
        return any(
            each.undos or any(self.can_be_undone(each, n) for n in each.steps) for each in (trail, base) if each is not None
        ) or self.compensates(trail)

    def compensates(self, trail: Trail) -> bool:
        """Whether the run's code undoes things at all: in this schedule, or as it is written."""
        base = self.reference.trails.newest(trail.id)
        if trail.undos or (base is not None and base.undos):
            return True
        return self.has_undone(trail) or self.reference.undoes_by_hand(trail.workflow)

    def has_undone(self, trail: Trail) -> bool:
        """Whether a run has begun to undo things, by its own steps or by children."""
        if any(map(self.reference.is_undo, trail.steps.values())):
            return True
        return any(undo.trail is not trail for deed in self.forward(trail) for undo in self.undos_of(deed))

    @functools.cached_property
    def pairing(self) -> Pairing:
        return Pairing(self.reference, self.schedule.trails, self.all, self._services_of, self._tells)

    @functools.cached_property
    def states(self) -> States:
        return States(self.schedule.recording)

    def undos_of(self, deed: Deed) -> list[Call]:
        """Return the step calls that undo one."""
        return self.pairing.undos_of(deed)

    def is_undone(self, deed: Deed) -> bool:
        """Whether a step call was undone, by whatever run. Where no undo of it is known, the services tell."""
        undos = self.undos_of(deed)
        return self._is_undone_by(deed, undos) if undos else self.states.is_back(deed)

    def is_undone_within(self, deed: Deed, trail: Trail) -> bool:
        """Whether a step call was undone by a run or its children."""
        family = list(self.pairing.family(trail))
        return self._is_undone_by(deed, [undo for undo in self.undos_of(deed) if undo.trail in family])

    def _is_undone_by(self, deed: Deed, undos: Sequence[Call]) -> bool:
        """Whether one of these was undoing a step call when that had had its effect, or failed for good."""
        where = (deed.trail.id, deed.n)
        for undo in undos:
            if isinstance(undo.trail.ends.get(undo.n, (0, None))[1], StepFailed):
                return True
            is_after = self._undo_at.get((undo.trail.id, undo.n), 0) > self._effect_at.get(where, 0)
            is_done = is_after and not self.was_in_vain(deed, undo) and not self.is_idle(deed, undo)
            if undo.trail.ended_well(undo.n) and (is_done or where in self._late):
                return True
        return False

    def was_in_vain(self, deed: Deed, undo: Call) -> bool:
        """Whether an undo found nothing to undo, although what it undoes had taken effect by then and no other undo had."""
        done_at = self._effect_at.get((deed.trail.id, deed.n), 0)
        told_so = max(self._in_vain_at.get((undo.trail.id, undo.n, service), 0) for service in deed.services)
        others = self.undos_of(deed)
        acted = max(self._acted_at.get((each.trail.id, each.n, service), 0) for each in others for service in deed.services)
        return told_so > done_at > acted

    def is_idle(self, deed: Deed, undo: Call) -> bool:
        """Whether an undo reached nobody outside with anything, although services know of what it undoes.

        One that was called by hand may tell its caller of that, as one that fails does.
        """
        if deed.services & {OPAQUE, DECLARED} or (undo.trail.id, undo.n) in self._reaching:
            return False
        return undo.step.compensation or not self.has_asked(undo) or _tells_nothing(undo)

    def has_asked(self, undo: Call) -> bool:
        """Whether an undo called a service, be it that the call did not arrive."""
        return (undo.trail.id, undo.n) in self._at("call.before")

    def _services_of(self, call: Call) -> Collection[str] | None:
        """Return the services that a call has reached; None where that is not known."""
        return self._asked.get((call.trail.id, call.n))

    def _tells(self, service: str) -> bool:
        """Whether a service keeps what was done, and so knows whether there is anything to undo."""
        return service in self.schedule.recording.states or service in self.reference.base.states

    @functools.cached_property
    def _reaching(self) -> set[tuple[str, int]]:
        """The step calls of which a call arrived at a service, or that declared an effect, or wrote what is shared."""
        return self._asked.keys() | self._at("put")

    def _at(self, phase: str) -> set[tuple[str, int]]:
        """Return the step calls that came to points of a phase."""
        main, trace = self.schedule.recording.main, self.schedule.recording.trace
        return {(point.run or main, point.n) for point in trace if plain(point.phase) == phase}

    # -- in words -------------------------------------------------------------------------------------------------------

    def left_behind(self, left: Sequence[Deed]) -> list[str]:
        return [f"left behind: {deed.name} {deed.effects[0].text}, done by {deed.step.name}" for deed in left[:4]]

    def told_of_vain(self, deed: Deed, undo: Call) -> str:
        """Say that an undo found nothing to undo, and by which arguments it did not."""
        told = f"{undo.step.name} ended well, but the service had found nothing to undo by it"
        if bytes(undo.step.args) == bytes(deed.step.args):
            return told
        return f"{told}: it was called with {short(_text(undo))}, and {deed.step.name} with {short(_text(deed))}"

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


def _tells_nothing(call: Call) -> bool:
    """Whether a step call that ended well returned nothing."""
    _, end = call.trail.ends.get(call.n, (0, None))
    return isinstance(end, StepCompleted) and bytes(end.value) == b"null"


def _text(call: Call | Deed) -> str:
    return bytes(call.step.args).decode()


def _deeds(schedule: Schedule) -> list[Deed]:
    effects: dict[Where, list[Effect]] = defaultdict(list)
    trails: dict[Where, Trail] = {}
    for effect in happened(schedule.recording):
        trail = schedule.trails.of(effect)
        if trail is not None:
            where = (trail.id, trail.start.generation, effect.n)
            effects[where].append(effect)
            trails[where] = trail
    return [Deed(trails[where], where[2], trails[where].steps[where[2]], tuple(found)) for where, found in effects.items()]


def _is_released(reference: Reference, deed: Deed) -> bool:
    """Whether an undo that was registered by hand for a step call has been released."""
    names = set(reference.undos_of(deed.step.name))
    registered = Counter(undo.undo for _, undo in deed.trail.undos if undo.undo in names)
    left = Counter(undo.undo for undo in deed.trail.unreleased if undo.undo in names)
    return bool(registered) and not left
