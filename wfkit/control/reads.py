"""What is read of a journal for clients: the same functions for an engine's journal and for a file that no engine holds.

Each takes a connection and a request, and returns what the request's answer is.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from wfkit.control.messages import (
    FeedEvent,
    FindRun,
    GetFamily,
    GetHistory,
    GetResult,
    GetRun,
    GetTree,
    GroupRuns,
    ListRuns,
    ListSignals,
    ListTimers,
    Request,
    RunFamily,
    RunFound,
    RunGroup,
    RunGroups,
    RunHistory,
    RunList,
    RunPage,
    RunResult,
    RunTree,
    SignalAwaited,
    SignalList,
    SignalSeen,
    StoreFacts,
    Timer,
    TimerList,
)
from wfkit.core.commands import Json
from wfkit.core.durations import display
from wfkit.core.entries import BUS, KINDS, SignalPublished, SignalReceived
from wfkit.core.state import STATUSES, UNFINISHED, PendingChild, PendingStep, PendingTimer, PendingWait, RunState
from wfkit.errors import UnknownRun
from wfkit.journal import views
from wfkit.journal.filters import RunFilter, parse
from wfkit.journal.values import outline
from wfkit.journal.views import Connection
from wfkit.replay.explain import error_text


def runs(connection: Connection, request: ListRuns) -> RunList:
    wanted = parse(request.filter, _now())
    descending = request.sort in ("started", "updated")
    end = request.offset + request.limit
    found = views.list_runs(connection, wanted, sort=request.sort, descending=descending, limit=end + 1)
    found, more = found[request.offset : end], len(found) > end
    return RunList([_listed(run) for run in found], more)


def groups(connection: Connection, request: GroupRuns) -> RunGroups:
    members: dict[str, list[RunState]] = defaultdict(list)
    wanted = parse(request.filter, _now())
    if request.by != "workflow":  # what has completed is in no group: it need not be read
        wanted = replace(wanted, statuses=(wanted.statuses or frozenset(STATUSES)) - {"completed"})
    for run in views.list_runs(connection, wanted):
        for key in _keys(run, request.by):
            members[key].append(run)
    found = [
        RunGroup(key, len(runs), dict(Counter(run.detail for run in runs)), _listed(max(runs, key=lambda run: run.updated)))
        for key, runs in members.items()
    ]
    return RunGroups(sorted(found, key=lambda group: (-group.count, group.key)))


def _keys(run: RunState, by: str) -> list[str]:
    if by == "workflow":
        return [run.workflow]
    steps = [pending for pending in run.open.values() if isinstance(pending, PendingStep)]
    if by == "step":
        return sorted({step.command.name for step in steps})
    failures = [run.error, run.blocked.cause if run.blocked is not None else None, *(step.error for step in steps)]
    return sorted({error_text(failure).split("\n")[0] for failure in failures if failure is not None})


def found(connection: Connection, request: FindRun) -> RunFound:
    return RunFound(_listed(views.get_run(connection, request.run)))


def page(connection: Connection, request: GetRun) -> RunPage:
    run = views.get_run(connection, request.run, request.generation)
    records = views.history(connection, run.run)
    return RunPage(run, records, views.children(connection, run.run), _result(connection, run))


def history(connection: Connection, request: GetHistory) -> RunHistory:
    run = views.get_run(connection, request.run, request.generation)
    return RunHistory(run, views.history(connection, run.run)[request.after :])


def family(connection: Connection, request: GetFamily) -> RunFamily:
    run = top = views.get_run(connection, request.run)
    while top.parent is not None and not (above := views.get_run(connection, top.parent.id)).finished:
        top = above
    children = {}
    for pending in run.open.values():
        if isinstance(pending, PendingChild):
            with contextlib.suppress(UnknownRun):
                children[pending.id] = views.get_run(connection, pending.id)
    return RunFamily(run, views.history(connection, run.run), children, top)


def tree(connection: Connection, request: GetTree) -> RunTree:
    return _tree(connection, views.get_run(connection, request.run))


def _tree(connection: Connection, run: RunState) -> RunTree:
    return RunTree(run, [_tree(connection, child) for child in views.children(connection, run.run)])


def result(connection: Connection, request: GetResult) -> RunResult:
    run = views.get_run(connection, request.run, request.generation)
    return RunResult(run, _result(connection, run))


def _result(connection: Connection, run: RunState) -> Json:
    value = views.result(connection, run.run) if run.status == "completed" else None
    return UNSET if value is None else value


def signals(connection: Connection, request: ListSignals) -> SignalList:
    arrived = connection.execute(
        "SELECT pos, run, t, body FROM entries WHERE kind IN (?, ?) AND contains(decode(body), ?) ORDER BY pos DESC",
        [KINDS[SignalReceived], KINDS[SignalPublished], request.name],
    )
    seen: list[tuple[int, SignalSeen]] = []
    while len(seen) < request.limit and (rows := arrived.fetchmany(request.limit)):
        seen += [
            (run, signal) for pos, run, t, body in rows if (signal := _seen(pos, t, body)).name == (request.name or signal.name)
        ]
    ids = _ids(connection, {run for run, _ in seen})
    awaited = [wait for run in unfinished(connection) for wait in _waits(run) if wait.name == (request.name or wait.name)]
    return SignalList(
        [msgspec.structs.replace(signal, run=ids.get(run)) for run, signal in seen[: request.limit]],
        sorted(awaited, key=lambda wait: wait.since),
    )


def _seen(pos: int, t: int, body: bytes) -> SignalSeen:
    entry = outline(body).entry
    assert isinstance(entry, SignalReceived | SignalPublished)
    if isinstance(entry, SignalPublished):
        return SignalSeen(pos, t, entry.name, entry.payload, None, True, entry.receivers, entry.dedupe)
    return SignalSeen(pos, t, entry.name, entry.payload, None, entry.published, None, entry.dedupe)


def _waits(run: RunState) -> Iterator[SignalAwaited]:
    for pending in run.open.values():
        if isinstance(pending, PendingWait):
            yield SignalAwaited(pending.name, run.id, run.workflow, pending.since, pending.subscription, pending.where)


def _ids(connection: Connection, runs: set[int]) -> dict[int, str]:
    rows = connection.execute(
        "SELECT run, decode(body)::JSON ->> '$.entry.id', decode(body)::JSON ->> '$.record.entry.id' FROM entries "
        "WHERE seq = 1 AND run <> ? AND run IN (SELECT unnest(?::BIGINT[]))",
        [BUS, list(runs)],
    ).fetchall()
    return {run: id or framed for run, id, framed in rows}


def timers(connection: Connection, request: ListTimers) -> TimerList:
    dues = sorted((timer for run in unfinished(connection) for timer in _timers(run)), key=lambda timer: timer.due)
    return TimerList(dues[: request.limit], len(dues) > request.limit)


def _timers(run: RunState) -> Iterator[Timer]:
    for pending in run.open.values():
        if isinstance(pending, PendingTimer):
            length = display(pending.due - pending.since)
            yield Timer(pending.due, run.id, run.workflow, "timer", length, pending.since)
        elif isinstance(pending, PendingStep) and pending.due is not None:
            yield Timer(pending.due, run.id, run.workflow, "retry", pending.command.name, pending.since)
    if run.deadline is not None and not run.cancelling:
        yield Timer(run.deadline, run.id, run.workflow, "timeout", "", run.started)


def unfinished(connection: Connection) -> list[RunState]:
    """Return the runs that have not ended."""
    return views.list_runs(connection, RunFilter(UNFINISHED))


def store(connection: Connection, path: Path) -> StoreFacts:
    """Return what there is to say about a journal file as a whole."""
    info = views.store_info(connection, path)
    return StoreFacts(
        path=str(path.absolute()),
        file_bytes=info.file_bytes,
        log_bytes=info.log_bytes,
        records=info.rows,
        runs={str(status): count for status, count in info.runs.items()},
        format=info.format,
        wfkit=info.wfkit,
        epoch=info.epoch,
    )


def events(connection: Connection, after: int, limit: int, known: Callable[[int], str | None]) -> list[FeedEvent]:
    """Return the records after a position, in the order of the journal.

    Args:
        connection: to a journal.
        after: a position; 0 is before the first.
        limit: how many records at most.
        known: the id of a run by its number, of those that are in memory.
    """
    rows = connection.execute(
        "SELECT pos, run, seq, body FROM entries WHERE pos > ? ORDER BY pos LIMIT ?", [after, limit]
    ).fetchall()
    ids = {run: known(run) for run in {run for _, run, _, _ in rows} - {BUS}}
    ids |= _ids(connection, {run for run, id in ids.items() if id is None})
    found = []
    for pos, run, seq, body in rows:
        record = outline(body)
        found.append(FeedEvent(pos, run, ids.get(run), seq, record.entry, record.commands))
    return found


def _listed(run: RunState) -> RunState:
    """Leave out the one member that may be large, and that only the engine has a use for."""
    return msgspec.structs.replace(run, dedupe=None)


def _now() -> int:
    return time.time_ns() // 1000


READS: dict[type[Request[Any]], Callable[[Connection, Any], Any]] = {
    ListRuns: runs,
    GroupRuns: groups,
    FindRun: found,
    GetRun: page,
    GetHistory: history,
    GetFamily: family,
    GetTree: tree,
    GetResult: result,
    ListSignals: signals,
    ListTimers: timers,
}
