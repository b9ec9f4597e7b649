"""`wfkit store repair`: save what can be read of a damaged journal.

The damaged files are kept beside it as they were. What is saved is, for each run, its records from the first one on
without a gap: a history that lacks a record in the middle cannot be replayed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from wfkit.errors import JournalCorrupt, JournalUnusable
from wfkit.journal import schema, wal
from wfkit.journal.lock import lock_for_writing
from wfkit.journal.store import check_format, explain

_BEYOND_REPAIR = "restore a backup, or start anew on another journal: --store PATH"
_SLICE = 2048  # DuckDB reads a vector at a time; damage costs at least the slice that it lies in


@dataclass(frozen=True)
class Repaired:
    """What came of a repair."""

    kept: tuple[Path, ...]
    """The files as they were before."""
    rows: int
    """Records in the journal now."""
    dropped: int
    """Records that could be read but follow a gap in their run, or are there twice."""
    unreadable: int
    """Positions whose records could not be read; commits cut off the log's end are not among them."""
    log_bytes_cut: int
    """Bytes of the log after its first damage: whole commits, which are in the file that was kept."""


def repair(path: Path) -> Repaired:
    """Rebuild a journal from what can be read of it.

    Raises:
        JournalLocked: somebody uses it.
        JournalUnusable: there is nothing to repair.
        JournalCorrupt: no record can be read. Nothing was changed.
        JournalTooNew: a newer wfkit wrote it. It is untouched.
    """
    if not path.exists() and not wal.wal_path(path).exists():
        raise JournalUnusable(f"there is no journal {path}", help="name it: --store PATH")
    lock = lock_for_writing(path)
    try:
        return _repair(path)
    except (duckdb.Error, OSError) as error:
        explained = explain(error, path)
        if isinstance(explained, JournalCorrupt):
            explained.help = _BEYOND_REPAIR
        raise explained from error
    finally:
        lock.release()


def _repair(path: Path) -> Repaired:
    if not path.exists():
        raise JournalUnusable(f"{path} is missing, and its log alone is no journal", help="put the file back beside its log")
    kept = {file: _keep(file) for file in (path, wal.wal_path(path), wal.checkpoint_path(path)) if file.exists()}
    wal.sync_folder(path.parent)
    new = path.with_name(path.name + ".repaired")
    _forget(new)
    try:
        cut = _cut_log(path)
        rows, dropped, unreadable = _rebuild(path, new)
    except BaseException:
        _forget(new)
        for file, copy in kept.items():
            copy.replace(file)
        raise
    wal.sync_file(new)
    # The logs first, since they are kept: an old log beside the new file would be replayed into it.
    for log in (wal.wal_path(path), wal.checkpoint_path(path)):
        log.unlink(missing_ok=True)
    wal.sync_folder(path.parent)
    new.rename(path)
    wal.sync_folder(path.parent)
    return Repaired(tuple(kept.values()), rows, dropped, unreadable, cut)


def _rebuild(path: Path, new: Path) -> tuple[int, int, int]:
    """Write what can be read into a new file. Returns how many records are in it, were dropped, and are unreadable.

    Raises:
        JournalCorrupt: no record can be read.
    """
    with contextlib.closing(_open(path)) as old, contextlib.closing(duckdb.connect(str(new))) as rebuilt:
        check_format(old, path)
        schema.create(rebuilt)
        unreadable = _copy_rows(old, rebuilt)
        dropped = _drop_after_gaps(rebuilt)
        _keep_epoch(old, rebuilt)
        rebuilt.execute("CHECKPOINT")
        rows: int = rebuilt.execute("SELECT count(*) FROM entries").fetchall()[0][0]
    if unreadable and not rows:
        told = f"not one of the {unreadable:,} records of {path} can be read; it was left as it is"
        raise JournalCorrupt(told, help=_BEYOND_REPAIR)
    return rows, dropped, unreadable


def _forget(new: Path) -> None:
    for file in (new, wal.wal_path(new)):
        file.unlink(missing_ok=True)


def _keep(file: Path) -> Path:
    kept = wal.free_name(file.with_name(file.name + ".before-repair"))
    shutil.copyfile(file, kept)
    wal.sync_file(kept)
    return kept


def _cut_log(path: Path) -> int:
    """Cut the log before its first damage, and return how many bytes that took."""
    log = wal.wal_path(path)
    damage = wal.inspect(log)
    if damage is None:
        try:
            duckdb.connect(str(path), read_only=True).close()
        except duckdb.Error as error:
            damage = wal.inspect(log, wal.position_of(str(error)))
    if damage is None:
        return 0
    wal.truncate(log, damage.keep)
    return damage.size - damage.keep


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=True)
    except duckdb.Error:
        # The log does not fit the file, or is beyond reading: the file alone is better than nothing, and the log is kept.
        wal.wal_path(path).unlink(missing_ok=True)
        return duckdb.connect(str(path), read_only=True)


def _copy_rows(old: duckdb.DuckDBPyConnection, rebuilt: duckdb.DuckDBPyConnection) -> int:
    """Copy the rows slice by slice, and return how many positions could not be read."""
    count: int = old.execute("SELECT count(*) FROM entries").fetchall()[0][0]
    read = 0
    rebuilt.execute("CREATE TEMP TABLE found AS SELECT * FROM entries")
    with rebuilt.appender("found") as appender:
        for rows in _slices(old, count):
            appender.append_rows(rows)
            read += len(rows)
    return count - read


def _slices(old: duckdb.DuckDBPyConnection, count: int) -> Iterator[list[tuple[Any, ...]]]:
    for start in range(0, count, _SLICE):
        query = "SELECT pos, run, seq, kind, t, body FROM entries WHERE rowid >= ? AND rowid < ?"
        with contextlib.suppress(duckdb.Error):
            yield old.execute(query, [start, start + _SLICE]).fetchall()


def _drop_after_gaps(rebuilt: duckdb.DuckDBPyConnection) -> int:
    """Keep of each run the records without a gap, number the positions anew, and return how many were dropped."""
    found, kept = rebuilt.execute(
        """
        INSERT INTO entries
        WITH once AS (
            SELECT * FROM found QUALIFY row_number() OVER (PARTITION BY run, seq ORDER BY pos) = 1
        ), numbered AS (
            SELECT *, row_number() OVER (PARTITION BY run ORDER BY seq) AS place FROM once
        )
        SELECT row_number() OVER (ORDER BY pos) AS new_pos, run, seq, kind, t, body
        FROM numbered WHERE seq = place ORDER BY pos;
        SELECT (SELECT count(*) FROM found), (SELECT count(*) FROM entries);
        """
    ).fetchall()[0]
    return int(found - kept)


def _keep_epoch(old: duckdb.DuckDBPyConnection, rebuilt: duckdb.DuckDBPyConnection) -> None:
    rebuilt.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", [schema.read_meta(old)["epoch"]])
