"""Why a run does not go on: what it waits for and since when, what would bring that, and the line of code that asked.

All but the line stands in the history. The line comes from a replay on the code as it is now, which also tells whether
that code still agrees with the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Raw

from wfkit import guard
from wfkit.core.commands import Command, Failure, Json, Opening
from wfkit.core.compare import identity, name_of
from wfkit.core.durations import display
from wfkit.core.entries import Record
from wfkit.core.machine import Activation, Code, Machine, activations, told_length
from wfkit.core.state import Pending, PendingChild, PendingStep, PendingTimer, PendingWait, RunState
from wfkit.errors import WfkitError, by_code
from wfkit.replay.timeline import Span, spans

Kind: TypeAlias = Literal["step", "signal", "subscription", "timer", "child", "inbox", "timeout"]


@dataclass(frozen=True)
class Unread:
    """A signal that arrived and that nobody has taken."""

    name: str
    payload: Raw
    arrived: int
    """Microseconds UTC."""
    differs: str = ""
    """Why the wait in question does not take it; empty if none asks for this name."""


@dataclass(frozen=True)
class Reason:
    """One thing that a run waits for. Times are microseconds UTC."""

    kind: Kind
    name: str
    """The step, the signal, the child's id; the length of a timer."""
    since: int
    due: int | None = None
    """When the clock brings it by itself: a timer, or the next attempt of a step."""
    n: int | None = None
    """The number of its command."""
    attempt: int | None = None
    attempts_max: int | None = None
    """How often the step is tried; None means for ever."""
    uncounted: int = 0
    """Attempts that did not end by themselves; `attempts_max` is so much more than the policy says."""
    deaths: int = 0
    """How often in a row the process died under the step."""
    error: Failure | None = None
    """Why the last attempt failed."""
    compensation: bool = False
    cancelled: bool = False
    where: Json = UNSET
    """The fields that a signal must have."""
    unmatched: tuple[Unread, ...] = ()
    """Signals of this name that wait in the buffer and do not have these fields."""
    line: str | None = None
    """`file:line in function` of the user's code that asked for it, if the code is at hand."""


@dataclass(frozen=True)
class Explanation:
    """What there is to say about a run as it stands."""

    state: RunState
    reasons: tuple[Reason, ...]
    unread: tuple[Unread, ...]
    """Signals in the buffer that no wait asks for by name."""
    compensations: tuple[Span, ...]
    """The compensations that were asked for, in order."""
    cause: Span | None
    """The step whose error ended the run, if it was one."""
    problem: WfkitError | None
    """Why the run cannot go on with the code as it is now; None if it can, or if no code was given."""


def explain(records: Sequence[Record], code: Code | None = None) -> Explanation:
    """Say why a run does not go on, or how it ended.

    Args:
        records: its history.
        code: the workflow as it is now. It is replayed, so its module has been imported, and the guard is installed.
    """
    state = RunState(0)
    for record in records:
        state.apply(record)
    told = spans(records)
    inbox = set(state.inbox or ())
    buffered = [
        Unread(span.name, span.value, span.since)
        for span in told
        if span.kind == "signal" and span.outcome == "buffered" and not inbox.intersection(span.records)
        if isinstance(span.value, Raw)
    ]
    lines: dict[int, str] = {}
    problem = None
    if code is not None and not state.finished:
        lines, problem = _replay(code, records, died=_may_kill(state))
    reasons = [
        _reason(n, pending, lines.get(n), buffered)
        for n, pending in sorted(state.open.items())
        if not (isinstance(pending, PendingChild) and not pending.awaited)
    ]
    reasons.sort(key=lambda reason: _SHOWN_FIRST.index(reason.kind))
    if state.inbox:
        reasons.insert(0, Reason("inbox", f"{len(state.inbox)}", records[state.inbox[0] - 1].entry.t))
    if state.deadline is not None and not state.cancelling and not state.finished:
        reasons.append(Reason("timeout", display(state.deadline - state.started), state.started, state.deadline))
    asked = {pending.name for pending in state.open.values() if isinstance(pending, PendingWait)}
    return Explanation(
        state,
        tuple(reasons),
        tuple(signal for signal in buffered if signal.name not in asked) if not state.finished else (),
        tuple(span for span in told if span.compensation),
        _cause(told, state.error),
        problem,
    )


def why_not(records: Sequence[Record], code: Code) -> WfkitError | None:
    """Return why an unfinished run cannot go on with the code as it is now; None if it can.

    It is what `explain` says, for a fifth of the cost.
    """
    died = False
    if any(recorded is None for _, _, recorded in activations(records)):
        state = RunState(0)
        for record in records:
            state.apply(record)
        died = _may_kill(state)
    return _go_through(Machine(code), records, died=died)


def now_at(state: RunState, now: int) -> str:
    """Return in a few words where a run stands, such as `charge 2/4 in 1.1s` or `signal order.packed`.

    Args:
        state: of the run.
        now: the present, microseconds UTC.
    """
    if state.blocked is not None:
        first, *_ = state.blocked.cause.message.split("\n")
        return f"{state.blocked.code} {first}".strip()
    if state.finished:
        return error_text(state.error).split("\n")[0]
    steps = [pending for pending in state.open.values() if isinstance(pending, PendingStep)]
    others = [pending for pending in state.open.values() if not isinstance(pending, PendingStep)]
    texts = Counter(_step_at(step, now) for step in steps)
    texts.update(f"signal {wait.name}" for wait in others if isinstance(wait, PendingWait) and not wait.subscription)
    texts.update(f"child {child.id}" for child in others if isinstance(child, PendingChild) and child.awaited)
    if not texts:
        dues = [timer.due for timer in others if isinstance(timer, PendingTimer)]
        texts.update([f"timer {until(min(dues), now)}"] if dues else [])
    if not texts and state.inbox:
        texts.update(["its inbox"])
    (first, count), *more = [*texts.items()] or [("", 1)]
    shown = first + (f" ×{count:,}" if count > 1 else "") + (f", {sum(texts.values()) - count:,} more" if more else "")
    return f"! needs attention: {shown}" if state.attention else shown


def until(due: int, now: int) -> str:
    """Return `in 2m`, or `overdue` once the moment has passed."""
    return f"in {spell(due - now)}" if due > now else "overdue"


def spell(us: int) -> str:
    """Return a length of time for people: in milliseconds below a second, otherwise in at most two units."""
    us = max(us, 0)
    return display(round(us, -3)) if us < 60_000_000 else display(us // 1_000_000 * 1_000_000)


def error_text(error: Failure | None) -> str:
    """Return `Type: message` of a failure; what an operator or a timeout did has no type worth showing."""
    if error is None:
        return ""
    if error.type in ("Terminated", "Cancelled"):
        return error.message
    return f"{error.type}: {error.message}" if error.message else error.type


def _step_at(step: PendingStep, now: int) -> str:
    tries = f" {step.attempt}/{step.attempts_max or '∞'}" if step.attempt > 1 or step.due is not None else ""
    return f"{step.command.name}{tries}" + (f" {until(step.due, now)}" if step.due is not None else "")


_SHOWN_FIRST: tuple[Kind, ...] = ("step", "child", "signal", "subscription", "timer")
_OPENING = frozenset(command.__name__ for command in get_args(Opening))


def _replay(code: Code, records: Sequence[Record], *, died: bool) -> tuple[dict[int, str], WfkitError | None]:
    """Return the line that asked for each command, and why the code cannot go on, if it cannot.

    Where history and code part, a number stands for one thing in the history and for another one in the code, whose line
    would be a wrong answer.
    """
    machine = Machine(code, capture_sites=True)
    problem = _go_through(machine, records, died=died)
    assert machine.sites is not None
    lines = {command: line for command, line in machine.sites.items() if command[0] in _OPENING}
    if problem is not None:
        agreed = _agreed(machine, activations(records))
        lines = {command: line for command, line in lines.items() if command in agreed}
    return {n: line for (_, n), line in lines.items()}, problem


def _agreed(machine: Machine, history: Sequence[Activation]) -> set[tuple[str, int]]:
    """Return what names the commands that a machine which came to an end asked for just as the history has them."""
    found: set[tuple[str, int]] = set()
    for seq, _, recorded in history:
        if seq > machine.seq or recorded is None:
            break
        requested = machine.commands if seq == machine.seq else recorded
        for was, now in zip(_openings(recorded), _openings(requested), strict=False):
            if identity(was) != identity(now) or name_of(was) != name_of(now):
                return found
            found.add(identity(was))
    return found


def _openings(commands: Iterable[Command]) -> Iterator[Command]:
    return (command for command in commands if type(command).__name__ in _OPENING)


def _go_through(machine: Machine, records: Sequence[Record], *, died: bool) -> WfkitError | None:
    """Replay a history, and activate its inbox unless the process died of that. Returns why that is not possible."""
    guard.install()
    try:
        fed = activations(records)
        machine.replay(fed, length=told_length(records))
        for seq, entry, recorded in [] if died else fed:
            if recorded is None and not machine.ended:
                machine.feed(entry, seq)
    except WfkitError as exc:
        return exc
    finally:
        machine.evict()
    return None


def _may_kill(state: RunState) -> bool:
    """Whether the process died when the first entry of the inbox was activated last."""
    if state.blocked is not None:
        return state.blocked.code not in by_code()  # every error of the code has a code of its own
    return state.activations > 0


def _reason(n: int, pending: Pending, line: str | None, buffered: Iterable[Unread]) -> Reason:
    match pending:
        case PendingStep():
            command = pending.command
            return Reason(
                "step",
                command.name,
                pending.since,
                pending.due,
                n,
                attempt=pending.attempt,
                attempts_max=pending.attempts_max,
                uncounted=pending.uncounted,
                deaths=pending.deaths,
                error=pending.error,
                compensation=command.compensation,
                cancelled=pending.cancelled,
                line=line,
            )
        case PendingTimer():
            return Reason("timer", display(pending.due - pending.since), pending.since, pending.due, n, line=line)
        case PendingWait():
            kind: Kind = "subscription" if pending.subscription else "signal"
            unmatched = tuple(
                Unread(signal.name, signal.payload, signal.arrived, _difference(pending.where, signal.payload))
                for signal in buffered
                if signal.name == pending.name
            )
            return Reason(kind, pending.name, pending.since, n=n, where=pending.where, unmatched=unmatched, line=line)
        case PendingChild():
            return Reason("child", pending.id, pending.since, n=n, cancelled=pending.cancelled, line=line)


def _difference(where: Json, payload: Raw) -> str:
    """Say in which field a payload is not what a wait asks for."""
    wanted: dict[str, Any] = {} if where is UNSET else msgspec.json.decode(where)
    fields = msgspec.json.decode(payload)
    if not isinstance(fields, dict):
        return "it is no object" if wanted else ""
    for name, value in wanted.items():
        if name not in fields:
            return f"it has no {name}"
        if fields[name] != value or isinstance(fields[name], bool) is not isinstance(value, bool):
            return f"{name} is {msgspec.json.encode(fields[name]).decode()}"
    return ""


def _cause(told: Sequence[Span], error: Failure | None) -> Span | None:
    """Return the step whose error became the run's: the last one that failed with the same words."""
    if error is None:
        return None
    same = [
        span
        for span in told
        if span.kind == "step" and span.outcome == "failed" and span.error is not None
        if (span.error.type, span.error.message) == (error.type, error.message)
    ]
    return same[-1] if same else None
