"""What a campaign found, and how much it looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from wfkit.errors import FindingsIgnored
from wfkit.journal.schema import wfkit_version
from wfkit.sim.findings import ERRORS, SEVERITIES, Finding

FORMAT = 1
"""The version of a report as JSON."""


class Report:
    """The verdict on a workflow.

    Args:
        workflow: its name.
        findings: errors come first, whatever order they are given in.
        coverage: what was looked at; see `text()`.
    """

    def __init__(
        self, workflow: str, findings: Iterable[Finding] = (), coverage: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.workflow = workflow
        self.coverage = coverage
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
        return "\n\n".join([*_stories(self._findings), coverage_text(self.workflow, self.coverage)])

    def to_json(self) -> bytes:
        """Return the report as JSON, with the version of its format."""
        document = {
            "file": "wfkit-report",
            "format": FORMAT,
            "wfkit": wfkit_version(),
            "workflow": self.workflow,
            "ok": _is_ok(self._findings),
            "findings": [_plain(finding) for finding in self._findings],
            "coverage": dict(self.coverage),
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


def coverage_text(workflow: str, coverage: Mapping[str, Any]) -> str:
    """Return what was looked at, and of how much: what was skipped, not run or cut short is named."""
    left_out = [f"not run: {sentence}" for sentence in coverage.get("not_run", ())]
    if "points" not in coverage:
        return "\n".join([workflow, *left_out])
    lines = [
        [_points(workflow, coverage), _single(coverage), _crashes(coverage)],
        [_pairs(coverage), _random(coverage)],
        [_lines(coverage), _sometimes(coverage), _ambient(coverage)],
    ]
    joined = [" | ".join(part for part in parts if part) for parts in lines]
    return "\n".join([line for line in joined if line] + left_out)


def _points(workflow: str, coverage: Mapping[str, Any]) -> str:
    slow = ", slow: the world cannot be copied" if coverage.get("slow") else ""
    return f"{workflow}: {_count(coverage.get('points', 0), 'point')}, {_count(coverage.get('effects', 0), 'effect')}{slow}"


def _single(coverage: Mapping[str, Any]) -> str:
    if "single_total" not in coverage:
        return "1 fault: not run"
    run, total = coverage["single_run"], coverage["single_total"]
    return f"1 fault: {_of(run, total)}" + (f" ({100 * run // total} %)" if total else "")


def _crashes(coverage: Mapping[str, Any]) -> str:
    if "states" not in coverage:
        return "crashes, any number: not run"
    end = "closed" if coverage.get("closed") else "not closed"
    runs = f" in {_count(coverage['closure_runs'], 'run')}" if coverage.get("closure_runs") else ""
    return f"crashes, any number: {_count(coverage['states'], 'state')}, {end}{runs}"


def _pairs(coverage: Mapping[str, Any]) -> str:
    if "pairs_total" not in coverage:
        return "2 faults: not run"
    run, total = coverage["pairs_run"], coverage["pairs_total"]
    skipped = {rule: count for rule, count in coverage.get("pairs_skipped", {}).items() if count}
    left = sum(skipped.values())
    reasons = f" ({', '.join(f'{rule} {count:,}' for rule, count in skipped.items())})" if skipped else ""
    return f"2 faults: {run:,} of {total:,} run, {left:,} skipped{reasons}, {total - run - left:,} not run"


def _random(coverage: Mapping[str, Any]) -> str:
    run = coverage.get("random_run", 0)
    if not run:
        return "random: not run"
    last, new = coverage.get("last_new_state"), coverage.get("new_states")
    state = f", last new state at #{last:,}" + (f" ({new:,} in all)" if new else "") if last else ", no new state"
    return f"random: {run:,} in {coverage.get('random_seconds', 0):.3g} s{state}"


def _lines(coverage: Mapping[str, Any]) -> str:
    if not coverage.get("lines_total"):
        return ""
    missing = coverage.get("lines_missing", ())
    never = f" (never run: {'; '.join(missing)})" if missing else ""
    return f"your lines {_of(coverage['lines_run'], coverage['lines_total'])}{never}"


def _sometimes(coverage: Mapping[str, Any]) -> str:
    total = coverage.get("sometimes_total", 0)
    return f"sometimes-checks {_of(coverage.get('sometimes_met', 0), total)}" if total else ""


def _ambient(coverage: Mapping[str, Any]) -> str:
    seeds = coverage.get("hash_seeds")
    if not seeds:
        return ""
    if isinstance(seeds, int):
        return f"hash seeds 0..{seeds - 1}" if seeds > 1 else "hash seed 0"
    return f"hash seeds {', '.join(map(str, seeds))}"


def _of(run: int, total: int) -> str:
    return f"{run:,}/{total:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
