"""`wfkit runs result`: what a run returned, as JSON."""

from __future__ import annotations

from pathlib import Path

import typer
from msgspec import UNSET

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import Refused
from wfkit.cli.options import DEFAULT_STORE, Engine, Generation, Json, RunName, Store, with_store
from wfkit.cli.output import now, show_json, show_value
from wfkit.cli.runs.reading import run_members
from wfkit.control.messages import GetResult, RunResult
from wfkit.core.state import RunState
from wfkit.errors import WfkitError
from wfkit.replay.explain import error_text

app = make_app()


@app.command(cls=PlainCommand)
def result(
    run: RunName, generation: Generation = None, as_json: Json = False, store: Store = DEFAULT_STORE, engine: Engine = None
) -> None:
    """Print what a run returned. The exit status is 1 if it has not completed; then stderr says why."""
    show_result(ask(GetResult(run=run, generation=generation), store, engine), store, as_json=as_json)


def show_result(found: RunResult, store: Path, *, as_json: bool) -> None:
    """Print a result, or tell why there is none, as the end of a command."""
    if as_json:
        show_json("result", {"run": run_members(found.run, now()), "result": found.result})
    elif found.result is not UNSET:
        show_value(found.result)
    if found.result is UNSET:
        if as_json:
            raise typer.Exit(1)
        raise no_result(found.run, store)


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
