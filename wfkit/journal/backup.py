"""Consistent copies of a journal file."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import duckdb

from wfkit.errors import JournalUnusable
from wfkit.journal.store import explain
from wfkit.journal.views import open_file
from wfkit.journal.wal import sync_file, sync_folder, wal_path


def backup_file(path: Path, target: Path) -> Path:
    """Copy a journal file that no engine holds into a new file `target`, and return its path.

    Raises:
        JournalLocked: an engine holds it: let `DuckDBJournal.backup` do it there.
        JournalUnusable: there is no journal, or `target` exists or cannot be written.
        JournalCorrupt, JournalTooNew, JournalFull: see their descriptions.
    """
    with open_file(path) as connection:
        return write_backup(connection, path.parent / "exports", target)


def write_backup(connection: duckdb.DuckDBPyConnection, folder: Path, target: Path) -> Path:
    """Copy the connection's database, as one snapshot of it, into a new file `target`, and return its path.

    DuckDB writes into `folder`, the only one that it may write to; the file is moved from there.

    Raises:
        JournalUnusable: `target` exists, or its folder cannot be written.
        JournalFull: there is no room for it.
    """
    if target.exists():
        raise JournalUnusable(f"{target} exists already", help="choose another name for the copy")
    if not target.parent.is_dir():
        raise JournalUnusable(f"there is no folder {target.parent}", help="make it first, or choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    export = folder / f"backup-{os.getpid()}.duckdb"
    _remove(export)
    try:
        _copy(connection, export)
        _put(export, target)
    except OSError as error:
        raise explain(error, target) from None
    finally:
        _remove(export)
        with contextlib.suppress(OSError):
            folder.rmdir()
    return target


def _copy(connection: duckdb.DuckDBPyConnection, export: Path) -> None:
    source = connection.execute("SELECT current_database()").fetchall()[0][0].replace('"', '""')
    connection.execute("ATTACH '" + str(export).replace("'", "''") + "' AS wfkit_backup (READ_WRITE)")
    try:
        connection.execute(f'COPY FROM DATABASE "{source}" TO wfkit_backup')
        connection.execute("CHECKPOINT wfkit_backup")
    finally:
        connection.execute("DETACH wfkit_backup")


def _put(export: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    try:
        shutil.copyfile(export, partial)
        sync_file(partial)
        partial.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_folder(target.parent)


def _remove(export: Path) -> None:
    export.unlink(missing_ok=True)
    wal_path(export).unlink(missing_ok=True)
