"""What a campaign leaves on disk: failure files, which replay one finding, histories beside them, and reports.

They lie in `.wfkit/failures` and `.wfkit/reports` of the working directory. Each is written as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from wfkit.core.commands import Json
from wfkit.core.entries import Record, RunStarted
from wfkit.core.records import encode_record
from wfkit.errors import FailureFileError, ReportNotWritten
from wfkit.journal import files as histories
from wfkit.journal.folder import make_folder
from wfkit.journal.schema import wfkit_version
from wfkit.sim.faults import Fault
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Delivery, Recording
from wfkit.sim.report import Report
from wfkit.sim.subject import Subject

FORMAT = 1
"""The version of failure files."""
FOLDER = Path(".wfkit")
BYTES_MAX = 20_000
"""A failure file is shorter."""
VALUE_BYTES_MAX = 4_000
"""What it shows of the input, and of the payloads of deliveries, has at most so many bytes."""
DELIVERIES_MAX = 40
"""So many deliveries are shown."""
_HISTORY = ".history.jsonl"


class Code(Struct, frozen=True):
    """The code that failed."""

    workflow: str
    hash: str
    """Of the workflow's source."""
    wfkit: str
    python: str


class Made(Struct, frozen=True):
    """A request of the outside."""

    kind: str
    run: str
    name: str
    payload: Json = UNSET
    """UNSET where the payloads together are too long to be shown."""
    dedupe: str | None = None


class FailureFile(Struct, frozen=True, tag_field="file", tag="wfkit-failure"):
    """A finding that can be replayed. Deliveries are there to be read: a replay runs the origin's own code."""

    format: int
    origin: dict[str, Any]
    """Who runs it: a test's node id, or the arguments of `wfkit verify`."""
    code: Code
    title: str
    severity: str
    signature: tuple[str, str, str]
    """Oracle, what it is about, workflow: the replay fails in the same way if it has the same one."""
    faults: tuple[str, ...]
    seed: int
    start: str
    """When the schedule begins, ISO 8601."""
    trace: str
    """Hash of everything that was written and done in the schedule."""
    input: Json = UNSET
    """The JSON array of the workflow's arguments; UNSET where it is too long to be shown."""
    own_input: bool = False
    """Whether that input is simpler than the origin's: then a replay takes it. Otherwise it is there to be read."""
    deliveries: tuple[Made, ...] = ()


def failure_file(
    subject: Subject,
    violation: Violation,
    recording: Recording[Any],
    faults: Iterable[Fault],
    seed: int,
    origin: Mapping[str, Any],
    *,
    own_input: bool = False,
) -> FailureFile:
    """Return the failure file of a finding.

    Args:
        subject: what was simulated.
        violation: what its oracle says.
        recording: of the reduced schedule.
        faults: the reduced schedule, with the deliveries that it drops.
        seed: of that schedule.
        origin: a JSON object that says what to run; it is kept as it is.
        own_input: whether the subject's input is simpler than the origin's.
    """
    workflow = subject.workflow
    input = workflow.signature.encode(subject.args, {})
    return FailureFile(
        format=FORMAT,
        origin=dict(origin),
        code=Code(workflow.name, workflow.code_hash, wfkit_version(), platform.python_version()),
        title=violation.title,
        severity=violation.severity,
        signature=violation.signature,
        faults=tuple(map(str, faults)),
        seed=seed,
        start=subject.start.isoformat(),
        trace=recording.digest,
        input=input if len(bytes(input)) <= VALUE_BYTES_MAX else UNSET,
        own_input=own_input,
        deliveries=_shown(recording.deliveries),
    )


def failure_path(violation: Violation, origin: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Return where the failure file of a finding lies: `.wfkit/failures/<workflow>-<oracle>-<4 hex digits>.json`.

    The digits are of signature and origin, so that tests which find the same do not write each other's files.
    """
    named = msgspec.json.encode((violation.signature, origin), order="sorted")
    digest = hashlib.blake2b(named, digest_size=2).hexdigest()
    return folder / "failures" / f"{_file_name(violation.workflow)}-{violation.oracle}-{digest}.json"


def write_failure(path: Path, failure: FailureFile, failing: Sequence[Record] = (), fault_free: Sequence[Record] = ()) -> None:
    """Write a failure file, and the histories beside it, over older ones.

    Args:
        path: see `failure_path`.
        failure: what it holds.
        failing: the history of the run that shows the finding.
        fault_free: the history of that run without faults.

    Raises:
        ReportNotWritten: there is no room, or no permission.
    """
    text = msgspec.json.encode(failure)
    indented = msgspec.json.format(text, indent=2)
    _write(path, (indented if len(indented) < BYTES_MAX else text) + b"\n")
    for name, records in (("", failing), (".fault-free", fault_free)):
        if records:
            _write(history_path(path, name), b"".join(histories.export_lines(records)))


def history_path(path: Path, name: str = "") -> Path:
    """Return where the history of a failure file lies; that of the run without faults has the name `.fault-free`."""
    return path.with_name(f"{path.stem}{name}{_HISTORY}")


def read_failure(path: Path) -> FailureFile:
    """Return what a failure file holds.

    Raises:
        FailureFileError: it cannot be read, is no failure file, is damaged, or a newer wfkit wrote it.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FailureFileError(f"{path} cannot be read: {error.strerror}", help="name a file in .wfkit/failures") from None
    if path.name.endswith(_HISTORY):
        failure = path.with_name(path.name.removesuffix(_HISTORY).removesuffix(".fault-free") + ".json")
        raise FailureFileError(f"{path} is a history, and no failure file", help=f"replay the file beside it: {failure}")
    try:
        version = msgspec.json.decode(text, type=_Version)
        if version.format > FORMAT:
            told = f"{path} has format {version.format}; this wfkit reads up to {FORMAT}"
            raise FailureFileError(told, help="install the version of wfkit that wrote it")
        return msgspec.json.decode(text, type=FailureFile)
    except msgspec.MsgspecError as error:
        raise FailureFileError(f"{path} is damaged: {error}", help="verify again: it is written anew") from None


def first_other_event(path: Path, records: Sequence[Record]) -> int | None:
    """Return the number of the first event at which a history differs from the failing one beside a failure file.

    None if they are equal, or if there is no history to compare with. Events count from 1.
    """
    kept = history_path(path)
    if not kept.is_file():
        return None
    known, told = [_comparable(record) for record in histories.read_file(kept).records], list(map(_comparable, records))
    for number, (one, other) in enumerate(zip(known, told, strict=False), 1):
        if one != other:
            return number
    return None if len(known) == len(told) else min(len(known), len(told)) + 1


def _comparable(record: Record) -> bytes:
    """Return a record as it is written, without what any edit of the code changes."""
    if isinstance(record.entry, RunStarted):
        record = msgspec.structs.replace(record, entry=msgspec.structs.replace(record.entry, code="", python=""))
    return encode_record(record)


def write_report(report: Report, name: str, folder: Path = FOLDER) -> Path:
    """Write a report to `.wfkit/reports/<name>.json`, over an older one. Returns the path.

    Raises:
        ReportNotWritten: there is no room, or no permission.
    """
    path = folder / "reports" / f"{_file_name(name)}.json"
    _write(path, report.to_json() + b"\n")
    return path


class _Version(Struct):
    format: int


def _shown(deliveries: Sequence[Delivery]) -> tuple[Made, ...]:
    small = sum(len(bytes(each.payload)) for each in deliveries) <= VALUE_BYTES_MAX
    shown = deliveries[:DELIVERIES_MAX]
    return tuple(Made(each.kind, each.run, each.name, each.payload if small else UNSET, each.dedupe) for each in shown)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "_", text)[:80] or "_"


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        make_folder(path.parent)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ReportNotWritten(f"{path} cannot be written: {error.strerror}") from None
