"""Queries of users: one SELECT over the views of the journal, which reads no file, opens no address and changes nothing.

DuckDB itself forbids files and addresses, for the whole database (see `lock_down`); a backup's folder alone stays open. What
it lets through within a SELECT is refused by name: the only functions that may stand where a table does are listed here.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

import duckdb
import msgspec
from msgspec import Raw

from wfkit.control.messages import Sql, Table
from wfkit.core.state import encode_state
from wfkit.errors import SqlRefused
from wfkit.journal import views

Connection: TypeAlias = duckdb.DuckDBPyConnection

SECONDS_MAX = 10.0
AGAIN_SECONDS = 0.1
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree", "repeat"})
"""Those that compute. Others read files, settings or logs, run other SQL, or write a checkpoint."""

_TABLE_NAME = re.compile(r"\w+")


def lock_down(connection: Connection) -> None:
    """Let no SQL reach the file system or the network, for as long as the database is open."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def query(connection: Connection, request: Sql) -> Table:
    """Return what a query finds.

    Args:
        connection: to a journal, locked down, and of this call alone: its schema is changed.
        request: the query.

    Raises:
        SqlRefused: it is not one SELECT, reaches for what it may not have, fails, or takes over 10 s.
    """
    statement = _only_select(connection, request.query)
    connection.execute("USE v")
    _note_changes(connection)
    connection.execute("BEGIN TRANSACTION READ ONLY")
    late, over = threading.Event(), threading.Event()

    def stop() -> None:
        seconds = SECONDS_MAX
        while not over.wait(seconds):
            late.set()
            seconds = AGAIN_SECONDS  # between two statements nothing is interrupted, and the next one begins all the same
            with contextlib.suppress(duckdb.Error):
                connection.interrupt()

    alarm = threading.Thread(target=stop, name="wfkit-sql-alarm", daemon=True)
    alarm.start()
    try:
        described = connection.execute(f"DESCRIBE {_RUNS} FROM (\n{statement}\n) AS q").fetchall()
        columns = [str(name) for name, *_ in described]
        listed = ", ".join(f"to_json({_quoted(name)})" for name in columns)
        rows = connection.execute(
            f"{_RUNS} SELECT {listed} FROM (\n{statement}\n) AS q LIMIT {request.limit + 1}"  # noqa: S608  # that is its purpose
        ).fetchall()
    except duckdb.InterruptException:
        if not late.is_set():  # the journal is being closed
            raise
        raise SqlRefused(f"the query took over {SECONDS_MAX:g} s", help="ask for less: add a WHERE or a LIMIT") from None
    except duckdb.Error as error:
        raise SqlRefused(_told(error)) from None
    finally:
        over.set()
        alarm.join()
        with contextlib.suppress(duckdb.Error):
            connection.execute("ROLLBACK")
    return Table(
        columns,
        [str(type) for _, type, *_ in described],
        [_row(row) for row in rows[: request.limit]],
        len(rows) > request.limit,
    )


def _only_select(connection: Connection, text: str) -> str:
    try:
        statements = connection.extract_statements(text)
        if not statements:
            raise SqlRefused("the query is empty")
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SqlRefused("only a single SELECT is allowed")
        statement = statements[0].query.rstrip().rstrip(";")
        tree = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [statement]).fetchall()[0][0]
    except duckdb.Error as error:
        raise SqlRefused(_told(error)) from None
    for node in _nodes(msgspec.json.decode(tree)):
        if node.get("type") == "TABLE_FUNCTION":
            name = node.get("function", {}).get("function_name", "")
            if name.lower() not in TABLE_FUNCTIONS:
                raise SqlRefused(f"a query cannot use the function {name}() as a table")
        if node.get("type") == "BASE_TABLE" and not _TABLE_NAME.fullmatch(node.get("table_name", "")):
            raise SqlRefused(f"a query cannot read the file or address {node.get('table_name')!r}")
    return statement


def _note_changes(connection: Connection) -> None:
    """Keep beside `v.runs`, whose rows are written lazily, those of runs that have changed since."""
    tail = list(views.tail_states(connection).values())
    columns: list[list[Any]] = [
        [state.run for state in tail],
        [state.id for state in tail],
        [state.generation for state in tail],
        [state.workflow for state in tail],
        [state.status for state in tail],
        [state.started for state in tail],
        [state.updated for state in tail],
        [state.seq for state in tail],
        [state.wake_at for state in tail],
        [encode_state(state).decode() for state in tail],
    ]
    connection.execute(_CHANGED, columns)


_CHANGED = """
CREATE TEMP TABLE wfkit_changed AS SELECT
    unnest(?::BIGINT[]) AS run, unnest(?::VARCHAR[]) AS id, unnest(?::INTEGER[]) AS generation,
    unnest(?::VARCHAR[]) AS workflow, unnest(?::VARCHAR[]) AS status, make_timestamp(unnest(?::BIGINT[])) AS started,
    make_timestamp(unnest(?::BIGINT[])) AS updated, unnest(?::INTEGER[]) AS records,
    make_timestamp(unnest(?::BIGINT[])) AS wake_at, unnest(?::VARCHAR[])::JSON AS state
"""
_RUNS = """
WITH runs AS (
    SELECT * FROM v.runs WHERE run NOT IN (SELECT run FROM wfkit_changed) UNION ALL BY NAME SELECT * FROM wfkit_changed
)
"""
"""What a query sees as `runs`: all of them as they are now."""


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _row(row: tuple[str | None, ...]) -> list[Raw]:
    return [_value(text) for text in row]


def _value(text: str | None) -> Raw:
    if text is None:
        return Raw(b"null")
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:  # NaN and infinity, which DuckDB writes as JavaScript does
        return Raw(msgspec.json.encode(text))
    return Raw(text.encode())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _told(error: duckdb.Error) -> str:
    """Return what DuckDB says, without the drawing of the place where it is wrong."""
    return str(error).split("\n\nLINE ", 1)[0].strip()
