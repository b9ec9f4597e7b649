"""`wfkit serve`: an engine and its control socket, for one production machine."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from wfkit.api.registry import Registry
from wfkit.cli.apps import load
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.options import DEFAULT_STORE, OwnStore
from wfkit.cli.output import note, stopping

app = make_app()


@app.command(cls=PlainCommand)
def serve(
    app: Annotated[
        str,
        typer.Argument(metavar="APP", help="file.py or package.module, as in `wfkit workflows APP`.", show_default=False),
    ] = "",
    store: OwnStore = DEFAULT_STORE,
) -> None:
    """Run the workflows of an app, until SIGTERM or Ctrl-C.

    Unfinished runs go on at once; others are started by `wfkit start`, by `connect()` from Python, or over the control
    socket, for example by curl:

    curl --unix-socket .wfkit/engine.sock http://wfkit/v1/signals/publish -d '{"signal": "paid", "payload": {"id": 7}}'

    To stop it waits 2 s for steps in flight. What does not end by then runs again at the next start.
    """
    from wfkit.engine.apps import find_app

    app = app or find_app()
    registry = load(app)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(app, registry, store))


async def _serve(app: str, registry: Registry, store: Path) -> None:
    from wfkit.control.logs import all_logs
    from wfkit.control.server import serving
    from wfkit.engine.engine import running
    from wfkit.journal.duckdb import open_journal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    journal = await open_journal(store)
    with all_logs() as logs:
        async with running(journal, registry) as engine, serving(engine.requests, journal, registry, logs, app=app) as path:
            note(f"serving {app} on {path}")
            engine.warn_of_undefined()
            await stop.wait()
            note(stopping(engine.steps_in_flight))
