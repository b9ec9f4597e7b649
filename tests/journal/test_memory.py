"""The disk of the simulator: what it adds to the contract."""

import asyncio

import pytest

from wfkit.errors import InternalError, JournalFull, JournalLocked, WfkitError
from wfkit.journal.memory import MemoryDisk
from wfkit.testing.journal_contract import row, run_row


def test_units_that_are_not_flushed_are_lost_in_a_crash() -> None:
    """Also urgent ones: the loop has not come round to them."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = disk.open()
        reported: list[int] = []
        journal.append([row(1, 1)], lambda: reported.append(1))
        await asyncio.sleep(0)
        journal.append([row(1, 2)], lambda: reported.append(2))
        journal.append([row(1, 3)])
        disk.crash()
        await asyncio.sleep(0)
        assert reported == [1]
        assert disk.rows == [row(1, 1)]

    asyncio.run(scenario())


def test_a_crash_within_a_callback_silences_the_rest_of_the_group() -> None:
    """Their rows are durable, but the process that would have heard of it is dead."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = disk.open()
        reported: list[int] = []
        journal.append([row(1, 1)], disk.crash)
        journal.append([row(1, 2)], lambda: reported.append(2))
        await asyncio.sleep(0)
        assert reported == []
        assert disk.rows == [row(1, 1), row(1, 2)]

    asyncio.run(scenario())


def test_a_newer_opening_fences_the_older_one() -> None:
    """A zombie can neither append nor read, and what it had not flushed is lost."""

    async def scenario() -> None:
        disk = MemoryDisk()
        zombie = disk.open()
        zombie.append([row(1, 1)])
        journal = disk.open()
        with pytest.raises(JournalLocked, match="epoch 1"):
            zombie.append([row(1, 2)])
        with pytest.raises(JournalLocked):
            await zombie.history(1)
        assert await journal.history(1) == []
        await zombie.close()
        journal.append([row(1, 1)])
        assert await journal.history(1) == [row(1, 1)]

    asyncio.run(scenario())


def test_a_full_disk_holds_units_back_until_it_is_freed() -> None:
    """Watchers hear of both; the order stays."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = disk.open()
        told: list[type[WfkitError] | None] = []
        reported: list[int] = []
        journal.watch(lambda error: told.append(None if error is None else type(error)))
        disk.fill()
        for seq in (1, 2, 3):
            journal.append([row(1, seq)], lambda seq=seq: reported.append(seq))  # type: ignore[misc]  # a bound default
            await asyncio.sleep(0)
        assert (told, reported, disk.rows) == ([JournalFull], [], [])
        disk.free()
        await asyncio.sleep(0)
        assert (told, reported) == ([JournalFull, None], [1, 2, 3])
        assert disk.rows == [row(1, seq) for seq in (1, 2, 3)]

    asyncio.run(scenario())


def test_a_projection_does_not_wait_for_room() -> None:
    """With rows before it or without, it raises `JournalFull`, and succeeds when there is room."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = disk.open()
        disk.fill()
        with pytest.raises(JournalFull):
            await journal.project([run_row(1, "a")])
        journal.append([row(1, 1)])
        for _ in range(2):
            with pytest.raises(JournalFull):
                await journal.project([run_row(1, "a")])
        assert await journal.stored(1) is None
        disk.free()
        await journal.project([run_row(1, "a")])
        assert await journal.stored(1) == run_row(1, "a")
        assert await journal.since_projection() == []

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_journal_that_is_closed_while_the_disk_is_full_says_so() -> None:
    """What was not flushed is not there at the next opening, and closing again does nothing."""

    async def scenario() -> None:
        disk = MemoryDisk()
        journal = disk.open()
        journal.append([row(1, 1)], lambda: None)
        await journal.history(1)
        disk.fill()
        journal.append([row(1, 2)], lambda: None)
        with pytest.raises(JournalFull):
            await journal.close()
        await journal.close()
        assert await disk.open().history(1) == [row(1, 1)]

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_record_out_of_its_order_is_a_bug_of_the_engine() -> None:
    """Found at once, where it is appended."""

    async def scenario() -> None:
        journal = MemoryDisk().open()
        journal.append([row(1, 1)])
        for seq in (1, 3):
            with pytest.raises(InternalError, match=rf"record {seq} was appended after record 1"):
                journal.append([row(1, seq)])

    asyncio.run(scenario())
