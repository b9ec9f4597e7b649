"""What survives a crash, as a hash: two moments with the same one have the same future, however the process dies there.

It holds what is in the journal, in order and run by run, and what happened outside. Times are left out, but for the order
in which open timers are due and whether they are: a crash puts everything off by a second, and would make every state a
new one. So are the marks of deaths (attempts that the process died under), since the policy does not count them. An
effect is counted up to two: happening a third time is no news.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from wfkit.core.commands import CancelTimer, StartTimer
from wfkit.core.entries import (
    ActivationStarted,
    AttemptFailed,
    AttemptStarted,
    Record,
    RunStarted,
    SignalReceived,
    TimerFired,
)
from wfkit.core.records import encode_record
from wfkit.sim.services import Effect, FakeService, canonical

_MARKS = (ActivationStarted, AttemptStarted)


class DurableState:
    """The hash of what is durable, kept up to date as a schedule goes on."""

    def __init__(self) -> None:
        self._journal: dict[int, bytes] = {}
        self._effects: dict[str, int] = {}
        self._states: dict[str, str] = {}
        self._dues: dict[tuple[int, int], int] = {}
        self._known: bytes | None = None

    def wrote(self, run: int, record: Record) -> None:
        """A record has become durable."""
        entry = record.entry
        if isinstance(entry, _MARKS) or (isinstance(entry, AttemptFailed) and entry.died):
            return
        self._known = None
        if isinstance(entry, AttemptFailed):
            self._dues[run, entry.n] = entry.due
            entry = msgspec.structs.replace(entry, t=0, due=0)
        elif isinstance(entry, SignalReceived):
            entry = msgspec.structs.replace(entry, t=0, arrived=0)
        elif isinstance(entry, RunStarted):
            entry = msgspec.structs.replace(entry, t=0, seed="")
        else:
            if isinstance(entry, TimerFired):
                self._dues.pop((run, entry.n), None)
            entry = msgspec.structs.replace(entry, t=0)
        for command in record.commands or ():
            if isinstance(command, StartTimer):
                self._dues[run, command.n] = record.entry.t + command.delay
            elif isinstance(command, CancelTimer):
                self._dues.pop((run, command.n), None)
        digest = blake2b(self._journal.get(run, b""), digest_size=12)
        digest.update(encode_record(Record(entry, record.commands)))
        self._journal[run] = digest.digest()

    def happened(self, effect: Effect) -> None:
        """Something happened outside."""
        name = f"{effect.service}/{effect.name}/{effect.key}/{effect.text}"
        times = self._effects.get(name, 0)
        if times < 2:
            self._effects[name] = times + 1
            self._known = None

    def changed(self, service: FakeService) -> None:
        """The state of a service has changed."""
        self._states[service.name] = canonical(service.state)
        self._known = None

    def hash(self, now: int) -> bytes:
        """Return the hash, as of a moment in microseconds UTC."""
        if self._known is None:
            digest = blake2b(digest_size=12)
            for run in sorted(self._journal):
                digest.update(b"%d" % run + self._journal[run])
            for name in sorted(self._effects):
                digest.update(f"{name}{self._effects[name]}".encode())
            for name in sorted(self._states):
                digest.update(f"{name}{self._states[name]}".encode())
            self._known = digest.digest()
        if not self._dues:
            return self._known
        order = sorted((due, key) for key, due in self._dues.items())
        told = ",".join(f"{run}.{n}{'!' if due <= now else ''}" for due, (run, n) in order)
        return self._known + blake2b(told.encode(), digest_size=6).digest()
