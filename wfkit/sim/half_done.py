"""Steps that did one half of their work in an attempt that did not complete, and not the other half in the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from wfkit.core.entries import StepCompleted
from wfkit.sim.cause import Cause
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.words import listed, short
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.trails import Trail, Trails

_NAMES_MAX = 3
_COMMIT = "commit"
_AFTER_THE_CALL = "commit after the call, or in one transaction with a record of what is still to be done"
_AT_ONCE = "commit all of it in one transaction, or let an attempt that finds the first half done do the other half"
_OTHER_HALF = "let an attempt that finds the first half done do the other half, or make two steps of it"
_SAME_RESULT = "let an attempt know by step_info().idempotency_key what an earlier one did, and return the same"

_Where: TypeAlias = tuple[str, int]
"""A run's id, and the number of a command."""


class _Attempt(NamedTuple):
    did: Counter[str]
    """How often it committed, wrote each key of a store, and made each of its calls."""
    wrote: list[str]
    """What of it stays, in words after "it had"."""


class _Half(NamedTuple):
    left_out: Counter[str]
    cause: Cause


def half_done(violation: Violation, reference: Reference, recording: Recording[Any]) -> Cause | None:
    """Return what a step did that did not complete, if its last attempt left out the rest, or came to another result.

    Every word of it was observed: what an attempt left behind, that it did not end well, and what the last one did not do,
    compared with the schedule without faults.

    Args:
        violation: what is to be explained. A step that left out what the violation is about is told of first.
        reference: the schedules without faults.
        recording: of the schedule that shows the violation.
    """
    trails, usual = Trails(recording), _attempts(reference.base)
    halves = [
        half
        for where, attempts in _attempts(recording).items()
        if len(attempts) > len(usual.get(where, attempts)) and (half := _half(reference, trails, where, attempts, usual[where]))
    ]
    halves.sort(key=lambda half: violation.about not in half.left_out)
    return halves[0].cause if halves else None


def _half(
    reference: Reference, trails: Trails, where: _Where, attempts: Sequence[_Attempt], usual: Sequence[_Attempt]
) -> _Half | None:
    run, n = where
    here, base = trails.newest(run), reference.trails.newest(run)
    if here is None or base is None or not (here.ended_well(n) and base.ended_well(n)):
        return None
    step = here.steps[n]
    wrote = next(((number, each.wrote) for number, each in enumerate(attempts[:-1], start=1) if each.wrote), None)
    if wrote is None or (step.name, step.args) != (base.steps[n].name, base.steps[n].args):
        return None
    left_out = _total(usual) - _total(attempts)
    rest = _rest(left_out) or _other_result(reference, here, base, n)
    if not rest:
        return None
    number, what = wrote
    why = f"attempt {number} of {step.name} had {_few(what)} but did not complete, and attempt {len(attempts)} {rest}"
    return _Half(left_out, Cause(why, _fix(left_out, has_committed=attempts[number - 1].did[_COMMIT] > 0)))


def _few(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    more = len(known) - _NAMES_MAX
    return listed((*known[:_NAMES_MAX], f"{more} more") if more > 0 else known)


def _rest(left_out: Counter[str]) -> str:
    calls = [name for name in left_out if name != _COMMIT]
    if calls:
        return f"left out {_few(calls)}"
    return "did not commit the rest" if left_out else ""


def _other_result(reference: Reference, here: Trail, base: Trail, n: int) -> str:
    name = here.steps[n].name
    if name in reference.redrawing or name in reference.volatile_steps:
        return ""
    mine, theirs = (trail.ends[n][1] for trail in (here, base))
    if not (isinstance(mine, StepCompleted) and isinstance(theirs, StepCompleted)) or mine.value == theirs.value:
        return ""
    found, expected = (short(bytes(end.value).decode()) for end in (mine, theirs))
    return f"returned {found} instead of {expected}"


def _fix(left_out: Counter[str], *, has_committed: bool) -> str:
    if not left_out:
        return _SAME_RESULT
    if not has_committed:
        return _OTHER_HALF
    return _AT_ONCE if set(left_out) == {_COMMIT} else _AFTER_THE_CALL


def _attempts(recording: Recording[Any]) -> dict[_Where, list[_Attempt]]:
    """Return what each attempt did, by the commands of the newest generation of each run."""
    found: dict[_Where, list[_Attempt]] = {}
    unclear = set()
    """Those whose thread went on when the next attempt had begun: what was done then may be of either."""
    for event in recording.events:
        where = (event.run, event.n)
        if event.kind == "resumed" and event.data[1] < len(found.get(where, ())):
            unclear.add(where)
        if event.kind == "attempt":
            if event.data[1] == 1:  # the first one of its generation, which counts its commands anew
                found[where] = []
            found.setdefault(where, []).append(_Attempt(Counter(), []))
        elif found.get(where):
            _add(found[where][-1], event.kind, event.data)
    return {where: attempts for where, attempts in found.items() if where not in unclear}


def _add(attempt: _Attempt, kind: str, data: tuple[Any, ...]) -> None:
    match kind:
        case "committed":
            attempt.did[_COMMIT] += 1
            attempt.wrote.append("committed")
        case "put":
            attempt.did[f"put {data[0]}"] += 1
            attempt.wrote.append(f"put {data[0]}")
        case "effect":
            attempt.did[data[0].name] += 1
            attempt.wrote.append(f"called {data[0].name}")
        case "repeated" | "nothing":
            attempt.did[data[0].name] += 1
        case _:
            pass


def _total(attempts: Sequence[_Attempt]) -> Counter[str]:
    return sum((attempt.did for attempt in attempts), Counter())
