"""`wfkit runs ls`: the runs of a journal, newest first, as far as a filter lets them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

import typer

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Limit, NdJson, Store
from wfkit.cli.output import Column, ago, note, now, on_terminal, rfc3339, rows, show_json, show_lines, show_table
from wfkit.cli.runs.reading import lasted, run_members
from wfkit.cli.statuses import colour, shown, word
from wfkit.control.messages import GroupRuns, ListRuns, RunGroup, Sort
from wfkit.core.state import PendingStep, RunState
from wfkit.replay.explain import now_at, spell

app = make_app()

LIMIT = 50
WATCH_SECONDS = 1.0


@app.command(cls=PlainCommand)
def ls(
    filter: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILTER",
            help='status:failed,waiting  wf:order_*  id:order-7*  after:10m  before:2026-08-01  step:ship  error:"503"  '
            'input.order.id:77  "text"',
            show_default=False,
        ),
    ] = None,
    limit: Limit = LIMIT,
    offset: Annotated[
        int, typer.Option("--offset", min=0, metavar="N", help="Leave out so many first.", show_default=False)
    ] = 0,
    sort: Annotated[
        Sort,
        typer.Option(
            "--sort", metavar="F", help=f"{', '.join(get_args(Sort))}; the latest first, or by name.", show_default=False
        ),
    ] = "started",
    by: Annotated[
        Literal["error", "step", "workflow"] | None,
        typer.Option(
            "--group-by",
            metavar="WHAT",
            help="Count them by error, by the step that they are at, or by workflow.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show what changes, until Ctrl-C.")] = False,
    as_json: Json = False,
    as_lines: NdJson = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Ids only.")] = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """List runs, those that started last first.

    In a pipe: id, workflow, status, seconds, attempt, start, where it is now, generation. With --group-by: count, what,
    statuses, the id of the run that changed last. With --watch a pipe gets each run again when it has changed, in the order
    of their starts.
    """
    if watch and (by or as_json):
        raise UsageError("--watch lists runs: it goes with neither --group-by nor --json", "stream objects: --watch --ndjson")
    terms = tuple(filter or ())
    if by is not None:
        _show_groups(ask(GroupRuns(by=by, filter=terms), store, engine).groups[:limit], as_json=as_json, as_lines=as_lines)
        return
    request = ListRuns(filter=terms, sort=sort, limit=limit, offset=offset)
    if watch:
        _watch(request, store, engine, as_lines=as_lines, quiet=quiet)
    answer = ask(request, store, engine)
    found, more, present = answer.runs, answer.more, now()
    if as_json:
        show_json("runs", {"runs": [run_members(state, present) for state in found], "more": more})
    elif as_lines:
        show_lines(run_members(state, present) for state in found)
    elif quiet:
        for id in dict.fromkeys(state.id for state in found):
            print(id)
    else:
        if found:
            show_table(found, _table(found, present))
        if more:
            note(f"there are more than {offset + limit}: --limit and --offset show them, a FILTER finds them")
        elif not found:
            note(_nothing(filter, store))


def _watch(request: ListRuns, store: Path, engine: Path | None, *, as_lines: bool, quiet: bool) -> NoReturn:
    """Show runs as they change. On a terminal that can do it the list, in place: as much of it as fits."""
    shown: dict[int, int] = {}
    while True:
        runs = ask(request, store, engine).runs
        changed = [run for run in reversed(runs) if shown.get(run.run) != run.seq]
        shown = {run.run: run.seq for run in runs}
        present = now()
        if as_lines:
            show_lines(run_members(run, present) for run in changed)
        elif quiet:
            for run in changed:
                print(run.id)
        elif not on_terminal() or os.environ.get("TERM") == "dumb":
            show_table(changed, _table(changed, present))
        else:
            print("\033[H\033[2J", end="")
            show_table(runs, _table(runs, present), lines_max=rows() - 1)
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def _show_groups(groups: list[RunGroup], *, as_json: bool, as_lines: bool) -> None:
    members = [{"key": group.key, "count": group.count, "statuses": group.statuses, "last": group.last.id} for group in groups]
    if as_json:
        show_json("groups", {"groups": members})
    elif as_lines:
        show_lines(members)
    else:
        show_table(groups, _GROUPS)


_GROUPS: list[Column[RunGroup]] = [
    Column("RUNS", lambda group: f"{group.count:,}", lambda group: str(group.count), right=True),
    Column("WHAT", lambda group: group.key, cut=True),
    Column("STATUS", lambda group: ", ".join(f"{count:,} {word(status)}" for status, count in sorted(group.statuses.items()))),
    Column("LAST", lambda group: group.last.id, rank=1),
]


def _nothing(filter: list[str] | None, store: Path) -> str:
    if filter:
        return f"no runs match: {' '.join(filter)}"
    return f"no runs yet in {store}. Start one: wfkit run app.py:order '{{\"id\": 7}}'"


def _table(found: list[RunState], present: int) -> list[Column[RunState]]:
    table: list[Column[RunState]] = [
        Column("RUN", lambda state: state.id),
        Column("WORKFLOW", lambda state: state.workflow, cut=True),
        Column(
            "STATUS",
            lambda state: shown(state.detail),
            lambda state: word(state.detail),
            lambda state: colour(state.detail),
        ),
        Column(
            "TIME",
            lambda state: spell(lasted(state, present)),
            lambda state: f"{lasted(state, present) / 1e6:.3f}",
            right=True,
            rank=2,
        ),
        Column("TRY", tries, right=True, rank=4),
        Column("STARTED", lambda state: ago(state.started, present), lambda state: rfc3339(state.started), right=True, rank=1),
        Column("NOW AT", lambda state: now_at(state, present), cut=True),
        Column("GEN", lambda state: str(state.generation), right=True, rank=5),
    ]
    if not on_terminal():
        return table
    # There a column that says nothing only takes room.
    empty = {"TRY": not any(map(tries, found)), "GEN": all(state.generation == 1 for state in found)}
    return [column for column in table if not empty.get(column.title)]


def tries(state: RunState) -> str:
    """Return the attempt of the step that has been tried most often, of how many."""
    steps = [pending for pending in state.open.values() if isinstance(pending, PendingStep)]
    if not steps:
        return ""
    step = max(steps, key=lambda step: step.attempt)
    return f"{step.attempt}/{step.attempts_max or '∞'}"
