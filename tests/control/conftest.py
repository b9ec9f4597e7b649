"""Engines that serve a real socket beside a real journal file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.control import app
from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.control.client import AsyncEngineClient
from wfkit.control.logs import all_logs
from wfkit.control.server import serving
from wfkit.engine.engine import Engine, running
from wfkit.journal.duckdb import open_journal

SECONDS_MAX = 30.0


class Served(NamedTuple):
    """An engine in this process, and a client of its socket."""

    engine: Engine
    client: AsyncEngineClient
    socket: Path
    journal: Path


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """Serve the app on a journal in `folder`."""
    path = folder / ".wfkit" / "journal.duckdb"
    journal = await open_journal(path)
    registry = Registry([one for one in vars(app).values() if isinstance(one, Workflow)])
    with all_logs() as logs:
        async with (
            running(journal, registry) as engine,
            serving(engine.requests, journal, registry, logs, app="app.py") as socket,
        ):
            yield Served(engine, AsyncEngineClient(socket), socket, path)


class Standing(NamedTuple):
    """An engine that serves in a thread of its own, for clients that block."""

    socket: Path
    journal: Path


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """An engine that serves for all tests of a module."""
    folder = tmp_path_factory.mktemp("standing")
    ready: list[Served] = []
    up, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with served(folder) as found:
            ready.append(found)
            up.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(SECONDS_MAX)
        yield Standing(ready[0].socket, ready[0].journal)
    finally:
        stop.set()
        thread.join(SECONDS_MAX)
