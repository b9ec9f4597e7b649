"""What holds for every command: its JSON is a document of a known version, and its exit status says what became of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Wfkit, call_here
from tests.cli.test_engine import ORDER, serving
from wfkit.cli.completing import WORDS

TABLE: dict[str, Any] = json.loads(WORDS.read_text(encoding="utf-8"))


def commands_with(option: str) -> set[str]:
    return {name for name, node in TABLE.items() if any(option in known["names"] for known in node["options"])}


FROM_A_FILE: dict[str, list[str]] = {
    "run": ["app.py:batch", "2"],
    "runs ls": [],
    "runs get": ["pay-2"],
    "runs why": ["pack-7"],
    "runs history": ["pay-2"],
    "runs tree": ["family-1"],
    "runs result": ["pay-2"],
    "runs state": ["pay-2"],
    "signals": [],
    "timers": [],
    "code": [],
    "workflows": ["app.py"],
    "sql": ["SELECT 1 AS one"],
    "store info": [],
    "store backup": ["copy.duckdb"],
    "store repair": [],
    "explain": ["WF021"],
    "version": [],
}
OF_AN_ENGINE: dict[str, list[str]] = {
    "start": ["pack", ORDER, "--id", "pack-7"],
    "send": ["other", "1", "--run", "pack-7"],
    "publish": ["news", "1"],
    "runs logs": ["pack-7"],
    "runs cancel": ["pack-7"],
    "runs terminate": ["@last"],
}
ELSEWHERE = {"chaos", "verify"}
"""Whose documents are looked at in its own tests."""
LINES = {"runs ls": [], "runs history": ["pay-2"], "signals": [], "timers": [], "sql": ["SELECT 1 AS one"]}


def document(text: str) -> Any:
    """Return what is one JSON document, and no more."""
    found = json.loads(text)
    assert isinstance(found["document"], str)
    assert found["version"] == 1
    return found


def test_every_command_that_gives_json_is_looked_at() -> None:
    """A new one is added to a table above."""
    assert set(FROM_A_FILE) | set(OF_AN_ENGINE) | ELSEWHERE == commands_with("--json")
    assert set(LINES) | {"runs logs"} == commands_with("--ndjson")


@pytest.mark.parametrize("command", FROM_A_FILE)
def test_without_an_engine_json_is_one_document(
    filled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """And nothing is said beside it."""
    shutil.copytree(filled_folder, tmp_path / "filled")
    answer = call_here(tmp_path / "filled", monkeypatch, capsys)(*command.split(), *FROM_A_FILE[command], "--json")
    assert (answer.status, answer.err) == (0, "")
    assert document(answer.out)


def test_beside_an_engine_json_is_one_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what was done, so that a script can go on with it."""
    with serving(folder):
        call = call_here(folder, monkeypatch, capsys)
        found = {}
        for command, arguments in OF_AN_ENGINE.items():
            if command == "runs terminate":
                call("start", "nap", '"2 days"', "--id", "napper")
            answer = call(*command.split(), *arguments, "--json")
            assert (answer.status, answer.err) == (0, ""), command
            found[command] = document(answer.out)
    assert found["start"]["run"] == found["send"]["run"] == "pack-7"
    assert found["send"]["dedupe"] != found["publish"]["dedupe"]
    assert found["runs cancel"]["runs"] == ["pack-7"]
    assert found["runs terminate"]["runs"] == ["napper"]


@pytest.mark.parametrize("command", LINES)
def test_json_lines_are_objects(filled: Wfkit, command: str) -> None:
    """One on each line."""
    answer = filled(*command.split(), *LINES[command], "--ndjson")
    assert (answer.status, answer.err) == (0, "")
    assert answer.lines
    assert all(isinstance(line, dict) for line in answer.lines)


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (0, ["runs", "get", "pay-2"]),
        (1, ["runs", "result", "pack-7"]),
        (1, ["run", "app.py:pay", '{"id": "1", "amount": "9", "card": "declined"}']),
        (2, ["runs", "--no-such-option"]),
        (2, ["runs", "get"]),
        (2, ["runs", "get", ""]),
        (2, ["send", "x", "--run", ""]),
        (2, ["send", "x", "--run", "pack-7", "--dedupe", ""]),
        (2, ["send", "x"]),
        (2, ["runs", "cancel"]),
        (2, ["runs", "status:nonsense"]),
        (2, ["runs", "logs", "pack-7", "--follow", "--json"]),
        (2, ["start", "pay", "{"]),
        (2, ["run", "app.py"]),
        (2, ["run", "nowhere.py:pay"]),
        (2, ["sql", "DROP TABLE runs"]),
        (2, ["store"]),
        (2, ["nonsense"]),
        (3, ["runs", "get", "nobody"]),
        (3, ["runs", "get", "pay"]),
        (3, ["run", "app.py:nonsense"]),
        (3, ["explain", "nonsense"]),
        (4, ["start", "pay"]),
        (4, ["send", "x", "--run", "pack-7"]),
        (4, ["publish", "x"]),
        (4, ["runs", "cancel", "pack-7"]),
        (4, ["runs", "logs", "pack-7"]),
        (4, ["runs", "--store", "nowhere.duckdb"]),
        (4, ["runs", "--engine", "nowhere"]),
        (5, ["run", "app.py:edited", "--id", "edited-1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_exit_status_says_what_became_of_it(
    filled_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    arguments: list[str],
) -> None:
    """And an error is told in a few lines, that begin as all do, on stderr alone."""
    shutil.copytree(filled_folder, tmp_path / "filled")
    answer = call_here(tmp_path / "filled", monkeypatch, capsys)(*arguments)
    assert answer.status == status, answer.err
    if status:
        assert answer.out == ""
        told = [line for line in answer.err.splitlines() if line.startswith("error")]
        assert len(told) == 1, answer.err
        assert len(answer.err.splitlines()) <= 20
        assert "Traceback" not in answer.err


def test_the_name_of_nothing_is_a_variable_that_is_not_set(quick: Wfkit) -> None:
    """`wfkit runs get "$ID"`: a dedupe id that is empty would let a signal come twice."""
    for arguments in (
        ["runs", "get", ""],
        ["send", "", "--run", "x"],
        ["publish", "x", "--dedupe", ""],
        ["runs", "cancel", ""],
    ):
        answer = quick(*arguments)
        assert (answer.status, "it is empty: is a variable of the shell not set?" in answer.err) == (2, True), arguments


def test_an_engine_elsewhere_is_named_with_its_journal(quick: Wfkit) -> None:
    """So that one sees which one is missing, and how to start it."""
    answer = quick("start", "pay", "1", "--store", "other/journal.duckdb")
    assert answer.err.splitlines() == [
        "error[WF058]: no engine runs on other/journal.duckdb",
        "  help  start one: wfkit serve APP --store other/journal.duckdb",
    ]


def test_a_run_beside_an_engine_is_told_where_to_go(served_folder: Wfkit) -> None:
    """The engine that holds the journal can start it."""
    answer = served_folder("run", "app.py:nap", '"1ms"')
    assert (answer.status, "WF051" in answer.err) == (4, True)
    assert "help  start it on the engine that runs: wfkit start nap" in answer.err


@pytest.fixture
def served_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls `wfkit` beside an engine that runs."""
    with serving(folder):
        yield call_here(folder, monkeypatch, capsys)
