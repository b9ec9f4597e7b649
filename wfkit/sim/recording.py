"""What came of one schedule."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from msgspec import Raw

from wfkit.api.definitions import Step, run_error
from wfkit.core.commands import CompleteRun, Failure
from wfkit.core.entries import Record
from wfkit.core.records import encode_record
from wfkit.core.state import RunState
from wfkit.engine.client import IfFinished
from wfkit.sim.faults import Fault, Point
from wfkit.sim.services import Effect

if TYPE_CHECKING:
    from wfkit.sim.findings import Finding

R = TypeVar("R")


class Event(NamedTuple):
    """One thing that happened in a schedule, for its story."""

    at: int
    """Microseconds UTC."""
    kind: str
    run: str
    n: int
    data: tuple[Any, ...]


CHANCE = ("random.", "uuid.", "secrets.", "os.urandom")
"""How the names of functions begin that draw by chance."""


class Read(NamedTuple):
    """User code read a clock, or chance, outside of the guard."""

    run: str
    n: int
    what: str
    line: str
    through: str = ""
    """The module of a library that did so for it."""


class Aside(NamedTuple):
    """Workflow code itself asked a service for something, past its history."""

    workflow: str
    run: str
    service: str
    what: str
    line: str


class Unawaited(NamedTuple):
    """A coroutine that was made, and dropped before anybody had awaited it."""

    run: str
    n: int
    """Number of the step whose code made it; 0 if it was workflow code."""
    what: str
    """Such as `charge()`."""
    line: str


class Change(NamedTuple):
    """A step, or the outside, has changed the state of a service, or has left it as it was."""

    run: str
    n: int
    service: str
    by: str
    """The effect, or the key that was written."""
    before: Mapping[str, Any]
    """The state before it. The one after it is that before the next change of this service, or the one at the end."""


class Broken(NamedTuple):
    """An invariant that did not hold on the way."""

    name: str
    told: str
    where: str
    """The point."""


class Stopped(NamedTuple):
    """Why a schedule was cut short."""

    by: Literal["records", "failures", "circles", "lives", "time", "bounds"]
    told: str
    """In words, after `it does not come to rest:`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request of the outside."""

    index: int
    kind: Literal["start", "send", "publish", "dropped"]
    """A dropped one is never made: the simulation leaves it out."""
    run: str
    """The receiver's id; empty for a published signal."""
    name: str
    """The workflow's or the signal's name."""
    payload: Raw
    dedupe: str | None = None
    refused: str = ""
    """Why the engine refused it."""
    if_finished: IfFinished = "attach"
    """Of a start: what it means for a run that has ended."""

    @property
    def point(self) -> Point:
        return Point("", self.index, "delivery", self.name)


class RunRecord:
    """One run at the end of a schedule."""

    def __init__(self, number: int, records: Sequence[Record]) -> None:
        self.number = number
        self.records = records

    @functools.cached_property
    def state(self) -> RunState:
        state = RunState(self.number)
        for record in self.records:
            state.apply(record)
        return state

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def status(self) -> str:
        return self.state.status

    @property
    def error(self) -> Failure | None:
        return self.state.error

    @functools.cached_property
    def result(self) -> Raw | None:
        """The JSON of its result; None unless it completed."""
        for record in reversed(self.records):
            for command in record.commands or ():
                if isinstance(command, CompleteRun):
                    return command.value
        return None


@dataclass
class Recording(Generic[R]):
    """What came of one schedule."""

    world: Any
    """The outside, as it is at the end."""
    started: datetime
    seed: int
    main: str
    """Id of the main run."""
    faults: tuple[Fault, ...]
    """Those of the plan that struck."""
    planned: tuple[Fault, ...]
    trace: list[Point]
    """Every point that was passed, in order."""
    runs: dict[str, RunRecord]
    """The newest generation of every run, by id."""
    histories: Mapping[int, Sequence[Record]]
    effects: list[Effect]
    """What happened outside, in order; what a key kept from happening again is left out."""
    collisions: list[tuple[Effect, Effect]]
    """Pairs of different things that one idempotency key stood for."""
    deliveries: list[Delivery]
    states: dict[str, str]
    """The state of every service at the end, as canonical JSON."""
    events: list[Event]
    reads: list[Read]
    asides: list[Aside]
    unawaited: Sequence[Unawaited]
    steps: Mapping[str, Step[..., Any]]
    """The definitions of the steps that were called, by name."""
    changes: list[Change]
    asked: Mapping[tuple[str, int], AbstractSet[str]]
    """The services that each step call turned to, by its run's id and its number, whatever came of it."""
    lives: int
    """How often the process was started."""
    ended: int
    """When nothing was left to do, microseconds since the beginning."""
    decode: Callable[[Raw], Any]
    """Makes the main run's result of its JSON."""
    stopped: Stopped | None = None
    """Why the schedule was cut short; None if it came to rest."""
    broken: list[Broken] = field(default_factory=list)
    """Invariants of `always` that did not hold."""
    held: set[str] = field(default_factory=set)
    """Names of the `sometimes` that held."""
    script_error: str = ""
    drawn: frozenset[str] = frozenset()
    """Of the schedule without faults: steps that come to other values in every execution, by nothing that is controlled."""
    forgotten: list[str] = field(default_factory=list)
    """Names of what modules held in memory and a crash took."""
    findings: list[Finding] = field(default_factory=list)
    """What `simulate` found, the infos too."""

    @property
    def run(self) -> RunRecord | None:
        """The main run; None if it was never started."""
        return self.runs.get(self.main)

    @property
    def status(self) -> str:
        """The main run's status."""
        return self.run.status if self.run is not None else "unknown"

    @property
    def attention(self) -> bool:
        """Whether a run needs attention."""
        return any(run.state.attention for run in self.runs.values())

    @property
    def result(self) -> R | None:
        """The main run's result; None unless it completed."""
        value = self.run.result if self.run is not None else None
        return self.decode(value) if value is not None else None

    @property
    def error(self) -> BaseException | None:
        """Why the main run did not complete, as `Run.result` would raise it."""
        run = self.run
        if run is None or not run.state.finished or run.status == "completed":
            return None
        return run_error(run.status, f"run {run.id}", run.error)

    def history(self, run: str | None = None) -> Sequence[Record]:
        """Return the records of a run, the oldest first; of the main run unless an id is given.

        Raises:
            KeyError: there was no such run.
        """
        return self.runs[run or self.main].records

    @functools.cached_property
    def digest(self) -> str:
        """A hash of everything that was written and done: equal for equal schedules, in every process."""
        digest = hashlib.blake2b(digest_size=12)
        for number, records in sorted(self.histories.items()):
            digest.update(b"run %d" % number)
            for record in records:
                digest.update(encode_record(record))
        for effect in self.effects:
            digest.update(f"{effect.at}{effect.service}{effect.name}{effect.key}{effect.text}".encode())
        for point in self.trace:
            digest.update(str(point).encode())
        return digest.hexdigest()

    def assert_ok(self) -> None:
        """Do nothing if this schedule shows neither an error nor a warning.

        Raises:
            VerificationFailed: it does; in the subclass for the finding, such as `LedgerFinding`.
        """
        from wfkit.sim.report import Report  # which imports this module

        Report(self.main, self.findings).assert_ok()
