"""`wfkit runs history`: what happened in a run, as spans or record by record."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from msgspec import Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Generation, Json, NdJson, RunName, Store
from wfkit.cli.output import Column, moment, now, on_terminal, rfc3339, show_json, show_lines, show_table, visible
from wfkit.cli.runs.bars import draw
from wfkit.cli.runs.reading import failure_members, run_members
from wfkit.cli.runs.records import Row, one_line, rows_of
from wfkit.cli.statuses import colour, shown, word
from wfkit.control.messages import GetHistory
from wfkit.core.entries import Record
from wfkit.replay.explain import error_text, spell
from wfkit.replay.timeline import Span, fold, spans

app = make_app()

FOLLOW_SECONDS = 0.5
CROWD = 20
"""So many steps of one name, started together, are one row on a terminal."""


View: TypeAlias = Literal["timeline", "compact", "all"]


@app.command(cls=PlainCommand)
def history(
    run: RunName,
    view: Annotated[
        View,
        typer.Option(
            "--view",
            metavar="VIEW",
            help="timeline: bars; compact: one row for what belongs together; all: every record.",
            show_default=False,
        ),
    ] = "timeline",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show every record, and go on until the run has ended.")
    ] = False,
    generation: Generation = None,
    as_json: Json = False,
    as_lines: NdJson = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show what happened in a run.

    In a pipe, timeline and compact: kind, name, status, attempt, start, end, detail. All: number, time, what, detail.
    """
    if follow:
        if as_json:
            raise UsageError("--follow goes on, and --json is one document", "stream objects: --follow --ndjson")
        _follow(run, generation, store, engine, as_lines=as_lines)
        return
    found = ask(GetHistory(run=run, generation=generation), store, engine)
    state, records = found.run, found.records
    present = now()
    if view == "all":
        if as_json:
            show_json("history", {"run": run_members(state, present), "records": list(record_members(records, 0))})
        elif as_lines:
            show_lines(record_members(records, 0))
        else:
            show_table(rows_of(records, 0, records[0].entry.t), ALL)
        return
    told = spans(records)
    if as_json:
        show_json("timeline", {"run": run_members(state, present), "spans": [_members(span) for span in told]})
    elif as_lines:
        show_lines(_members(span) for span in told)
    elif view == "timeline" and on_terminal():
        draw(fold(told, CROWD), present)
    else:
        show_table(fold(told, CROWD) if on_terminal() else told, compact(lambda: told[0].since, lambda: present))


def _follow(run: str, generation: int | None, store: Path, engine: Path | None, *, as_lines: bool) -> None:
    """Show the records of a generation of a run as they come."""
    found = ask(GetHistory(run=run, generation=generation), store, engine)
    after = 0
    started = found.records[0].entry.t
    while True:
        if as_lines:
            show_lines(record_members(found.records, after))
        else:
            for row in rows_of(found.records, after, started):
                print("\t".join(visible((column.piped or column.shown)(row)) for column in ALL))
        sys.stdout.flush()
        after += len(found.records)
        if found.run.finished:
            return
        time.sleep(FOLLOW_SECONDS)
        found = ask(GetHistory(run=found.run.id, generation=found.run.generation, after=after), store, engine)


# -- spans ---------------------------------------------------------------------------------------------------------------


def compact(began: Callable[[], int], clock: Callable[[], int]) -> list[Column[Span]]:
    """Return the columns of spans.

    Args:
        began: returns when the run began, microseconds UTC.
        clock: returns the present.
    """
    return [
        Column("AT", lambda span: f"+{spell(span.since - began())}", right=True, rank=2, only="terminal"),
        Column("WHAT", lambda span: span.kind),
        Column("NAME", lambda span: ("  " if span.compensation else "") + span.name, lambda span: span.name, cut=True),
        Column("STATUS", lambda span: shown(span.outcome), lambda span: word(span.outcome), lambda span: colour(span.outcome)),
        Column("TRY", tries, right=True, rank=3),
        Column(
            "TIME",
            lambda span: "" if span.until == span.since else spell((span.until or clock()) - span.since),
            right=True,
            rank=1,
            only="terminal",
        ),
        Column("START", lambda span: rfc3339(span.since), only="pipe"),
        Column("END", lambda span: moment(span.until) or "", only="pipe"),
        Column("DETAIL", detail, cut=True),
    ]


def tries(span: Span) -> str:
    if span.kind != "step" or not span.attempt:
        return ""
    return f"{span.attempt}/{span.attempts_max or '∞'}"


def detail(span: Span) -> str:
    if span.error is not None:
        return error_text(span.error).split("\n")[0]
    return one_line(span.value) if isinstance(span.value, Raw) else ""


def _members(span: Span) -> dict[str, Any]:
    return {
        "kind": span.kind,
        "name": span.name,
        "n": span.n,
        "outcome": span.outcome,
        "since": moment(span.since),
        "until": moment(span.until),
        "due": moment(span.due),
        "attempt": span.attempt or None,
        "attempts_max": span.attempts_max,
        "attempts": [
            {
                "number": tried.number,
                "failed": moment(tried.failed),
                "due": moment(tried.due),
                "died": tried.died,
                "error": failure_members(tried.error),
            }
            for tried in span.attempts
        ],
        "compensation": span.compensation,
        "value": span.value,
        "error": failure_members(span.error),
        "records": span.records,
    }


# -- records -------------------------------------------------------------------------------------------------------------


ALL: list[Column[Row]] = [
    Column("#", lambda row: "" if row.is_command else str(row.seq), lambda row: str(row.seq), right=True),
    Column("AT", lambda row: "" if row.is_command else f"+{spell(row.offset)}", lambda row: rfc3339(row.t), right=True, rank=1),
    Column("WHAT", lambda row: row.what, lambda row: row.what.removeprefix("→ ")),
    Column("DETAIL", lambda row: row.detail, cut=True),
]


def record_members(records: Sequence[Record], after: int) -> Iterator[dict[str, Any]]:
    for seq, record in enumerate(records, after + 1):
        yield {"seq": seq, "t": moment(record.entry.t), "entry": record.entry, "commands": record.commands}
