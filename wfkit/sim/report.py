"""What a campaign found, and how much it looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from wfkit.errors import FindingsIgnored
from wfkit.journal.schema import wfkit_version
from wfkit.sim.coverage import Coverage, coverage_text
from wfkit.sim.findings import ERRORS, SEVERITIES, Finding

FORMAT = 1
"""The version of a report as JSON."""


class Report:
    """The verdict on a workflow.

    Args:
        workflow: its name.
        findings: errors come first, whatever order they are given in.
        coverage: what was looked at; nothing unless given.
    """

    def __init__(self, workflow: str, findings: Iterable[Finding] = (), coverage: Coverage | None = None) -> None:
        self.workflow = workflow
        self._coverage = coverage if coverage is not None else Coverage(not_run=[])
        self._findings = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
        self._asked = False

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Report of {self.workflow}: {'; '.join(_titles(self._findings)) or 'nothing found'}>"

    @property
    def findings(self) -> list[Finding]:
        """What was found, errors first."""
        self._asked = True
        return self._findings

    @property
    def ok(self) -> bool:
        """Whether there is no finding of severity error or warning."""
        return _is_ok(self.findings)

    @property
    def coverage(self) -> Mapping[str, Any]:
        """What was looked at, in numbers: `single_run` of `single_total` schedules with one fault, and so on; see `text()`.

        `not_run` is a list of sentences. What the search did not come to is left out.
        """
        found: dict[str, Any] = msgspec.to_builtins(self._coverage)
        return found

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has ended the search."""
        return self._coverage.interrupted

    def assert_ok(self) -> None:
        """Do nothing if all is well.

        Raises:
            VerificationFailed: there is a finding; the class is that of the first one, and the message its story.
        """
        if not self.ok:
            raise ERRORS[self._findings[0].oracle](_told(self._findings))

    def assert_asked(self) -> None:
        """Do nothing unless there is a finding, and nobody has asked whether there is.

        Raises:
            FindingsIgnored: so whoever had this made cannot fail, whatever is found.
        """
        if not self._asked and not self.ok:
            told = f"{self.workflow} was verified, something was found, and nobody asked: end it with .assert_ok()"
            raise FindingsIgnored(f"{told}\n{_told(self._findings)}")

    def text(self) -> str:
        """Return the report for a terminal: the stories of what was found, then how much was looked at."""
        return "\n\n".join([*_stories(self._findings), coverage_text(self.workflow, self._coverage)])

    def to_json(self) -> bytes:
        """Return the report as JSON, with the version of its format."""
        document = {
            "file": "wfkit-report",
            "format": FORMAT,
            "wfkit": wfkit_version(),
            "workflow": self.workflow,
            "ok": _is_ok(self._findings),
            "findings": [_plain(finding) for finding in self._findings],
            "coverage": self._coverage,
        }
        return msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)


def _is_ok(findings: Sequence[Finding]) -> bool:
    return all(finding.severity == "info" for finding in findings)


def _told(findings: list[Finding]) -> str:
    """Return the story of the first finding, and one line for each of the others that count."""
    first, *others = findings
    return "\n".join([first.story or first.title, *(f"also: {title}" for title in _titles(others))])


def _titles(findings: list[Finding]) -> list[str]:
    return [f"{finding.code}  {finding.title}" for finding in findings if finding.severity != "info"]


def _stories(findings: list[Finding]) -> list[str]:
    told = [finding.story or f"{finding.code}  {finding.title}" for finding in findings if finding.severity != "info"]
    infos = [finding.title for finding in findings if finding.severity == "info"]
    return [*told, "\n".join(f"info: {title}" for title in infos)] if infos else told


def _plain(finding: Finding) -> dict[str, Any]:
    violation = finding.violation
    return {
        "oracle": finding.oracle,
        "severity": finding.severity,
        "code": finding.code,
        "title": finding.title,
        "about": violation.about if violation is not None else "",
        "line": violation.line if violation is not None else "",
        "faults": finding.faults,
        "story": finding.story,
        "why": finding.why,
        "file": finding.file,
        "count": finding.count,
    }
