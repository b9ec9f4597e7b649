"""Which runs to list: the filter language of the command line, of `Client.runs` and of the screens.

    status:failed,running  wf:order_*  id:order-7*  after:10m  before:2026-08-01  step:ship  error:"503"
    input.order.id:77  "text"

A run is listed if it fits every term. Parsing is pure: what it gives is a `RunFilter`, which a journal answers.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import Any, cast

import msgspec
from msgspec import Struct

from wfkit.core.commands import Failure, RunStep
from wfkit.core.durations import microseconds
from wfkit.core.entries import Record, RunStarted
from wfkit.core.state import STATUSES, PendingStep, RunState, Status
from wfkit.errors import FilterError

KEYS = ("status", "wf", "id", "after", "before", "step", "error", "input")
DETAILS = ("waiting", "retrying", "compensating")
"""What `running` may mean more exactly; `status:` takes these words too."""


@dataclass(frozen=True)
class RecordTest:
    """Asks for a record in a run's history."""

    text: str
    """What stands in the record, or in its large values, as JSON: a quick test that may let wrong ones pass."""
    accepts: Callable[[Record], bool]
    entry: type[Struct] | None = None
    """Only a record of such an entry passes; None: of any."""


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list. What is None does not matter; times are microseconds UTC."""

    statuses: frozenset[Status] | None = None
    workflow: str | None = None
    """A pattern such as `order_*`."""
    id: str | None = None
    """A pattern such as `order-*`."""
    started_from: int | None = None
    started_before: int | None = None
    where: Callable[[RunState], bool] | None = None
    """Anything else. It is asked last, since it needs the whole state of each run."""
    holds: tuple[RecordTest, ...] = ()
    """For each test the run's history must hold a record that passes. `accepts` leaves this to the journal."""

    def accepts(self, state: RunState) -> bool:
        return (
            (self.statuses is None or state.status in self.statuses)
            and (self.workflow is None or fnmatch.fnmatchcase(state.workflow, self.workflow))
            and (self.id is None or fnmatch.fnmatchcase(state.id, self.id))
            and (self.started_from is None or state.started >= self.started_from)
            and (self.started_before is None or state.started < self.started_before)
            and (self.where is None or self.where(state))
        )


_WORD = re.compile(r'\s*((?:[^\s"\\]|\\.|"(?:[^"\\]|\\.)*")+)')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_KEYED = re.compile(r"([A-Za-z_]+)((?:\.[^\s:]+)?):(.*)", re.DOTALL)


def split(text: str) -> list[str]:
    """Split a filter into terms, at blanks that do not stand in double quotes, and take the quotes off.

    Raises:
        FilterError: a quotation has no end.
    """
    terms = []
    end = 0
    text = text.rstrip()
    while end < len(text):
        word = _WORD.match(text, end)
        if word is None:
            raise FilterError(f"a quotation has no end: {text[end:].strip()}")
        # A term that is quoted as a whole is a text to search for, even if it looks like a filter.
        terms.append("text:" * word[1].startswith('"') + _QUOTED.sub(lambda found: _unescaped(found[1]), word[1]))
        end = word.end()
    return terms


def parse(terms: str | Sequence[str], now: int) -> RunFilter:
    """Return the filter that terms describe.

    Args:
        terms: a filter as one text, or already split, as a shell does.
        now: the present, microseconds UTC; `after:10m` counts from here.

    Raises:
        FilterError: a term is not understood; the message names it.
    """
    wanted = _Wanted(now)
    for term in split(terms) if isinstance(terms, str) else _arguments(terms):
        wanted.add(term)
    return wanted.filter()


def _arguments(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the terms of a command's arguments: each is one term, unless it is plainly a whole filter in quotes."""
    keyed = re.compile(rf"\s({'|'.join(KEYS)})[.:]")
    for argument in arguments:
        if keyed.search(argument) or '"' in argument:
            yield from split(argument)
        elif argument.strip():
            yield argument


class _Wanted:
    """Collects terms."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._fields: dict[str, Any] = {}
        self._where: list[Callable[[RunState], bool]] = []
        self._holds: list[RecordTest] = []

    def add(self, term: str) -> None:
        keyed = _KEYED.fullmatch(term)
        if keyed is None:
            self._where.append(partial(_mentions, term.casefold()))
            return
        key, path, value = keyed.groups()
        if not value:
            raise FilterError(f"`{term}` says nothing after the colon")
        match key:
            case "text":
                self._where.append(partial(_mentions, value.casefold()))
            case "input":
                self._holds.append(RecordTest(_literal(value), partial(_has_input, path.split(".")[1:], value), RunStarted))
            case _ if path:
                raise self._unknown(key + path, term)
            case "status":
                self._status(value)
            case "wf" | "workflow":
                self._set("workflow", value, term)
            case "id":
                self._set("id", value, term)
            case "after":
                self._set("started_from", self._moment(value), term)
            case "before":
                self._set("started_before", self._moment(value), term)
            case "step":
                self._holds.append(RecordTest(_literal(value), partial(_calls, value)))
            case "error":
                self._where.append(partial(_failed_with, value.casefold()))
            case _:
                raise self._unknown(key, term)

    def filter(self) -> RunFilter:
        where = tuple(self._where)
        return RunFilter(
            **self._fields,
            where=(lambda state: all(test(state) for test in where)) if where else None,
            holds=tuple(self._holds),
        )

    def _set(self, name: str, value: object, term: str) -> None:
        if name in self._fields:
            raise FilterError(f"`{term}`: this was said before, and a run cannot fit both")
        self._fields[name] = value

    def _status(self, value: str) -> None:
        words = value.lower().split(",")
        for word in words:
            if word not in STATUSES and word not in DETAILS:
                near = get_close_matches(word, [*STATUSES, *DETAILS], n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise FilterError(f"no status {word!r}{hint}", help=f"a status is one of {', '.join([*STATUSES, *DETAILS])}")
        plain, details = {word for word in words if word in STATUSES}, {word for word in words if word in DETAILS}
        statuses = plain | ({"running"} if details else set())
        self._set("statuses", frozenset(cast("set[Status]", statuses)), f"status:{value}")
        if details:
            self._where.append(lambda state: state.status in plain or state.detail in details)

    def _moment(self, value: str) -> int:
        """Return a moment: so long ago, or a date, with or without a time."""
        try:
            return self._now - microseconds(value)
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise FilterError(
                f"{value!r} is no time", help="write 10m, 2h or 3d for so long ago, or 2026-08-01, or 2026-08-01T12:30:00Z"
            ) from None
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return round(moment.timestamp() * 1e6)

    @staticmethod
    def _unknown(key: str, term: str) -> FilterError:
        near = get_close_matches(key, KEYS, n=1)
        hint = f"; did you mean {near[0]}:?" if near else ""
        return FilterError(
            f"no filter {key!r} in `{term}`{hint}",
            help=f"""filters are {": ".join(KEYS)}: and a text with a colon is quoted: '"{term}"'""",
        )


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def failures(state: RunState) -> list[Failure]:
    """Return what has gone wrong in a run, as far as it still matters: how it ended, why it is blocked, what is retried."""
    found = [state.error, state.blocked.cause if state.blocked is not None else None]
    found += [pending.error for pending in state.open.values() if isinstance(pending, PendingStep)]
    return [failure for failure in found if failure is not None]


def _failed_with(text: str, state: RunState) -> bool:
    codes = f"[{state.blocked.code}] " if state.blocked is not None else ""
    return any(text in f"{codes}{failure.type}: {failure.message}".casefold() for failure in failures(state))


def _mentions(text: str, state: RunState) -> bool:
    return text in state.id.casefold() or text in state.workflow.casefold() or _failed_with(text, state)


def _literal(pattern: str) -> str:
    """Return what stands in every text that fits a pattern, also where that is written as JSON."""
    return max(re.findall(r"[A-Za-z0-9_.-]+", pattern.partition("[")[0]), key=len, default="")


def _calls(pattern: str, record: Record) -> bool:
    return any(isinstance(command, RunStep) and fnmatch.fnmatchcase(command.name, pattern) for command in record.commands or ())


def _has_input(path: Sequence[str], value: str, record: Record) -> bool:
    """Whether an argument has a value at a path. Names of parameters are not recorded: the path may begin with one."""
    if not isinstance(record.entry, RunStarted):
        return False
    arguments = msgspec.json.decode(record.entry.args)
    places = [arguments, *arguments]
    return any(_fits(found, value) for place in places for found in (*_at(place, path), *_at(place, path[1:])))


def _at(place: Any, path: Sequence[str]) -> Iterator[Any]:
    for name in path:
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        else:
            return
    yield place


def _fits(found: Any, value: str) -> bool:
    if isinstance(found, dict | list):
        return False
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return fnmatch.fnmatchcase(text, value)
