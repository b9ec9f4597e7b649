"""An afternoon at a shop, as a journal in which each time is known: for pictures, which are the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Raw
from msgspec.json import encode

from wfkit.core.commands import (
    AwaitSignal,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    RegisterUndo,
    RetryPolicy,
    RunStep,
    StartTimer,
    StopAwaiting,
)
from wfkit.core.entries import (
    KINDS,
    AttemptFailed,
    AttemptStarted,
    Blocked,
    Entry,
    Record,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
)
from wfkit.core.records import encode_record
from wfkit.journal.duckdb import open_journal
from wfkit.journal.port import Row

PRESENT = int(datetime(2026, 3, 2, 17, 31, 12, tzinfo=UTC).timestamp() * 1e6)
"""When the pictures are taken."""
_BUSY = Failure("HTTPError", "503 Service Unavailable", line="app.py:10 in ship_parcel")
_EDITED = """history and code disagree
  run r00a17, entry 2 of 5
    recorded   step  charge_card  app.py:6
    requested  step  check_card   app.py:6  in order_saga
  last agreed  step  reserve_stock  entry 1
  likely       the code was edited: `check_card` is new before `charge_card`"""


class History:
    """The records of a run, told second by second."""

    def __init__(self, id: str, ago: float, order: int) -> None:
        self.records: list[Record] = []
        self._began = PRESENT - int(ago * 1e6)
        self._order = {"id": f"order-{order}", "total": 99}
        head = {"id": id, "workflow": "order_saga", "seed": "0" * 32, "code": "73f65f8a6aff7e0e", "python": "3.11"}
        self.at(0, RunStarted, *self.asks(1, "reserve_stock", undo="release_stock"), args=self._raw([self._order]), **head)

    def at(self, seconds: float, entry: type[Entry], *commands: Command, **fields: Any) -> None:
        """Add a record, so long after the start."""
        self.records.append(Record(entry(t=self.time(seconds), **fields), commands or None))

    def time(self, seconds: float) -> int:
        return self._began + int(seconds * 1e6)

    def asks(self, n: int, name: str, *, undo: str = "", back: bool = False) -> Sequence[Command]:
        """Return the commands that ask for a step."""
        args, key = self._raw([self._order]), f"{n:032x}"
        step = RunStep(n, name, args, key, RetryPolicy(max_attempts=3, initial=100_000), compensation=back)
        return (RegisterUndo(name, undo, args, n), step) if undo else (step,)

    def reserve(self) -> None:
        self.at(1.1, StepCompleted, *self.asks(2, "charge_card", undo="refund_card"), n=1, value=self._raw("hold-1"))

    def charge(self) -> None:
        """Charge at the third attempt."""
        for attempt, (failed, due) in enumerate([(1.9, 2.1), (2.9, 3.4)], 1):
            self.at(failed, AttemptFailed, n=2, attempt=attempt, error=_BUSY, due=self.time(due))
            self.at(due, AttemptStarted, n=2, attempt=attempt + 1)
        wait = AwaitSignal(4, "order.packed", where=self._raw({"order": self._order["id"]}))
        self.at(
            4.9, StepCompleted, StartTimer(3, 3_000_000), wait, n=2, value=self._raw({"id": "ch_9", "amount": 99}), attempt=3
        )

    def pack(self) -> None:
        payload = self._raw({"order": self._order["id"], "box": "B7"})
        seq = len(self.records) + 1
        self.at(7.2, SignalReceived, StopAwaiting(4, seq), name="order.packed", payload=payload, arrived=self.time(7.2))
        self.at(7.9, TimerFired, *self.asks(5, "ship_parcel"), n=3)

    def ship(self) -> None:
        self.at(8.4, StepCompleted, CompleteRun(self._raw("parcel-1")), n=5, value=self._raw("parcel-1"))

    def lose(self) -> None:
        """Fail to ship, and undo all."""
        for attempt, (failed, due) in enumerate([(8.2, 8.3), (8.5, 8.7)], 1):
            self.at(failed, AttemptFailed, n=5, attempt=attempt, error=_BUSY, due=self.time(due))
            self.at(due, AttemptStarted, n=5, attempt=attempt + 1)
        self.at(9.0, StepFailed, *self.asks(6, "refund_card", back=True), n=5, error=_BUSY, attempt=3)
        self.at(9.5, StepCompleted, *self.asks(7, "release_stock", back=True), n=6, value=self._raw(None))
        self.at(9.8, StepCompleted, FailRun(_BUSY), n=7, value=self._raw(None))

    @staticmethod
    def _raw(value: Any) -> Raw:
        return Raw(encode(value))


def histories() -> list[History]:
    """Return a run of each kind, the oldest first."""
    told = []
    for place in range(8):
        run = History(f"r00a1{place}", 400 - 30 * place, 40 + place)
        run.reserve()
        if place == 7:
            run.at(3.0, Blocked, at=2, code="WF021", cause=Failure("NonDeterminismError", _EDITED))
        else:
            run.charge()
        if place < 6:
            run.pack()
            (run.lose if place == 5 else run.ship)()
        told.append(run)
    late = History("r00a18", 4.1, 48)
    late.reserve()
    late.at(2.9, AttemptFailed, n=2, attempt=1, error=_BUSY, due=PRESENT + 1_100_000)
    return [*told, late, History("r00a19", 0.4, 49)]


async def write(journal: Path) -> None:
    """Write the journal."""
    opened = await open_journal(journal)
    for number, told in enumerate(histories(), 1):
        opened.append(
            [
                Row(number, seq, KINDS[type(one.entry)], one.entry.t, encode_record(one))
                for seq, one in enumerate(told.records, 1)
            ]
        )
    await opened.close()
