"""A run leaves everything done, or everything undone: each effect that has an undo, once, in reverse."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wfkit.core.commands import CompleteRun, RunStep
from wfkit.core.entries import StepFailed
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed, times
from wfkit.sim.reference import DECLARED, Reference, Told, happened
from wfkit.sim.services import OPAQUE, Effect
from wfkit.sim.trails import Trail, Trails

_REGISTER_FIRST = "let a saga do it: async with saga() as s: await s.do(step, ..., undo=...) registers the undo before the step"
_ASKING = ("call.before", "put")
"""Points at which a step asks the outside for something."""
_GIVES_UP = ("failed", "cancelled", "timed_out")


class Done(NamedTuple):
    """A step call that had effects outside."""

    trail: Trail
    n: int
    step: RunStep
    effects: tuple[Effect, ...]

    @property
    def name(self) -> str:
        return self.effects[0].name


def saga(schedule: Schedule) -> Iterator[Violation]:
    """Judge every run that ended: those that gave up must be undone, those that did not must be complete."""
    ledger = _Ledger(schedule)
    may_lack = schedule.cls != "T" and (schedule.failure_reached or schedule.was_cancelled)
    for trail in schedule.trails:
        if trail.status == "completed" and may_lack:
            yield from _must_be_complete(ledger, trail)
        if not ledger.has_undos(trail):
            continue
        yield from _undone_more_than_once(ledger, trail)
        if trail.status == "completed":
            yield from _undone_in_vain(ledger, trail)
        if trail.status in _GIVES_UP:
            yield from _must_be_undone(ledger, trail)
            yield from _undone_forward(ledger, trail)
            yield from _left_without_undo(ledger, trail)
            yield from _left_by_inner_saga(ledger, trail)


class _Ledger:
    """What was done and undone in a schedule, by step calls."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.reference = schedule.reference
        self.done = _done(schedule)
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

    def forward(self, *trails: Trail) -> list[Done]:
        return [done for done in self.done if done.trail in trails and not self.reference.is_undo(done.step)]

    @functools.cached_property
    def completed(self) -> frozenset[str]:
        return frozenset(trail.id for trail in self.schedule.trails if trail.status == "completed")

    @functools.cached_property
    def usual(self) -> _Ledger:
        """The same of the schedule without faults."""
        return _Ledger(Schedule(self.reference, self.reference.base))

    def undos_of(self, done: Done, within: Trail) -> list[int]:
        """Return the numbers of the commands of a run that undo a step call."""
        by_key = [
            n
            for n, step in within.steps.items()
            if step.undoes is not None and (step.undoes.step, step.undoes.key) == (done.step.name, done.step.key)
        ]
        return by_key or [n for n, step in within.steps.items() if step.undoes is None and self._undoes(step, done)]

    def _undoes(self, step: RunStep, done: Done) -> bool:
        definition = self.reference.step(step.name)
        undone = definition.undoes.name if definition is not None and definition.undoes is not None else ""
        registered = any(
            undo.of == done.n and undo.undo == step.name and undo.args == step.args for _, undo in done.trail.undos
        )
        return registered or (undone == done.step.name and step.args == done.step.args)

    def is_undone(self, done: Done, within: Trail) -> bool:
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

    def was_in_vain(self, done: Done, within: Trail, undo: int) -> bool:
        """Whether an undo found nothing to undo, although what it undoes had taken effect by then and no other undo had."""
        done_at = self._effect_at.get((done.trail.id, done.n), 0)
        services = {effect.service for effect in done.effects}
        told_so = max(self._in_vain_at.get((within.id, undo, service), 0) for service in services)
        acted = max(self._acted_at.get((within.id, n, service), 0) for n in self.undos_of(done, within) for service in services)
        return told_so > done_at > acted

    def is_idle(self, done: Done, within: Trail, undo: int) -> bool:
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

    def is_final(self, done: Done) -> bool:
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

    def is_residue(self, done: Done) -> bool:
        names = {done.step.name, *(effect.name for effect in done.effects)}
        expect = self.reference.expect(done.step.name)
        return expect.read_only or any(each.what == "residue" and each.name in names for each in self.reference.subject.expect)

    def tell(
        self, about: Done, severity: Severity, title: str, evidence: Sequence[str], why: str = "", fix: str = ""
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


def _done(schedule: Schedule) -> list[Done]:
    effects: dict[tuple[str, int, int], list[Effect]] = defaultdict(list)
    trails: dict[tuple[str, int, int], Trail] = {}
    for effect in happened(schedule.recording):
        trail = schedule.trails.of(effect)
        if trail is not None:
            where = (trail.id, trail.start.generation, effect.n)
            effects[where].append(effect)
            trails[where] = trail
    return [Done(trails[where], where[2], trails[where].steps[where[2]], tuple(found)) for where, found in effects.items()]


def _is_released(reference: Reference, done: Done) -> bool:
    """Whether an undo that was registered by hand for a step call has been released."""
    names = set(reference.undos_of(done.step.name))
    registered = Counter(undo.undo for _, undo in done.trail.undos if undo.undo in names)
    left = Counter(undo.undo for undo in done.trail.unreleased if undo.undo in names)
    return bool(registered) and not left


# -- runs that gave up --------------------------------------------------------------------------------------------------


def _must_be_undone(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    if not ledger.compensates(trail):
        return
    judged = [done for done in ledger.forward(trail) if ledger.can_be_undone(trail, done.n) and not ledger.is_final(done)]
    left = [done for done in judged if not ledger.is_undone(done, trail)]
    if trail.unreleased or ledger.has_undone(trail):
        children = [done for child in _completed_children(ledger, trail) for done in ledger.forward(child)]
        left += [
            done
            for done in children
            if ledger.can_be_undone(done.trail, done.n)
            and not ledger.is_residue(done)
            and not ledger.is_undone(done, done.trail)
            and not ledger.is_undone(done, trail)
        ]
    if not left:
        return
    names = listed(done.name for done in left)
    under_way = _under_way(ledger, trail, left[0])
    came = f"and {names} {'was' if len({d.name for d in left}) == 1 else 'were'} not undone"
    if under_way:
        came = f"while {under_way} was still under way"
    yield ledger.tell(
        left[0],
        "info" if _was_interrupted(ledger, trail) else "error",
        f"{trail.workflow} {_ended(trail)}, {came}",
        [*(f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}" for done in left[:4])],
        *_why_left(ledger, trail, left[0]),
    )


def _undone_in_vain(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    """A run may catch what leaves a saga, and complete. What that saga undid is undone all the same."""
    registered = {undo.of for _, undo in trail.undos}
    left = [
        done
        for done in ledger.forward(trail)
        if done.n in registered
        and not ledger.is_final(done)
        and any(trail.ended_well(n) for n in ledger.undos_of(done, trail))
        and not ledger.is_undone(done, trail)
    ]
    if left:
        yield ledger.tell(
            left[0],
            "error",
            f"a saga of {trail.workflow} was undone, and {listed(done.name for done in left)} was not",
            [*(f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}" for done in left[:4])],
            *_why_left(ledger, trail, left[0]),
        )


def _was_interrupted(ledger: _Ledger, trail: Trail) -> bool:
    """Whether a run was undoing by hand when it was asked to stop, or when an undo failed for good.

    A saga goes on then. Who undoes by hand seldom provides for it, and it takes a second mishap.
    """
    undoing = [n for n, step in trail.steps.items() if ledger.reference.is_undo(step)]
    if trail.undos or not undoing:
        return False
    is_cut_short = trail.cancelled > min(trail.asked[n] for n in undoing)
    return is_cut_short or any(isinstance(trail.ends.get(n, (0, None))[1], StepFailed) for n in undoing)


def _why_left(ledger: _Ledger, trail: Trail, done: Done) -> tuple[str, str]:
    idle = [n for n in ledger.undos_of(done, trail) if trail.ended_well(n) and ledger.is_idle(done, trail, n)]
    if idle:
        return f"{trail.steps[idle[0]].name} ended well, but asked nobody to undo anything", (
            "undo also what may have been done: a step that failed, or whose end is unknown, may have taken effect all the same"
        )
    in_vain = [n for n in ledger.undos_of(done, trail) if ledger.was_in_vain(done, trail, n)]
    if in_vain:
        return f"{trail.steps[in_vain[0]].name} ended well, but the service had found nothing to undo by it", (
            f"undo what was done: undoes({done.step.name}) gives its key and its result"
        )
    if done.trail is not trail:
        why = f"the saga of {done.trail.workflow} was over when {trail.workflow} failed: its undos were released"
        return (
            why,
            f"register what undoes {done.trail.workflow} in the saga of {trail.workflow}, before it is started: s.undo(...)",
        )
    under_way = _under_way(ledger, trail, done)
    if under_way:
        return f"{under_way} was still under way when {trail.workflow} ended, which cut it short", (
            "await all that undoes: an asyncio.TaskGroup waits for every task, asyncio.gather not for those that are left over"
        )
    if ledger.undos_of(done, trail):
        return f"{done.step.name} was under way when undoing began, and took effect after its undo", (
            "await all that was begun before undoing; a saga does so by itself"
        )
    if any(undo.of == done.n for undo in trail.unreleased):
        return f"its saga was still open when {trail.workflow} ended, in a task that nobody awaited", (
            "await every task that holds a saga, also when a cancel comes: an asyncio.TaskGroup does"
        )
    if trail.status == "cancelled" and not ledger.has_undone(trail):
        return "a cancel is no Exception: `except Exception` does not see it, and what stops it ends the undoing", (
            f"except BaseException, undo, and raise again; or {_REGISTER_FIRST}"
        )
    if not ledger.undos_of(done, trail) and not trail.ended_well(done.n):
        why = f"{done.step.name} took effect but did not return, and its undo was not registered by then"
        return why, _REGISTER_FIRST
    return f"nothing undid {done.step.name}", _REGISTER_FIRST


def _under_way(ledger: _Ledger, trail: Trail, done: Done) -> str:
    """Return the name of the step that was undoing a step call when its run ended; empty if none was."""
    return next((trail.steps[n].name for n in ledger.undos_of(done, trail) if n not in trail.ends), "")


def _completed_children(ledger: _Ledger, trail: Trail) -> Iterator[Trail]:
    for command in trail.children.values():
        child = ledger.schedule.trails.newest(command.id)
        if command.awaited and child is not None and isinstance(child.ending, CompleteRun):
            yield child
            yield from _completed_children(ledger, child)


def _undone_forward(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    """What was done later, and because of what was done before, is undone first."""
    undone = [(done, undos[0]) for done in ledger.forward(trail) if (undos := ledger.undos_of(done, trail))]
    for earlier, undo_of_earlier in undone:
        for later, undo_of_later in undone:
            end = trail.ends.get(undo_of_earlier)
            is_before = end is not None and trail.asked[later.n] < end[0] <= trail.asked[undo_of_later]
            if trail.follows(later.n, earlier.n) and is_before:
                first, second = trail.steps[undo_of_earlier].name, trail.steps[undo_of_later].name
                yield ledger.tell(
                    earlier,
                    "error",
                    f"{first} came before {second}, but {later.step.name} was done after {earlier.step.name}",
                    [
                        f"done: {earlier.step.name} (#{earlier.n}), then {later.step.name} (#{later.n})",
                        f"undone: {first} (#{undo_of_earlier}), then {second} (#{undo_of_later})",
                    ],
                    "compensations run in the order in which things were done, not in reverse",
                    "undo in reverse: for undo in reversed(undos); a saga does so by itself",
                )
                return


def _undone_more_than_once(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    told: Counter[tuple[int, Told]] = Counter()
    undoing = [done for done in ledger.done if done.trail is trail and ledger.reference.is_undo(done.step)]
    for done in undoing:
        expect = ledger.reference.expect(done.step.name)
        if expect.read_only or expect.idempotent or expect.at_least_once or done.effects[0].service == OPAQUE:
            continue
        told.update((done.n, ledger.reference.told(effect)) for effect in done.effects)
        name = next((each[1] for (n, each), count in told.items() if n == done.n and count > 1), None)
        if name is None or _is_usual(ledger, name):
            continue
        effects = [effect for effect in done.effects if effect.name == name]
        has_key = any(effect.key is not None for effect in effects)
        yield ledger.tell(
            Done(trail, done.n, done.step, tuple(effects)),
            "error",
            f"{name} happened {times(len(effects))}: {done.step.name} undid more than was done",
            [f"{name} {effect.text}, {f'key {effect.key}' if effect.key else 'without a key'}" for effect in effects[:4]],
            "each attempt makes another key" if has_key else "the call has no idempotency key, so each attempt is a new one",
            "pass idempotency_key=step_info().idempotency_key: compensations run again after a crash, like all steps",
        )
        return


def _is_usual(ledger: _Ledger, name: str) -> bool:
    """Whether one command has this effect more than once without faults, too."""
    return any(count > 1 for (_, each, _), count in ledger.reference.per_command.items() if each == name)


def _left_without_undo(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    """What a saga did that nothing can undo stays when it gives up."""
    undos = [n for n, step in trail.steps.items() if step.compensation]
    registered = [seq for seq, undo in trail.undos if undo.of is not None]
    if not undos or not registered or len(registered) < len(trail.undos):
        return
    opened, left = min(registered), min(trail.asked[n] for n in undos)
    for done in ledger.forward(trail):
        asked = trail.asked[done.n]
        is_within = opened <= asked < left and not any(seq <= asked for seq in trail.releases)
        has_undo = any(undo.of == done.n or undo.undo == done.step.name for _, undo in trail.undos)  # or is one itself
        if is_within and not has_undo and not ledger.is_residue(done) and done.effects[0].service != OPAQUE:
            yield ledger.tell(
                done,
                "warning",
                f"{done.name} stays although the saga around it was undone",
                [f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}"],
                f"{done.step.name} has no undo",
                f"give it an undo, put s.pivot() before it, or say that it stays: expect=[residue({done.name!r}, 'reason')]",
            )
            return


def _left_by_inner_saga(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    """What a saga within a saga did stays when the outer one gives up: the inner one was over by then."""
    undone = {n for _, undo in trail.undos if (n := undo.of) is not None and n not in trail.released}
    opened = {undo.of: seq for seq, undo in trail.undos}
    for done in ledger.forward(trail):
        over = trail.released.get(done.n)
        if over is None or ledger.is_residue(done) or ledger.is_undone(done, trail):
            continue
        around = [n for n in undone if opened[n] < opened[done.n] and trail.follows(done.n, n)]
        if around:
            yield ledger.tell(
                done,
                "warning",
                f"{done.name} stays although the saga around it was undone",
                [f"left behind: {done.name} {done.effects[0].text}, done by {done.step.name}"],
                f"the saga within the saga was over when {trail.workflow} {_ended(trail)}: its undos were released",
                f"use one saga for both, or say that it stays: expect=[residue({done.name!r}, 'reason')]",
            )
            return


def _ended(trail: Trail) -> str:
    return "timed out" if trail.status == "timed_out" else "was cancelled" if trail.status == "cancelled" else "failed"


# -- runs that completed ------------------------------------------------------------------------------------------------


def _must_be_complete(ledger: _Ledger, trail: Trail) -> Iterator[Violation]:
    base = ledger.reference.trails.newest(trail.id)
    if base is None or base.status != "completed":
        return
    own = _answered_for(ledger.schedule.trails, trail, ledger.completed)
    if not any(map(ledger.has_undos, own)):
        return
    usual = ledger.usual
    kept = [done for done in ledger.forward(*own) if not ledger.is_undone(done, done.trail) and not ledger.is_residue(done)]
    kept = [done for done in kept if done.trail is trail or not ledger.is_undone(done, trail)]
    done_there = usual.forward(*_answered_for(ledger.reference.trails, base, ledger.completed))
    expected = [done for done in done_there if usual.can_be_undone(done.trail, done.n)]
    expected = [done for done in expected if not usual.is_undone(done, done.trail) and not usual.is_undone(done, base)]
    here, there = _told(ledger.reference, kept), _told(ledger.reference, done_there)
    missing = _told(ledger.reference, expected) - here
    if not missing or here - there:
        return  # complete, or another way was taken
    has_same_result = _result(ledger.reference, trail) == _result(ledger.reference, base)
    undid = any(map(ledger.has_undone, own))
    held = [done for done in kept if ledger.can_be_undone(done.trail, done.n)]
    if has_same_result:
        if undid and _result(ledger.reference, trail) == "null":
            return  # it tells nothing, and has dealt with the failure
    else:
        is_meant = bool(trail.releases) and not trail.unreleased and not ledger.schedule.was_cancelled
        if not held or undid or is_meant or not ledger.compensates(trail):
            return
    never = listed(told[1] for told in missing)
    about = held[0] if held else expected[0]._replace(trail=trail)
    stays = f", and {listed(done.name for done in held)} was kept" if held else ""
    cause = "cancel" if ledger.schedule.was_cancelled and trail.cancel is not None else "failure"
    yield ledger.tell(
        about,
        "error",
        f"{trail.workflow} completed after a {cause}, but {never} did not happen{stays}",
        [
            *(f"fault-free: {told[1]} {told[2]} x{count}" for told, count in list(missing.items())[:4]),
            *(f"kept: {done.name} {done.effects[0].text}" for done in held[:4]),
        ],
        f"the {cause} was swallowed: the run says that all is well"
        if has_same_result
        else f"the {cause} was taken for an answer",
        "let the exception leave the block, or undo what was done and return a result that tells of it",
    )


def _answered_for(trails: Trails, trail: Trail, completed: frozenset[str]) -> list[Trail]:
    """Return a run, and with it the children that it awaited, but for those that say themselves that they are complete."""
    found = [trail]
    for command in trail.children.values():
        child = trails.newest(command.id)
        if command.awaited and child is not None and child.id not in completed:
            found += _answered_for(trails, child, completed)
    return found


def _told(reference: Reference, dones: Sequence[Done]) -> Counter[Told]:
    return Counter(reference.told(effect) for done in dones for effect in done.effects)


def _result(reference: Reference, trail: Trail) -> str:
    return reference.result_text(trail.workflow, trail.result)
