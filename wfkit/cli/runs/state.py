"""`wfkit runs state`: what a run has told of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import NotFound
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, RunName, Store
from wfkit.cli.output import Column, now, show_json, show_table, show_value
from wfkit.cli.runs.reading import run_members
from wfkit.control.messages import GetResult

app = make_app()


@app.command(cls=PlainCommand)
def state(
    run: RunName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Only this one, as JSON.", show_default=False)] = "",
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show the state that a run has set, as of its last commit: `State("progress", ...)`.

    In a pipe: name, value.
    """
    found = ask(GetResult(run=run), store, engine).run
    values = found.state or {}
    if as_json:
        show_json("state", {"run": run_members(found, now()), "state": values})
    elif not name:
        show_table(
            sorted(values),
            [Column("STATE", lambda one: one), Column("VALUE", lambda one: bytes(values[one]).decode(), cut=True)],
        )
    elif name in values:
        show_value(values[name])
    else:
        help = f"it has set {', '.join(sorted(values))}" if values else "it has set nothing yet"
        raise NotFound(f"run {found.id} has not set {name!r}", help)
