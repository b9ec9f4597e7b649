"""The journal file in use: groups, reads beside commits, backups, a file that goes away, a folder that is read-only."""

import asyncio
import subprocess
import threading
from pathlib import Path

import duckdb
import pytest

from wfkit.errors import JournalUnusable, WfkitError
from wfkit.journal import wal
from wfkit.journal.duckdb import open_journal
from wfkit.journal.port import RunRow
from wfkit.journal.views import open_file
from wfkit.testing.journal_contract import row, run_row, write


def test_units_that_wait_together_are_one_commit(tmp_path: Path) -> None:
    """A thousand units cost a handful of commits, each ending in one marker in the log."""

    async def scenario() -> int:
        journal = await open_journal(tmp_path / "journal.duckdb")
        await write(journal, row(1, 1))
        before = wal.wal_path(journal.path).read_bytes().count(wal.MARKER)
        last = asyncio.Event()
        for seq in range(2, 1001):
            journal.append([row(1, seq)], _nothing)
        journal.append([row(1, 1001)], last.set)
        await last.wait()
        after = wal.wal_path(journal.path).read_bytes().count(wal.MARKER)
        await journal.close()
        return after - before

    assert 1 <= asyncio.run(scenario()) <= 5


def test_a_long_read_does_not_hold_up_commits(tmp_path: Path) -> None:
    """Units become durable while the reader's thread is busy."""

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        reading, go_on = threading.Event(), threading.Event()

        def slow(connection: duckdb.DuckDBPyConnection) -> int:
            connection.execute("BEGIN")
            before = connection.execute("SELECT count(*) FROM entries").fetchall()
            reading.set()
            assert go_on.wait(30)
            assert connection.execute("SELECT count(*) FROM entries").fetchall() == before
            connection.execute("COMMIT")
            return int(before[0][0])

        slowly = asyncio.ensure_future(journal.read(slow))
        while not reading.is_set():
            await asyncio.sleep(0.001)
        await write(journal, row(1, 1))
        await write(journal, row(1, 2))
        assert not slowly.done()
        go_on.set()
        assert await slowly == 0
        assert len(await journal.history(1)) == 2
        await journal.close()

    asyncio.run(scenario())


def test_a_backup_is_one_moment_of_a_journal_in_use(tmp_path: Path) -> None:
    """It holds whole units, everything acknowledged before it began, and is a journal that can be opened."""
    copy = tmp_path / "copy.duckdb"

    async def scenario() -> tuple[int, int]:
        journal = await open_journal(tmp_path / "it's" / "journal.duckdb")
        journal.append([row(7, 1)])
        await journal.project([run_row(7, "a")])
        acknowledged = 0

        async def go_on_writing() -> None:
            nonlocal acknowledged
            while True:
                await write(journal, *(row(run, acknowledged + 1) for run in (1, 2, 3)))
                acknowledged += 1

        writing = asyncio.ensure_future(go_on_writing())
        while acknowledged < 20:
            await asyncio.sleep(0)
        before = acknowledged
        assert await journal.backup(copy) == copy
        during = acknowledged - before
        writing.cancel()
        with pytest.raises(JournalUnusable, match="exists already"):
            await journal.backup(copy)
        await journal.close()
        assert not (tmp_path / "it's" / "exports").exists()

        journal = await open_journal(copy)
        lengths = [len(await journal.history(run)) for run in (1, 2, 3)]
        assert await journal.find("a") == run_row(7, "a")
        assert journal.epoch == 2
        await journal.close()
        assert len(set(lengths)) == 1
        assert before <= lengths[0] <= before + during
        return before, during

    before, during = asyncio.run(scenario())
    assert before >= 20
    assert during > 0


def test_a_copy_that_cannot_be_written_is_not_blamed_on_the_journal(tmp_path: Path) -> None:
    """It is told what cannot be written, and the journal goes on."""
    copy = tmp_path / ("x" * 250)  # its name is too long as soon as something is added to it

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        await write(journal, row(1, 1))
        with pytest.raises(JournalUnusable, match=f"cannot use {copy}: "):
            await journal.backup(copy)
        await write(journal, row(1, 2))
        assert len(await journal.history(1)) == 2
        await journal.close()

    asyncio.run(scenario())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.duckdb", "journal.duckdb.lock"]


def test_a_journal_that_is_moved_away_is_noticed(tmp_path: Path) -> None:
    """Nothing is acknowledged into a file that no name leads to; when it is back, the journal goes on."""
    path = tmp_path / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        told: list[WfkitError | None] = []
        changed = asyncio.Event()

        def tell(error: WfkitError | None) -> None:
            told.append(error)
            changed.set()

        journal.watch(tell)
        path.rename(tmp_path / "elsewhere")
        written = asyncio.ensure_future(write(journal, row(1, 1)))
        await asyncio.wait_for(changed.wait(), 30)
        assert isinstance(told[0], JournalUnusable)
        assert not written.done()
        (tmp_path / "elsewhere").rename(path)
        await written
        assert len(await journal.history(1)) == 1
        await journal.close()

    asyncio.run(scenario())


def test_a_log_that_is_deleted_costs_nothing(tmp_path: Path) -> None:
    """What is acknowledged after that is in the file itself, and so is what the log held."""
    path = tmp_path / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        await write(journal, row(1, 1))
        (tmp_path / "journal.duckdb.wal").unlink()
        await write(journal, row(1, 2))
        (tmp_path / "copy.duckdb").write_bytes(path.read_bytes())
        await journal.close()
        copy = await open_journal(tmp_path / "copy.duckdb")
        assert [found.seq for found in await copy.history(1)] == [1, 2]
        await copy.close()

    asyncio.run(scenario())


def test_a_read_only_disk_is_one_clear_error_for_a_writer(small_disk: Path) -> None:
    """Whether the journal exists or not; a reader can read it all the same."""
    path = small_disk / "journal.duckdb"

    async def some() -> None:
        journal = await open_journal(path)
        await write(journal, row(1, 1))
        await journal.close()

    asyncio.run(some())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for wanted in (path, small_disk / "other.duckdb", small_disk / "folder" / "journal.duckdb"):
        with pytest.raises(JournalUnusable, match="Read-only file system"):
            asyncio.run(_open(wanted))
    with open_file(path) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchall() == [(1,)]


def test_a_folder_in_the_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    """As is a file in the place of its folder."""
    (tmp_path / "journal.duckdb").mkdir()
    with pytest.raises(JournalUnusable):
        asyncio.run(_open(tmp_path / "journal.duckdb"))
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable):
        asyncio.run(_open(tmp_path / "file" / "journal.duckdb"))


def test_a_projection_that_does_not_fit_its_rows_is_built_anew(tmp_path: Path) -> None:
    """The rows are what counts: they are all given to the engine again, and nothing is refused."""

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        await write(journal, row(1, 1), row(1, 2))
        await journal.project([run_row(1, "a", seq=1)])
        await write(journal, row(1, 3))
        await journal.close()
        journal = await open_journal(tmp_path / "journal.duckdb")
        assert await journal.find("a") is None
        assert [found.seq for found in await journal.since_projection()] == [1, 2, 3]
        await journal.close()

    asyncio.run(scenario())


def test_the_columns_of_runs_are_the_fields_of_its_row(tmp_path: Path) -> None:
    """Rows of the projection are read and written whole, by place."""

    async def scenario() -> list[str]:
        journal = await open_journal(tmp_path / "journal.duckdb")
        names = await journal.read(lambda connection: [name for name, *_ in connection.execute("DESCRIBE runs").fetchall()])
        await journal.close()
        return names

    assert asyncio.run(scenario()) == list(RunRow._fields)


def test_no_thread_outlives_a_closed_journal(tmp_path: Path) -> None:
    """Neither the writer's nor the reader's."""

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        await write(journal, row(1, 1))
        await journal.history(1)
        await journal.close()

    before = threading.active_count()
    asyncio.run(scenario())
    assert threading.active_count() == before


def _nothing() -> None:
    pass


async def _open(path: Path) -> None:
    journal = await open_journal(path)
    await journal.close()
