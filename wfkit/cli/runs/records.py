"""The records of a history, one line each and one for each of their commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from wfkit.core.commands import CancelRun, Command, CompleteRun, FailRun, FailSaga, RegisterUndo, ReleaseUndos, SetState
from wfkit.core.compare import describe
from wfkit.core.entries import Entry, Record
from wfkit.replay.explain import error_text


class Row(NamedTuple):
    """A record, or one of its commands."""

    seq: int
    t: int
    offset: int
    what: str
    detail: str
    is_command: bool


def rows_of(records: Sequence[Record], after: int, started: int) -> list[Row]:
    rows = []
    for seq, record in enumerate(records, after + 1):
        entry = record.entry
        rows.append(Row(seq, entry.t, entry.t - started, type(entry).__name__, _entry_text(entry), is_command=False))
        for command in record.commands or ():
            kind, _ = describe(command)
            rows.append(Row(seq, entry.t, entry.t - started, f"→ {kind}", _command_text(command), is_command=True))
    return rows


def _command_text(command: Command) -> str:
    match command:
        case RegisterUndo():
            return f"{command.undo}" + (f" for {command.step}" if command.step else "")
        case ReleaseUndos():
            return ", ".join(command.undos)
        case FailSaga():
            return f"since #{command.since}"
        case SetState():
            return f"{command.name}={one_line(command.value)}"
        case CompleteRun():
            return one_line(command.value)
        case FailRun():
            return error_text(command.error)
        case CancelRun():
            return command.reason
        case _:
            _, what = describe(command)
            return what if what.startswith("#") else f"#{command.n} {what}"


def _entry_text(entry: Entry) -> str:
    """Return the fields of an entry that say something, as `name=value`."""
    told = []
    for name in entry.__struct_fields__:
        value = getattr(entry, name)
        if name != "t" and value is not UNSET and value not in (None, "", (), False):
            told.append(f"#{value}" if name == "n" else f"{name}={one_line(value)}")
    return " ".join(told)


def one_line(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
