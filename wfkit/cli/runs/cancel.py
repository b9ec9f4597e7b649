"""`wfkit runs cancel`."""

from __future__ import annotations

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store
from wfkit.cli.runs.stopping import DryRun, Filter, Rate, RunNames, Why, Yes, stop
from wfkit.control.messages import CancelRun

app = make_app()


@app.command(cls=PlainCommand)
def cancel(
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
    """Ask runs to stop. A run gets `CancelledError` once; its cleanup and compensations run.

    Prints the ids of the runs that were asked.
    """

    def request(id: str) -> CancelRun:
        return CancelRun(run=id, reason=reason)

    stop("cancel", request, runs or (), filter, store, engine, yes=yes, dry_run=dry_run, rate=rate, as_json=as_json)
