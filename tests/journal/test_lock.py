"""One writer or any number of readers, across processes; and who holds a journal can be told."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from wfkit.errors import JournalLocked
from wfkit.journal.duckdb import open_journal
from wfkit.journal.repair import repair
from wfkit.journal.views import open_file
from wfkit.testing.journal_contract import row, write

CHILD = Path(__file__).with_name("holding_child.py")
ROOT = Path(__file__).parents[2]


@contextmanager
def held(kind: str, journal: Path, seconds: float = 60) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, str(CHILD), kind, str(journal), str(seconds)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            yield child
        finally:
            child.kill()


async def open_and_close(path: Path, **options: float) -> int:
    journal = await open_journal(path, **options)  # type: ignore[arg-type]  # only reader_wait_seconds, a float, is passed
    await journal.close()
    return journal.epoch


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.duckdb"
    asyncio.run(open_and_close(path))
    return path


def test_a_second_process_is_told_who_holds_the_journal(journal: Path) -> None:
    """Writers, readers and repairs are refused at once, with the command and the pid of the holder."""
    with held("write", journal) as child:
        holder = rf"in use by `holding_child\.py write .*` \(pid {child.pid}\)"
        with pytest.raises(JournalLocked, match=holder):
            asyncio.run(open_and_close(journal))
        with pytest.raises(JournalLocked, match=holder), open_file(journal):
            pass
        with pytest.raises(JournalLocked, match=holder):
            repair(journal)
    assert asyncio.run(open_and_close(journal)) == 3


def test_a_killed_holder_does_not_leave_the_journal_locked(journal: Path) -> None:
    """The lock dies with its process."""
    with held("write", journal) as child:
        child.kill()
        child.wait()
        assert asyncio.run(open_and_close(journal)) == 3


def test_a_forked_child_does_not_keep_the_journal_locked(journal: Path) -> None:
    """It lives on when the writer was killed, here until its standard input ends: the lock died with the writer."""
    with held("fork", journal) as child:
        child.kill()
        child.wait()
        assert asyncio.run(open_and_close(journal)) == 3


def test_a_starting_engine_waits_for_a_reader(journal: Path) -> None:
    """A command line that reads just now delays the start, and does not prevent it."""
    with held("read", journal, seconds=0.3):
        assert asyncio.run(open_and_close(journal)) == 2


def test_a_reader_that_stays_is_named_as_the_cause(journal: Path) -> None:
    """After the wait the start is refused."""
    with held("read", journal), pytest.raises(JournalLocked, match=r"still read by another command after 0\.1 s"):
        asyncio.run(open_and_close(journal, reader_wait_seconds=0.1))


def test_readers_do_not_disturb_each_other(journal: Path) -> None:
    """Two processes may read one journal at the same time."""
    with held("read", journal), open_file(journal) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchall() == [(0,)]


def test_the_same_process_cannot_open_a_journal_twice(journal: Path) -> None:
    """Also where DuckDB itself would allow it."""

    async def twice() -> None:
        first = await open_journal(journal)
        with pytest.raises(JournalLocked, match="in use by"):
            await open_journal(journal)
        await write(first, row(1, 1))
        await first.close()

    asyncio.run(twice())


def test_an_opening_that_is_cancelled_leaves_the_journal_free(journal: Path) -> None:
    """Its thread may be beyond recall, as here where it waits for a reader; what it opens is closed again."""

    async def open_and_cancel() -> None:
        with open_file(journal):
            opening = asyncio.ensure_future(open_journal(journal))
            await asyncio.sleep(0.1)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

    asyncio.run(open_and_cancel())
    for thread in threading.enumerate():
        if thread.name.startswith("wfkit-journal"):
            thread.join()
    assert asyncio.run(open_and_close(journal)) == 3


def test_a_foreign_tool_that_holds_the_file_is_named(journal: Path) -> None:
    """Somebody who opened it with DuckDB itself has no lock of ours, but DuckDB tells who it is."""
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, journal], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(JournalLocked, match=rf"pid {other.pid}"):
            asyncio.run(open_and_close(journal))


def test_sql_cannot_reach_the_file_system(journal: Path, tmp_path: Path) -> None:
    """Of a running journal nothing can be read from or written to other files, and that cannot be undone."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")

    async def scenario() -> None:
        opened = await open_journal(journal)

        def refused(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
            try:
                connection.execute(query).fetchall()
            except (duckdb.PermissionException, duckdb.InvalidInputException):
                return True
            return False

        for query in (
            f"SELECT * FROM read_csv('{secret}')",
            f"SELECT * FROM '{secret}'",
            f"COPY entries TO '{tmp_path / 'copy.csv'}'",
            f"ATTACH '{tmp_path / 'other.duckdb'}'",
            "SET enable_external_access = true",
            "SET threads = 2",
            "INSTALL httpfs",
        ):
            assert await opened.read(refused, query), query
        await opened.close()

    asyncio.run(scenario())
