"""`wfkit chaos`: a fault now, in an engine of `wfkit dev`."""

from __future__ import annotations

from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import reach
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store, refuse_empty
from wfkit.cli.output import note, show_json
from wfkit.control.messages import Fault, FindRun, Strike
from wfkit.core.durations import microseconds
from wfkit.errors import EngineUnreachable

app = make_app()


@app.command(cls=PlainCommand)
def chaos(
    fault: Annotated[
        Fault,
        typer.Argument(
            metavar="FAULT",
            help="kill: another process takes over; delay: the next result of a step is held; "
            "dup: a signal that has a dedupe id comes again; jump: the clock goes forward, if it is an ephemeral journal's.",
            show_default=False,
        ),
    ],
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="dup: whose last signal; otherwise the last of all.",
            show_default=False,
            callback=refuse_empty,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="TIME", help="delay: otherwise 3s; jump: otherwise 1h.", show_default=False, callback=refuse_empty
        ),
    ] = None,
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Inject a fault into the engine of `wfkit dev` that is running, and see it recover.

    Every strike is told where wfkit dev runs. A signal without a dedupe id is not delivered again: that would be another one.
    """
    try:
        us = None if by is None else microseconds(by)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        client = reach(store, engine)
        id = "" if run is None else client.ask(FindRun(run=run)).run.id
        told = client.ask(Strike(fault=fault, run=id, us=us)).text
    except EngineUnreachable as error:
        if error.help == EngineUnreachable.help:
            error.help = "start one: wfkit dev APP"  # no other engine takes faults
        raise
    if as_json:
        show_json("struck", {"fault": fault, "run": id or None, "text": told})
    else:
        note(told)
