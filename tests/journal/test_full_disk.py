"""A full disk stops the journal, loses nothing, and lets it go on by itself when there is room."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import duckdb
import pytest

from wfkit.errors import JournalFull, WfkitError
from wfkit.journal.duckdb import DuckDBJournal, open_journal
from wfkit.testing.journal_contract import row, run_row, write

BODY = b"x" * 2000


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """Leave so little room on the disk, and return the file that takes the rest."""
    filler = disk / "filler"
    space = os.statvfs(disk)
    with contextlib.suppress(OSError):
        filler.write_bytes(b"\0" * (space.f_bavail * space.f_frsize - leave_bytes))
    return filler


class Watched:
    """What a journal told its watcher, and which units it reported."""

    def __init__(self, journal: DuckDBJournal) -> None:
        self.journal = journal
        self.told: list[WfkitError | None] = []
        self.reported: list[int] = []
        self.changed = asyncio.Event()
        self._appended = 0
        journal.watch(self._tell)

    def append(self, count: int) -> None:
        for _ in range(count):
            self._appended += 1
            number = self._appended
            self.journal.append([row(1, number, BODY), row(2, number, BODY)], lambda number=number: self._report(number))  # type: ignore[misc]  # a bound default

    async def until_told(self, error: type[WfkitError] | None) -> None:
        def is_told() -> bool:
            return bool(self.told) and (isinstance(self.told[-1], error) if error is not None else self.told[-1] is None)

        while not is_told():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)

    async def until_reported(self) -> None:
        while len(self.reported) < self._appended:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 30)

    def _tell(self, error: WfkitError | None) -> None:
        self.told.append(error)
        self.changed.set()

    def _report(self, number: int) -> None:
        self.reported.append(number)
        self.changed.set()


async def seqs(path: Path) -> tuple[list[int], list[int]]:
    journal = await open_journal(path)
    found = [[found.seq for found in await journal.history(run)] for run in (1, 2)]
    await journal.close()
    return found[0], found[1]


def test_units_wait_in_order_until_there_is_room(small_disk: Path) -> None:
    """Watchers hear `JournalFull`, nothing is reported meanwhile, and then everything is, once and in order."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> int:
        journal = await open_journal(path)
        watched = Watched(journal)
        watched.append(20)
        await watched.until_reported()
        filler = fill(small_disk)
        watched.append(500)
        await watched.until_told(JournalFull)
        before = len(watched.reported)
        watched.append(10)
        assert await journal.read(_read_run) == list(range(1, before + 1))
        assert len(watched.reported) == before
        filler.unlink()
        await watched.until_told(None)
        await watched.until_reported()
        await journal.close()
        assert [type(error) for error in watched.told] == [JournalFull, type(None)]
        assert watched.reported == list(range(1, 531))
        return before

    before = asyncio.run(scenario())
    assert 20 <= before < 520
    expected = list(range(1, 531))
    assert asyncio.run(seqs(path)) == (expected, expected)


def test_a_journal_that_is_closed_while_the_disk_is_full_says_so(small_disk: Path) -> None:
    """`close` ends, raises `JournalFull`, and what was acknowledged is there at the next opening."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> int:
        journal = await open_journal(path)
        watched = Watched(journal)
        watched.append(20)
        await watched.until_reported()
        filler = fill(small_disk)
        watched.append(500)
        await watched.until_told(JournalFull)
        waiting = asyncio.ensure_future(journal.history(1))
        await asyncio.sleep(0)
        with pytest.raises(JournalFull):
            await journal.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        filler.unlink()
        return len(watched.reported)

    reported = asyncio.run(scenario())
    first, second = asyncio.run(seqs(path))
    assert first == second == list(range(1, reported + 1))


def test_a_projection_does_not_wait_for_room(small_disk: Path) -> None:
    """Commits that fail before it or while it waits fail it as well, at once; it succeeds when there is room."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        watched = Watched(journal)
        filler = fill(small_disk)
        watched.append(500)
        with pytest.raises(JournalFull):
            await journal.project([run_row(1, "a")])
        await watched.until_told(JournalFull)
        with pytest.raises(JournalFull):
            await journal.project([run_row(1, "a")])
        filler.unlink()
        await watched.until_reported()
        await journal.project([run_row(1, "a")])
        assert await journal.find("a") == run_row(1, "a")
        assert await journal.since_projection() == []
        await journal.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_journal_whose_projection_has_no_room_can_be_closed(small_disk: Path) -> None:
    """It raises `JournalFull` without a commit that failed; closing succeeds, since all that was appended is durable."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        watched = Watched(journal)
        watched.append(20)
        await watched.until_reported()
        fill(small_disk)
        with pytest.raises(JournalFull):
            await journal.project([run_row(run, "a" * 2000) for run in range(1, 2000)])
        await journal.close()
        assert watched.told == []

    asyncio.run(asyncio.wait_for(scenario(), 30))
    (small_disk / "filler").unlink()
    assert asyncio.run(seqs(path)) == (list(range(1, 21)), list(range(1, 21)))


def test_a_fatal_checkpoint_is_survived(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A commit whose checkpoint fails has reached the disk: it is found there after a reopen, and not written again."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> list[int]:
        journal = await open_journal(path, checkpoint_bytes=400_000)
        watched = Watched(journal)
        watched.append(20)
        await watched.until_reported()
        filler = fill(small_disk, leave_bytes=500_000)
        with caplog.at_level(logging.WARNING, "wfkit.journal"):
            while not any("opened again" in message for message in caplog.messages):
                watched.append(5)
                await watched.until_reported()
            watched.append(20)
            await asyncio.sleep(0)
        filler.unlink()
        await watched.until_reported()
        assert [found.seq for found in await journal.history(2)] == watched.reported
        await write(journal, row(3, 1))
        await journal.close()
        return watched.reported

    reported = asyncio.run(scenario())
    assert reported == list(range(1, len(reported) + 1))
    assert asyncio.run(seqs(path)) == (reported, reported)


def test_a_journal_that_cannot_be_created_for_want_of_room_says_so(small_disk: Path) -> None:
    """And it is created without complaint when there is room."""
    path = small_disk / "journal.duckdb"
    filler = fill(small_disk, leave_bytes=50_000)
    with pytest.raises(JournalFull, match="no space left"):
        asyncio.run(seqs(path))
    filler.unlink()
    assert asyncio.run(seqs(path)) == ([], [])


def test_a_journal_that_cannot_be_opened_for_want_of_room_says_so(small_disk: Path) -> None:
    """Opening takes an epoch, which is a commit: `JournalFull`, and nothing is lost."""
    path = small_disk / "journal.duckdb"

    async def some() -> None:
        journal = await open_journal(path)
        await write(journal, row(1, 1), row(2, 1))
        await journal.close()

    asyncio.run(some())
    filler = fill(small_disk)
    with pytest.raises(JournalFull):
        asyncio.run(seqs(path))
    filler.unlink()
    assert asyncio.run(seqs(path)) == ([1], [1])


def test_a_backup_without_room_fails_alone(small_disk: Path, tmp_path: Path) -> None:
    """The journal goes on; nothing half-made stays behind."""
    path = small_disk / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        watched = Watched(journal)
        watched.append(20)
        await watched.until_reported()
        filler = fill(small_disk, leave_bytes=100_000)
        with pytest.raises(JournalFull):
            await journal.backup(tmp_path / "copy.duckdb")
        watched.append(5)
        await watched.until_reported()
        filler.unlink()
        await journal.backup(tmp_path / "copy.duckdb")
        await journal.close()

    asyncio.run(scenario())
    assert sorted(file.name for file in small_disk.iterdir()) == ["journal.duckdb", "journal.duckdb.lock"]
    assert len(asyncio.run(seqs(tmp_path / "copy.duckdb"))[0]) in (20, 25)


def _read_run(connection: duckdb.DuckDBPyConnection) -> list[int]:
    return [seq for (seq,) in connection.execute("SELECT seq FROM entries WHERE run = 1 ORDER BY seq").fetchall()]
