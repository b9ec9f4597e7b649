"""`wfkit sql`: questions to the journal that no command has an answer for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, NdJson, Store
from wfkit.cli.output import Column, note, show_json, show_lines, show_table
from wfkit.control.messages import Sql, Table

app = make_app()

LIMIT = 1000

EXAMPLES = (
    ("runs by status", "SELECT workflow, status, count(*) FROM runs GROUP BY ALL ORDER BY ALL"),
    ("runs that began today", "SELECT id, status FROM runs WHERE started >= current_date"),
    ("what is due next", "SELECT id, wake_at FROM runs WHERE wake_at IS NOT NULL ORDER BY wake_at"),
    ("slowest steps", "SELECT step, max(ended - requested) AS took FROM steps GROUP BY step ORDER BY took DESC"),
    ("steps that fail most", "SELECT step, count(*) FROM steps WHERE status = 'failed' GROUP BY step ORDER BY 2 DESC"),
    ("errors of attempts", "SELECT error ->> 'type' AS type, count(*) FROM attempts WHERE event = 'failed' GROUP BY ALL"),
    ("one run's history", "SELECT seq, t, kind FROM history WHERE id = 'order-7' ORDER BY seq"),
    ("results of a step", "SELECT id, value FROM steps WHERE step = 'charge' AND status = 'completed'"),
    ("signals nobody took", "SELECT t, signal, payload FROM signals WHERE receivers = 0"),
    ("inputs of runs", "SELECT id, entry -> 'args' AS args FROM history WHERE kind = 'RunStarted'"),
)
"""Each of them is tried by a test."""

_HELP = (
    "Ask the journal by SQL, in DuckDB's dialect, and change nothing.\n\n"
    "There are the views runs, history, steps, attempts and signals; `wfkit sql 'DESCRIBE steps'` shows the columns of one. "
    "Times are UTC. QUERY is one SELECT, which reads no file and opens no address, and is stopped after 10 s.\n\n\b\n"
    + "\n".join(f"{title}:\n  {query}" for title, query in EXAMPLES)
)


@app.command(cls=PlainCommand, help=_HELP)
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A SELECT, or @file, or - for stdin.", show_default=False)],
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=100_000,
            metavar="N",
            help=f"At most so many rows, otherwise {LIMIT}.",
            show_default=False,
        ),
    ] = LIMIT,
    as_json: Json = False,
    as_lines: NdJson = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    found = ask(Sql(query=_read(query), limit=limit), store, engine)
    if as_json:
        columns = [{"name": name, "type": type} for name, type in zip(found.columns, found.types, strict=True)]
        show_json("sql", {"columns": columns, "rows": found.rows, "more": found.more})
    elif as_lines:
        show_lines(dict(zip(found.columns, row, strict=True)) for row in found.rows)
    else:
        show_table(found.rows, _table(found))
    if found.more:
        note(f"there are more than {limit} row{'s' if limit != 1 else ''}: --limit N shows them")


def _read(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {text[1:]}: {error}") from None


def _table(found: Table) -> list[Column[list[Raw]]]:
    return [
        Column(name, lambda row, index=index: _cell(row[index]), cut=True, rank=index)  # type: ignore[misc]
        for index, name in enumerate(found.columns)
    ]


def _cell(value: Raw) -> str:
    found = msgspec.json.decode(value)
    if found is None:
        return ""
    return found if isinstance(found, str) else bytes(value).decode()
