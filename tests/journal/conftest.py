"""Disks that are small, full or read-only, and journals as a crash leaves them."""

import contextlib
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from wfkit.journal.duckdb import DuckDBJournal, open_journal


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def crashed(tmp_path: Path) -> Callable[[Callable[[DuckDBJournal], Awaitable[object]]], Coroutine[Any, Any, Path]]:
    """Return a function that lets something be written, crashes, and returns the path of the journal that is left."""

    async def crash(writing: Callable[[DuckDBJournal], Awaitable[object]]) -> Path:
        journal = await open_journal(tmp_path / "running" / "journal.duckdb")
        await writing(journal)
        path = tmp_path / "journal.duckdb"
        for suffix in ("", ".wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{journal.path}{suffix}", f"{path}{suffix}")
        await journal.close()
        return path

    return crash
