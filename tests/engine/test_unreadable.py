"""A journal that cannot be read in one place, and runs that are tried again and again in vain."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Workflow, workflow
from wfkit.api.primitives import sleep
from wfkit.api.signals import Signal, send, wait_signal
from wfkit.core.entries import Blocked
from wfkit.engine.engine import Engine
from wfkit.errors import JournalCorrupt
from wfkit.journal.memory import MemoryJournal
from wfkit.journal.port import Row, RunRow

go = Signal("go", int)


@workflow
async def take() -> int:
    return await wait_signal(go)


@workflow
async def send_on() -> str:
    await sleep("5s")
    send("cold", go, 7)
    return "sent"


def test_a_history_that_cannot_be_read_blocks_its_run_and_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The signal that woke it is kept for the opening that can read; others go on."""
    history = MemoryJournal.history

    async def damaged(journal: MemoryJournal, run: int, after: int = 0) -> list[Row]:
        if run == 1:
            raise JournalCorrupt("a block of the file is damaged")
        return await history(journal, run, after)

    async def first(engine: Engine) -> None:
        for id in ("one", "two"):
            await engine.start(take, id=id)

    async def second(engine: Engine) -> str:
        for id in ("one", "two"):
            await engine.get(take, id).send(go, 7)
        assert await engine.get(take, "two").result() == 7
        await asyncio.sleep(5)
        return await engine.get(take, "one").status()

    world.crash(first, take)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryJournal, "history", damaged)
        assert world.live(second, take) == "blocked"
    entry = next(record.entry for record in world.history("one") if isinstance(record.entry, Blocked))
    assert (entry.code, entry.cause.message) == (JournalCorrupt.code, "a block of the file is damaged")
    assert "run one is blocked" in caplog.text
    assert world.live(lambda engine: engine.get(take, "one").result(), take) == 7
    check_journal(world.disk.rows, take)


def test_a_receiver_that_cannot_be_read_holds_its_sender_up_until_it_can(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the sender asked for is neither dropped nor done twice."""
    find, failures = MemoryJournal.find, 0

    async def damaged(journal: MemoryJournal, id: str) -> RunRow | None:
        nonlocal failures
        if id == "cold" and failures < 3:
            failures += 1
            raise JournalCorrupt("a block of the file is damaged")
        return await find(journal, id)

    async def story(engine: Engine) -> list[Any]:
        await engine.start(take, id="cold")
        await until(lambda: engine._runs.named("cold") is None)
        monkeypatch.setattr(MemoryJournal, "find", damaged)
        sender = await engine.start(send_on, id="sender")
        results = [await sender.result()]
        assert failures == 3
        return [*results, await engine.get(take, "cold").result()]

    with caplog.at_level(logging.WARNING, "wfkit.engine"):
        assert world.live(story, take, send_on, warm_max=0, hot_max=1) == ["sent", 7]
    assert caplog.text.count("the journal is read again") == 3
    check_journal(world.disk.rows, take, send_on)


def bad(kind: type[Exception]) -> Workflow[[], int]:
    @workflow(name="main")
    async def main() -> int:
        await wait_signal(go)
        raise kind("not as it should be")

    return main


def test_a_run_that_is_tried_again_in_vain_is_told_to_be_blocked_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It blocks in an activation, at each opening for the same cause; another cause is told, and so is that it goes on."""

    @workflow(name="main")
    async def mended() -> int:
        return await wait_signal(go)

    async def first(engine: Engine) -> None:
        await engine.start(bad(NameError), id="one")
        await engine.get(mended, "one").send(go, 7)
        await asyncio.sleep(5)

    def times_told() -> int:
        return sum("is blocked" in record.message for record in caplog.records)

    world.live(first, bad(NameError))
    assert times_told() == 1
    for _ in range(7):
        world.live(lambda _engine: asyncio.sleep(5), bad(NameError))
    assert times_told() == 1
    world.live(lambda _engine: asyncio.sleep(5), bad(AttributeError))
    assert times_told() == 2
    # None of these openings is taken for a death of the process, so the mended code is tried at the next one.
    codes = {record.entry.code for record in world.history("one") if isinstance(record.entry, Blocked)}
    assert codes == {"WF029"}
    assert world.live(lambda engine: engine.get(mended, "one").result(), mended) == 7
    check_journal(world.disk.rows, mended)


class Dies(KeyboardInterrupt):
    """Stands for the death of the process in the middle of an activation."""


def test_mended_code_goes_on_after_two_rounds_of_deaths(world: World) -> None:
    """A run that killed the process ten times is tried again all the same."""
    deadly = True

    @workflow
    async def main() -> str:
        await sleep("10s")
        if deadly:
            raise Dies
        return "survived"

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")

    async def life(engine: Engine) -> str:
        await asyncio.sleep(30)
        return await engine.get(main, "one").status()

    world.crash(first, main)
    for _ in range(14):
        with contextlib.suppress(Dies):
            world.crash(life, main)
    deadly = False
    assert world.live(life, main) == "completed"
