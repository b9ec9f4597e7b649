"""`wfkit runs why`: everything that holds a run up, and the line of code."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Raw

from tests.cli.conftest import APP, Wfkit, call_in
from wfkit.cli.output import local
from wfkit.cli.runs.why import about
from wfkit.core.commands import Failure, RetryPolicy, RunStep, StartTimer
from wfkit.core.entries import AttemptFailed, Record, RunStarted
from wfkit.replay.explain import explain


def line_of(text: str, folder: Path) -> str:
    lines = (folder / "app.py").read_text(encoding="utf-8").splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if text in line)
    return f"app.py:{number}"


def test_a_signal_that_does_not_match_is_shown_with_the_field_that_differs(filled: Wfkit, filled_folder: Path) -> None:
    """The most frequent reason for a run that waits for ever; and so is a misspelled name."""
    told = filled("runs", "why", "pack-7").out
    assert told.startswith("◷ waiting  pack-7  pack  started ")
    assert 'waits for  signal order.packed with {"order_id":"7"}' in told
    assert 'no match   order.packed {"order_id":"8","box":"b\\u001b[31m"}, arrived ' in told
    assert 'order_id is "8"' in told
    assert f"line       {line_of('box = await wait_signal', filled_folder)} in pack" in told
    assert "waits for  timer of 3d" in told
    assert f"{line_of('async with timeout', filled_folder)} in pack" in told
    assert 'not asked for  signal order.pakced {"order_id":"7"}' in told
    assert "No engine holds the journal" in told
    assert "wfkit run app.py:pack --id pack-7" in told


def test_a_retry_is_shown_with_its_time_and_the_last_error(filled: Wfkit, filled_folder: Path) -> None:
    """And where in the step that was raised."""
    told = filled("runs", "why", "parcel-1").out
    assert "waits for   step ship, attempt 2 of 5" in told
    assert re.search(r"next retry  in \d+m", told)
    assert "last error  ConnectionError: 503 Service Unavailable" in told
    assert "in ship\n" in told
    assert f"line        {line_of('return await ship(order)', filled_folder)} in parcel\n" in told


def test_a_compensation_is_called_one(filled: Wfkit) -> None:
    """The run is on its way back."""
    told = filled("runs", "why", "undo-1").out
    assert told.startswith("↶ compensating  undo-1")
    assert "waits for   compensation refund, attempt 2 of 5" in told
    assert "last error  ConnectionError: the bank is closed" in told


def test_a_run_that_waits_for_a_child_says_how_that_one_is(filled: Wfkit) -> None:
    """A child that nobody awaits holds nothing up."""
    told = filled("runs", "why", "family-1").out
    assert "waits for  child family-1/parcel-" in told
    assert re.search(r"it is      retrying: ship 2/5 in \d+m", told)
    assert "nap" not in told
    child = filled("runs", "why", "family-1/parcel").out
    assert "wfkit run app.py:family --id family-1\n" in child


def test_a_blocked_run_shows_recorded_and_requested(filled: Wfkit, filled_folder: Path) -> None:
    """As the code is now, with what to write."""
    told = filled("runs", "why", "edited-1").out
    assert told.startswith("▲ blocked  edited-1")
    assert "blocked  [WF021] history and code disagree" in told
    recorded, requested = (next(line for line in told.splitlines() if word in line) for word in ("recorded", "requested"))
    assert "timer" in recorded
    assert "sync" in requested
    assert line_of("await sync(1)", filled_folder) in requested
    assert 'has_patch("sync")' in told


def test_a_blocked_run_that_the_code_now_agrees_with_is_told_so(filled_folder: Path, tmp_path: Path) -> None:
    """After the edit, before any engine has tried."""
    shutil.copytree(filled_folder / ".wfkit", tmp_path / ".wfkit")
    shutil.copy(APP, tmp_path / "app.py")
    told = call_in(tmp_path)("runs", "why", "edited-1").out
    assert "[WF021] history and code disagree" in told
    assert "On the code as it is now it goes on." in told


def test_a_mistake_in_the_code_is_shown_with_its_line(filled: Wfkit, filled_folder: Path) -> None:
    """It is found again by replay."""
    told = filled("runs", "why", "mistaken-1").out
    assert "blocked  [WF029] AttributeError: 'Order' object has no attribute 'name'" in told
    assert line_of("order.name", filled_folder) in told


def test_a_failed_run_names_the_step_and_both_lines(filled: Wfkit, filled_folder: Path) -> None:
    """The line of the workflow, the line of the step, and what was undone."""
    told = filled("runs", "why", "@failed").out
    assert told.startswith("✗ failed  pay-declined  pay  took ")
    assert "NonRetryable: card 4242 is declined" in told
    assert line_of("await s.do(charge", filled_folder) in told
    assert line_of("raise NonRetryable", filled_folder) in told
    assert "by step      charge, at its first attempt" in told
    assert "undone       release, release" in told


def test_without_the_app_all_but_the_line_is_told(filled_folder: Path, tmp_path: Path) -> None:
    """Reading a journal does not need the code."""
    shutil.copytree(filled_folder / ".wfkit", tmp_path / ".wfkit")
    wfkit = call_in(tmp_path)
    told = wfkit("runs", "why", "pack-7").out
    assert 'order_id is "8"' in told
    assert "The line of code is not shown: no file in" in told
    assert "line  " not in told
    assert "wfkit run APP:pack --id pack-7" in told
    named = wfkit("runs", "why", "pack-7", "--app", str(APP)).out
    assert "wait_signal(packed" in named


def test_of_several_files_the_one_that_defines_the_workflow_is_taken(filled_folder: Path, tmp_path: Path) -> None:
    """Whatever others are beside it; and it is named in the command that goes on."""
    shutil.copytree(filled_folder / ".wfkit", tmp_path / ".wfkit")
    shutil.copy(APP, tmp_path / "app.py")
    (tmp_path / "another.py").write_text("from wfkit import workflow\n\n\n@workflow\nasync def other() -> None: ...\n")
    told = call_in(tmp_path)("runs", "why", "pack-7").out
    assert "app.py:" in told
    assert "wfkit run app.py:pack --id pack-7\n" in told


def test_the_reasons_are_data_as_well(filled: Wfkit) -> None:
    """For scripts."""
    document = filled("runs", "why", "pack-7", "--json").json
    assert document["document"] == "why"
    signal, timer = document["reasons"]
    assert (signal["kind"], signal["name"], signal["where"]) == ("signal", "order.packed", {"order_id": "7"})
    assert signal["unmatched"][0]["differs"] == 'order_id is "8"'
    assert signal["line"].endswith(" in pack")
    assert (timer["kind"], timer["name"]) == ("timer", "3d")
    assert document["code"] == {"checked": True, "problem": None}
    blocked = filled("runs", "why", "edited-1", "--json").json
    assert blocked["code"]["problem"]["code"] == "WF021"


def test_times_are_those_of_where_one_is(filled_folder: Path) -> None:
    """To the second; JSON has them in full, in UTC."""
    wfkit = call_in(filled_folder)
    (reason,) = wfkit("runs", "why", "parcel-1", "--json", TZ="Asia/Tokyo").json["reasons"]
    since = datetime.fromisoformat(reason["since"])
    for place, hours in (("UTC", 0), ("Asia/Tokyo", 9)):
        told = wfkit("runs", "why", "parcel-1", TZ=place).out
        assert re.search(rf"since +\S+ ago \(.*{since + timedelta(hours=hours):%H:%M:%S}\)", told)


def test_a_time_of_another_day_has_its_day() -> None:
    """That of today is short."""
    noon = round(datetime.fromisoformat("2026-05-04T12:00").timestamp() * 1e6)
    assert local(noon, noon + 60_000_000) == "12:00:00"
    assert local(noon, noon + 86_400_000_000) == "2026-05-04 12:00:00"


def test_ages_are_told_by_the_clock_of_the_engine() -> None:
    """Which chaos may have put forward: whoever asks says what time it is there."""
    records = [Record(RunStarted(t=0, id="r", workflow="w", args=Raw(b"[]"), seed="0" * 32), (StartTimer(1, 9_000_000_000),))]
    (facts,) = about(explain(records), {}, Path("j"), present=7_200_000_000)
    assert "since 2h ago" in [f"{fact.label} {fact.text.partition(' (')[0]}" for fact in facts]


def test_a_step_under_which_the_process_dies_says_why_it_waits() -> None:
    """Its attempts are more than its policy has, and it waits although it is due."""
    step = RunStep(1, "hard_exit", Raw(b"[]"), "k", RetryPolicy(max_attempts=4))
    records = [Record(RunStarted(t=0, id="r", workflow="w", args=Raw(b"[]"), seed="0" * 32), (step,))]
    for attempt in (1, 2, 3):
        died = Failure("WorkerDied", "the process died while hard_exit() ran")
        records.append(Record(AttemptFailed(t=attempt, n=1, attempt=attempt, error=died, due=attempt, died=True)))
    (facts,) = about(explain(records), {}, Path("j"), present=10)
    told = [f"{fact.label} {fact.text}" for fact in facts]
    assert "waits for step hard_exit, attempt 4 of 7" in told
    assert " 3 attempts do not count: the process ended before the step did" in told
    (suspect,) = (line for line in told if line.startswith("suspect "))
    assert "the process died 3 times in a row while it ran. Such steps run one at a time" in suspect
    assert "after 5 deaths it fails" in suspect


@pytest.mark.parametrize(("id", "sign"), [("pay-1", "✓ completed"), ("napper", "⊘ cancelled")])
def test_a_run_that_ended_says_how(filled: Wfkit, id: str, sign: str) -> None:
    """There is nothing to wait for, and no engine is missed."""
    told = filled("runs", "why", id).out
    assert told.startswith(f"{sign}  {id}")
    assert "No engine" not in told
