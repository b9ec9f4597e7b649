"""`wfkit send`: a signal to one run."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act, new_id
from wfkit.cli.inputs import read_input
from wfkit.cli.options import DEFAULT_STORE, Dedupe, Engine, Payload, SignalName, Store
from wfkit.cli.output import note
from wfkit.control.messages import FindRun, SendSignal

app = make_app()


@app.command(cls=PlainCommand)
def send(
    signal: SignalName,
    payload: Payload = "null",
    run: Annotated[
        str,
        typer.Option("--run", metavar="ID", help="A run: its id, the beginning of it, @last, or @failed.", show_default=False),
    ] = "",
    dedupe: Dedupe = None,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Send a signal to a run of the engine that is running. It is durable when the command ends.

    A run that does not wait for it yet will find it when it does.
    """
    if not run:
        raise typer.BadParameter("which run? --run ID; or, to whoever waits for it: wfkit publish")
    value: Raw = read_input(payload)
    id = act(FindRun(run=run), store, engine).run.id
    act(SendSignal(run=id, signal=signal, payload=value, dedupe=dedupe or new_id()), store, engine)
    note(f"sent {signal} to {id}")
