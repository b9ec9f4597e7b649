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
from contextlib import AsyncExitStack
from functools import partial

import duckdb
from msgspec import Raw

from wfkit.api.registry import Registry
from wfkit.control import reads
from wfkit.control.logs import KeptLogs, all_logs
from wfkit.control.server import serving
from wfkit.core.state import PendingStep, RunState
from wfkit.dev.channel import (
    GiveHistories,
    Histories,
    History,
    Inject,
    Load,
    Loaded,
    Note,
    Open,
    Serving,
    Stop,
    Supervisor,
    begin_child,
    refusal,
)
from wfkit.dev.faults import Faults, ForwardClock, HoldingRunner, held, stamp_logs
from wfkit.engine.apps import load_app
from wfkit.engine.engine import Engine, running
from wfkit.engine.recovery import KILLED
from wfkit.engine.runner import HostRunner
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
    clock = ForwardClock(order.chaos.ahead) if order.chaos.jumps else None
    if clock is not None:
        stamp_logs(clock)
    runner = HoldingRunner(HostRunner(asyncio.get_running_loop()), partial(held, supervisor))
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running(journal, registry, killed=order.killed, clock=clock, runner=runner))
        faults = Faults(supervisor, engine.requests, journal, clock, runner, order.chaos, killed=order.killed)
        path = await stack.enter_async_context(serving(engine.requests, journal, registry, logs, app=app, chaos=faults))
        supervisor.report(Serving(str(path), journal.notice, *_taken_up(engine)))
        blocking = asyncio.ensure_future(_block(engine, order.diverged))
        orders = supervisor.orders()
        while not isinstance(given := await orders.get(), Stop):
            match given:
                case GiveHistories():
                    supervisor.report(Histories(given.number, (), more=True))  # a sign of life, however long reading takes
                    await journal.read_apart(_give, supervisor, given.number)
                case Inject():
                    faults.inject(given.strike)
                case Note():
                    faults.note(given.chaos)
        blocking.cancel()


def _taken_up(engine: Engine) -> tuple[int, int]:
    """Return how many runs have not ended, and how many of their steps run again since the worker was killed."""
    unfinished = [state for state in engine.states if not state.finished]
    steps = [step for state in unfinished for step in state.open.values() if isinstance(step, PendingStep)]
    return len(unfinished), sum(step.error is not None and step.error.type == KILLED for step in steps)


async def _block(engine: Engine, diverged: Sequence[str]) -> None:
    """Replay the runs that are known to diverge, which blocks them; some at a time, since each reads its history."""
    for start in range(0, len(diverged), _REPLAYS_MAX):
        await asyncio.gather(*map(engine.replay_now, diverged[start : start + _REPLAYS_MAX]))


def _log_to_stderr(told: Sequence[str]) -> None:
    """Show what is logged, except that the runs are blocked of which the supervisor tells."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name != "wfkit.engine" or getattr(record, "run_id", None) not in told)
    handler.addFilter(lambda record: record.name != "wfkit.chaos")  # the supervisor tells of that, whatever becomes of us
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
