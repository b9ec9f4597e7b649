"""Failure files say all that a replay needs, are read with care, and are written as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wfkit import Signal, step, wait_signal, workflow
from wfkit.errors import FailureFileError, ReportNotWritten
from wfkit.journal import files as histories
from wfkit.sim.coverage import Coverage
from wfkit.sim.faults import parse_fault
from wfkit.sim.files import (
    FORMAT,
    FailureFile,
    failure_file,
    failure_path,
    first_other_event,
    history_path,
    read_failure,
    write_failure,
    write_report,
)
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.report import Report
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject

packed = Signal("order.packed", str)
FAULTS = (parse_fault("crash@1:step.effect_done_not_journaled:ship"),)
VIOLATION = Violation("ledger", "error", "ship", "ship happened twice", "order", "order-1", 1)
ORIGIN = {"pytest": "tests/test_shop.py::test_order"}


@step
async def ship(item: str) -> str:
    return item


@workflow
async def order(item: str) -> str:
    shipped = await ship(item)
    return shipped + await wait_signal(packed)


async def script(run: Any, world: Any) -> None:
    await asyncio.sleep(60)
    await run.send(packed, "box-3", dedupe="scan-1")


def failing(item: str = "box") -> tuple[Subject, Recording[Any]]:
    subject = Subject(order, (item,), script=script)
    return subject, Simulation(subject, FAULTS).run()


def written(folder: Path, item: str = "box") -> Path:
    subject, recording = failing(item)
    path = failure_path(VIOLATION, {}, folder)
    fault_free = Simulation(subject).run()
    write_failure(
        path, failure_file(subject, VIOLATION, recording, FAULTS, 0, ORIGIN), recording.history(), fault_free.history()
    )
    return path


def test_it_is_named_after_workflow_oracle_and_signature(tmp_path: Path) -> None:
    """It is named after workflow oracle and signature."""
    path = failure_path(VIOLATION, {}, tmp_path)
    assert path.parent == tmp_path / "failures"
    assert path.name.startswith("order-ledger-")
    assert len(path.stem.rpartition("-")[2]) == 4
    assert failure_path(VIOLATION, {"pytest": "test_x.py::test_y"}, tmp_path) != path
    assert failure_path(VIOLATION._replace(about="charge"), {}, tmp_path) != path
    assert failure_path(VIOLATION._replace(title="in other words", run="order-2"), {}, tmp_path) == path


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    """It is read as it was written."""
    path = written(tmp_path)
    read = read_failure(path)
    subject, recording = failing()
    assert read.origin == ORIGIN
    assert tuple(map(parse_fault, read.faults)) == FAULTS
    assert read.signature == VIOLATION.signature
    assert read.trace == recording.digest
    assert read.code.hash == order.code_hash
    assert read.start == subject.start.isoformat()
    assert read.input is not msgspec.UNSET
    assert msgspec.json.decode(read.input) == ["box"]
    assert [(made.kind, made.name, made.dedupe) for made in read.deliveries] == [
        ("start", "order", None),
        ("send", "order.packed", "scan-1"),
    ]


def test_the_histories_beside_it_can_be_read(tmp_path: Path) -> None:
    """The histories beside it can be read."""
    path = written(tmp_path)
    assert len(histories.read_file(history_path(path)).records) > len(
        histories.read_file(history_path(path, ".fault-free")).records
    )


def test_it_stays_small_whatever_the_input(tmp_path: Path) -> None:
    """It stays small whatever the input."""
    path = written(tmp_path, "x" * 500_000)
    assert path.stat().st_size < 20_000
    read = read_failure(path)
    assert read.input is msgspec.UNSET


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """A damaged file is refused."""
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FailureFileError, match="is damaged"):
        read_failure(path)
    path.write_text("[]")
    with pytest.raises(FailureFileError, match="is damaged"):
        read_failure(path)
    with pytest.raises(FailureFileError, match="cannot be read: No such file"):
        read_failure(tmp_path / "none.json")


def test_other_json_is_no_failure_file(tmp_path: Path) -> None:
    """Other JSON is no failure file."""
    path = tmp_path / "report.json"
    path.write_bytes(Report("order").to_json())
    with pytest.raises(FailureFileError, match="is damaged"):
        read_failure(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A newer version is refused."""
    path = written(tmp_path)
    path.write_bytes(msgspec.json.encode({"file": "wfkit-failure", "format": FORMAT + 1, "anything": "else"}))
    with pytest.raises(FailureFileError, match=f"has format {FORMAT + 1}"):
        read_failure(path)


def test_the_same_schedule_does_not_differ(tmp_path: Path) -> None:
    """The same schedule does not differ."""
    path = written(tmp_path)
    assert first_other_event(path, failing()[1].history()) is None


def test_the_first_event_that_differs_is_named(tmp_path: Path) -> None:
    """The first event that differs is named."""
    path = written(tmp_path)
    history = list(failing()[1].history())
    assert first_other_event(path, history[:3]) == 4
    history[2] = history[0]
    assert first_other_event(path, history) == 3


@pytest.mark.parametrize("name", ["", ".fault-free"])
def test_a_history_is_told_from_the_failure_file_beside_it(tmp_path: Path, name: str) -> None:
    """Its name is nearly the same, and nothing is damaged."""
    path = written(tmp_path)
    with pytest.raises(FailureFileError, match="is a history, and no failure file") as caught:
        read_failure(history_path(path, name))
    assert caught.value.help.endswith(str(path))


def test_an_edit_alone_is_no_difference(tmp_path: Path) -> None:
    """An edit alone is no difference."""
    path = written(tmp_path)
    first, *others = failing()[1].history()
    edited = msgspec.structs.replace(first, entry=msgspec.structs.replace(first.entry, code="0000"))
    assert first_other_event(path, [edited, *others]) is None


def test_a_report_is_written_under_its_name(tmp_path: Path) -> None:
    """A report is written under its name."""
    path = write_report(Report("order", coverage=Coverage([], points=3)), "tests/test_shop.py::test_order", tmp_path)
    assert path.parent == tmp_path / "reports"
    assert path.suffix == ".json"
    assert msgspec.json.decode(path.read_bytes())["coverage"] == {"not_run": [], "points": 3}


@pytest.mark.skipif(os.geteuid() == 0, reason="platform: root may write everywhere")
def test_a_read_only_folder_is_one_clear_error(tmp_path: Path) -> None:
    """A read only folder is one clear error."""
    tmp_path.chmod(0o500)
    with pytest.raises(ReportNotWritten, match="cannot be written: Permission denied"):
        write_report(Report("order"), "order", tmp_path)


def test_what_stands_in_the_way_is_one_clear_error(tmp_path: Path) -> None:
    """What stands in the way is one clear error."""
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportNotWritten, match="cannot be written"):
        write_report(Report("order"), "order", tmp_path)


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    """A full disk leaves the older file."""
    path = written(tmp_path)
    before = path.read_bytes()
    read = msgspec.structs.replace(read_failure(path), title="another")
    if not Path("/dev/full").exists():
        pytest.skip("platform: there is no /dev/full")
    path.with_name(f".{path.name}.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(ReportNotWritten, match="No space left"):
        write_failure(path, read)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_a_file_of_this_version_can_be_read_for_good() -> None:
    """The form of a file is a promise: this text must be readable for as long as FORMAT says so."""
    text = (
        b'{"file":"wfkit-failure","format":1,"origin":{"pytest":"a::b"},"code":{"workflow":"order","hash":"12","wfkit":"0.1",'
        b'"python":"3.11.7"},"title":"ship happened twice","severity":"error","signature":["ledger","ship","order"],'
        b'"faults":["crash@1:step.journaled:ship"],"seed":0,"start":"2026-03-02T10:00:00+00:00","trace":"ab","input":["box"],'
        b'"input_hash":"cd","deliveries":[{"kind":"start","run":"order-1","name":"order","payload":["box"],"dedupe":null}]}'
    )
    assert msgspec.json.decode(text, type=FailureFile).faults == ("crash@1:step.journaled:ship",)
