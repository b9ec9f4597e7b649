"""Points at which something can go wrong, the kinds of faults, and which kind fits which point.

A point has a name in the workflow's own terms: `<run>:<n>:<phase>:<label>:<occurrence>`. The number `n` is that of the
durable command, so the same point exists in every run with the same prefix. The run is left out if it is the main one,
the occurrence if it is the first, and the number where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Literal, NamedTuple, TypeAlias

from wfkit.core.durations import Duration, display, microseconds
from wfkit.errors import FaultSyntaxError

__tracebackhide__ = True  # pytest shows the line where a fault is written instead

FaultClass: TypeAlias = Literal["M", "S", "B", "T"]
"""What a fault entitles a run to: M the engine must mask it, S a service fails, B business fails, T time shifts."""
CLASSES: tuple[FaultClass, ...] = ("M", "S", "B", "T")
"""From the strictest to the most lenient: a plan is judged by the last one that its faults are of."""

HOUR = 3_600_000_000
DAY = 24 * HOUR


class Point(NamedTuple):
    """A named moment of a schedule."""

    run: str
    """The run's id; empty for the main run."""
    n: int
    phase: str
    label: str
    occurrence: int = 1

    def __str__(self) -> str:
        parts = [self.run] if self.run else []
        if self.n:
            parts.append(str(self.n))
        parts += [self.phase, self.label]
        if self.occurrence > 1:
            parts.append(str(self.occurrence))
        return ":".join(parts)


STEP_PHASES = (
    "step.before",
    "call.before",
    "call.after",
    "step.effect_done_not_journaled",
    "fail.before_journal",
    "step.journaled",
)
EFFECT_PHASE = "effect"
"""Where a step has declared an effect, and goes on."""
COMMIT_PHASE = "commit"
"""Where a step has committed to SQLite, and goes on to the next statement."""
UNASKED = frozenset({EFFECT_PHASE, COMMIT_PHASE})
"""Where no service is asked: the process may die there, and no more."""
INNER_PHASES = ("read", "get", "put", "put.after", EFFECT_PHASE, COMMIT_PHASE)
"""What a step passes besides, in the middle of what it does."""
_OF_STEPS = {f"comp.{phase.removeprefix('step.')}": phase for phase in (*STEP_PHASES, *INNER_PHASES)}
COMPENSATION_PHASES = tuple(_OF_STEPS)
PHASES = (
    "start.before_journal",
    "start.journaled",
    *STEP_PHASES,
    *COMPENSATION_PHASES,
    "timer.set",
    "timer.fired",
    "timer.journaled",
    "wait.registered",
    "event.before_journal",
    "event.journaled",
    "child.done_not_journaled",
    "child.journaled",
    "cancel.journaled",
    "finish.before_journal",
    "finish.journaled",
    *INNER_PHASES,
    "journal.append",
    "journal.fsync",
    "journal.read",
    "tie",
    "delivery",
    "calendar",
    "begin",
)
CALENDAR = frozenset({"calendar", "begin"})
"""What stands for the time at which a schedule begins: a day, or a day and a time."""


def plain(phase: str) -> str:
    """Return the phase of a compensation as that of an ordinary step."""
    return _OF_STEPS.get(phase, phase)


class Kind(NamedTuple):
    """A kind of fault."""

    name: str
    cls: FaultClass
    phases: frozenset[str]
    """Where it fits, with phases of compensations named as those of steps."""
    default: int = 0
    """Its parameter, where it has one: microseconds, or a number."""
    is_asked_for: bool = False
    """Whether a search leaves it out unless it is asked for by name."""
    is_counted: bool = False
    """Whether its parameter is how many attempts of a call it strikes, one after the other."""


_IN_STEP = frozenset(
    {"step.before", "call.before", "call.after", "step.effect_done_not_journaled", "read", "get", "put", "put.after"}
)
ASKED = frozenset({"call.before", "read"})
"""Where a service is asked, for an effect or an answer. A store of values, asked in `get` and `put`, always answers."""
ANSWERED = frozenset({"call.after", "read"})
"""Where its answer may take too long: an effect has taken place by then."""
OF_CALLS = frozenset(phase for phase in (*INNER_PHASES, *STEP_PHASES, *COMPENSATION_PHASES) if plain(phase) in ASKED | ANSWERED)
"""All points of a call, those of compensations included."""
ATTEMPTS = 4
"""How many attempts of a call fail by one fault, unless it says otherwise: as many as a step has by default."""
_EVERYWHERE = frozenset(PHASES) - {"tie", "delivery"} - UNASKED - CALENDAR - set(COMPENSATION_PHASES)
_WAITING = frozenset({"timer.set", "wait.registered"})

DROP = "drop"
"""A delivery that is not made, without faults neither: nothing goes wrong, there is only less to look at."""

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # In the order of simplicity: shrinking prefers what comes first.
        Kind("crash", "M", _EVERYWHERE | UNASKED),
        Kind("crash_replay", "M", frozenset({"journal.read"})),
        Kind("upgrade", "M", _EVERYWHERE),
        Kind("dup", "M", frozenset({"delivery"}), 500_000),
        Kind("lost_event_ack", "M", frozenset({"delivery"})),
        Kind("zombie", "M", frozenset({"call.before"}), 30_000_000),
        Kind("lost_ack", "S", frozenset({"call.after"})),
        Kind("fail", "S", ASKED),
        Kind("fail_n", "S", ASKED, ATTEMPTS, is_counted=True),
        Kind("fatal", "B", frozenset({"call.before"})),
        Kind("slow", "S", ANSWERED),
        Kind("slow_n", "S", ANSWERED, ATTEMPTS, is_counted=True),
        Kind("outage", "S", ASKED, HOUR),
        Kind("cancel", "B", _EVERYWHERE - {"start.before_journal", "finish.journaled", "finish.before_journal"}),
        Kind("delay", "M", _IN_STEP, HOUR),
        Kind("tie", "M", frozenset({"tie"})),
        Kind("early", "T", frozenset({"delivery"})),
        Kind("late", "T", frozenset({"delivery"}), 7 * DAY),
        Kind("swap", "T", frozenset({"delivery"})),
        Kind("crash_long", "T", _WAITING, DAY),
        Kind("jump+", "T", _WAITING | {"step.before"}, 2 * HOUR),
        Kind("jump-", "T", _WAITING | {"step.before"}, 2 * HOUR),
        Kind("freeze", "T", _WAITING | {"step.before"}),
        Kind("skew", "T", _WAITING | {"step.before"}, 2 * HOUR),
        Kind("dst", "T", frozenset({"calendar"})),
        Kind("new_year", "T", frozenset({"begin"})),
        Kind("big", "B", frozenset({"step.effect_done_not_journaled"}), is_asked_for=True),
        Kind(DROP, "M", frozenset({"delivery"}), is_asked_for=True),
    )
}
_BEGIN = "%Y%m%dT%H%M%S"
RANK = {name: rank for rank, name in enumerate(KINDS)}


def kinds_at(phase: str, asked: Collection[str] = ()) -> list[Kind]:
    """Return the kinds of faults that fit a phase; of those that must be asked for by name, the ones that are."""
    phase = plain(phase)
    return [kind for kind in KINDS.values() if phase in kind.phases and (not kind.is_asked_for or kind.name in asked)]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, at one point. `param` is microseconds, or a number of attempts; see `Kind.is_counted`."""

    kind: str
    point: Point
    param: int = 0

    @property
    def cls(self) -> FaultClass:
        return KINDS[self.kind].cls

    @property
    def amount(self) -> int:
        return self.param or KINDS[self.kind].default

    def __str__(self) -> str:
        shown = ""
        if self.param and self.param != KINDS[self.kind].default:
            shown = f"({self.param if KINDS[self.kind].is_counted else display(self.param)})"
        return f"{self.kind}{shown}@{self.point}"


def new_year(begin: datetime) -> Fault:
    """Return what lets a schedule begin so, shortly before a year ends. Fractions of a second are dropped."""
    return Fault("new_year", Point("", 0, "begin", begin.strftime(_BEGIN)))


def begin_of(fault: Fault, usual: datetime) -> datetime:
    """Return when a schedule begins that a fault moves to another day; `usual` if it moves none.

    Raises:
        ValueError: its label is no date.
    """
    match fault.kind:
        case "dst":
            return datetime.combine(date.fromisoformat(fault.point.label), usual.timetz())
        case "new_year":
            return datetime.strptime(fault.point.label, _BEGIN).replace(tzinfo=UTC)
        case _:
            return usual


Plan: TypeAlias = tuple[Fault, ...]
"""What goes wrong in one schedule."""


def class_of(faults: Plan) -> FaultClass:
    """Return what a plan of these faults entitles a run to."""
    return max((fault.cls for fault in faults), key=CLASSES.index, default="M")


_FAULT = re.compile(r"(?P<kind>[a-z_]+[+-]?)(?:\((?P<param>[^)]*)\))?\s*@\s*(?P<point>.+)")
_PHASE = re.compile(
    r"(?:^|:)(?P<phase>" + "|".join(re.escape(phase) for phase in sorted(PHASES, key=len, reverse=True)) + ")(?=:)"
)


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written: `crash@2:step.effect_done_not_journaled:charge`.

    Raises:
        FaultSyntaxError: it is no fault, or the kind does not fit the phase.
    """
    found = _FAULT.fullmatch(text.strip())
    if found is None:
        near = get_close_matches(text.strip(), KINDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        help = FaultSyntaxError.help if "@" in text else f"kinds of faults: {', '.join(KINDS)}"
        raise FaultSyntaxError(f"{text!r} is no fault{hint}", help=help)
    kind = kind_named(found["kind"])
    point = parse_point(found["point"])
    if plain(point.phase) not in kind.phases:
        fitting = ", ".join(sorted(kind.phases))
        raise FaultSyntaxError(f"{kind.name} does not fit {point.phase}", help=f"{kind.name} fits: {fitting}")
    fault = Fault(kind.name, point, _parse_param(kind, found["param"]))
    if point.phase in CALENDAR:
        try:
            begin_of(fault, datetime.now(UTC))
        except ValueError:
            wanted = "a date, such as 2026-03-28" if kind.name == "dst" else "a time, such as 20261231T235959"
            raise FaultSyntaxError(
                f"{point.label!r} is not when a schedule can begin", help=f"{kind.name} takes {wanted}"
            ) from None
    return fault


def kind_named(name: str) -> Kind:
    """Return a kind of faults.

    Raises:
        FaultSyntaxError: there is none of this name.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise FaultSyntaxError(f"{name!r} is no kind of fault", help=f"kinds: {', '.join(KINDS)}")
    return kind


def is_drop(text: str) -> bool:
    """Whether a text names a delivery that is not made, rather than a fault or a kind of faults."""
    return text.partition("@")[0].strip() == DROP


def parse_schedule(texts: Iterable[str]) -> tuple[tuple[Fault, ...], frozenset[Point]]:
    """Read what goes wrong in a schedule, and which deliveries it does without: `drop@2:delivery:packed`.

    Raises:
        FaultSyntaxError: as `parse_fault`.
    """
    parsed = [parse_fault(text) for text in texts]
    dropped = frozenset(fault.point for fault in parsed if fault.kind == DROP)
    return tuple(fault for fault in parsed if fault.kind != DROP), dropped


def _parse_param(kind: Kind, text: str | None) -> int:
    if text is None:
        return 0
    try:
        return int(text) if kind.is_counted else microseconds(_duration(text))
    except ValueError:
        example = f"{kind.name}({'3' if kind.is_counted else '30m'})"
        what = "of how many attempts" if kind.is_counted else "for how long"
        help = f"say {what}: {example}" if kind.default else f"{kind.name} takes none"
        raise FaultSyntaxError(f"{text!r} is no parameter of {kind.name}", help=help) from None


def _duration(text: str) -> Duration:
    return text


def parse_point(text: str) -> Point:
    """Read a point as it is written.

    Raises:
        FaultSyntaxError: there is no phase in it, or no label.
    """
    found = _PHASE.search(text)
    if found is None:
        near = [phase for part in text.split(":") for phase in get_close_matches(part, PHASES, n=1)]
        hint = f"; did you mean {near[0]}?" if near else ""
        raise FaultSyntaxError(f"{text!r} names no phase{hint}", help=f"phases: {', '.join(PHASES)}")
    before, label = text[: found.start()], text[found.end() + 1 :]
    run, _, n = before.rpartition(":")
    if not n.isdigit():
        run, n = before, "0"
    label, occurrence = _occurrence(label)
    return Point(run, int(n), found["phase"], label, occurrence)


def _occurrence(label: str) -> tuple[str, int]:
    name, colon, number = label.rpartition(":")
    return (name, int(number)) if colon and number.isdigit() else (label, 1)
