"""Answers requests that only read from a journal file, in this process, when no engine holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from wfkit.control import messages as m
from wfkit.control import reads, reports, sql
from wfkit.control.code import versions_of
from wfkit.errors import EngineUnreachable
from wfkit.journal.views import open_file

A = TypeVar("A")


def answer(store: Path, request: m.Request[A]) -> A:
    """Return what an engine would answer. The file is open for as long as that takes, so that an engine can start.

    Raises:
        EngineUnreachable: only an engine can answer this.
        JournalLocked: an engine holds the journal.
        JournalUnusable, JournalCorrupt, JournalTooNew: it cannot be read.
        WfkitError: what an engine would refuse as well.
    """
    found: A = _answer(store, request)
    return found


def _answer(store: Path, request: m.Request[Any]) -> Any:
    match request:
        case m.ListReports():
            return reports.list_reports(store.parent)
        case m.GetReport():
            return reports.read_report(store.parent, request.name)
    read = reads.READS.get(type(request))
    if read is None and not isinstance(request, m.GetStore | m.GetCode | m.Sql):
        raise EngineUnreachable(f"no engine holds {store}")
    with open_file(store) as connection:
        match request:
            case m.GetStore():
                return reads.store(connection, store)
            case m.GetCode():
                return m.CodeFacts(None, [], [], versions_of(reads.unfinished(connection)))
            case m.Sql():
                sql.lock_down(connection)
                return sql.query(connection, request)
            case _:
                assert read is not None
                return read(connection, request)
