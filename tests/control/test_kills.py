"""Many clients signal an engine that is killed again and again: what was acknowledged is in the journal, once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import Raw

from wfkit.control.client import AsyncEngineClient
from wfkit.control.files import answer
from wfkit.control.messages import AwaitEnd, GetEngine, GetHistory, SendSignal, StartRun
from wfkit.core.entries import SignalReceived
from wfkit.errors import EngineClosed, EngineUnreachable

ROOT = Path(__file__).parents[2]
APP = Path(__file__).with_name("app.py")
UP_SECONDS_MAX = 30.0


class Worker:
    """`wfkit serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / ".wfkit" / "journal.duckdb"
        self.client = AsyncEngineClient(folder / ".wfkit" / "engine.sock")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "wfkit", "serve", str(APP)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT), "WFKIT_STORE": str(self.store)},
            )
        async with asyncio.timeout(UP_SECONDS_MAX):
            while True:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                with contextlib.suppress(EngineUnreachable):
                    await self.client.ask(GetEngine())
                    return
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)


async def send_all(worker: Worker, run: str, values: Sequence[int], acknowledged: list[str]) -> None:
    """Send numbered facts to a run, each until it is acknowledged."""
    for value in values:
        dedupe = f"{run}:{value}"
        request = SendSignal(run=run, signal="fact", payload=Raw(b"%d" % value), dedupe=dedupe)
        while True:
            try:
                await worker.client.ask(request)
            except (EngineUnreachable, EngineClosed):
                await asyncio.sleep(0.05)
            else:
                acknowledged.append(dedupe)
                break


async def story(folder: Path, *, clients: int, each: int, kills: int) -> None:
    worker = Worker(folder)
    runs = [f"run-{number}" for number in range(clients)]
    values = range(each)
    acknowledged: list[str] = []
    await worker.start()
    try:
        for run in runs:
            await worker.client.ask(StartRun(workflow="add_up", input=Raw(b"%d" % each), id=run))
        sending = asyncio.gather(*(send_all(worker, run, values, acknowledged) for run in runs))
        chance = random.Random(7)
        for number in range(kills):
            while len(acknowledged) < (number + chance.random()) * clients * each / kills:
                await asyncio.sleep(0.002)
            worker.kill()
            await worker.start()
        await sending
        for run in runs:
            end = await worker.client.ask(AwaitEnd(run=run))
            assert (end.status, end.value and bytes(end.value)) == ("completed", b"%d" % sum(values))
    finally:
        status = worker.stop()
    assert status == 0
    kept: Counter[str | None] = Counter()
    for run in runs:
        records = answer(worker.store, GetHistory(run=run)).records
        kept.update(record.entry.dedupe for record in records if isinstance(record.entry, SignalReceived))
    assert set(kept) == set(acknowledged)
    assert set(kept.values()) == {1}
    assert len(acknowledged) == clients * each


def test_acknowledged_signals_are_in_the_journal_exactly_once(tmp_path: Path) -> None:
    """A thousand of them, and two kills."""
    asyncio.run(story(tmp_path, clients=20, each=50, kills=2))


@pytest.mark.torture
def test_ten_thousand_signals_by_fifty_clients_outlive_five_kills(tmp_path: Path) -> None:
    """Each acknowledged one is there, once, and was taken once by its run."""
    asyncio.run(story(tmp_path, clients=50, each=200, kills=5))
