"""`wfkit start`: a run on a running engine."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from msgspec import UNSET

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act
from wfkit.cli.failures import WAIT_TIMED_OUT, UsageError, WaitTimedOut
from wfkit.cli.inputs import read_input, telling_how
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store, with_store
from wfkit.cli.output import now, show_json
from wfkit.cli.runs.reading import run_members
from wfkit.cli.runs.result import show_result
from wfkit.cli.statuses import word
from wfkit.control.messages import END_SECONDS_MAX, AwaitEnd, GetResult, RunResult, StartRun
from wfkit.control.patience import new_id
from wfkit.core.durations import microseconds

app = make_app()


@app.command(cls=PlainCommand)
def start(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name.", show_default=False)],
    input: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="JSON, or @file, or - for stdin. An object is the only parameter, or parameters by name; an array is "
            "parameters in order; anything else is the only parameter.",
            show_default=False,
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The run's id, random unless given.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and print its result.")] = False,
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout",
            metavar="T",
            help="Wait no longer than this, such as 30s; the run goes on.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Start a run on the engine that is running, and print its id. The same start again, by --id, attaches to it.

    With --wait the exit status is 1 if the run does not complete, and 6 if that takes longer than --timeout.
    """
    given = None if input is None else read_input(input)
    seconds = _seconds(timeout, wait=wait)
    request = StartRun(workflow=workflow, input=UNSET if given is None else given, id=new_id() if id is None else id)
    with telling_how(given):
        started = act(request, store, engine)
    if wait:
        in_time = _await_end(started.run, seconds, store, engine)
        found = act(GetResult(run=started.run), store, engine)
        if not in_time and not found.run.finished:
            _tell_timeout(found, timeout, store, as_json=as_json)
        show_result(found, store, as_json=as_json)
    elif as_json:
        show_json("started", {"run": started.run})
    else:
        print(started.run)


def _seconds(timeout: str, *, wait: bool) -> float:
    if not timeout:
        return math.inf
    if not wait:
        raise UsageError("--timeout is for waiting", "add --wait")
    try:
        return microseconds(timeout) / 1e6
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None


def _await_end(run: str, seconds: float, store: Path, engine: Path | None) -> bool:
    """Wait for the end of a run, and return whether it came in time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if act(AwaitEnd(run=run, seconds=min(left, END_SECONDS_MAX)), store, engine).status is not None:
            return True
    return False


def _tell_timeout(found: RunResult, timeout: str, store: Path, *, as_json: bool) -> NoReturn:
    if as_json:
        show_json("result", {"run": run_members(found.run, now()), "result": None})
        raise typer.Exit(WAIT_TIMED_OUT)
    raise WaitTimedOut(
        f"run {found.run.id} is {word(found.run.detail)} after {timeout}, and goes on",
        f"see what it waits for: {with_store(f'wfkit runs why {found.run.id}', store)}",
    )
