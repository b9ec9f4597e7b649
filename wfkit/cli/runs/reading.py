"""Reads runs for a command: the journal is open for as long as one query takes, so that an engine can start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from wfkit.cli.output import moment
from wfkit.core.commands import Failure
from wfkit.core.entries import Record
from wfkit.core.state import RunState
from wfkit.journal.views import Connection, get_run, history, open_file
from wfkit.replay.explain import now_at

P = ParamSpec("P")
T = TypeVar("T")


def ask(store: Path, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a query of `journal.views` answers.

    Raises:
        JournalLocked: an engine holds the journal.
        JournalUnusable, JournalCorrupt, JournalTooNew: it cannot be read.
        UnknownRun: the query names a run that is not there.
    """
    with open_file(store) as connection:
        return query(connection, *args, **kwargs)


def run_and_history(connection: Connection, name: str) -> tuple[RunState, list[Record]]:
    state = get_run(connection, name)
    return state, history(connection, state.run)


def run_members(state: RunState, now: int) -> dict[str, Any]:
    """Return a run as a JSON object."""
    return {
        "id": state.id,
        "generation": state.generation,
        "workflow": state.workflow,
        "status": state.status,
        "detail": state.detail,
        "started": moment(state.started),
        "updated": moment(state.updated),
        "wake_at": moment(state.wake_at),
        "deadline": moment(state.deadline),
        "records": state.seq,
        "at": now_at(state, now),
        "attention": state.attention,
        "parent": state.parent.id if state.parent is not None else None,
        "error": failure_members(state.error),
        "blocked": None
        if state.blocked is None
        else {"code": state.blocked.code, "entry": state.blocked.at, "cause": failure_members(state.blocked.cause)},
        "saga_failures": list(state.saga_failures),
        "dangling": list(state.dangling),
    }


def failure_members(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"type": failure.type, "message": failure.message, "line": failure.line, "data": failure.data}


def lasted(state: RunState, now: int) -> int:
    """Return how long a run took, or has been going on, in microseconds."""
    return (state.updated if state.finished else now) - state.started
