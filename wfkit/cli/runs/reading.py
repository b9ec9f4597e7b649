"""Runs as the commands show them."""

from __future__ import annotations

from typing import Any

from wfkit.cli.output import moment
from wfkit.core.commands import Failure
from wfkit.core.state import RunState
from wfkit.replay.explain import now_at


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
