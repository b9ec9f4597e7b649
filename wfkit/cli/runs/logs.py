"""`wfkit runs logs`: what a run and its steps logged on the engine that is running."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, NdJson, RunName, Store
from wfkit.cli.output import local, moment, note, now, on_terminal, rfc3339, show_json, show_lines, visible
from wfkit.control.messages import FindRun, GetEngine, GetLogs, LogLine

app = make_app()

LOOK_SECONDS = 0.5


@app.command(cls=PlainCommand)
def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    as_json: Json = False,
    as_lines: NdJson = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show what a run and its steps logged since the engine started: it keeps the latest 5,000 lines, in memory.

    In a pipe: time, level, step, text.
    """
    if follow and as_json:
        raise UsageError("--follow goes on, and --json is one document", "stream objects: --follow --ndjson")
    id = act(FindRun(run=run), store, engine).run.id
    after = epoch = 0
    while True:
        before, epoch = epoch, act(GetEngine(), store, engine).epoch
        if epoch != before:
            after = 0  # each engine counts its lines anew
        ended = act(FindRun(run=id), store, engine).run.finished  # before the lines: there are no more of them after its end
        lines = act(GetLogs(run=id, after=after), store, engine).lines
        if as_json:
            show_json("logs", {"lines": [_members(line) for line in lines]})
            return
        if as_lines:
            show_lines(_members(line) for line in lines)
        else:
            _print(lines)
        if not follow or ended:
            break
        after = lines[-1].number if lines else after
        time.sleep(LOOK_SECONDS)
    if not lines and not after and not as_lines:
        note(f"run {id} has logged nothing since the engine started")


def _print(lines: list[LogLine]) -> None:
    for line in lines:
        if on_terminal():
            print(f"{local(line.t, now())}  {line.level:<7}  {visible(line.text)}" + (f"  ({line.step})" if line.step else ""))
        else:
            print("\t".join([rfc3339(line.t), line.level, line.step or "", visible(line.text)]), flush=True)


def _members(line: LogLine) -> dict[str, Any]:
    return {"t": moment(line.t), "level": line.level, "logger": line.logger, "step": line.step, "text": line.text}
