"""`wfkit start`: a run on a running engine."""

from __future__ import annotations

from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import reach
from wfkit.cli.inputs import read_input
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store
from wfkit.cli.output import show_json
from wfkit.cli.runs.result import show_result
from wfkit.control.messages import AwaitEnd, GetResult, StartRun

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
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Start a run on the engine that is running, and print its id. The same start again, by --id, attaches to it."""
    given = None if input is None else read_input(input)
    client = reach(store, engine)
    request = StartRun(workflow=workflow, id=id) if given is None else StartRun(workflow=workflow, input=given, id=id)
    started = client.ask(request)
    if wait:
        while client.ask(AwaitEnd(run=started.run)).status is None:
            pass
        show_result(client.ask(GetResult(run=started.run)), store, as_json=as_json)
        return
    if as_json:
        show_json("started", {"run": started.run})
    else:
        print(started.run)
