"""`wfkit.connect()`: the public client, on an engine behind a socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import wfkit
from tests.control.app import Order, add_up, fact, nap, pay, progress, refuse
from tests.control.conftest import served
from wfkit.errors import DuplicateRun, EngineUnreachable, RunCancelled, RunEnded, RunFailed, UnknownRun


def test_a_connected_client_does_what_an_engine_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start, send, state, result, history, cancel, and the list of runs; with the types of the workflow."""
    monkeypatch.chdir(tmp_path)

    async def story() -> None:
        async with served(tmp_path) as at:
            client = await wfkit.connect()
            run = await client.start(pay, Order("7", 9), id="pay-7")
            assert await run.result() == "charged 9"
            assert await run.state(progress) == 1
            assert await run.history() == await at.engine.get(pay, "pay-7").history()
            total = await client.start(add_up, 2, send=(fact, 40))
            await total.send(fact, 2, dedupe="second")
            await total.send(fact, 2, dedupe="second")
            assert await total.result() == 42
            assert await total.status() == "completed"
            again = await client.start(nap, "1 day", id="nap-1")
            await again.cancel("enough")
            with pytest.raises(RunCancelled):
                await again.result()
            assert {found.id for found in await client.runs()} >= {"pay-7", "nap-1"}
            await client.publish("ordered", Order("9", 1))
            while not await client.runs("wf:ordered status:completed"):
                await asyncio.sleep(0.01)

    asyncio.run(story())


def test_a_connected_client_raises_what_an_engine_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception of the workflow too."""
    monkeypatch.setenv("WFKIT_ENGINE", str(tmp_path))

    async def story() -> None:
        async with served(tmp_path):
            client = await wfkit.connect()
            run = await client.start(refuse, "because", id="one")
            with pytest.raises(RunFailed) as failed:
                await run.result()
            assert repr(failed.value.error) == "ValueError('because')"
            with pytest.raises(RunEnded):
                await run.send(fact, 1)
            with pytest.raises(DuplicateRun):
                await client.start(refuse, "otherwise", id="one")
            with pytest.raises(UnknownRun):
                await client.get(pay, "nobody").status()
        with pytest.raises(EngineUnreachable):
            await run.status()
        with pytest.raises(EngineUnreachable, match="no engine runs"):
            await wfkit.connect()

    asyncio.run(story())


def test_many_ask_at_the_same_time(tmp_path: Path) -> None:
    """Each on a connection of its own."""

    async def story() -> None:
        async with served(tmp_path) as at:
            run = await at.engine.start(add_up, 200, id="sum")
            client = await wfkit.connect()
            other = client.get(add_up, "sum")
            await asyncio.gather(*(other.send(fact, number) for number in range(200)))
            assert await run.result() == sum(range(200))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        asyncio.run(story())
