"""`wfkit runs terminate`."""

from __future__ import annotations

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store
from wfkit.cli.runs.stopping import DryRun, Filter, Rate, RunNames, Why, Yes, stop
from wfkit.control.messages import TerminateRun

app = make_app()


@app.command(cls=PlainCommand)
def terminate(
    runs: RunNames = None,
    filter: Filter = "",
    reason: Why = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Stop runs at once, without cleanup or compensations.

    Prints the ids of the runs that were stopped.
    """

    def request(id: str) -> TerminateRun:
        return TerminateRun(run=id, reason=reason)

    stop("terminate", request, runs or (), filter, store, engine, yes=yes, dry_run=dry_run, rate=rate, as_json=as_json)
