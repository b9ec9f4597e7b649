"""Read models: what the command line and the control API show of a journal.

Each function takes a DuckDB connection. Of a file that no engine holds, `open_file` lends one; of an engine's journal,
`await journal.read(list_runs, RunFilter(...))` does. The projection may be old, so what it says is always completed by
folding the rows after it.
"""

from __future__ import annotations

import contextlib
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import duckdb
from msgspec import Raw

from wfkit.core.commands import CompleteRun, StartChild
from wfkit.core.entries import BUS, KINDS, Record
from wfkit.core.state import RunState, Status, decode_state
from wfkit.errors import JournalCorrupt, JournalUnusable, UnknownRun
from wfkit.journal import schema, wal
from wfkit.journal.filters import RecordTest, RunFilter
from wfkit.journal.lock import lock_for_reading
from wfkit.journal.store import check_format, damaged, explain
from wfkit.journal.values import FRAME, RunValues, outline

Connection: TypeAlias = duckdb.DuckDBPyConnection
Sort: TypeAlias = Literal["started", "updated", "id", "workflow", "status", "wake_at"]

_SORTED_BY: dict[Sort, str] = {
    sort: f"ORDER BY {sort} {{direction}} NULLS LAST, run {{direction}}"
    for sort in ("started", "updated", "id", "workflow", "status", "wake_at")
}
_BY_ORDER = ("@last", "@failed")
"""Names of runs by what happened last."""
_LATEST = 100
"""So many runs are looked at first for one that no other run started."""
_CANDIDATES_MAX = 5
_SIMILAR_AMONG = 5_000
_FROM_CANDIDATES = "FROM entries WHERE coalesce(kind = ?, true) AND (contains(decode(body), ?) OR starts_with(decode(body), ?))"
"""The rows whose records may pass a test. What a large value holds is not seen here."""
_HISTORIES_AT_ONCE = 100
"""At first; twice as many each time, since a search through the journal costs as much for a few runs as for many."""


@dataclass(frozen=True)
class StoreInfo:
    """Facts about a journal file. Sizes are bytes."""

    path: Path
    file_bytes: int
    log_bytes: int
    rows: int
    runs: Mapping[Status, int]
    """How many runs have each status; statuses that no run has are left out."""
    format: int
    wfkit: str
    """The version that opened it last."""
    epoch: int
    """How often it was opened."""


@contextlib.contextmanager
def open_file(path: str | Path) -> Iterator[Connection]:
    """Lend a read-only connection to a journal file that no engine holds. While it is lent, no engine can start.

    Raises:
        JournalLocked: an engine holds it.
        JournalUnusable: there is no journal, or it cannot be read.
        JournalTooNew, JournalCorrupt: see their descriptions.
    """
    path = Path(path)
    if not path.exists() and not wal.wal_path(path).exists():
        raise JournalUnusable(f"there is no journal {path}", help="run a workflow first, or name another journal: --store PATH")
    with contextlib.ExitStack() as stack:
        stack.callback(lock_for_reading(path).release)
        try:
            connection = stack.enter_context(contextlib.closing(_connect(path)))
            check_format(connection, path)
            yield connection
        except (duckdb.Error, OSError) as error:
            raise explain(error, path) from error


def _connect(path: Path) -> Connection:
    if not path.exists():
        raise JournalCorrupt(f"{path} is missing, but its log is there", help="put the journal file back beside its log")
    log = wal.wal_path(path)
    damage = wal.inspect(log)
    try:
        if damage is None or damage.last:
            return duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        damage = wal.inspect(log, wal.position_of(str(error)))
        if damage is None:
            raise
    if damage.last:
        raise JournalCorrupt(
            f"the last commit in the log of {path} is torn", help="start the engine: it drops that commit and says so"
        )
    raise damaged(f"the log of {path} is damaged at byte {damage.keep}, before its last commit", path)


def list_runs(
    connection: Connection,
    wanted: RunFilter | None = None,
    *,
    sort: Sort = "started",
    descending: bool = True,
    limit: int | None = None,
) -> list[RunState]:
    """Return the runs that a filter accepts, newest first unless said otherwise. Runs without a value sort last."""
    wanted = wanted or RunFilter()
    tail = tail_states(connection)
    found = list(_holders(connection, filter(wanted.accepts, tail.values()), wanted.holds))
    found += _projected(connection, wanted, tail, sort, descending, limit)
    found.sort(key=lambda state: state.run, reverse=descending)
    found.sort(key=lambda state: _sort_key(getattr(state, sort), descending), reverse=descending)
    return found[:limit]


def get_run(connection: Connection, name: str, generation: int | None = None) -> RunState:
    """Return a generation of a run.

    Args:
        connection: to a journal.
        name: a run id, the beginning of exactly one, `@last` (the last one that no other run started) or `@failed` (failed
            last).
        generation: the one that is meant; the newest unless given.

    Raises:
        UnknownRun: no run has this name, or several have, and the message says which come near; or it has no such generation.
    """
    if name in _BY_ORDER:
        found = _last_started(connection) if name == "@last" else _last_failed(connection)
        if found is None:
            raise UnknownRun("no run has failed" if name == "@failed" else "there is no run yet")
        return get_run(connection, found.id, generation) if generation is not None else _complete(connection, found)
    tail = tail_states(connection)
    matches = {state.id for state in tail.values() if state.id.startswith(name)}
    query = "SELECT DISTINCT id FROM runs WHERE starts_with(id, ?) ORDER BY id <> ?, id LIMIT ?"
    matches.update(id for (id,) in connection.execute(query, [name, name, _CANDIDATES_MAX + 1]).fetchall())
    if name not in matches and len(matches) != 1:
        raise UnknownRun(_several(name, matches) if matches else _none(connection, name, tail))
    id = name if name in matches else matches.pop()
    generations = [state for state in tail.values() if state.id == id]
    stored = connection.execute(
        "SELECT state FROM runs WHERE id = ? AND generation = coalesce(?, generation) ORDER BY generation DESC LIMIT 1",
        [id, generation],
    ).fetchall()
    generations += [state for (encoded,) in stored if (state := decode_state(encoded)).run not in tail]
    if generation is not None:
        generations = [state for state in generations if state.generation == generation]
        if not generations:
            raise UnknownRun(f"run {id!r} has no generation {generation}")
    return _complete(connection, max(generations, key=lambda state: state.generation))


def _last_started(connection: Connection) -> RunState | None:
    """Return the run that started last, children left out: the one that somebody has just started is meant."""
    for limit in (_LATEST, None):
        for state in list_runs(connection, RunFilter(), sort="started", limit=limit):
            if state.parent is None:
                return state
    return None


def _last_failed(connection: Connection) -> RunState | None:
    return next(iter(list_runs(connection, RunFilter(frozenset({"failed"})), sort="updated", limit=1)), None)


def history(connection: Connection, run: int) -> list[Record]:
    """Return the records of a run with all values; record number `seq` is at index `seq - 1`."""
    values = RunValues()
    rows = connection.execute("SELECT body FROM entries WHERE run = ? ORDER BY seq", [run]).fetchall()
    return [values.decode(body) for (body,) in rows]


def children(connection: Connection, run: int) -> list[RunState]:
    """Return the runs that a run started, in the order of their starts, every generation of each."""
    commands = [command for record in history(connection, run) for command in record.commands or ()]
    ids = {command.id for command in commands if isinstance(command, StartChild)}
    if not ids:
        return []
    query = "SELECT state FROM runs WHERE id IN (SELECT unnest(?::VARCHAR[]))"
    stored = [decode_state(state) for (state,) in connection.execute(query, [list(ids)]).fetchall()]
    found = {state.run: state for state in stored} | {state.run: state for state in tail_states(connection).values()}
    # Under an id that is taken there is somebody else's run.
    return [state for _, state in sorted(found.items()) if state.parent is not None and state.parent.run == run]


def result(connection: Connection, run: int) -> Raw | None:
    """Return what a completed run returned, as JSON; None if it has not completed."""
    for record in reversed(history(connection, run)):
        for command in record.commands or ():
            if isinstance(command, CompleteRun):
                return command.value
    return None


def store_info(connection: Connection, path: str | Path) -> StoreInfo:
    """Return what there is to say about a journal file as a whole."""
    path = Path(path)
    meta = schema.read_meta(connection)
    tail = tail_states(connection)
    query = "SELECT status, count(*) FROM runs WHERE run <> ? AND run NOT IN (SELECT unnest(?::BIGINT[])) GROUP BY status"
    runs: Counter[Status] = Counter(dict(connection.execute(query, [BUS, list(tail)]).fetchall()))
    runs.update(state.status for state in tail.values())
    log = wal.wal_path(path)
    return StoreInfo(
        path=path,
        file_bytes=path.stat().st_size,
        log_bytes=log.stat().st_size if log.exists() else 0,
        rows=connection.execute("SELECT count(*) FROM entries").fetchall()[0][0],
        runs=dict(runs),
        format=int(meta["format"]),
        wfkit=meta["wfkit"],
        epoch=int(meta["epoch"]),
    )


def tail_states(connection: Connection) -> dict[int, RunState]:
    """Return every run that has rows after the projection, as those rows leave it; large values may be missing."""
    projected = int(schema.read_meta(connection)["projected"])
    rows = connection.execute(
        "SELECT run, body FROM entries WHERE pos > ? AND run <> ? ORDER BY pos", [projected, BUS]
    ).fetchall()
    if not rows:
        return {}
    changed = list({run for run, _ in rows})
    stored = connection.execute("SELECT run, state FROM runs WHERE run IN (SELECT unnest(?::BIGINT[]))", [changed]).fetchall()
    states = {run: decode_state(state) for run, state in stored}
    for run, body in rows:
        state = states.get(run)
        if state is None:
            state = states[run] = RunState(run)
        state.apply(outline(body))
    return states


def _complete(connection: Connection, state: RunState) -> RunState:
    """Return the state with its large values, whether it came from the projection or was folded without them."""
    complete = RunState(state.run)
    for record in history(connection, state.run):
        complete.apply(record)
    return complete


def _holders(connection: Connection, states: Iterable[RunState], tests: Sequence[RecordTest]) -> Iterator[RunState]:
    """Yield the runs whose histories pass every test. No more histories are read than it takes to go on."""
    remaining = iter(states)
    count = _HISTORIES_AT_ONCE
    while chunk := list(islice(remaining, count)):
        passed = {state.run for state in chunk}
        for test in tests:
            query = f"SELECT run, body {_FROM_CANDIDATES} AND run IN (SELECT unnest(?::BIGINT[]))"
            rows = connection.execute(query, [*_asked_by(test), list(passed)]).fetchall()
            passed = {run for run, body in rows if test.accepts(_readable(body))}
        yield from (state for state in chunk if state.run in passed)
        count *= 2


def _asked_by(test: RecordTest) -> list[object]:
    """Return the parameters of `_FROM_CANDIDATES`."""
    return [KINDS[test.entry] if test.entry is not None else None, test.text, FRAME.decode()]


def _readable(body: bytes) -> Record:
    """Return the record of a stored body, with those large values that it does not share with earlier records."""
    try:
        return RunValues().decode(body)
    except KeyError:
        return outline(body)


def _projected(
    connection: Connection,
    wanted: RunFilter,
    tail: Mapping[int, RunState],
    sort: Sort,
    descending: bool,
    limit: int | None,
) -> list[RunState]:
    conditions: list[tuple[Any, ...]] = [("run <> ?", BUS), ("run NOT IN (SELECT unnest(?::BIGINT[]))", list(tail))]
    if wanted.statuses is not None:
        conditions.append(("status IN (SELECT unnest(?::VARCHAR[]))", sorted(wanted.statuses)))
    if wanted.workflow is not None:
        conditions.append(("workflow GLOB ?", wanted.workflow))
    if wanted.id is not None:
        conditions.append(("id GLOB ?", wanted.id))
    if wanted.started_from is not None:
        conditions.append(("started >= ?", wanted.started_from))
    if wanted.started_before is not None:
        conditions.append(("started < ?", wanted.started_before))
    conditions += [(f"run IN (SELECT run {_FROM_CANDIDATES})", *_asked_by(test)) for test in wanted.holds]
    at_once = wanted.where is None and not wanted.holds
    query = " ".join(
        [
            "SELECT state FROM runs WHERE",
            " AND ".join(condition for condition, *_ in conditions),
            _SORTED_BY[sort].format(direction="DESC" if descending else "ASC"),
            f"LIMIT {limit}" if limit is not None and at_once else "",
        ]
    )
    rows = connection.execute(query, [parameter for _, *parameters in conditions for parameter in parameters]).fetchall()
    found = (decode_state(encoded) for (encoded,) in rows)
    fitting = (state for state in found if wanted.where is None or wanted.where(state))
    return list(islice(_holders(connection, fitting, wanted.holds), limit))


def _sort_key(value: Any, descending: bool) -> tuple[bool, Any]:
    return (value is not None if descending else value is None, value if value is not None else 0)


def _several(name: str, matches: set[str]) -> str:
    shown = sorted(matches)[:_CANDIDATES_MAX]
    more = ", ..." if len(matches) > len(shown) else ""
    return f"{name!r} matches several runs: {', '.join(shown)}{more}"


def _none(connection: Connection, name: str, tail: Mapping[int, RunState]) -> str:
    if name.startswith("@"):
        return f"no run {name!r}: there are {' and '.join(_BY_ORDER)}"
    query = "SELECT id FROM runs WHERE run <> ? ORDER BY run DESC LIMIT ?"
    ids = {id for (id,) in connection.execute(query, [BUS, _SIMILAR_AMONG]).fetchall()}
    ids.update(state.id for state in tail.values())
    near = difflib.get_close_matches(name, sorted(ids), n=3)
    return f"no run {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
