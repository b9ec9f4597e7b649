"""`wfkit send`: a signal to one run."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act
from wfkit.cli.failures import UsageError
from wfkit.cli.inputs import read_input
from wfkit.cli.options import DEFAULT_STORE, Dedupe, Engine, Json, Payload, SignalName, Store, refuse_empty
from wfkit.cli.output import note, show_json
from wfkit.control.messages import FindRun, SendSignal
from wfkit.control.patience import new_id
from wfkit.core.state import PendingWait, RunState

app = make_app()


@app.command(cls=PlainCommand)
def send(
    signal: SignalName,
    payload: Payload = "null",
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="A run: its id, the beginning of it, @last, or @failed.",
            show_default=False,
            callback=refuse_empty,
        ),
    ] = None,
    dedupe: Dedupe = None,
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Send a signal to a run of the engine that is running. It is durable when the command ends.

    A run that does not wait for it yet will find it when it does. A payload that its code could not take is refused.
    """
    if run is None:
        raise UsageError("which run? Name it by --run ID", "to whoever waits for it: wfkit publish")
    value: Raw = read_input(payload, "PAYLOAD")
    found = act(FindRun(run=run), store, engine).run
    dedupe = new_id() if dedupe is None else dedupe
    act(SendSignal(run=found.id, signal=signal, payload=value, dedupe=dedupe), store, engine)
    if as_json:
        show_json("sent", {"run": found.id, "signal": signal, "dedupe": dedupe})
    else:
        note(sent(found, signal))


def sent(run: RunState, signal: str) -> str:
    """Say that a signal was sent to a run; and if the run waits for others, which: its name may have been mistyped."""
    awaited = sorted({each.name for each in run.open.values() if isinstance(each, PendingWait)})
    told = f"sent {signal} to {run.id}"
    if not awaited or signal in awaited:
        return told
    return f"{told}, which does not wait for it now but for {' and '.join(awaited)}; it is kept until then"
