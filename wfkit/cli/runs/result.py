"""`wfkit runs result`: what a run returned, as JSON."""

from __future__ import annotations

from pathlib import Path

import typer
from msgspec import Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import Refused
from wfkit.cli.options import DEFAULT_STORE, Json, RunName, Store, with_store
from wfkit.cli.output import now, show_json, show_value
from wfkit.cli.runs.reading import ask, run_members
from wfkit.core.state import RunState
from wfkit.errors import WfkitError
from wfkit.journal.views import Connection, get_run
from wfkit.journal.views import result as read_result
from wfkit.replay.explain import error_text

app = make_app()


@app.command(cls=PlainCommand)
def result(run: RunName, as_json: Json = False, store: Store = DEFAULT_STORE) -> None:
    """Print what a run returned. The exit status is 1 if it has not completed; then stderr says why."""
    state, value = ask(store, _run_and_result, run)
    if as_json:
        show_json("result", {"run": run_members(state, now()), "result": value})
    elif value is not None:
        show_value(value)
    if value is None:
        if as_json:
            raise typer.Exit(1)
        raise no_result(state, store)


def _run_and_result(connection: Connection, name: str) -> tuple[RunState, Raw | None]:
    state = get_run(connection, name)
    return state, read_result(connection, state.run) if state.status == "completed" else None


def no_result(state: RunState, store: Path) -> WfkitError | Refused:
    """Return the error that tells why a run has no result."""
    from wfkit.api.definitions import run_error
    from wfkit.cli.statuses import word

    if not state.finished:
        return Refused(
            f"run {state.id} is {word(state.detail)} and has no result yet",
            f"see what it waits for: {with_store(f'wfkit runs why {state.id}', store)}",
        )
    error: WfkitError = run_error(state.status, f"run {state.id}", state.error)
    if state.status == "failed":
        error = type(error)(f"run {state.id} failed with {error_text(state.error)}")
    error.help = f"see what happened: {with_store(f'wfkit runs history {state.id}', store)}"
    return error
