"""What happens outside happens no more often than without faults, and one key stands for one thing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import DUPLICATING, INTERLEAVED, Schedule
from wfkit.sim.oracles.words import short, times
from wfkit.sim.reference import Reference, Told, happened
from wfkit.sim.services import DECLARED, OPAQUE, SETTING, Effect
from wfkit.sim.trails import Trails

_BY_KEY = "pass idempotency_key=step_info().idempotency_key, which is the same on every attempt and after every crash"
_SAY_SO = "or declare the step with Expect(idempotent=True), Expect(read_only=True) or Expect(at_least_once='reason')"
_HARMLESS = f"where a second one does no harm, let the handler of the fake answer NO_EFFECT(answer), {_SAY_SO}"
_BY_TWO_RUNS = (
    "a start request that came twice started two runs, since their ids differ",
    "make the run's id from what it is about, such as the order's number: a second start then attaches to the first",
)
_BY_TWO_DELIVERIES = (
    "a signal that was delivered twice was acted on twice",
    "keep the ids of what was dealt with, and leave out what comes again; or let the sender say dedupe=, the same each time",
)
_BY_TWO_STEPS = (
    "two calls of a step asked for the same thing, each with a key of its own: the first had taken effect all the same",
    "give both calls one key, made of what they are about: step.with_options(key=...)(...)",
)


def collisions(schedule: Schedule) -> Iterator[Violation]:
    """One key never stands for two things. No fault excuses that."""
    reference, trails = schedule.reference, schedule.trails
    told: set[str] = set()
    for first, second in [*schedule.recording.collisions, *_declared_collisions(schedule.recording.effects)]:
        if second.name in told or reference.told(first)[1:] == reference.told(second)[1:]:
            continue
        told.add(second.name)
        step = trails.step_of(second)
        what = f"{first.name} and {second.name}" if first.name != second.name else f"two different {second.name}"
        yield Violation(
            "ledger",
            "error",
            second.name,
            f"{what} share one idempotency key, so {second.service} takes the second for the first",
            _workflow(trails, second),
            second.run,
            second.n,
            reference.line_of(step.name if step is not None else ""),
            (f"key {first.key}: {first.name} {first.text}", f"the same key: {second.name} {second.text}"),
            "the key does not hold all that tells the two apart",
            "use step_info().idempotency_key, or put what differs into the key: customer, item, month, turn of the loop",
        )


def _declared_collisions(effects: list[Effect]) -> Iterator[tuple[Effect, Effect]]:
    """Yield what services do not see: pairs of declared and of opaque effects."""
    first: dict[tuple[str, str, str], Effect] = {}
    for effect in effects:
        if effect.key is not None and effect.service in (OPAQUE, DECLARED):
            known = first.setdefault((effect.service, effect.name, effect.key), effect)
            if known is not effect and known.text != effect.text:
                yield known, effect


def refused_children(schedule: Schedule) -> Iterator[Violation]:
    """One run id never stands for two things: a child with the id of another run, and other input, is not started."""
    told: set[str] = set()
    for trail in schedule.trails:
        for child in trail.children.values():
            there = schedule.trails.by_id.get(child.id)
            if child.awaited or there is None or child.workflow in told:
                continue
            start = there[0].start
            if (start.workflow, bytes(start.args)) == (child.workflow, bytes(child.args)):
                continue
            told.add(child.workflow)
            yield Violation(
                "ledger",
                "warning",
                child.workflow,
                f"{child.workflow} was not started: the run {child.id!r} is there, with other input",
                trail.workflow,
                trail.id,
                child.n,
                schedule.reference.line_of(workflow=trail.workflow),
                (
                    f"there: {start.workflow} {short(bytes(start.args).decode())}",
                    f"not started: {child.workflow} {short(bytes(child.args).decode())}",
                ),
                "the id does not hold all that tells the two apart",
                "put what differs into the id, such as the order's number; or leave id= out",
            )


def repeats(schedule: Schedule) -> Iterator[Violation]:
    """No effect happens more often than without faults."""
    reference, trails = schedule.reference, schedule.trails
    groups: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in _final(schedule):
        groups[effect.service, effect.name].append(effect)
    for (service, name), effects in groups.items():
        repeated = _repeated(schedule, effects)
        if not repeated:
            continue
        last = repeated[-1]
        step = trails.step_of(last)
        expected = reference.counts[service, name]
        same = [effect for effect in effects if reference.told(effect) == reference.told(last)]
        if len(effects) > expected:
            usual, now, which = expected, len(effects), name
        else:  # as often as always, but one of them twice and another one not at all
            usual, now, which = reference.counts[reference.told(last)], len(same), f"{name} {short(last.text)}"
        if now <= usual:
            continue
        why, fix = _cause(schedule, same if len(same) > 1 else effects)
        yield Violation(
            "ledger",
            "error",
            name,
            f"{which} happened {times(now)} instead of {times(usual)}",
            _workflow(trails, last),
            last.run,
            last.n,
            reference.line_of(step.name if step is not None else ""),
            (f"fault-free: {which} x{usual}", f"this run: {which} x{now}"),
            why,
            fix,
        )


def rekeyed(schedule: Schedule) -> Iterator[Violation]:
    """A step that is executed again asks for the same thing under the same key, however long that takes."""
    reference, trails = schedule.reference, schedule.trails
    attempts: dict[tuple[str, int], list[list[Effect]]] = defaultdict(list)
    for event in schedule.recording.events:
        if event.kind == "attempt":
            attempts[event.run, event.n].append([])
        elif event.kind in ("effect", "repeated") and attempts[event.run, event.n]:
            attempts[event.run, event.n][-1].append(event.data[0])
    for effects in attempts.values():
        for one, other in (pair for before, again in pairwise(effects) for pair in zip(before, again, strict=False)):
            step = trails.step_of(other)
            if step is None or reference.told(one) != reference.told(other) or None in (one.key, other.key):
                break  # it goes another way
            if one.key == other.key or reference.may_repeat(step.name):
                continue
            yield Violation(
                "ledger",
                "error",
                other.name,
                f"{other.name} may happen twice: {step.name} makes another key when it is executed again",
                _workflow(trails, other),
                other.run,
                other.n,
                reference.line_of(step.name),
                (f"first attempt: key {one.key}", f"next attempt: key {other.key}"),
                "the key is made of something that changes with time, so the next attempt is a new call to the outside",
                "use step_info().idempotency_key; or take the date in the workflow, from now(), and give it to the step",
            )
            break


def given_up_on(schedule: Schedule) -> Iterator[Violation]:
    """A step that a workflow gave up on took effect all the same, and so did the one that was asked in its place.

    That time ran out by a fault is no excuse: who gives up on a call does not know what became of it.
    """
    reference, trails = schedule.reference, schedule.trails
    effects = [effect for effect in _final(schedule) if effect.service != OPAQUE]
    counts = Counter(map(reference.told, effects))
    for first in effects:
        trail, told = trails.of(first), reference.told(first)
        if trail is None or first.n not in trail.cut or counts[told] <= reference.counts[told]:
            continue
        for second in effects:
            if second.n == first.n or trails.of(second) is not trail or reference.told(second) != told:
                continue
            given_up, asked = trail.steps[first.n], trail.steps[second.n]
            if (given_up.name, given_up.args) == (asked.name, asked.args) and first.key != second.key:
                why, fix = _BY_TWO_STEPS
                yield Violation(
                    "ledger",
                    "error",
                    first.name,
                    f"{first.name} happened twice: of two calls of {asked.name} one was given up on, and took effect too",
                    trail.workflow,
                    first.run,
                    second.n,
                    reference.line_of(asked.name),
                    (f"given up on: #{first.n} {given_up.name}", f"instead of it: #{second.n} {asked.name}"),
                    why,
                    fix,
                )
                return


def opaque(schedule: Schedule) -> Iterator[Violation]:
    """A step of which nothing is known, which has no key, and which ran twice."""
    reference, trails = schedule.reference, schedule.trails
    runs = Counter(
        (effect.run, effect.n, effect.name)
        for effect in schedule.recording.effects
        if effect.service == OPAQUE and effect.key is None
    )
    told: set[str] = set()
    for (run, n, name), count in runs.items():
        if count < 2 or reference.may_repeat(name) or name in told or _allowed(schedule, name):
            continue
        told.add(name)
        trail = trails.newest(run)
        yield Violation(
            "ledger",
            "warning",
            name,
            f"{name} may happen twice: it ran {times(count)} and does not use its idempotency key",
            trail.workflow if trail is not None else "",
            run,
            n,
            reference.line_of(name),
            (f"fault-free: {name} x1", f"this run: {name} x{count}"),
            "what the step does outside is not known, and nothing tells the outside that it is the same call",
            f"{_BY_KEY}; {_SAY_SO}",
        )


def _final(schedule: Schedule) -> Iterator[Effect]:
    """Yield the effects that count: not those of compensations, those that were undone, and those that may be repeated."""
    trails = schedule.trails
    undone = {
        (trail.id, command.undoes.key)
        for trail in trails
        for n, command in trail.steps.items()
        if command.undoes is not None and trail.ended_well(n)
    }
    for effect in happened(schedule.recording):
        trail = trails.of(effect)
        step = trail.steps[effect.n] if trail is not None else None
        if trail is None or step is None:
            yield effect
            continue
        if schedule.reference.is_undo(step) or (trail.id, step.key) in undone:
            continue
        if not schedule.reference.may_repeat(step.name):
            yield effect


def _repeated(schedule: Schedule, effects: list[Effect]) -> list[Effect]:
    """Return the effects of one name that are too many; none if there are not too many."""
    reference = schedule.reference
    service, name = effects[0].service, effects[0].name
    usual = reference.counts[service, name]
    if usual == 0:
        return []  # not a repetition but something new, which is a difference
    allowed = _allowed(schedule, name)
    by_command = _repeated_by_command(reference, effects)
    if schedule.is_redrawn or schedule.is_reordered or (service, name) in reference.unsteady:
        return by_command[allowed:]  # another way was taken, on which more may happen: only what is repeated is too much
    if len(effects) > usual + allowed and not (schedule.failure_reached or schedule.may_branch_on_time):
        return by_command or effects[usual:]
    # Who has to deal with a failure may do what is not done without it, such as send another mail; but the same only once.
    counts = Counter(map(reference.told, effects))
    for effect in reversed(effects):
        told = reference.told(effect)
        if reference.counts[told] and reference.counts[told] + allowed < counts[told]:
            return [effect]
    return by_command[allowed:]


def _repeated_by_command(reference: Reference, effects: list[Effect]) -> list[Effect]:
    """Return the effects that one command had more often, with the same payload, than any command has without faults."""
    counts: Counter[tuple[str, int, Told]] = Counter()
    found = []
    for effect in effects:
        told = reference.told(effect)
        counts[effect.run, effect.n, told] += 1
        if counts[effect.run, effect.n, told] > max(reference.per_command[told], 1):
            found.append(effect)
    return found


def _allowed(schedule: Schedule, name: str) -> int:
    """Return how many more are declared as expected under these faults."""
    declared = schedule.reference.subject.expect
    return sum(each.what == "extra" and each.name == name and each.fault in schedule.kinds for each in declared)


def _cause(schedule: Schedule, effects: list[Effect]) -> tuple[str, str]:
    one, other = effects[-2:] if len(effects) > 1 else (effects[-1], effects[-1])
    if (one.run, one.n) == (other.run, other.n):
        if one.key is None and other.key is None:
            return _without_key(one, other)
        if one.key != other.key:
            return "each attempt makes another key, so each is a new call to the outside", _BY_KEY
        return f"{one.service} does not honour keys: the same key came twice", f"make sure of it in another way; {_SAY_SO}"
    came_twice = bool(schedule.kinds & DUPLICATING)
    if one.run != other.run:
        return _BY_TWO_RUNS if came_twice else INTERLEAVED if schedule.is_interleaved else ("", "")
    if came_twice:
        return _BY_TWO_DELIVERIES
    if one.text == other.text and one.key != other.key:
        return _BY_TWO_STEPS
    return "", ""


def _without_key(one: Effect, other: Effect) -> tuple[str, str]:
    fix = f"{_BY_KEY}; {_SAY_SO if one.service == DECLARED else _HARMLESS}"
    verb = one.name.partition(" ")[0]
    if verb in SETTING and one.text == other.text:
        return f"the same {verb} came twice, and the second one changed the state of {one.service} once more", fix
    return "the call has no idempotency key, so each attempt is a new one to the outside", fix


def _workflow(trails: Trails, effect: Effect) -> str:
    trail = trails.of(effect)
    return trail.workflow if trail is not None else ""
