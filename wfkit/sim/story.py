"""Tells a finding as a story: what happened, in order and in the terms of the business, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from msgspec import Raw

from wfkit.core.commands import (
    AwaitSignal,
    CancelRun,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    RunStep,
    StartChild,
    StartTimer,
)
from wfkit.core.durations import display
from wfkit.core.entries import (
    FED,
    AttemptFailed,
    Blocked,
    CancelRequested,
    ChildEnded,
    Record,
    RunStarted,
    RunTerminated,
    SignalPublished,
    StepFailed,
    TimerFired,
)
from wfkit.sim.faults import Fault
from wfkit.sim.findings import Violation
from wfkit.sim.lines import shown_path
from wfkit.sim.recording import Delivery, Event, Recording
from wfkit.sim.services import DECLARED, OPAQUE, Effect
from wfkit.sim.words import words

LINES_MAX = 16
"""A story of more lines leaves out what the finding is not about."""
ENDS_MAX = 12
"""If that is not enough, so many lines of its beginning and of its end are left."""
TURN_LINES_MAX = 4
"""A turn of so many lines is seen to come up again."""
TOGETHER_MAX = 100
KEY_MAX = 24
"""Characters of a key that are shown; of a longer one it is its beginning."""
TEXT_MAX = 60
"""Characters of a value that are shown."""

_EXPECTED = ("fault-free:", "recorded:", "executed once:")
_FOUND = ("this run:", "replayed:", "executed again:")

MAIN, OTHER, DETAIL = 0, 1, 2
"""How much a line matters: the finding is about it, it belongs to what happened, it is left out first."""


@dataclass(slots=True)
class Line:
    """One line of a story."""

    at: int
    run: str
    text: str
    rank: int
    came: str = ""
    """What came of it, in a column of its own."""
    mark: str = ""


def tell(
    recording: Recording[Any],
    violation: Violation,
    *,
    code: str,
    why: str = "",
    fix: str = "",
    replay: str = "",
    test: str = "",
    shrunk_from: int = 0,
) -> str:
    """Return the story of a violation.

    Args:
        recording: the reduced schedule that shows it.
        violation: what its oracle says.
        code: of the finding, such as WF063.
        why: its cause, where it is known.
        fix: what to do about it.
        replay: the command that shows it again.
        test: the line of a test that shows it again.
        shrunk_from: how many faults the schedule had when it was found.
    """
    telling = _Telling(recording, violation)
    lines = telling.lines()
    named = [("why", why), ("fix", fix), ("replay", replay), ("test", test)]
    width = max(len(f"{name}:") for name, text in named if text) if replay or test else 0
    story = "\n".join(
        [
            _headline(code, violation, telling.step),
            f"  {_schedule(recording, shrunk_from)}",
            *(f"  {line}" for line in _laid_out(lines, several=len(recording.runs) > 1)),
            *(f"  {line}" for line in _compared(violation.evidence)),
            *(f"  {name}: {text}" for name, text in named[:2] if text),
            *(f"  {f'{name}:':<{width}} {text}" for name, text in named[2:] if text),
        ]
    )
    return story.replace(f"{Path.cwd()}/", "")


def place(line: str) -> str:
    """Return `file:line in function` as stories name it: relative to the working directory, `shop.py:31 charge()`."""
    where, _, function = line.partition(" in ")
    path, colon, number = where.rpartition(":")
    shown = f"{shown_path(path)}:{number}" if colon else where
    return f"{shown} {function}()" if function else shown


def _headline(code: str, violation: Violation, step: str) -> str:
    title = violation.title
    if violation.workflow and not title.startswith(violation.workflow):
        title = f"{violation.workflow}: {title}"
    if not violation.line:
        return f"{code}  {title}"
    named = "" if " in " in violation.line or not step else f" {step}()"
    return f"{code}  {title:<72}  {place(violation.line)}{named}"


def _schedule(recording: Recording[Any], shrunk_from: int) -> str:
    faults = recording.planned
    if not faults:
        return "schedule: no fault"
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    shrunk = f", shrunk from {shrunk_from}" if shrunk_from > len(faults) else ""
    dropped = sum(delivery.kind == "dropped" for delivery in recording.deliveries)
    without = f"; {dropped} of {len(recording.deliveries)} deliveries left out" if dropped else ""
    return f"schedule ({count}{shrunk}): {', '.join(map(str, faults))}{without}"


def _compared(evidence: Sequence[str]) -> Iterator[str]:
    """Yield the lines of evidence; what was expected and what was found are on one line, if it is long enough."""
    left = list(evidence)
    while left:
        line = left.pop(0)
        if line.startswith(_EXPECTED) and left and left[0].startswith(_FOUND) and len(line) + len(left[0]) < TOGETHER_MAX:
            line = f"{line}   {left.pop(0)}"
        yield line


def _laid_out(lines: Sequence[Line], *, several: bool) -> Iterator[str]:
    """Yield lines with their columns aligned, and with what is left out counted."""
    chosen = _chosen(lines)
    shown = [line for line in chosen if isinstance(line, Line)]
    days = len({line.at // 86_400_000_000 for line in shown}) > 1
    name = max((len(line.run) for line in shown), default=0) if several else 0
    texts = max((len(line.text) for line in shown if line.came), default=0)
    cames = max((len(line.came) for line in shown if line.mark), default=0)
    for line in chosen:
        if isinstance(line, int):
            yield f"... {line} more entr{'y' if line == 1 else 'ies'}"
            continue
        at = datetime.fromtimestamp(line.at / 1e6, UTC)
        parts = [at.strftime("%m-%d %H:%M:%S" if days else "%H:%M:%S")]
        if several:
            parts.append(f"{line.run:<{name}}")
        parts.append(f"{line.text:<{texts}}" if line.came else line.text)
        if line.came:
            parts.append(f"-> {line.came:<{cames}}" if line.mark else f"-> {line.came}")
        yield "  ".join([*parts, line.mark] if line.mark else parts).rstrip()


def _chosen(lines: Sequence[Line]) -> list[Line | int]:
    """Return the lines that are shown, and between them how many are not."""
    kept = [line for line in lines if line.rank < DETAIL]
    wanted = set(range(len(kept)))
    if len(kept) > LINES_MAX:
        wanted = _news([index for index, line in enumerate(kept) if line.rank == MAIN], kept)
    if len(wanted) > 2 * ENDS_MAX:
        ordered = sorted(wanted)
        wanted = {*ordered[:ENDS_MAX], *ordered[-ENDS_MAX:]}
    chosen: list[Line | int] = []
    for is_wanted, group in groupby(range(len(kept)), wanted.__contains__):
        indexes = list(group)
        chosen += [kept[index] for index in indexes] if is_wanted or len(indexes) == 1 else [len(indexes)]
    return chosen


def _news(indexes: Sequence[int], lines: Sequence[Line]) -> set[int]:
    """Leave out what goes on in the same way, such as the attempts of a step that always fails: two are told, and the last."""
    told = [(lines[index].run, lines[index].text, lines[index].came, lines[index].mark) for index in indexes]

    same: set[int] = set()
    for length in range(1, TURN_LINES_MAX + 1):
        for start in range(2 * length, len(told) - 2 * length + 1):
            turns = [told[start + turn * length :][:length] for turn in (-2, -1, 0, 1)]
            if turns.count(turns[0]) == len(turns):
                same.update(range(start, start + length))
    return {index for at, index in enumerate(indexes) if at not in same}


class _Telling:
    """Reads the events of a schedule in order."""

    def __init__(self, recording: Recording[Any], violation: Violation) -> None:
        self._events = recording.events
        self._violation = violation
        self._steps: dict[tuple[str, int], RunStep] = {}
        self._timers: dict[tuple[str, int], StartTimer] = {}
        self._calls: dict[tuple[str, int], Line] = {}
        """Attempts under way whose line has no effect yet."""
        self._attempted: set[tuple[str, int]] = set()
        self._fed: dict[str, int] = {}
        self._keys: dict[tuple[str, int, str], str] = {}
        self._counts: dict[str, int] = {}
        self._delivered: set[int] = set()
        self._entered = {(event.run, event.n) for event in self._events if event.kind == "attempt"}
        self._late = False
        self._over: dict[tuple[str, int], int] = {}
        """The last attempt that failed, of each step that is tried again."""

    @property
    def step(self) -> str:
        """The step that the violation is about; empty if it is about none."""
        step = self._steps.get((self._violation.run, self._violation.n))
        return step.name if step is not None else ""

    def lines(self) -> list[Line]:
        lines: list[Line] = []
        for index, event in enumerate(self._events):
            lines += self._tell(event, index)
        return lines

    def _tell(self, event: Event, index: int) -> Iterator[Line]:
        match event.kind, event.data:
            case "started", (int(life), *_):
                if life > 1:
                    yield Line(event.at, self._focus(), self._restarted(index), MAIN)
            case "fault", (Fault() as fault,):
                if fault.kind != "cancel":
                    self._calls.pop((event.run, event.n), None)
                yield Line(event.at, event.run, words(fault), MAIN)
            case "attempt", (str(name), int(number), *_):
                yield self._attempt(event, name, number)
            case "effect" | "repeated", (Effect() as effect,):
                again = "known by its key, nothing happened" if effect.key else "as it was already, nothing happened"
                yield from self._effect(event, effect, came=again if event.kind == "repeated" else "")
            case "nothing", (Effect() as effect, str(why)):
                yield from self._effect(event, effect, came=why)
            case "script", (str(told),):
                yield Line(event.at, event.run, f"the script ends: {_short(told)}", OTHER)
            case "impatient", (str(name),):
                told = f"{name}() waits no longer for the answer, and goes on without it"
                yield Line(event.at, event.run, told, self._rank(event.run, event.n))
            case "late", _:
                self._late = True
            case "resumed", (str(name), int(number)) if number <= self._over.get((event.run, event.n), 0):
                yield Line(event.at, event.run, f"the thread of attempt {number} of #{event.n} {name}() runs on", MAIN)
            case "wrote", (Record() as record,):
                yield from self._wrote(event, record)
            case "delivery", (Delivery() as delivery,):
                again = " again" if delivery.index in self._delivered else ""
                self._delivered.add(delivery.index)
                yield Line(event.at, event.run, f"{_called(delivery)} arrives{again}", self._rank_of(delivery.name))
            case "refused", (Delivery() as delivery,):
                yield Line(event.at, event.run, f"{_called(delivery)} is refused: {_short(delivery.refused)}", MAIN)
            case _:
                pass

    def _focus(self) -> str:
        return self._violation.run or next(iter(self._fed), "")

    def _rank(self, run: str, n: int) -> int:
        violation = self._violation
        if violation.run and run != violation.run:
            return OTHER
        return MAIN if n and n == violation.n else OTHER

    def _rank_of(self, name: str) -> int:
        return MAIN if name == self._violation.about else OTHER

    # -- lives --------------------------------------------------------------------------------------------------------

    def _restarted(self, index: int) -> str:
        """Say how far a restart got by replay, and which step it meets again without a result."""
        count = self._fed.get(self._focus(), 0)
        text = f"worker restarted, replayed {count} of {count} entries"
        for event in self._events[index + 1 :]:
            where = (event.run, event.n)
            if event.kind in ("started", "fault"):
                break
            if event.kind == "wrote" and isinstance(event.data[0].entry, Blocked):
                return f"worker restarted, and could not replay its {count} entries"
            if event.kind == "attempt" and where in self._attempted:
                return f"{text}, reached #{event.n} again: no result in the journal"
        return text

    # -- steps and effects ------------------------------------------------------------------------------------------------

    def _attempt(self, event: Event, name: str, number: int) -> Line:
        where = (event.run, event.n)
        command = self._steps.get(where)
        self._attempted.add(where)
        line = Line(event.at, event.run, f"#{event.n} {name}({_arguments(command)}) called", self._rank(*where))
        if line.rank == OTHER:
            line.rank = self._rank_of(name)
        self._calls[where] = line
        return line

    def _effect(self, event: Event, effect: Effect, *, came: str) -> Iterator[Line]:
        """Tell of a call that arrived. `came` is what came of it; empty if it took effect."""
        where = (event.run, event.n)
        what = effect.name if effect.service in (OPAQUE, DECLARED) else f"{effect.service}.{effect.name}"
        line = self._calls.pop(where, None)
        known = line is not None and line.at == event.at
        if line is None or not known:
            begin = "the old worker's call arrives" if self._late else f"{self._name(event)} goes on"
            line = Line(event.at, event.run, begin, self._rank(*where))
        self._late = False
        line.text += self._key(effect)
        line.rank = min(line.rank, self._rank_of(effect.name))
        if came:
            line.came = f"{what}: {came}"
        else:
            self._counts[what] = self._counts.get(what, 0) + 1
            line.came, line.mark = what, f"EFFECT {self._counts[what]}"
        if not known:
            yield line

    def _key(self, effect: Effect) -> str:
        if effect.key is None:
            return ", no key"
        where = (effect.run, effect.n, effect.name)
        before, key = self._keys.get(where, effect.key), effect.key
        self._keys[where] = key
        if len(key) <= KEY_MAX:
            shown = key
        elif before != key and before[:4] == key[:4]:
            shown = f"...{key[-4:]}"
        else:
            shown = f"{key[:4]}..."
        return f", key {shown}{' (NEW)' if before != key else ''}"

    # -- the journal ------------------------------------------------------------------------------------------------------

    def _wrote(self, event: Event, record: Record) -> Iterator[Line]:
        if isinstance(record.entry, RunStarted):  # a generation counts its commands anew
            self._fed[event.run] = 0
            self._attempted = {where for where in self._attempted if where[0] != event.run}
            self._keys = {where: key for where, key in self._keys.items() if where[0] != event.run}
            self._over = {where: number for where, number in self._over.items() if where[0] != event.run}
        if isinstance(record.entry, AttemptFailed) and not record.entry.died:
            self._over[event.run, event.n] = record.entry.attempt
        if isinstance(record.entry, FED):
            self._fed[event.run] = self._fed.get(event.run, 0) + 1
        told = self._entry(event, record)
        if told is not None:
            text, rank = told
            yield Line(event.at, event.run, text, min(rank, self._rank(event.run, event.n)) if rank < DETAIL else rank)
        for command in record.commands or ():
            yield from self._command(event, command)

    def _entry(self, event: Event, record: Record) -> tuple[str, int] | None:
        entry, name = record.entry, self._name(event)
        match entry:
            case AttemptFailed(died=False):
                return f"{name} failed: {_failure(entry.error)}; it is tried again", OTHER
            case StepFailed():
                return f"{name} failed for good: {_failure(entry.error)}", OTHER
            case TimerFired():
                timer = self._timers.get((event.run, event.n))
                return f"#{event.n} timer fired{f' after {display(timer.delay)}' if timer is not None else ''}", OTHER
            case ChildEnded():
                return f"{name} {entry.status}{f': {_failure(entry.error)}' if entry.error is not None else ''}", OTHER
            case CancelRequested():
                return "the run is asked to stop" + (": its timeout is over" if entry.timeout else ""), OTHER
            case Blocked():
                return f"blocked: {entry.code} {entry.cause.message.partition(chr(10))[0]}", MAIN
            case RunTerminated():
                return f"terminated{f': {entry.reason}' if entry.reason else ''}", MAIN
            case SignalPublished():
                return f"{entry.name} published, {entry.receivers} took it", self._rank_of(entry.name)
            case _:
                return None

    def _command(self, event: Event, command: Command) -> Iterator[Line]:
        at, run = event.at, event.run
        end = MAIN if run == self._focus() else OTHER
        match command:
            case RunStep():
                self._steps[run, command.n] = command
                if (run, command.n) not in self._entered:
                    yield Line(
                        at, run, f"#{command.n} {command.name}({_arguments(command)}) begins", self._rank(run, command.n)
                    )
            case StartTimer():
                self._timers[run, command.n] = command
                yield Line(at, run, f"#{command.n} sleeps {display(command.delay)}", DETAIL)
            case AwaitSignal():
                yield Line(at, run, f"#{command.n} waits for {command.name}", self._waiting(command))
            case StartChild():
                yield Line(at, run, f"#{command.n} starts child {command.id}", self._rank(run, command.n))
            case CompleteRun():
                dangling = f", leaving #{', #'.join(map(str, command.dangling))} unfinished" if command.dangling else ""
                yield Line(at, run, f"completed: {_json(command.value)}{dangling}", end)
            case FailRun():
                yield Line(at, run, f"failed: {_failure(command.error)}", end)
            case CancelRun():
                yield Line(at, run, "timed out" if command.timed_out else "cancelled", end)
            case _:
                pass

    def _waiting(self, command: AwaitSignal) -> int:
        return MAIN if command.name == self._violation.about or command.n == self._violation.n else DETAIL

    def _name(self, event: Event) -> str:
        step = self._steps.get((event.run, event.n))
        return f"#{event.n} {step.name}()" if step is not None else f"#{event.n}"


def _called(delivery: Delivery) -> str:
    match delivery.kind:
        case "start":
            return f"start of {delivery.name}({_array(delivery.payload)})"
        case _:
            return f"{delivery.name}({_json(delivery.payload)})"


def _arguments(command: RunStep | None) -> str:
    return _array(command.args) if command is not None else "..."


def _array(args: Raw) -> str:
    return _short(", ".join(_value(value) for value in json.loads(bytes(args))))


def _json(value: Raw) -> str:
    return _short(_value(json.loads(bytes(value))))


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _failure(failure: Failure) -> str:
    return _short(f"{failure.type}: {failure.message}" if failure.message else failure.type)


def _short(text: str) -> str:
    first, *more = text.split("\n")
    return f"{first[: TEXT_MAX - 3]}..." if more or len(first) > TEXT_MAX else first
