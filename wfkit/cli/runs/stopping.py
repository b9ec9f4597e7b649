"""What `wfkit runs cancel` and `wfkit runs terminate` have in common: which runs are meant, and that somebody is sure."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from wfkit.cli.colours import is_terminal
from wfkit.cli.engine import act
from wfkit.cli.failures import NO, UsageError
from wfkit.cli.options import refuse_empty, with_store
from wfkit.cli.output import note, show_json
from wfkit.cli.statuses import word
from wfkit.control.messages import Done, FindRun, ListRuns, Request
from wfkit.core.state import RunState
from wfkit.errors import RunEnded

RunNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID", help="Runs: ids, beginnings of ids, @last, @failed.", show_default=False, callback=refuse_empty
    ),
]
Filter: TypeAlias = Annotated[
    str,
    typer.Option(
        "--filter", metavar="F", help="Unfinished runs that a filter finds, as in `wfkit runs F`.", show_default=False
    ),
]
Why: TypeAlias = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the run's history.", show_default=False)]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only list the runs that are meant.")]
Rate: TypeAlias = Annotated[
    float | None,
    typer.Option("--rate", min=0.001, metavar="N", help="So many runs a second at most.", show_default=False),
]

FOUND_MAX = 1_000_000
LISTED_MAX = 10
"""So many runs are listed above the question; the others are counted."""


def stop(
    verb: str,
    request: Callable[[str], Request[Done]],
    names: Sequence[str],
    filter: str,
    store: Path,
    engine: Path | None,
    *,
    yes: bool,
    dry_run: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Stop the runs that are meant, one after the other, and print their ids.

    Raises:
        UsageError: no run is named, or several are and nobody is there to be asked.
        RunEnded: the only run that is named has ended.
    """
    if bool(names) == bool(filter):
        raise UsageError("which runs? Name their ids, or give a --filter, and not both")
    runs = _by_filter(filter, store, engine) if filter else [act(FindRun(run=name), store, engine).run for name in names]
    if not runs and not as_json:
        note(f"no unfinished runs match: {filter}")
        return
    if dry_run:
        _show_meant(verb, runs, as_json=as_json)
        return
    if filter and not yes:
        _make_sure(verb, runs)
    _stop_each(verb, request, runs, store, engine, rate=rate, as_json=as_json)


def _show_meant(verb: str, runs: Sequence[RunState], *, as_json: bool) -> None:
    if as_json:
        show_json(verb, {"dry_run": True, "runs": [run.id for run in runs], "ended": []})
        return
    for run in runs:
        print(f"{run.id}\t{run.workflow}\t{word(run.detail)}")
    note(f"{_count(runs)} would be asked to {verb}" if verb == "cancel" else f"{_count(runs)} would be stopped")


def _stop_each(
    verb: str,
    request: Callable[[str], Request[Done]],
    runs: Sequence[RunState],
    store: Path,
    engine: Path | None,
    *,
    rate: float | None,
    as_json: bool,
) -> None:
    stopped: list[str] = []
    ended: list[str] = []
    try:
        for number, run in enumerate(runs):
            if rate is not None and number:
                time.sleep(1 / rate)
            try:
                act(request(run.id), store, engine)
            except RunEnded as error:
                if len(runs) == 1:
                    error.help = f"see how it ended: {with_store(f'wfkit runs get {run.id}', store)}"
                    raise
                ended.append(run.id)
            else:
                stopped.append(run.id)
                if not as_json:
                    print(run.id)
    finally:  # what has been done is told, whatever came then
        if as_json and (stopped or ended or not runs):
            show_json(verb, {"dry_run": False, "runs": stopped, "ended": ended})
    if ended and not as_json:
        note(f"{len(ended):,} had ended already")


def _by_filter(filter: str, store: Path, engine: Path | None) -> list[RunState]:
    found = act(ListRuns(filter=filter, limit=FOUND_MAX), store, engine).runs
    return [run for run in found if not run.finished]


def _count(runs: Sequence[RunState]) -> str:
    return "1 run" if len(runs) == 1 else f"{len(runs):,} runs"


def _make_sure(verb: str, runs: Sequence[RunState]) -> None:
    what = f"{verb} {_count(runs)}"
    if not is_terminal(sys.stdin) or os.environ.get("CI"):
        raise UsageError(f"nobody is there to be asked whether to {what}", "say --yes, or look first: --dry-run")
    width = max(len(run.id) for run in runs[:LISTED_MAX])
    for run in runs[:LISTED_MAX]:
        note(f"  {run.id:<{width}}  {run.workflow}, {word(run.detail)}")
    if len(runs) > LISTED_MAX:
        note(f"  and {len(runs) - LISTED_MAX:,} more; all of them: --dry-run")
    try:
        agreed = typer.confirm(f"{what}?", err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        note("")
        raise KeyboardInterrupt from None
    if not agreed:
        raise typer.Exit(NO)
