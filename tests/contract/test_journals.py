"""Every journal keeps the port's contract."""

import shutil
from pathlib import Path

import pytest

from wfkit.journal.duckdb import open_journal
from wfkit.journal.memory import MemoryDisk
from wfkit.journal.port import Journal
from wfkit.testing.journal_contract import JournalContract, Storage


class MemoryStorage:
    def __init__(self) -> None:
        self._disk = MemoryDisk()

    async def open(self) -> Journal:
        return self._disk.open()

    async def crash(self, journal: Journal) -> None:
        self._disk.crash()


class FileStorage:
    """A crash is a copy of the files as they are on disk at that moment; the copy is what is opened next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._crashes = 0

    async def open(self) -> Journal:
        return await open_journal(self._folder / str(self._crashes) / "journal.duckdb")

    async def crash(self, journal: Journal) -> None:
        before = self._folder / str(self._crashes)
        self._crashes += 1
        after = self._folder / str(self._crashes)
        after.mkdir()
        for name in ("journal.duckdb", "journal.duckdb.wal"):
            if (before / name).exists():
                shutil.copyfile(before / name, after / name)
        await journal.close()


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()


class TestDuckDBJournal(JournalContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return FileStorage(tmp_path)
