"""`wfkit runs export`: the history of a run as a file, to keep, compare, send or replay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Generation, RunName, Store
from wfkit.cli.output import note
from wfkit.control.messages import GetHistory
from wfkit.journal.files import export_lines, write_file

app = make_app()


@app.command(cls=PlainCommand)
def export(
    run: RunName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Otherwise stdout.", show_default=False)
    ] = None,
    generation: Generation = None,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Write the history of a run as JSON lines: a header, then one record a line."""
    found = ask(GetHistory(run=run, generation=generation), store, engine)
    state, records = found.run, found.records
    if output is None:
        sys.stdout.flush()
        for line in export_lines(records):
            sys.stdout.buffer.write(line)
        return
    try:
        write_file(output, records)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    note(f"wrote {len(records)} record{'s' if len(records) != 1 else ''} of run {state.id} to {output}")
