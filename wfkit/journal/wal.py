"""DuckDB's write-ahead log, read from outside, to tell a torn tail from damage.

DuckDB replays a log as far as it can read it. It takes an entry whose length does not fit for the torn end of the log
and drops everything from there, silently; so one flipped bit in a length would drop any number of commits that were
acknowledged. This module walks the log first. A log is a header, then entries of an 8-byte length, an 8-byte checksum
and a body; each commit ends in a marker entry of fixed bytes. Only the end of the log may be unreadable: a commit that
was being written when the machine stopped. All else is damage, and is left to `wfkit store repair`.

A log of another version than the one known here is left to DuckDB alone.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_VERSION = b"d\x00be\x00"
_KNOWN = b"\x02f\x00\x10"  # version 2, then the 16 numbers of the database's identity
_ITERATION = b"g\x00"
_END = b"\xff\xff"
MARKER = bytes.fromhex("0500000000000000e7fe7d722fed3d5e640064ffff")
"""The entry that ends each commit."""
_MARKER_LIKE = 15
"""So many of its 21 bytes make an entry a damaged marker."""
_MARKER_LENGTH = 5
_CHECKPOINT = b"d\x00c"
"""How the body of the entry begins that says that a checkpoint was begun."""
_ENTRY_HEADER = 16


@dataclass(frozen=True)
class Damage:
    """What cannot be read of a log."""

    keep: int
    """Length in bytes of the part that is whole: it ends with a commit, or is 0."""
    size: int
    last: bool
    """Nothing but the last commit is concerned."""


def wal_path(journal: Path) -> Path:
    return journal.with_name(journal.name + ".wal")


def checkpoint_path(journal: Path) -> Path:
    """The log that DuckDB keeps while a checkpoint of the first one is under way."""
    return journal.with_name(journal.name + ".wal.checkpoint")


def inspect(wal: Path, bad: int | None = None) -> Damage | None:
    """Return what is damaged in a log, or None. `bad` is the position of an entry known not to fit its checksum."""
    if not wal.exists() or wal.stat().st_size == 0:
        return None
    with wal.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
        return _inspect(log, bad)


def position_of(message: str) -> int | None:
    """Return where the entry begins that DuckDB reports as not fitting its checksum."""
    found = re.search(r"Corrupt WAL file: entry at byte position (\d+)", message)
    return int(found[1]) - _ENTRY_HEADER if found else None


def cut(journal: Path, damage: Damage) -> Path:
    """Cut a log to its whole part, and return where the log as it was is kept."""
    wal = wal_path(journal)
    aside = free_name(wal.with_name(wal.name + ".damaged"))
    shutil.copyfile(wal, aside)
    sync_file(aside)
    truncate(wal, damage.keep)
    return aside


def truncate(wal: Path, size: int) -> None:
    """Cut a log to its first `size` bytes, durably."""
    if size:
        with wal.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
    else:
        wal.unlink()
    sync_folder(wal.parent)


def free_name(path: Path) -> Path:
    """Return `path`, or `path-2`, `path-3`, ... if it is taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def sync_file(path: Path) -> None:
    """Make what was written to a file durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _inspect(log: mmap.mmap, bad: int | None) -> Damage | None:
    size = len(log)
    position = _header_end(log)
    if position is None:
        if log[:5] == _VERSION and log[5] != _KNOWN[0]:
            return None
        commits = _markers(log, 0)
        return Damage(keep=0, size=size, last=False) if commits else None
    whole = 0  # the end of the last commit that is whole
    checkpoint = False  # one began after it: then DuckDB alone can tell what the log means
    while position + _ENTRY_HEADER <= size and position != bad:
        length = int.from_bytes(log[position : position + 8], "little")
        rest = log[position + 8 : position + len(MARKER)]
        if (length == _MARKER_LENGTH) != (rest == MARKER[8:]):
            break
        position += _ENTRY_HEADER + length
        if position > size:
            position -= _ENTRY_HEADER + length
            break
        if length == _MARKER_LENGTH:
            whole, checkpoint = position, False
        elif rest[8:11] == _CHECKPOINT:
            checkpoint = True
    if position == size and (whole == size or checkpoint):
        return None
    if _is_marker_like(log, position):
        last = position + len(MARKER) >= size
    else:
        commits = _markers(log, whole)
        last = commits == 0 or (commits == 1 and log[-len(MARKER) :] == MARKER)
    return Damage(keep=whole, size=size, last=last and not checkpoint)


def _header_end(log: mmap.mmap) -> int | None:
    if log[: len(_VERSION) + len(_KNOWN)] != _VERSION + _KNOWN:
        return None
    position = len(_VERSION) + len(_KNOWN)
    for _ in range(16):
        position = _number_end(log, position)
    if log[position : position + 2] != _ITERATION:
        return None
    position = _number_end(log, position + 2)
    return position + 2 if log[position : position + 2] == _END else None


def _number_end(log: mmap.mmap, position: int) -> int:
    while position < len(log) and log[position] & 0x80:
        position += 1
    return position + 1


def _markers(log: mmap.mmap, start: int) -> int:
    count = 0
    while (start := log.find(MARKER, start)) >= 0:
        count += 1
        start += len(MARKER)
    return count


def _is_marker_like(log: mmap.mmap, position: int) -> bool:
    entry = log[position : position + len(MARKER)]
    return sum(a == b for a, b in zip(entry, MARKER, strict=False)) >= _MARKER_LIKE
