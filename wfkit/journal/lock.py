"""The lock beside a journal file: one writer, or any number of readers.

DuckDB locks its file as well, but such a lock is gone as soon as anybody in the process closes another handle of that
file, and does not tell who holds it. Ours is an flock on a file of its own, which holds the writer's pid and command.

A forked child inherits an flock, and would keep it beyond its parent's death: so it closes what it inherits, at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import time
from pathlib import Path

from wfkit.errors import JournalLocked, JournalUnusable

READER_WAIT_SECONDS = 5.0
"""How long a writer that opens waits for readers: a query of the command line takes well under a second."""
_POLL_SECONDS = 0.02
_COMMAND_MAX = 120


class JournalLock:
    """A lock that is held until `release`, or until this process ends: no child of it inherits the lock."""

    def __init__(self, file: int | None, *, writes: bool) -> None:
        self._file = file
        self._writes = writes
        _open_locks.add(self)

    def release(self) -> None:
        if self._file is not None and self._writes:
            os.ftruncate(self._file, 0)
        self.forsake()

    def forsake(self) -> None:
        """Close the file and change nothing in it, since the lock is not held, or is another process's."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        _open_locks.discard(self)


_open_locks: set[JournalLock] = set()


def _forsake_in_child() -> None:
    for lock in list(_open_locks):
        lock.forsake()


os.register_at_fork(after_in_child=_forsake_in_child)


def lock_for_writing(journal: Path, *, wait_seconds: float = READER_WAIT_SECONDS) -> JournalLock:
    """Become the writer of a journal.

    Raises:
        JournalLocked: another writer holds it, or readers have not let go after `wait_seconds`.
        JournalUnusable: the lock file cannot be written.
    """
    path = lock_path(journal)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise JournalUnusable(f"cannot write {path}: {error.strerror}") from None
    lock = JournalLock(file, writes=True)  # before it is taken: a fork may come at any moment
    deadline = time.monotonic() + wait_seconds
    while not _try(file, fcntl.LOCK_EX):
        if not _try(file, fcntl.LOCK_SH):
            holder = _holder(file)
            lock.forsake()
            raise JournalLocked(f"journal is in use by {holder}: {journal}")
        fcntl.flock(file, fcntl.LOCK_UN)
        if time.monotonic() > deadline:
            lock.forsake()
            raise JournalLocked(f"journal is still read by another command after {wait_seconds:g} s: {journal}")
        time.sleep(_POLL_SECONDS)
    os.ftruncate(file, 0)
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, namelessly
        os.pwrite(file, f"{os.getpid()}\n{_command()}\n".encode(), 0)
    return lock


def lock_for_reading(journal: Path) -> JournalLock:
    """Keep writers out while a journal is read.

    Raises:
        JournalLocked: a writer holds it.
    """
    path = lock_path(journal)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            return JournalLock(None, writes=False)  # whoever cannot make the lock file here cannot be raced by a writer
    lock = JournalLock(file, writes=False)
    if not _try(file, fcntl.LOCK_SH):
        holder = _holder(file)
        lock.forsake()
        raise JournalLocked(f"journal is in use by {holder}: {journal}")
    return lock


def lock_path(journal: Path) -> Path:
    return journal.with_name(journal.name + ".lock")


def _try(file: int, operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(file: int) -> str:
    with contextlib.suppress(OSError, ValueError):
        pid, command, *_ = os.pread(file, 1024, 0).decode(errors="replace").split("\n")
        return f"`{command}` (pid {int(pid)})"
    return "another process"


def _command() -> str:
    """The command as its user typed it, more or less: one line, without the folders of the program."""
    program, *arguments = [*sys.orig_argv[:1], *sys.argv[1:]] if not sys.argv[0] else sys.argv
    return " ".join([Path(program).name, *arguments]).replace("\n", " ")[:_COMMAND_MAX]
