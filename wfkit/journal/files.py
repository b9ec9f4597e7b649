"""History files: one run as JSON lines, to be read, compared, kept and replayed.

The first line says what the file is; each further line is one record, with its values in full. Line `seq + 1` holds
record number `seq`. Nothing in a file is executed or imported, so one from a stranger can be read safely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from wfkit.core.entries import FORMAT, Record, RunStarted
from wfkit.core.records import decode_record, encode_record
from wfkit.errors import JournalCorrupt, JournalTooNew
from wfkit.journal.schema import wfkit_version


class Header(Struct, frozen=True, tag_field="file", tag="wfkit-history"):
    """The first line of a history file."""

    format: int
    wfkit: str
    """The version that wrote it."""
    workflow: str
    run: str
    generation: int
    code: str
    """Hash of the workflow's source when the run began."""
    python: str
    """`major.minor` of the interpreter that began the run."""


@dataclass(frozen=True)
class History:
    """A history file's content; record number `seq` is at index `seq - 1`."""

    header: Header
    records: tuple[Record, ...]


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_BREAKS = bytes.maketrans(b"\r\n", b"  ")


def export_lines(records: Sequence[Record]) -> Iterator[bytes]:
    """Yield the lines of a history file, each with its line break.

    `records` begin with the `RunStarted` of the run.
    """
    started = records[0].entry
    if not isinstance(started, RunStarted):
        raise JournalCorrupt(f"a history begins with RunStarted, not with {type(started).__name__}")
    header = Header(
        format=FORMAT,
        wfkit=wfkit_version(),
        workflow=started.workflow,
        run=started.id,
        generation=started.generation,
        code=started.code,
        python=started.python,
    )
    yield _encode_header(header) + b"\n"
    for record in records:
        # A payload may be JSON that somebody wrote by hand, over several lines: between its tokens a break is a blank.
        yield encode_record(record).translate(_BREAKS) + b"\n"


def import_lines(lines: Iterable[bytes], name: str = "the file") -> History:
    """Return the history that lines hold; `name` says in errors where they come from. Empty lines are skipped.

    Raises:
        JournalTooNew: a newer wfkit wrote it.
        JournalCorrupt: it is no history, or a line is damaged; the message says which.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, line = next(numbered, (1, b""))
    try:
        header = _decode_header(line)
    except msgspec.MsgspecError as error:
        raise JournalCorrupt(f"{name} is no history: line {number}: {error}", help=_HELP) from None
    if header.format > FORMAT:
        raise JournalTooNew(f"{name} has format {header.format}, of wfkit {header.wfkit}; this wfkit reads up to {FORMAT}")
    records = []
    for number, line in numbered:
        try:
            records.append(decode_record(line))
        except msgspec.MsgspecError as error:
            raise JournalCorrupt(f"{name} is damaged: line {number}: {error}", help=_HELP) from None
    return History(header, tuple(records))


def write_file(path: str | Path, records: Sequence[Record]) -> None:
    """Write a history file, over an older one if there is one."""
    with Path(path).open("wb") as file:
        file.writelines(export_lines(records))


def read_file(path: str | Path) -> History:
    """Return the content of a history file; see `import_lines` for the errors."""
    with Path(path).open("rb") as file:
        return import_lines(file, str(path))


_HELP = "export it again: wfkit runs export ID"
