"""Why a schedule shows a finding: one thing is held constant, and if the finding is gone it was the cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from wfkit.api.definitions import where_defined
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.words import listed
from wfkit.sim.recording import CHANCE, Read, Recording
from wfkit.sim.story import place

Held: TypeAlias = Literal["random", "time", "attempt", "memory"]
"""What can be held constant: chance, the wall clock, the number of the attempt, or what is in memory when the process dies."""

_USE_KEY = "use step_info().idempotency_key, the same on every attempt and after every crash"
_KEEP_OUTSIDE = (
    "let the step return it, and hand it to the step that needs it; or keep it in a database. What stands for the outside "
    "belongs into the world="
)
_CLOCK = ("time.", "datetime.")
_OF_BOTH = ("uuid.uuid1",)


class Cause(NamedTuple):
    """A cause, and what to do about it; empty where it is not known."""

    why: str = ""
    fix: str = ""


def find_cause(
    violation: Violation,
    recording: Recording[Any],
    rerun: Callable[[frozenset[str]], Recording[Any]],
    judge: Callable[[Recording[Any]], Sequence[Violation]],
) -> Cause:
    """Return why a schedule shows a violation: as an experiment shows it, or else as its oracle says.

    Args:
        violation: what is to be explained.
        recording: of the schedule that shows it.
        rerun: executes the same schedule with things held constant: "random", "time", "attempt", "memory".
        judge: says what is wrong with a schedule.
    """
    own = Cause(violation.why, violation.fix)
    if recording.stopped is not None and recording.stopped.by == "bounds":
        return own  # nothing is read on the way to an end that never comes, and each try takes seconds

    def is_clean(one: Recording[Any]) -> bool:
        return all(other.signature != violation.signature for other in judge(one))

    if is_clean(recording):
        return own  # what shows it is not the judgement of a schedule

    def vanishes(*held: Held) -> bool:
        again = rerun(frozenset(held))
        return again.faults == recording.faults and is_clean(again)  # otherwise it went another way, which shows nothing

    if recording.forgotten and vanishes("memory"):
        names = listed(recording.forgotten)
        verb = "is" if len(set(recording.forgotten)) == 1 else "are"
        return Cause(f"{names} {verb} kept in the memory of the process, which a crash takes away", _KEEP_OUTSIDE)
    drawn: tuple[tuple[tuple[Held, ...], tuple[str, ...]], ...] = (
        (("random",), CHANCE),
        (("time",), _CLOCK),
        (("random", "time"), _OF_BOTH),
    )
    for held, begins in drawn:
        reads = _reads(recording, violation, begins)
        if reads and vanishes(*held):
            return _drawn(recording, violation, held[0], reads[0])
    if any(event.kind == "attempt" and event.data[1] > 1 for event in recording.events) and vanishes("attempt"):
        return _attempt(recording, violation)
    return own


def _reads(recording: Recording[Any], violation: Violation, begins: tuple[str, ...]) -> list[Read]:
    """Return what user code read of a kind: first what the command in question read."""
    reads = (read for read in recording.reads if read.what.startswith(begins))
    return sorted(reads, key=lambda read: (read.run, read.n) != (violation.run, violation.n))


def _drawn(recording: Recording[Any], violation: Violation, held: Held, read: Read) -> Cause:
    source = read.what if read.what.endswith(")") else f"{read.what}()"
    if _keys_differ(recording, violation):
        return Cause(
            f"the key is made by {source} at {place(read.line)}, inside the step; each execution makes another one", _USE_KEY
        )
    which = "another value" if held == "random" else "another time"
    return Cause(
        f"{source} at {place(read.line)} is read inside the step; each execution gets {which}",
        f"read it in a step of its own and pass the result on, or {_USE_KEY}",
    )


def _attempt(recording: Recording[Any], violation: Violation) -> Cause:
    name = _step(recording, violation)
    known = recording.steps.get(name)
    where = f", at {place(where_defined(known.fn))}," if known is not None else ""
    if _keys_differ(recording, violation):
        return Cause(f"the key depends on the number of the attempt: {name}(){where} gives each attempt another one", _USE_KEY)
    return Cause(
        f"{name}(){where} acts on step_info().attempt: it does something else when it runs again",
        "let every attempt do the same; an attempt after a crash may be the first one that arrives",
    )


def _keys_differ(recording: Recording[Any], violation: Violation) -> bool:
    """Whether attempts of the command in question made the same call under different keys."""
    attempts: list[list[str | None]] = []
    for event in recording.events:
        if (event.run, event.n) != (violation.run, violation.n):
            continue
        if event.kind == "attempt":
            attempts.append([])
        elif event.kind in ("effect", "repeated") and attempts and event.data[0].name == violation.about:
            attempts[-1].append(event.data[0].key)
    return any(len(set(keys)) > 1 for keys in zip(*filter(None, attempts), strict=False))


def _step(recording: Recording[Any], violation: Violation) -> str:
    """Return the step that a violation is about, or else the one that was tried again."""
    attempts = [event for event in recording.events if event.kind == "attempt"]
    attempts.sort(key=lambda event: ((event.run, event.n) != (violation.run, violation.n), -event.data[1]))
    return str(attempts[0].data[0])
