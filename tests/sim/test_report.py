"""A report says what was found, and of how much it can speak."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from wfkit.errors import LedgerFinding, VerificationFailed
from wfkit.sim.coverage import Coverage
from wfkit.sim.findings import ERRORS, Finding, Oracle, Severity
from wfkit.sim.report import FORMAT, Report

COVERAGE = Coverage(
    not_run=[],
    points=53,
    effects=12,
    single_run=187,
    single_total=187,
    states=32,
    closed=True,
    closure_runs=33,
    pairs_run=641,
    pairs_total=1902,
    pairs_skipped={"R1": 388, "R3": 790},
    random_run=4000,
    random_seconds=6.0,
    last_new_state=212,
    lines_run=41,
    lines_total=44,
    lines_missing=["order.py:88-90, compensation of ship"],
    sometimes_met=3,
    sometimes_total=3,
    hash_seeds=(0, 1, 2),
)


def finding(oracle: Oracle, severity: Severity, story: str) -> Finding:
    return Finding(oracle, severity, ERRORS[oracle].code, f"title of {story}", (), story, None)


def test_errors_come_first() -> None:
    """Errors come first."""
    report = Report(
        "order", [finding("ledger", "info", "c"), finding("ambient", "warning", "b"), finding("user", "error", "a")]
    )
    assert [each.story for each in report.findings] == ["a", "b", "c"]


@pytest.mark.parametrize(("severity", "ok"), [("error", False), ("warning", False), ("info", True)])
def test_only_infos_are_ok(severity: Severity, *, ok: bool) -> None:
    """Only infos are ok."""
    report = Report("order", [finding("ledger", severity, "a")])
    assert report.ok is ok
    if ok:
        report.assert_ok()
    else:
        with pytest.raises(VerificationFailed):
            report.assert_ok()


def test_the_first_finding_is_raised_with_its_story() -> None:
    """The first finding is raised with its story."""
    report = Report("order", [finding("ambient", "warning", "b"), finding("ledger", "error", "the story")])
    with pytest.raises(LedgerFinding) as raised:
        report.assert_ok()
    assert str(raised.value).splitlines() == ["the story", "also: WF069  title of b"]
    assert isinstance(raised.value, AssertionError)


def test_the_coverage_names_what_it_is_a_part_of() -> None:
    """The coverage names what it is a part of."""
    assert Report("fulfil", coverage=COVERAGE).text().splitlines()[-3:] == [
        "fulfil: 53 points, 12 effects | 1 fault: 187/187 (100 %) | crashes, any number: 32 states, complete in 33 runs",
        "2 faults: 641 of 1,902 run, 1,178 skipped as duplicates, 83 not run | random: 4,000 in 6 s, last new state at #212",
        "your lines 41/44 (never run: order.py:88-90, compensation of ship) | sometimes-checks 3/3 | hash seeds 0, 1, 2",
    ]


def test_a_percentage_is_never_rounded_up_to_the_whole() -> None:
    """A percentage is never rounded up to the whole."""
    assert "1 fault: 999/1,000 (99 %)" in Report("order", coverage=replace(COVERAGE, single_run=999, single_total=1000)).text()


def test_what_was_not_run_is_said() -> None:
    """What was not run is said."""
    text = Report("order", coverage=Coverage(["hash seeds: order is local to a function"], points=3, effects=1)).text()
    assert "1 fault: not run | crashes, any number: not run" in text
    assert "2 faults: not run | random: not run" in text
    assert text.endswith("not run: hash seeds: order is local to a function")


def test_crashes_that_were_cut_short_are_not_closed() -> None:
    """Crashes that were cut short are not complete."""
    assert "5,000 states, not complete" in Report("order", coverage=replace(COVERAGE, states=5000, closed=False)).text()


def test_stories_come_before_the_coverage() -> None:
    """Stories come before the coverage."""
    report = Report("order", [finding("ledger", "error", "a story"), finding("difference", "info", "timing")], COVERAGE)
    stories = report.text().split("\n\n")
    assert stories[:2] == ["a story", "info: title of timing"]


def test_printed_it_is_its_text() -> None:
    """In a script or a notebook; what pytest shows of it in an assertion is one line."""
    report = Report("order", [finding("ledger", "error", "a story"), finding("difference", "info", "timing")], COVERAGE)
    assert str(report) == report.text()
    assert repr(report) == "<Report of order: WF063  title of a story>"
    assert repr(Report("order")) == "<Report of order: nothing found>"
    assert str(report.findings[0]) == "a story"


def test_as_json_it_has_a_version() -> None:
    """As JSON it has a version."""
    read = msgspec.json.decode(Report("order", [finding("ledger", "error", "a story")], COVERAGE).to_json())
    assert (read["file"], read["format"], read["ok"]) == ("wfkit-report", FORMAT, False)
    assert read["findings"][0]["code"] == "WF063"
    assert msgspec.convert(read["coverage"], Coverage) == COVERAGE
    assert read["coverage"]["not_run"] == []


def test_what_was_not_come_to_is_left_out() -> None:
    """In JSON as for whoever asks the report; a zero is told."""
    report = Report("order", coverage=Coverage([], points=3, closed=False, states=0))
    assert report.coverage == {"not_run": [], "points": 3, "closed": False, "states": 0}
    assert msgspec.json.decode(report.to_json())["coverage"] == report.coverage
