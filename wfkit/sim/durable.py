"""What survives a crash, as a hash: two moments with the same one have the same future, however the process dies there.

It holds what is in the journal, run by run, and what happened outside. Left out is how it came there:

* times, but for the order in which open timers are due and whether they are: a crash puts everything off by a second;
* attempts that the process died under, and their numbers, since the policy does not count them; unless the step looks at
  that number, which then counts up to three;
* whether an entry was activated as it was written, or from the inbox.

An effect is counted up to two, and so is what a step commits to SQLite: happening a third time is no news.

Where steps come to other values in every execution, no value is held at all: otherwise no state would ever come again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeVar

import msgspec
from msgspec import Raw

from wfkit.core.commands import CancelTimer, Command, StartTimer, StopAwaiting
from wfkit.core.entries import (
    FED,
    Activated,
    ActivationStarted,
    AttemptFailed,
    AttemptStarted,
    Entry,
    Record,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.core.records import encode_record
from wfkit.sim.services import Effect, FakeService, canonical

T = TypeVar("T")

ATTEMPTS_MAX = 3


class _Journal:
    """The part of one run."""

    __slots__ = ("digest", "fed", "inbox", "numbers", "seq")

    def __init__(self) -> None:
        self.digest = b""
        self.seq = 0
        self.fed = 0
        self.numbers: dict[int, int] = {}
        """What number among the fed entries a record has, since others are left out."""
        self.inbox: list[Entry] = []

    def add(self, entry: Entry, commands: tuple[Command, ...] | None) -> None:
        """Add what a record is, without how it came there."""
        if commands is not None:
            commands = tuple(self._plain(command) for command in commands)
        digest = blake2b(self.digest, digest_size=12)
        digest.update(encode_record(Record(entry, commands)))
        self.digest = digest.digest()

    def _plain(self, command: Command) -> Command:
        if isinstance(command, StopAwaiting) and command.took is not None:
            return msgspec.structs.replace(command, took=self.numbers.get(command.took, 0))
        return command


class DurableState:
    """The hash of what is durable, kept up to date as a schedule goes on.

    Args:
        holds_values: whether values count, such as results and arguments of steps; otherwise only what became of what.
    """

    def __init__(self, *, holds_values: bool = True) -> None:
        self._holds_values = holds_values
        self._journals: dict[int, _Journal] = {}
        self._effects: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._dues: dict[tuple[int, int], int] = {}
        self._attempts: dict[tuple[int, int], tuple[int, bool]] = {}
        self._known: bytes | None = None

    def wrote(self, run: int, record: Record, *, counts: bool = False) -> None:
        """A record has become durable.

        Args:
            run: of this run.
            record: the record.
            counts: whether the step that it is about looks at the number of its attempt.
        """
        if not self._holds_values:
            record = Record(_bare(record.entry), tuple(map(_bare, record.commands)) if record.commands is not None else None)
        entry = record.entry
        journal = self._journals.setdefault(run, _Journal())
        journal.seq += 1
        if isinstance(entry, FED):
            journal.fed += 1
            journal.numbers[journal.seq] = journal.fed
        for command in record.commands or ():
            if isinstance(command, StartTimer):
                self._dues[run, command.n] = entry.t + command.delay
            elif isinstance(command, CancelTimer):
                self._dues.pop((run, command.n), None)
        self._known = None
        match entry:
            case AttemptStarted() | AttemptFailed(died=True) if counts:
                started = isinstance(entry, AttemptStarted)
                self._attempts[run, entry.n] = min(entry.attempt, ATTEMPTS_MAX), started
            case ActivationStarted() | AttemptStarted() | AttemptFailed(died=True):
                pass
            case Activated():
                journal.add(journal.inbox.pop(0), record.commands)
            case AttemptFailed():
                self._dues[run, entry.n] = entry.due
                journal.add(msgspec.structs.replace(entry, t=0, due=0, attempt=1), None)
            case _:
                if isinstance(entry, TimerFired):
                    self._dues.pop((run, entry.n), None)
                plain = _plain(entry)
                if isinstance(entry, FED) and record.commands is None:
                    journal.inbox.append(plain)
                else:
                    journal.add(plain, record.commands)

    def happened(self, effect: Effect) -> None:
        """Something happened outside."""
        name = f"{effect.service}/{effect.name}/"
        name += f"{effect.key}/{effect.text}" if self._holds_values else f"{effect.run}/{effect.n}"
        self._count(name)

    def committed(self, run: str, n: int) -> None:
        """A step has committed something to a database, of which no more is known."""
        self._count(f"commit/{run}/{n}")

    def _count(self, name: str) -> None:
        times = self._effects.get(name, 0)
        if times < 2:
            self._effects[name] = times + 1
            self._known = None

    def changed(self, service: FakeService) -> None:
        """The state of a service has changed."""
        if not self._holds_values:
            return
        self._states[service.name] = canonical(service.state)
        self._known = None

    def hash(self, now: int) -> bytes:
        """Return the hash, as of a moment in microseconds UTC."""
        if self._known is None:
            digest = blake2b(digest_size=12)
            for run, journal in sorted(self._journals.items()):
                digest.update(b"%d" % run + journal.digest)
                for entry in journal.inbox:
                    digest.update(encode_record(Record(entry)))
            for name in sorted(self._effects):
                digest.update(f"{name}{self._effects[name]}".encode())
            digest.update(repr(sorted(self._attempts.items())).encode())
            for name in sorted(self._states):
                digest.update(f"{name}{self._states[name]}".encode())
            self._known = digest.digest()
        if not self._dues:
            return self._known
        order = sorted((due, key) for key, due in self._dues.items())
        told = ",".join(f"{run}.{n}{'!' if due <= now else ''}" for due, (run, n) in order)
        return self._known + blake2b(told.encode(), digest_size=6).digest()


def _bare(thing: T) -> T:
    """Return an entry or a command without the values in it."""
    held = {name: Raw(b"null") for name in ("args", "payload", "value") if isinstance(getattr(thing, name, None), Raw)}
    return msgspec.structs.replace(thing, **held)  # type: ignore[type-var]  # both are Structs


def _plain(entry: Entry) -> Entry:
    """Return an entry without its times, and without what is drawn anew."""
    match entry:
        case SignalReceived():
            return msgspec.structs.replace(entry, t=0, arrived=0)
        case RunStarted():
            return msgspec.structs.replace(entry, t=0, seed="")
        case StepCompleted() | StepFailed():
            return msgspec.structs.replace(entry, t=0, attempt=1)
        case _:
            return msgspec.structs.replace(entry, t=0)
