"""An engine that cannot answer, since workflow code computes: whoever waits is told what it does."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.control.conftest import SECONDS_MAX
from wfkit.api.definitions import workflow
from wfkit.api.registry import Registry
from wfkit.control import client
from wfkit.control.client import AsyncEngineClient, EngineClient
from wfkit.control.logs import own_logs
from wfkit.control.messages import GetEngine
from wfkit.control.server import serving
from wfkit.control.silence import FILE, Computing, note_computing, why_silent
from wfkit.engine import watchdog
from wfkit.engine.engine import running
from wfkit.errors import EngineUnreachable
from wfkit.journal.duckdb import open_journal

seen = threading.Event()


@workflow
async def compute() -> None:
    while not seen.is_set():
        pass


def test_what_an_engine_computes_is_told_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line, by a file beside the socket, which is taken away."""
    monkeypatch.setattr(watchdog, "ACTIVATION_SECONDS_MAX", 0.1)
    told: list[str] = []
    seen.clear()

    def look(path: Path) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while not (found := why_silent(path)) and time.monotonic() < deadline:
            time.sleep(0.01)
        told.append(found)
        seen.set()

    async def story() -> None:
        journal = await open_journal(tmp_path / ".wfkit" / "journal.duckdb")
        registry = Registry([compute])
        with own_logs() as logs:
            async with (
                running(journal, registry) as engine,
                serving(engine.requests, journal, registry, logs, app="app.py") as path,
            ):
                looking = threading.Thread(target=look, args=[path])
                looking.start()
                run = await engine.start(compute, id="busy")
                await run.result()
                await asyncio.to_thread(looking.join)
                while why_silent(path):
                    await asyncio.sleep(0.01)
        assert not path.with_name(FILE).exists()

    asyncio.run(story())
    assert told[0].startswith("run busy has been computing for ")
    assert " at " in told[0]
    assert told[0].endswith(" in compute")


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of an engine that never answers."""
    monkeypatch.setattr(client, "SILENT_SECONDS", 0.02)
    monkeypatch.setattr(client, "KNOWN_SECONDS", 0.02)
    monkeypatch.setattr(client, "SECONDS_MAX", 0.2)
    path = tmp_path / "engine.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def test_whoever_waits_is_told_why(silent: Path) -> None:
    """Once, and again when it is waited for no longer."""
    note_computing(silent, Computing("order-7", "app.py:130 in order", time.time_ns() // 1000 - 42_000_000))
    told: list[str] = []
    with pytest.raises(EngineUnreachable, match=r"run order-7 has been computing for 42s, at app.py:130 in order") as refused:
        EngineClient(silent, silent=told.append).ask(GetEngine())
    assert told == ["run order-7 has been computing for 42s, at app.py:130 in order"]
    assert "wfkit dev takes it at the next save" in refused.value.help


def test_where_nothing_is_known_only_the_silence_is_told(silent: Path) -> None:
    """As of code that never returns to Python."""
    told: list[str] = []
    with pytest.raises(EngineUnreachable, match=r"has not answered for 0.2 s$"):
        EngineClient(silent, silent=told.append).ask(GetEngine())
    assert told == [""]


def test_an_event_loop_does_not_wait_for_ever_either(silent: Path) -> None:
    """Be it for an answer or for what happens next."""

    async def story() -> None:
        asking = AsyncEngineClient(silent)
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(EngineUnreachable, match=r"has not answered for 0.2 s$"):
                await asking.ask(GetEngine())
            with pytest.raises(EngineUnreachable, match=r"has not answered for 0.2 s$"):
                await anext(asking.feed())

    asyncio.run(story())
