"""The corpus: every planted bug is found by the oracle that is named, and nothing is said against what is correct."""

from __future__ import annotations

import pytest

from tests.quality import bugs, others, shapes, suspicious
from tests.quality.case import Case, Found
from wfkit.sim.faults import is_drop
from wfkit.testing import Finding, Report

CASES = (*bugs.CASES, *suspicious.CASES, *others.CASES, *shapes.CASES)

each_bug = pytest.mark.parametrize("case", [case for case in CASES if case.found is not None], ids=lambda case: case.name)
each_correct = pytest.mark.parametrize("case", [case for case in CASES if case.found is None], ids=lambda case: case.name)


@each_bug
def test_a_bug_is_found(case: Case) -> None:
    """By its oracle, with its severity, shrunk to its faults, in a story that tells of it."""
    assert case.found is not None
    report = case.verify()
    finding = _found(report, case.found)
    _check_faults(finding, case.found)
    told = "\n".join((finding.title, finding.story, finding.why or "")).casefold()
    assert [word for word in case.found.tells if word.casefold() not in told] == [], told
    assert report.ok == (case.found.severity == "info")


@each_correct
def test_nothing_is_said_against_a_correct_workflow(case: Case) -> None:
    """Neither an error nor a warning; what is only worth knowing may be said."""
    report = case.verify()
    assert [(finding.oracle, finding.faults, finding.title) for finding in _grave(report)] == []
    assert report.ok


def test_every_bug_has_a_cure() -> None:
    """Each id of the bugs has both: what is found, and what is not."""
    verdicts = {case.id: {other.found is None for other in bugs.CASES if other.id == case.id} for case in bugs.CASES}
    shared = {"I02", "I04"}  # their cure is that of I01
    assert [id for id, both in verdicts.items() if len(both) < 2] == sorted(shared)


def _found(report: Report, expected: Found) -> Finding:
    of_oracle = [finding for finding in report.findings if finding.oracle == expected.oracle]
    severities = ("error", "warning") if expected.severity is None else (expected.severity,)
    matching = [finding for finding in of_oracle if finding.severity in severities]
    assert matching, [(finding.oracle, finding.severity, finding.faults, finding.title) for finding in report.findings]
    return matching[0]


def _check_faults(finding: Finding, expected: Found) -> None:
    faults = [fault for fault in finding.faults if not is_drop(fault)]
    count = len(faults)
    if expected.faults is None:
        assert count <= 1, finding.faults
    elif expected.faults == 0:
        assert count == 0, finding.faults
    else:
        assert 1 <= count <= expected.faults, finding.faults
    kinds = {fault.partition("@")[0] for fault in faults}
    assert not expected.by or kinds <= set(expected.by), finding.faults


def _grave(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity in ("error", "warning")]
