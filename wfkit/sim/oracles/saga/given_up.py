"""Calls that took effect although a run gave up on them: what settles them, and what shows that nothing does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec import Raw

from wfkit.core.commands import PublishSignal, SendSignal
from wfkit.sim.faults import OF_CALLS, plain
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.saga.completed import answered_for, has_same_result, result_of, told_of
from wfkit.sim.oracles.saga.deeds import Deeds
from wfkit.sim.oracles.saga.pairing import Deed, words_in, words_of, words_of_json
from wfkit.sim.oracles.words import short
from wfkit.sim.reference import Told
from wfkit.sim.services import DECLARED, OPAQUE, Effect
from wfkit.sim.trails import Trail
from wfkit.sim.volatile import leaves


class _Asked(NamedTuple):
    """What a run asks for after it gave up on a call, more often than without faults."""

    by: str
    """The workflow that does so."""
    name: str
    args: Raw
    services: AbstractSet[str] = frozenset()
    """Those that it turns to, where that is known."""
    done: tuple[Deed, ...] = ()
    """What it does outside that is to happen once."""


class _Runs(NamedTuple):
    """A run and the children that it awaited, and the same of them without faults."""

    here: Sequence[Trail]
    base: Sequence[Trail]


def given_up_on(deeds: Deeds, trail: Trail) -> Iterator[Violation]:
    """A call that failed for good, or that a run did not wait for, may have taken effect: it is undone, or counts as done.

    What the run asks for afterwards settles it, if it may find out or tell: if it turns to the same service, names the call
    or what it was about, be it in what it always tells, or waits for somebody. The same thing done elsewhere settles nothing,
    nor does one more of it, as a second room, with which all goes on as usual. A child may leave this to the run that awaits
    it: they are judged as one.
    """
    base = deeds.reference.trails.newest(trail.id)
    if base is None or base.status != "completed" or _is_awaited(deeds, trail):
        return
    runs = _Runs(answered_for(deeds.schedule.trails, trail), answered_for(deeds.reference.trails, base))
    unsettled = list(_unsettled(deeds, runs.here))
    if not unsettled or any(_unsettled(deeds.usual, runs.base)):
        return
    for deed in unsettled:
        gave_up = list(_gave_up(deeds, deed, runs))
        if not gave_up:
            continue  # a run that is not there without faults
        later = [asked for each in gave_up for asked in _asked_for_after(deeds, *each)]
        is_usual = not _is_missing(deeds, runs) and _tells_the_usual(deeds, runs)
        instead = [asked for asked in later if _is_elsewhere(deed, asked) or (is_usual and _is_once_more(deed, asked))]
        if _waits_for_more(runs) or any(_settles(deed, asked) for asked in later if asked not in instead):
            continue
        if any(_hands_on(deeds, deed, here, usual) for here, _, usual in gave_up):
            continue
        if instead:
            yield _violation(deeds, deed, f"{instead[0].by} went on to {instead[0].name}")
            return
        if _goes_another_way(deeds, deed, runs):
            yield _violation(deeds, deed, f"{trail.workflow} completed {_result(trail)}")
            return


def _is_awaited(deeds: Deeds, trail: Trail) -> bool:
    parent = trail.start.parent
    return parent is not None and parent.awaited and deeds.schedule.trails.newest(parent.id) is not None


def _violation(deeds: Deeds, deed: Deed, went_on: str) -> Violation:
    trail, step = deed.trail, deed.step.name
    how = "did not answer in time" if deed.n in trail.cut else "failed for good"
    if deeds.can_be_undone(trail, deed.n):
        fix = "undo what may have taken effect before you go on without it, in a saga of its own or by hand"
    else:
        fix = (
            f"before you go on, ask {' or '.join(sorted(deed.services))} what became of it, by its key, or take it back there; "
            f"if one too many does no harm, say so: {step} with Expect(at_least_once='reason')"
        )
    return deeds.tell(
        deed,
        "warning",
        f"{deed.name} took effect, and {went_on} as if it had not",
        [f"done by {step}, which {how}: {deed.effects[0].text}"],
        f"{step} {how}: that says nothing of whether it took effect",
        f"{fix}; or say that it stays: expect=[residue({deed.name!r}, 'reason')]",
    )


def _result(trail: Trail) -> str:
    return short(bytes(trail.result).decode()) if trail.result is not None else "null"


# -- what took effect, and did not end well -----------------------------------------------------------------------------


def _unsettled(deeds: Deeds, trails: Sequence[Trail]) -> Iterator[Deed]:
    """Yield what took effect in calls that did not end well, and was neither undone nor asked for once more."""
    if all(trail.ended_well(n) for trail in trails for n in trail.steps):
        return
    done = {(step.name, bytes(step.args)) for trail in trails for n, step in trail.steps.items() if trail.ended_well(n)}
    for deed in deeds.forward(*(trail for trail in trails if trail.status in ("completed", "failed"))):
        if deed.trail.ended_well(deed.n) or (deed.step.name, bytes(deed.step.args)) in done:
            continue
        if _matters(deeds, deed) and not deeds.is_residue(deed) and not deeds.is_undone(deed):
            yield deed


def _matters(deeds: Deeds, deed: Deed) -> bool:
    """Whether a call is one that the user wants undone, or one that is to happen once and whose answer alone was lost."""
    if deeds.can_be_undone(deed.trail, deed.n):
        return True
    return (
        not deeds.reference.may_repeat(deed.step.name)
        and deeds.schedule.nominal in ("M", "S")
        and _lost_its_answer(deeds, deed)
    )


def _lost_its_answer(deeds: Deeds, deed: Deed) -> bool:
    """Whether nothing went wrong but the last call of this step, which took effect in an attempt that did not hear of it.

    A step that does several things may fail by another one of them, and a run may go another way because of something else.
    """
    recording = deeds.schedule.recording
    here = (deed.trail.id, deed.n)
    if any((fault.point.run or recording.main, fault.point.n) != here for fault in recording.faults):
        return False
    lost = {fault.point.label for fault in recording.faults if plain(fault.point.phase) == "call.after"}
    asked = (point for point in reversed(recording.trace) if (point.run or recording.main, point.n) == here)
    last = next((point.label for point in asked if point.phase in OF_CALLS), "")
    return last in lost and any(effect.name == last for effect in deed.effects)


# -- what comes afterwards ----------------------------------------------------------------------------------------------


def _gave_up(deeds: Deeds, deed: Deed, runs: _Runs) -> Iterator[tuple[Trail, int, Trail]]:
    """Yield who gave up on a call: its own run, and each run that awaits that one; on which command; and its base."""
    by_id = {trail.id: trail for trail in runs.here}
    trail: Trail | None = deed.trail
    n = deed.n
    while trail is not None and n in trail.asked and (base := deeds.reference.trails.newest(trail.id)) is not None:
        yield trail, n, base
        parent = trail.start.parent
        if trail is runs.here[0] or parent is None:
            return
        trail, n = by_id.get(parent.id), parent.n


def _asked_for_after(deeds: Deeds, trail: Trail, gave_up: int, base: Trail) -> Iterator[_Asked]:
    """Yield what a run asks for after it has given up on a call, more often than without faults."""
    services = deeds.schedule.recording.asked
    since = trail.ends[gave_up][0] if gave_up in trail.ends else trail.asked[gave_up]
    more = _counts(trail) - _counts(base)
    once = [
        each for each in deeds.all if not (deeds.reference.is_undo(each.step) or deeds.reference.may_repeat(each.step.name))
    ]
    for n, step in trail.steps.items():
        if n != gave_up and trail.asked[n] >= since and more[step.name] and more[step.name, bytes(step.args)]:
            done = (each for each in once if each.trail is trail and each.n == n)
            yield _Asked(trail.workflow, step.name, step.args, services.get((trail.id, n), frozenset()), tuple(done))
    for n, child in trail.children.items():
        if n != gave_up and trail.asked[n] >= since and more[child.workflow] and more[child.workflow, bytes(child.args)]:
            started = deeds.schedule.trails.newest(child.id)
            family = {run.id for run in deeds.pairing.family(started)} if started is not None else set()
            asked = (each for (run, _), each in services.items() if run in family)
            done = (each for each in once if each.trail.id in family)
            yield _Asked(trail.workflow, child.workflow, child.args, frozenset().union(*asked), tuple(done))
    for command in trail.commands:
        if isinstance(command, SendSignal | PublishSignal) and more[command.name]:
            yield _Asked(trail.workflow, command.name, command.payload)


def _counts(trail: Trail) -> Counter[object]:
    """Count what a run asks for, by name, and with its arguments."""
    return Counter(name for name, _ in trail.requests) + Counter((name, bytes(args)) for name, args in trail.requests)


def _is_elsewhere(deed: Deed, asked: _Asked) -> bool:
    """Whether the same is done elsewhere: of the same name, as with another provider, or of the same amount, as if paid back.

    What only refers to the same, such as a ticket about an order, may be there to settle it.
    """
    if asked.services & deed.services:
        return False
    mine, theirs = deed.effects, [effect for each in asked.done for effect in each.effects]
    words = words_of_json(deed.step.args)
    is_of_the_same = bool(_told(mine) & _told(theirs)) or bool(theirs and words and words == words_of_json(asked.args))
    names, amounts = ({effect.name for effect in mine}, {each for effect in mine for each in _amounts(effect)})
    return is_of_the_same and any(effect.name in names or amounts & set(_amounts(effect)) for effect in theirs)


def _is_once_more(deed: Deed, asked: _Asked) -> bool:
    """Whether a service takes what is asked for one more of the same: it is of the same name, by another key.

    In other order, or with another sign, it may take the first one back.
    """
    theirs = [effect for each in asked.done for effect in each.effects]
    for one in deed.effects:
        others = [other for other in theirs if (other.service, other.name) == (one.service, one.name)]
        for other in others:
            is_reverse = one.text != other.text and bool(_told([one]) & _told([other]))
            if one.key and other.key and one.key != other.key and not is_reverse:
                return True
    return False


def _told(effects: Iterable[Effect]) -> set[frozenset[str]]:
    """Return what effects told the outside, in words."""
    return {frozenset(words_in(effect.payload)) for effect in effects}


def _amounts(effect: Effect) -> Iterator[float]:
    return (each for each in leaves(json.loads(effect.text)) if isinstance(each, int | float))


def _settles(deed: Deed, asked: _Asked) -> bool:
    """Whether what is asked for may find out what became of a call, or take it back, or tell somebody of it."""
    if asked.services & deed.services or deed.services <= {OPAQUE, DECLARED}:
        return True
    return deed.step.key in bytes(asked.args).decode() or bool(words_of(deed) & words_of_json(asked.args))


def _hands_on(deeds: Deeds, deed: Deed, trail: Trail, base: Trail) -> bool:
    """Whether a run tells what a call was about where it does not without faults: in a summary, say, that is always written."""
    names = {name for name, _ in base.requests} - {deed.step.name}
    here, usual = (
        {each for name, args in run.requests if name in names for each in _placed(deeds, name, args)} for run in (trail, base)
    )
    return not words_of(deed).isdisjoint(word for _, word in here - usual)


def _placed(deeds: Deeds, name: str, args: Raw) -> Iterator[tuple[tuple[object, ...], str]]:
    """Yield the words of arguments, each with its place: the fields that it is in, since things of a list move."""
    _, text = deeds.reference.request(name, args)
    told = json.loads(text)
    left: list[tuple[tuple[object, ...], object]] = [
        ((name, at), each) for at, each in enumerate(told if isinstance(told, list) else [told])
    ]
    while left:
        place, value = left.pop()
        if isinstance(value, dict):
            left += [((*place, field), each) for field, each in value.items()]
        elif isinstance(value, list):
            left += [(place, each) for each in value]
        else:
            yield from ((place, word) for word in words_in(value))


def _waits_for_more(runs: _Runs) -> bool:
    """Whether a run waits for somebody that it does not wait for without faults."""
    here, base = (Counter(name for trail in trails for name in trail.waits.values()) for trails in runs)
    return bool(here - base)


def _shows(trails: Sequence[Trail]) -> dict[str, dict[str, Raw]]:
    return {trail.id: trail.shown for trail in trails if trail.shown}


def _goes_another_way(deeds: Deeds, deed: Deed, runs: _Runs) -> bool:
    """Whether a run tells something else than without faults, or does not do all that it does then.

    Of a call that nobody wants undone that says little: where the user expects just this, where the run's state tells of it,
    where it is a matter of time, or where the result may differ anyway, as a list of those that answered does.
    """
    schedule, reference = deeds.schedule, deeds.reference
    if deeds.can_be_undone(deed.trail, deed.n):
        return _is_missing(deeds, runs) or not has_same_result(reference, runs.here[0], runs.base[0])
    if schedule.is_declared or _shows(runs.here) != _shows(runs.base):
        return False
    if deed.n in deed.trail.cut:
        return _gives_up_the_rest(deeds, deed, runs)
    return schedule.cls != "T" and (_is_missing(deeds, runs) or not _tells_the_usual(deeds, runs))


def _gives_up_the_rest(deeds: Deeds, deed: Deed, runs: _Runs) -> bool:
    """Whether a run that does not wait for a call tells so, and leaves out what follows.

    A race goes on with what answers first, and so may do something else. A batch stops at any of its calls when time is up.
    """
    there, here = _told_in(deeds, runs)
    missing = there - here
    is_batch = any(name == deed.name for _, name, _ in missing)
    return bool(missing) and not is_batch and not here - there and not _tells_the_usual(deeds, runs)


def _told_in(deeds: Deeds, runs: _Runs) -> tuple[Counter[Told], Counter[Told]]:
    """Return what is done without faults, and here."""
    reference = deeds.reference
    return told_of(reference, deeds.usual.forward(*runs.base)), told_of(reference, deeds.forward(*runs.here))


def _is_missing(deeds: Deeds, runs: _Runs) -> bool:
    """Whether a run does not do all that it does without faults."""
    there, here = _told_in(deeds, runs)
    return bool(there - here)


def _tells_the_usual(deeds: Deeds, runs: _Runs) -> bool:
    here, base = (result_of(deeds.reference, trails[0]) for trails in runs)
    return here == base
