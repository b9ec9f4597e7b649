"""`wfkit timers`: what is due, and when."""

from __future__ import annotations

from typing import Any

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Limit, NdJson, Store
from wfkit.cli.output import Column, ago, moment, note, now, rfc3339, show_json, show_lines, show_table
from wfkit.control.messages import ListTimers, Timer
from wfkit.replay.explain import until

app = make_app()


@app.command(cls=PlainCommand)
def timers(
    limit: Limit = 50,
    as_json: Json = False,
    as_lines: NdJson = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show sleeps, retries and timeouts of unfinished runs, the next one first.

    In a pipe: due, id, workflow, what, since.
    """
    found = ask(ListTimers(limit=limit), store, engine)
    if as_json:
        show_json("timers", {"timers": [_members(timer) for timer in found.timers], "more": found.more})
    elif as_lines:
        show_lines(_members(timer) for timer in found.timers)
    else:
        present = now()
        show_table(found.timers, _table(present))
        if found.more:
            note(f"there are more than {limit}: --limit N shows them")
        elif not found.timers:
            note("nothing is due")


def what(timer: Timer) -> str:
    return {"timer": f"timer of {timer.name}", "retry": f"retry of {timer.name}", "timeout": "timeout of the run"}[timer.kind]


def _members(timer: Timer) -> dict[str, Any]:
    return {
        "due": moment(timer.due),
        "run": timer.run,
        "workflow": timer.workflow,
        "kind": timer.kind,
        "step": timer.name if timer.kind == "retry" else None,
        "since": moment(timer.since),
    }


def _table(present: int) -> list[Column[Timer]]:
    return [
        Column("DUE", lambda timer: until(timer.due, present), lambda timer: rfc3339(timer.due), right=True),
        Column("RUN", lambda timer: timer.run),
        Column("WORKFLOW", lambda timer: timer.workflow, cut=True, rank=1),
        Column("WHAT", what, cut=True),
        Column("SINCE", lambda timer: ago(timer.since), lambda timer: rfc3339(timer.since), right=True, rank=2),
    ]
