"""`wfkit ui`: screens on a running engine, or on a journal that none holds."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Annotated, Literal, TypeAlias

import typer

from wfkit.cli.colours import is_terminal
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import BUG, UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Store
from wfkit.control.address import named_socket

app = make_app()

_INSTEAD = "without one every screen is a command: wfkit runs --watch"
GROUP = "wfkit.screens"
"""The entry point by which the screens are found: they are a package above this one, which nothing here imports."""


Theme: TypeAlias = Annotated[
    Literal["dark", "light"] | None,
    typer.Option("--theme", metavar="T", help="dark or light, as the terminal is; otherwise guessed.", show_default=False),
]


@app.command(cls=PlainCommand)
def ui(
    theme: Theme = None,
    ascii: Annotated[bool, typer.Option("--ascii", help="Show no character that is not ASCII.")] = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show what a running engine does, on screens: runs, signals, timers, code, reports, logs.

    Without an engine they show what the journal holds. ? shows the keys; q leaves, and the engine goes on. Every screen is
    also a command: Y copies it.
    """
    if os.environ.get("TERM") == "dumb":
        raise UsageError("the screens need a terminal that can move the cursor, and TERM is dumb", _INSTEAD)
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError("the screens need a terminal", _INSTEAD)
    if engine is not None:
        named_socket(engine)
    (screens,) = entry_points(group=GROUP)
    if screens.load()(store, engine, ascii=ascii, theme=theme or ""):
        raise typer.Exit(BUG)
