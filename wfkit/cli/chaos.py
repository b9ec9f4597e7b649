"""`wfkit chaos`: a fault now, in an engine of `wfkit dev`."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import reach
from wfkit.cli.options import DEFAULT_STORE, Engine, Store
from wfkit.cli.output import note
from wfkit.control.messages import Fault, FindRun, Strike
from wfkit.core.durations import microseconds

app = make_app()


@app.command(cls=PlainCommand)
def chaos(
    fault: Annotated[
        str,
        typer.Argument(
            metavar="FAULT",
            help="kill: another process takes over; delay: the next result of a step is held; "
            "dup: a signal that has a dedupe id comes again; jump: the clock goes forward, if it is an ephemeral journal's.",
            show_default=False,
        ),
    ],
    run: Annotated[
        str,
        typer.Option("--run", metavar="ID", help="dup: whose last signal; otherwise the last of all.", show_default=False),
    ] = "",
    by: Annotated[
        str,
        typer.Option("--by", metavar="TIME", help="delay: otherwise 3s; jump: otherwise 1h.", show_default=False),
    ] = "",
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Inject a fault into the engine of `wfkit dev` that is running, and see it recover.

    Every strike is told where wfkit dev runs. A signal without a dedupe id is not delivered again: that would be another one.
    """
    if fault not in get_args(Fault):
        raise typer.BadParameter(f"there is no fault {fault!r}; there are {', '.join(get_args(Fault))}")
    try:
        us = microseconds(by) if by else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    client = reach(store, engine)
    id = client.ask(FindRun(run=run)).run.id if run else ""
    note(client.ask(Strike(fault=cast(Fault, fault), run=id, us=us)).text)
