"""The process that runs the user's code: engine, journal and control socket, as `wfkit serve` has them.

It is started long before it is needed, since importing all this takes longer than importing most apps: what is left to do
when a file was saved is to load the app and open the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence

import duckdb
from msgspec import Raw

from wfkit.api.registry import Registry
from wfkit.control import reads
from wfkit.control.logs import KeptLogs, all_logs
from wfkit.control.server import serving
from wfkit.core.state import RunState
from wfkit.dev.channel import (
    GiveHistories,
    Histories,
    History,
    Load,
    Loaded,
    Open,
    Serving,
    Supervisor,
    begin_child,
    refusal,
)
from wfkit.engine.apps import load_app
from wfkit.engine.engine import Engine, running
from wfkit.errors import WfkitError
from wfkit.journal.duckdb import open_journal
from wfkit.journal.views import open_file

HISTORIES_MAX = 200
"""So many are told in one message."""
_REPLAYS_MAX = 100


def main() -> None:
    """Follow orders until told to stop."""
    supervisor, app = begin_child()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="replace")
    registry = Registry([])
    while True:
        match supervisor.order():
            case Load():
                try:
                    registry = load_app(app)
                    supervisor.report(Loaded(tuple(sorted(registry.workflows))))
                except WfkitError as error:
                    supervisor.report(refusal(error))
            case GiveHistories() as order:
                _give_of_file(supervisor, order)
            case Open() as order:
                try:
                    with all_logs() as logs:
                        asyncio.run(_serve(supervisor, app, registry, logs, order))
                except WfkitError as error:
                    supervisor.report(refusal(error))
                return
            case _:
                return


async def _serve(supervisor: Supervisor, app: str, registry: Registry, logs: KeptLogs, order: Open) -> None:
    _log_to_stderr(order.diverged)
    journal = await open_journal(order.store)
    async with running(journal, registry) as engine, serving(engine.requests, journal, registry, logs, app=app) as path:
        supervisor.report(Serving(str(path), journal.notice))
        blocking = asyncio.ensure_future(_block(engine, order.diverged))
        orders = supervisor.orders()
        while isinstance(given := await orders.get(), GiveHistories):
            supervisor.report(Histories(given.number, (), more=True))  # a sign of life, however long reading takes
            await journal.read_apart(_give, supervisor, given.number)
        blocking.cancel()


async def _block(engine: Engine, diverged: Sequence[str]) -> None:
    """Replay the runs that are known to diverge, which blocks them; some at a time, since each reads its history."""
    for start in range(0, len(diverged), _REPLAYS_MAX):
        await asyncio.gather(*map(engine.replay_now, diverged[start : start + _REPLAYS_MAX]))


def _log_to_stderr(told: Sequence[str]) -> None:
    """Show what is logged, except that the runs are blocked of which the supervisor tells."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name != "wfkit.engine" or getattr(record, "run_id", None) not in told)
    logging.getLogger().addHandler(handler)


# -- histories -----------------------------------------------------------------------------------------------------------


def _give_of_file(supervisor: Supervisor, order: GiveHistories) -> None:
    """Give what the file holds. If it cannot be read there is nothing to give; opening it tells why."""
    with contextlib.suppress(WfkitError), open_file(order.store) as connection:
        _give(connection, supervisor, order.number)
        return
    supervisor.report(Histories(order.number, (), more=False))


def _give(connection: duckdb.DuckDBPyConnection, supervisor: Supervisor, number: int) -> None:
    given: list[History] = []
    for history in _histories(connection, reads.unfinished(connection)):
        given.append(history)
        if len(given) == HISTORIES_MAX:
            supervisor.report(Histories(number, tuple(given), more=True))
            given.clear()
    supervisor.report(Histories(number, tuple(given), more=False))


def _histories(connection: duckdb.DuckDBPyConnection, runs: Sequence[RunState]) -> Iterator[History]:
    known = {run.run: run for run in runs}
    found = connection.execute(
        "SELECT run, list(body ORDER BY seq) FROM entries WHERE run IN (SELECT unnest(?::BIGINT[])) GROUP BY run", [list(known)]
    )
    while rows := found.fetchmany(HISTORIES_MAX):
        for run, bodies in rows:
            yield History(known[run].id, known[run].workflow, tuple(Raw(body) for body in bodies))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the user's code, or of its steps, do not hold up the next worker
