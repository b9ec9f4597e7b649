"""The journal file itself: opened, checked, written and closed, by whichever thread owns it.

`duckdb.py` puts an asyncio front and a writer thread before it. Everything that is known of how DuckDB fails is here:
what a failure means (`explain`), and that after a fatal one every connection must be closed before the file can be
opened again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from wfkit.core.entries import BUS, FORMAT
from wfkit.errors import JournalCorrupt, JournalFull, JournalLocked, JournalTooNew, JournalUnusable, WfkitError
from wfkit.journal import lock, schema, wal
from wfkit.journal.folder import make_folder
from wfkit.journal.port import RunRow

StoredRow = tuple[int, int, int, int, int, bytes]
"""`pos`, then the fields of a `Row`."""

_MEMORY_LIMIT = "1GB"
"""Four times `CHECKPOINT_BYTES`: DuckDB holds in memory what is in the log (218 MB of rows for a log of 210 MB), and the rest
is for checkpoints and queries. Without a limit it would take up to 80 % of the machine, which belongs to the workflows."""
CHECKPOINT_BYTES = 256 * 1024 * 1024
"""The log's length at which a commit pays for a checkpoint: 0.1 to 1.2 s, so an idle journal does it earlier."""
_CHECKPOINT_SPARE_BYTES = 1024 * 1024
"""Four of DuckDB's blocks: the file grows by whole ones, by one or two of them even for a few rows."""
FATAL = (duckdb.FatalException, duckdb.InternalException, duckdb.InternalError)
"""The database is unusable until all its connections are closed, and what the last commit did is not known."""

_log = logging.getLogger("wfkit.journal")


class Store:
    """A journal file that this process writes. Every method blocks; none but `reading` is safe for two threads."""

    def __init__(self, path: Path, *, reader_wait_seconds: float, checkpoint_bytes: int) -> None:
        """Open the file, or create it, and take a new epoch.

        Raises:
            JournalLocked, JournalCorrupt, JournalTooNew, JournalFull, JournalUnusable: see their descriptions.
        """
        self.path = path
        self.notice: str | None = None
        """What was mended when it was opened, for people."""
        self.last_pos = 0
        """The position of the last row that is durable."""
        self.projected = 0
        """The position of the last row that the projection includes."""
        self._checkpoint_bytes = checkpoint_bytes
        self._reader_lock = threading.Lock()
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._reader: duckdb.DuckDBPyConnection | None = None
        self._appender: duckdb.Appender | None = None
        _make_folder(path.parent)
        self._lock = lock.lock_for_writing(path, wait_seconds=reader_wait_seconds)
        try:
            self._create_if_missing()
            self._connect()
            self._begin()
        except BaseException as error:
            self.disconnect()
            self._lock.release()
            if isinstance(error, duckdb.Error | OSError):
                raise explain(error, path) from error
            raise

    @property
    def connected(self) -> bool:
        return self._writer is not None

    @property
    def exports(self) -> Path:
        """The one folder that SQL may write to."""
        return self.path.parent / "exports"

    @property
    def log_bytes(self) -> int:
        try:
            return wal.wal_path(self.path).stat().st_size
        except FileNotFoundError:
            return 0

    # -- writing -----------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[StoredRow]) -> None:
        """Make rows durable, all or none.

        Raises:
            duckdb.Error: none of them is durable; or, of a `FATAL` one, it is not known until `reconnect`.
            JournalUnusable: the file was moved away.
        """
        self._check_in_place()
        appender = self._appender
        if appender is None:
            raise duckdb.FatalException("the journal is being opened again")
        try:
            appender.append_rows(rows)
            appender.flush()
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                appender.clear()
            raise
        self.last_pos = rows[-1][0]
        if not wal.wal_path(self.path).exists():
            # Somebody deleted the log. Its rows are still in memory: write them where they can be found again.
            self.checkpoint()

    def project(self, rows: Sequence[RunRow], pos: int) -> None:
        """Replace the projection's rows of some runs; it then includes every row up to `pos`."""
        self._check_in_place()
        writer = self._open_writer()
        writer.execute("BEGIN")
        try:
            if rows:
                writer.execute("DELETE FROM runs WHERE run IN (SELECT unnest(?))", [[row.run for row in rows]])
                appender = writer.appender("runs")
                appender.append_rows(rows)
                appender.flush()
            writer.execute("UPDATE meta SET value = ? WHERE key = 'projected'", [str(pos)])
            writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                writer.execute("ROLLBACK")
            raise
        self.projected = pos

    def checkpoint(self) -> None:
        """Move the log into the file. Does nothing where that could fill the disk, since a failure there is fatal."""
        if self._has_room():
            self._open_writer().execute("CHECKPOINT")

    # -- reading -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend the connection for reads, which runs beside the writer's; for one thread at a time."""
        with self._reader_lock:
            if self._reader is None:
                raise duckdb.FatalException("the journal is being opened again")
            yield self._reader

    # -- coming and going --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write a checkpoint if there is room, and let the file and its lock go."""
        with contextlib.suppress(duckdb.Error, OSError):
            if self.connected:
                self.checkpoint()
        self.disconnect()
        self._lock.release()

    def disconnect(self) -> None:
        """Close every connection, as it must be done after a fatal error."""
        with self._reader_lock:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    with contextlib.suppress(duckdb.Error):
                        connection.close()
            self._reader = self._writer = self._appender = None

    def reconnect(self) -> None:
        """Open the file again after `disconnect`, and read which rows are durable into `last_pos`."""
        self._check_in_place()
        try:
            self._connect()
            self._read_position()
        except BaseException:
            self.disconnect()
            raise
        _log.warning("the database failed and was opened again: %s", self.path)

    def check(self) -> None:
        """Raise a `FATAL` error if the database must be opened again."""
        self._open_writer().execute("SELECT 1")

    def _create_if_missing(self) -> None:
        path = self.path
        if path.exists():
            return
        if wal.wal_path(path).exists():
            raise JournalCorrupt(
                f"{path} is missing, but its log {wal.wal_path(path).name} is there",
                help="put the journal file back beside its log",
            )
        new = path.with_name(path.name + ".new")
        for left_over in (new, wal.wal_path(new)):
            left_over.unlink(missing_ok=True)
        with duckdb.connect(str(new), config={"threads": 1}) as connection:
            schema.create(connection)
            connection.execute("CHECKPOINT")
        wal.sync_file(new)
        new.rename(path)
        wal.sync_folder(path.parent)

    def _connect(self) -> None:
        self._mend_log()
        try:
            self._writer = self._connect_once()
        except duckdb.Error as error:
            damage = wal.inspect(wal.wal_path(self.path), wal.position_of(str(error)))
            if damage is None:
                raise
            self._cut(damage)
            self._writer = self._connect_once()
        self._inode = self.path.stat().st_ino
        self._check_format()
        self._lock_down()
        self._reader = self._writer.cursor()
        self._appender = self._writer.appender("entries")

    def _connect_once(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(
            str(self.path),
            config={"threads": 1, "memory_limit": _MEMORY_LIMIT, "wal_autocheckpoint": f"{self._checkpoint_bytes}B"},
        )

    def _mend_log(self) -> None:
        damage = wal.inspect(wal.wal_path(self.path))
        if damage is not None:
            self._cut(damage)

    def _cut(self, damage: wal.Damage) -> None:
        if not damage.last or wal.checkpoint_path(self.path).exists():
            raise damaged(f"the log of {self.path} is damaged at byte {damage.keep}, before its last commit", self.path)
        aside = wal.cut(self.path, damage)
        self.notice = (
            f"the last commit in the log of {self.path} was torn and was dropped "
            f"({damage.size - damage.keep} bytes); the log as it was is kept in {aside.name}"
        )
        _log.warning(self.notice)

    def _check_format(self) -> None:
        writer = self._open_writer()
        try:
            check_format(writer, self.path)
        except JournalTooNew:
            writer.execute("PRAGMA disable_checkpoint_on_shutdown")
            raise

    def _lock_down(self) -> None:
        """Let no SQL reach the file system, for good; except the folder that backups are written to."""
        writer = self._open_writer()
        writer.execute(f"SET allowed_directories = [{quote(f'{self.exports}/')}]")
        writer.execute("SET enable_external_access = false")
        writer.execute("SET lock_configuration = true")

    def _begin(self) -> None:
        writer = self._open_writer()
        self._read_position()
        wrong = find_gap(writer, self.projected)
        if wrong is not None:
            if self.projected == 0 or find_gap(writer, 0) is not None:
                raise damaged(f"{self.path}: {wrong}", self.path)
            self._forget_projection(wrong)
        meta = schema.read_meta(writer)
        self.epoch = int(meta["epoch"]) + 1
        last_run = "SELECT max(run) FROM (SELECT run FROM runs UNION ALL SELECT run FROM entries WHERE pos > ?)"
        self.last_run: int = one(writer, last_run, [self.projected]) or 0
        writer.execute(
            "UPDATE meta SET value = CASE key WHEN 'epoch' THEN ? ELSE ? END WHERE key IN ('epoch', 'wfkit')",
            [str(self.epoch), schema.wfkit_version()],
        )

    def _forget_projection(self, wrong: str) -> None:
        """Have it built anew, since the rows are whole and it does not fit them."""
        writer = self._open_writer()
        writer.execute("BEGIN; DELETE FROM runs; UPDATE meta SET value = '0' WHERE key = 'projected'; COMMIT")
        self.projected = 0
        _log.warning("the projection in %s did not fit its rows and is built anew: %s", self.path, wrong)

    def _read_position(self) -> None:
        writer = self._open_writer()
        self.projected = int(schema.read_meta(writer)["projected"])
        self.last_pos = one(writer, "SELECT max(pos) FROM entries WHERE pos > ?", [self.projected]) or self.projected

    def _check_in_place(self) -> None:
        try:
            in_place = os.stat(self.path).st_ino == self._inode  # noqa: PTH116 (a third of Path.stat's cost, on each commit)
        except OSError:
            in_place = False
        if not in_place:
            raise JournalUnusable(f"{self.path} was removed or replaced while it was in use", help="put the file back")

    def _has_room(self) -> bool:
        disk = os.statvfs(self.path.parent)
        # A checkpoint adds half of the log's length to the file, or all of it if nothing in it can be compressed: twice that.
        return disk.f_bavail * disk.f_frsize > 2 * self.log_bytes + _CHECKPOINT_SPARE_BYTES

    def _open_writer(self) -> duckdb.DuckDBPyConnection:
        if self._writer is None:
            raise duckdb.FatalException("the journal is being opened again")
        return self._writer


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise JournalUnusable(f"cannot make the folder {folder}: {error.strerror}") from None


def check_format(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse a file that is no journal, or one of a newer wfkit.

    Raises:
        JournalUnusable, JournalTooNew
    """
    try:
        meta = schema.read_meta(connection)
    except duckdb.CatalogException:
        help = "name a journal, or a file that is not there yet: --store PATH"
        raise JournalUnusable(f"{path} is a DuckDB file, but no journal", help=help) from None
    if int(meta["format"]) > FORMAT:
        raise JournalTooNew(f"{path} has format {meta['format']}, of wfkit {meta['wfkit']}; this wfkit reads up to {FORMAT}")


def find_gap(connection: duckdb.DuckDBPyConnection, projected: int) -> str | None:
    """Return what is wrong with the rows after the projection, if a record is missing or is there twice.

    With `projected` 0 all rows are looked at, whatever the projection says.
    """
    count, first, last = connection.execute(
        "SELECT count(*), min(pos), max(pos) FROM entries WHERE pos > ?", [projected]
    ).fetchall()[0]
    if count and (first != projected + 1 or last - first + 1 != count):
        return f"{count} rows lie at the positions {first} to {last}, after {projected}"
    wrong = connection.execute(
        """
        SELECT tail.run, records, distinct_records, first_seq, last_seq, coalesce(runs.seq, 0) FROM (
            SELECT run, count(*) AS records, count(DISTINCT seq) AS distinct_records,
                min(seq) AS first_seq, max(seq) AS last_seq
            FROM entries WHERE pos > $projected GROUP BY run
        ) tail LEFT JOIN runs ON runs.run = tail.run AND $projected > 0
        WHERE records <> distinct_records OR last_seq - first_seq + 1 <> records
            OR (first_seq <> coalesce(runs.seq, 0) + 1 AND tail.run <> $bus)
        LIMIT 1
        """,
        {"projected": projected, "bus": BUS},
    ).fetchall()
    if not wrong:
        return None
    run, records, distinct_records, first_seq, last_seq, before = wrong[0]
    return f"run {run} has {records} records ({distinct_records} different) numbered {first_seq} to {last_seq}, after {before}"


def one(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[object]) -> int | None:
    """Return the single number that a query answers."""
    # All of it, always: a result with rows left, even none, keeps the connection from other work.
    number: int | None = connection.execute(query, parameters).fetchall()[0][0]
    return number


def quote(text: str) -> str:
    """Return text as an SQL literal, for statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def explain(error: Exception, path: Path) -> WfkitError:
    """Return what a failure of DuckDB or of the system means for the journal."""
    text = str(error)
    if "No space left" in text or "quota exceeded" in text:
        return JournalFull(f"no space left for {path}")
    if held := re.search(r"Conflicting lock is held in (.*?) ?\(PID (\d+)\)", text):
        return JournalLocked(f"journal is in use by {held[1] or 'another process'} (pid {held[2]}): {path}")
    if "version number" in text:
        return JournalTooNew(
            f"{path} was written by a newer DuckDB: {text}", help="install the newest duckdb: pip install -U duckdb"
        )
    if "not a valid DuckDB database file" in text:
        return JournalUnusable(f"{path} exists, but is no journal", help="name the journal, which is a file that wfkit made")
    if isinstance(error, OSError):
        return JournalUnusable(f"cannot use {path}: {error.strerror}")
    if any(reason in text for reason in ("Permission denied", "Read-only file system", "Cannot open file", "Is a directory")):
        return JournalUnusable(f"cannot use {path}: {text}")
    return damaged(f"{path} cannot be read: {text}", path)


def damaged(told: str, path: Path) -> JournalCorrupt:
    """Return the error of a journal that a repair may save something of, with the command that does it."""
    return JournalCorrupt(told, help=f"copy the file, then: wfkit store repair --store {shlex.quote(str(path))}")
