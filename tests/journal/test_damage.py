"""Damaged files: a torn last commit is cut off and said; anything else is refused, and repaired on demand."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest

from wfkit.core.entries import FORMAT
from wfkit.errors import JournalCorrupt, JournalTooNew, JournalUnusable
from wfkit.journal import wal
from wfkit.journal.duckdb import DuckDBJournal, open_journal
from wfkit.journal.port import Row
from wfkit.journal.repair import repair
from wfkit.journal.views import open_file
from wfkit.testing.journal_contract import row, run_row, write

Crashed: TypeAlias = Callable[[Callable[[DuckDBJournal], Awaitable[object]]], Coroutine[Any, Any, Path]]
COMMITS = 6


@pytest.fixture
def journal(crashed: Crashed) -> Path:
    """A journal that crashed after six commits of two rows."""

    async def commits(journal: DuckDBJournal) -> None:
        for seq in range(1, COMMITS + 1):
            await write(journal, row(1, seq, b"a" * 200), row(2, seq, b"b" * 200))

    return asyncio.run(crashed(commits))


async def read(path: Path) -> tuple[list[Row], str | None]:
    journal = await open_journal(path)
    rows = await journal.history(1)
    assert len(rows) == len(await journal.history(2))
    await write(journal, row(1, len(rows) + 1), row(2, len(rows) + 1))
    await journal.close()
    return rows, journal.notice


def log_of(path: Path) -> bytes:
    return wal.wal_path(path).read_bytes()


def flip(path: Path, position: int) -> None:
    log = bytearray(log_of(path))
    log[position] ^= 0x40
    wal.wal_path(path).write_bytes(log)


def commit_ends(log: bytes) -> list[int]:
    ends, start = [], 0
    while (start := log.find(wal.MARKER, start)) >= 0:
        start += len(wal.MARKER)
        ends.append(start)
    return ends


def test_the_log_is_read_as_this_duckdb_writes_it(journal: Path) -> None:
    """The marker ends each commit: opening, which takes an epoch, and six more. Without this no damage would be seen."""
    assert len(commit_ends(log_of(journal))) == COMMITS + 1
    assert commit_ends(log_of(journal))[-1] == len(log_of(journal))
    assert wal.inspect(wal.wal_path(journal)) is None


def test_a_whole_log_is_replayed(journal: Path) -> None:
    """Nothing is lost and nothing is said."""
    rows, notice = asyncio.run(read(journal))
    assert len(rows) == COMMITS
    assert notice is None


@pytest.mark.parametrize("cut", [1, 8, 21, 22, 300])
def test_a_truncated_log_loses_its_last_commit_only(journal: Path, cut: int) -> None:
    """Whatever is missing at its end, the commits before are there, and the loss is said."""
    log = log_of(journal)
    wal.wal_path(journal).write_bytes(log[:-cut])
    rows, notice = asyncio.run(read(journal))
    assert len(rows) == COMMITS - 1 - (cut >= len(log) - commit_ends(log)[-2])
    assert notice is not None
    assert "torn" in notice


def test_every_byte_of_the_last_commit_may_be_wrong(journal: Path, tmp_path: Path) -> None:
    """The commits before it are there, or all are where the byte did not matter; the log as it was is kept aside."""
    log = log_of(journal)
    start = commit_ends(log)[-2]
    for position in [*range(start, start + 40, 3), *range(start + 40, len(log) - 50, 100), *range(len(log) - 25, len(log), 2)]:
        folder = tmp_path / str(position)
        folder.mkdir()
        path = folder / journal.name
        shutil.copyfile(journal, path)
        wal.wal_path(path).write_bytes(log)
        flip(path, position)
        damaged = log_of(path)
        rows, notice = asyncio.run(read(path))
        assert len(rows) == COMMITS - 1, position
        assert notice is not None, position
        assert path.with_name(path.name + ".wal.damaged").read_bytes() == damaged


def test_a_wrong_byte_before_the_last_commit_is_refused(journal: Path, tmp_path: Path) -> None:
    """Whatever byte it is, a length or a header too: no acknowledged commit is dropped silently, and nothing is changed."""
    log = log_of(journal)
    ends = commit_ends(log)
    positions = [3, 7, *range(ends[1], ends[1] + 40, 3), *range(ends[2] - 25, ends[2], 2), *range(ends[-2] - 21, ends[-2], 2)]
    for position in positions:
        folder = tmp_path / str(position)
        folder.mkdir()
        path = folder / journal.name
        shutil.copyfile(journal, path)
        wal.wal_path(path).write_bytes(log)
        flip(path, position)
        before = (path.read_bytes(), log_of(path))
        with pytest.raises(JournalCorrupt, match=r"journal\.duckdb") as refused:
            asyncio.run(read(path))
        assert "wfkit store repair" in refused.value.help
        with pytest.raises(JournalCorrupt), open_file(path):
            pass
        assert (path.read_bytes(), log_of(path)) == before, position


def test_a_repair_keeps_the_commits_before_the_damage(journal: Path) -> None:
    """And the files as they were, beside it."""
    ends = commit_ends(log_of(journal))
    flip(journal, ends[3] + 100)
    before = (journal.read_bytes(), log_of(journal))
    repaired = repair(journal)
    assert repaired.rows == 6
    assert repaired.log_bytes_cut == ends[-1] - ends[3]
    assert tuple(path.read_bytes() for path in repaired.kept) == before
    rows, notice = asyncio.run(read(journal))
    assert len(rows) == 3
    assert notice is None


def test_a_repair_that_would_save_nothing_is_refused(tmp_path: Path) -> None:
    """An empty journal in the place of a damaged one would let everything start anew without a word."""
    path = tmp_path / "journal.duckdb"

    async def fill() -> None:
        journal = await open_journal(path)
        journal.append([row(1, seq, bytes(range(33, 127)) * 20) for seq in range(1, 34)])
        await journal.close()

    asyncio.run(fill())
    whole = path.read_bytes()
    refusals = 0
    for at in range(3 * 4096 + 100_000, len(whole), 256 * 1024):  # one byte in each block behind the headers
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        try:
            repair(path)
        except JournalCorrupt as refused:
            if "not one of" in str(refused):
                refusals += 1
                assert path.read_bytes() == bytes(damaged)
                assert not list(tmp_path.glob("*repair*"))
        for left in tmp_path.glob("journal.duckdb.*"):
            left.unlink()
    assert refusals


def test_a_damaged_file_is_refused_and_repaired_up_to_the_gap(tmp_path: Path) -> None:
    """Each run keeps its records before the first one that cannot be read; the epoch goes on."""
    path = tmp_path / "journal.duckdb"

    async def fill() -> None:
        journal = await open_journal(path)
        body = bytes(range(33, 127)) * 20
        for seq in range(1, 1001):
            journal.append([row(run, seq, body + str((run, seq)).encode()) for run in range(1, 21)])
        journal.append([row(99, 1)])
        await journal.project([run_row(run, f"r{run}", seq=1000) for run in range(1, 21)])
        await journal.close()

    asyncio.run(fill())
    file = bytearray(path.read_bytes())
    file[len(file) * 2 // 3] ^= 1
    path.write_bytes(file)

    async def read_all() -> list[int]:
        journal = await open_journal(path)
        assert journal.epoch > 1
        try:
            return [len(await journal.history(run)) for run in range(1, 21)]
        finally:
            await journal.close()

    with pytest.raises(JournalCorrupt):
        asyncio.run(read_all())
    repaired = repair(path)
    assert repaired.unreadable > 0
    assert 0 < repaired.rows < 20_001
    found = asyncio.run(read_all())
    assert sum(found) <= repaired.rows
    assert min(found) > 0


def files(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, but for locks."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".lock"}


def test_what_cannot_be_repaired_is_left_as_it_was(journal: Path) -> None:
    """No file is left beside it, and it is not advised to try the same again."""
    journal.write_bytes(journal.read_bytes()[:6000])
    before = files(journal.parent)
    with pytest.raises(JournalCorrupt) as refused:
        repair(journal)
    assert "restore a backup" in refused.value.help
    assert files(journal.parent) == before


def test_a_repair_may_be_interrupted_by_a_crash(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file takes its name when all is on the disk that is to be kept, and no old log can be replayed into it."""
    synced: set[int] = set()
    fsync, rename = os.fsync, Path.rename

    def note_and_sync(file: int) -> None:
        synced.add(os.fstat(file).st_ino)
        fsync(file)

    def look_and_rename(new: Path, path: Path) -> Path:
        assert sorted(file.name for file in journal.parent.glob("journal.duckdb*")) == [
            "journal.duckdb",
            "journal.duckdb.before-repair",
            "journal.duckdb.lock",
            "journal.duckdb.repaired",
            "journal.duckdb.wal.before-repair",
        ]
        kept = [Path(f"{journal}{suffix}") for suffix in (".before-repair", ".wal.before-repair", ".repaired")]
        assert {file.stat().st_ino for file in (journal.parent, *kept)} <= synced
        return rename(new, path)

    flip(journal, commit_ends(log_of(journal))[1] + 40)
    monkeypatch.setattr(os, "fsync", note_and_sync)
    monkeypatch.setattr(Path, "rename", look_and_rename)
    assert repair(journal).rows > 0


def test_a_log_without_its_journal_is_not_thrown_away(journal: Path) -> None:
    """DuckDB would delete it; here it is an error that says what is missing."""
    log = log_of(journal)
    journal.unlink()
    with pytest.raises(JournalCorrupt, match="missing"):
        asyncio.run(read(journal))
    assert log_of(journal) == log


@pytest.mark.parametrize("content", [b"", b"hello" * 3000], ids=["empty", "text"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Neither a writer nor a reader takes it for one."""
    path = tmp_path / "journal.duckdb"
    path.write_bytes(content)
    with pytest.raises(JournalUnusable, match="no journal"):
        asyncio.run(read(path))
    with pytest.raises(JournalUnusable, match="no journal"), open_file(path):
        pass
    assert path.read_bytes() == content


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    """A DuckDB file of somebody else gets no tables of ours."""
    path = tmp_path / "journal.duckdb"
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE mine AS SELECT 1 AS x")
    with pytest.raises(JournalUnusable, match="no journal"):
        asyncio.run(read(path))
    with duckdb.connect(str(path)) as other:
        assert other.execute("SHOW TABLES").fetchall() == [("mine",)]


def test_a_newer_format_is_refused_and_untouched(crashed: Crashed) -> None:
    """File and log stay as they are, byte for byte, though the log was to be replayed."""

    async def nothing(journal: DuckDBJournal) -> None:
        pass

    path = asyncio.run(crashed(nothing))
    with duckdb.connect(str(path)) as newer:
        newer.execute("UPDATE meta SET value = ? WHERE key = 'format'", [str(FORMAT + 1)])
        newer.execute("CHECKPOINT")
        newer.execute("PRAGMA disable_checkpoint_on_shutdown")
        newer.execute("UPDATE meta SET value = '9.9' WHERE key = 'wfkit'")
    before = (path.read_bytes(), log_of(path))
    with pytest.raises(JournalTooNew, match=rf"format {FORMAT + 1}, of wfkit 9\.9"):
        asyncio.run(read(path))
    with pytest.raises(JournalTooNew), open_file(path):
        pass
    with pytest.raises(JournalTooNew):
        repair(path)
    assert (path.read_bytes(), log_of(path)) == before


def test_a_gap_in_a_run_is_refused_and_repaired(crashed: Crashed) -> None:
    """A record that is missing or there twice, after the projection, is found at opening."""

    async def with_gap(journal: DuckDBJournal) -> None:
        await write(journal, row(1, 1), row(1, 2), row(1, 4), row(2, 1), row(2, 1))

    path = asyncio.run(crashed(with_gap))
    with pytest.raises(JournalCorrupt, match=r"run [12] has"):
        asyncio.run(read(path))
    assert repair(path).dropped == 2

    async def repaired() -> list[list[int]]:
        journal = await open_journal(path)
        seqs = [[found.seq for found in await journal.history(run)] for run in (1, 2)]
        await journal.close()
        return seqs

    assert asyncio.run(repaired()) == [[1, 2], [1]]
