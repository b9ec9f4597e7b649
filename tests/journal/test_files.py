"""History files: readable lines that come back as the same history."""

import json
from pathlib import Path

import pytest
from msgspec import Raw

from wfkit.core.commands import CompleteRun, Failure, RunStep
from wfkit.core.entries import FORMAT, Record, RunStarted, StepCompleted, StepFailed
from wfkit.errors import JournalCorrupt, JournalTooNew
from wfkit.journal.files import export_lines, import_lines, read_file, write_file

STARTED = RunStarted(t=1, id="ordér-1", generation=2, workflow="fulfil", args=Raw(b"[1]"), seed="0f", code="abc", python="3.12")
RECORDS = (
    Record(STARTED, (RunStep(1, "charge", Raw('["żółć"]'.encode()), "k"),)),
    Record(StepFailed(t=2, n=1, error=Failure("E", "a\nb", args=Raw(b'["x"]')))),
    Record(StepCompleted(t=3, n=1, value=Raw(json.dumps("long " * 5000).encode())), (CompleteRun(Raw(b"null")),)),
)


def test_a_history_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every record, byte for byte in its payloads."""
    write_file(tmp_path / "run.jsonl", RECORDS)
    history = read_file(tmp_path / "run.jsonl")
    assert history.records == RECORDS
    assert list(export_lines(history.records)) == (tmp_path / "run.jsonl").read_bytes().splitlines(keepends=True)


def test_the_first_line_says_what_the_file_is() -> None:
    """Format, versions, workflow, run and code, as JSON."""
    header = json.loads(next(export_lines(RECORDS)))
    assert header.pop("wfkit")
    assert header == {
        "file": "wfkit-history",
        "format": FORMAT,
        "workflow": "fulfil",
        "run": "ordér-1",
        "generation": 2,
        "code": "abc",
        "python": "3.12",
    }


def test_each_further_line_is_one_record() -> None:
    """Also if a payload was written over several lines: to JSON that is the same value."""
    payload = Raw(b'{\r\n  "a": "b\\nc"\n}')
    lines = list(export_lines([RECORDS[0], Record(StepCompleted(t=2, n=1, value=payload))]))
    assert len(lines) == 3
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert json.loads(lines[2])["entry"]["value"] == {"a": "b\nc"}
    again = import_lines(lines).records
    assert list(export_lines(again)) == lines


def test_empty_lines_do_not_matter() -> None:
    """An editor may leave one at the end."""
    assert import_lines([b"\n", *export_lines(RECORDS), b"\n", b"  \n"]).records == RECORDS


def test_a_damaged_line_is_named() -> None:
    """With the file, the number of the line and the reason."""
    lines = list(export_lines(RECORDS))
    lines[2] = lines[2].replace(b'"n":1', b'"n":"x"')
    with pytest.raises(JournalCorrupt, match=r"run\.jsonl is damaged: line 3: .*\$\.entry\.n"):
        import_lines(lines, "run.jsonl")


@pytest.mark.parametrize(
    "lines", [[], [b"hello\n"], [b"{}\n"], [b'{"file":"something else"}\n'], list(export_lines(RECORDS))[1:]]
)
def test_something_else_is_no_history(lines: list[bytes]) -> None:
    """Nor is a history without its first line."""
    with pytest.raises(JournalCorrupt, match="is no history: line 1"):
        import_lines(lines)


def test_a_newer_format_is_refused() -> None:
    """Before any record is looked at."""
    header, *_ = export_lines(RECORDS)
    newer = header.replace(b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT + 1))
    with pytest.raises(JournalTooNew, match=rf"format {FORMAT + 1}"):
        import_lines([newer, b"what no one knows\n"])
