"""`Engine.open`: an engine for a program, which other commands reach for as long as it is open."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.engine.apps import load_app
from wfkit.engine.client import Client
from wfkit.engine.engine import HOT_MAX, running
from wfkit.engine.executor import STEPS_MAX
from wfkit.engine.requests import LocalRequests
from wfkit.errors import DefinitionError, WfkitError

if TYPE_CHECKING:
    from wfkit.journal.duckdb import DuckDBJournal

log = logging.getLogger("wfkit.control")

QUIET_SECONDS = 0.3
"""What is open no longer than this needs no socket: loading a server takes about as long."""


class Engine(Client):
    """Runs workflows on a journal file. Use `Engine.open`."""

    @staticmethod
    def open(
        path: str = ".wfkit/journal.duckdb",
        *,
        app: str | None = None,
        workflows: Sequence[Workflow[..., Any]] = (),
        control: bool = True,
        steps_max: int = STEPS_MAX,
        runs_in_memory: int = HOT_MAX,
    ) -> AbstractAsyncContextManager[Engine]:
        """Open an engine on a journal file: `async with Engine.open(app="shop.workflows") as engine:`.

        Every unfinished run goes on from where it was.

        Args:
            path: the journal; made if it is not there.
            app: a module or file whose workflows to run.
            workflows: workflows to run, with the steps and children that they name; instead of `app`.
            control: whether commands and screens reach the engine, over a socket beside the journal that only this user may
                open. It is there 0.3 s after the opening. If it cannot be made, a warning is logged, and the engine runs.
            steps_max: steps that run at the same time.
            runs_in_memory: runs that keep their code in memory, about 4 kB each.

        Raises:
            JournalLocked: another process holds the journal.
            JournalCorrupt, JournalTooNew, JournalFull: the file cannot be used; nothing was changed.
            AppError: the app does not import, or defines no workflow.
            DuplicateName: two definitions share a name.
        """
        return _open(path, app, workflows, control, steps_max, runs_in_memory)


@asynccontextmanager
async def _open(
    path: str, app: str | None, workflows: Sequence[Workflow[..., Any]], control: bool, steps_max: int, hot_max: int
) -> AsyncIterator[Engine]:
    if (app is None) == (not workflows):
        raise DefinitionError("an engine needs app= or workflows=, and not both")
    registry = Registry(workflows) if app is None else load_app(app)
    from wfkit.journal.duckdb import open_journal  # DuckDB takes long, and not all who name `Engine` open one

    journal = await open_journal(path)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(
            running(journal, registry, steps_max=steps_max, hot_max=hot_max, warm_max=2 * hot_max)
        )
        engine.warn_of_undefined()
        if control:
            await stack.enter_async_context(reachable(engine.requests, journal, registry, app=app or Path(sys.argv[0]).name))
        yield Engine(engine.requests)


@asynccontextmanager
async def reachable(requests: LocalRequests, journal: DuckDBJournal, registry: Registry, *, app: str) -> AsyncIterator[None]:
    """Serve an engine in the background, once this has lasted a while; if that fails, log a warning.

    Args:
        requests: the engine's.
        journal: the engine's.
        registry: the engine's code.
        app: where the code is from, for people.
    """
    stop = asyncio.Event()
    serve = asyncio.ensure_future(_serve(requests, journal, registry, app, stop))
    try:
        yield
    finally:
        stop.set()
        await serve


async def _serve(requests: LocalRequests, journal: DuckDBJournal, registry: Registry, app: str, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await stop.wait()
    except TimeoutError:
        pass
    else:
        return
    try:
        await asyncio.to_thread(_load_server)
        from wfkit.control.logs import own_logs
        from wfkit.control.server import serving

        with own_logs() as logs:
            async with serving(requests, journal, registry, logs, app=app):
                await stop.wait()
    except WfkitError as error:
        log.warning("other commands cannot reach this engine: [%s] %s\n  help  %s", error.code, error, error.help)
    except Exception:  # whatever it is, the runs go on
        log.exception("other commands cannot reach this engine")


def _load_server() -> None:
    """Import what takes long, in a thread beside the runs that go on."""
    import wfkit.control.server  # noqa: F401
