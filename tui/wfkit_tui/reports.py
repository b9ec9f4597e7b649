"""Reports of verification as their files hold them, and which faults at which phases they tell of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from wfkit.errors import BadRequest, FaultSyntaxError
from wfkit.sim.faults import KINDS, PHASES, parse_fault

FORMAT = 1
"""The newest version of a report that is understood."""


class Finding(Struct, frozen=True):
    """What was found, as a report file tells it."""

    severity: str
    code: str
    title: str
    faults: tuple[str, ...]
    story: str
    line: str = ""
    file: str = ""
    count: int = 1

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Phase and kind of each fault of its schedule."""
        found = []
        for text in self.faults:
            try:
                fault = parse_fault(text)
            except FaultSyntaxError:
                continue  # of a newer wfkit: its story tells of it
            found.append((fault.point.phase, fault.kind))
        return found


class ReportFile(Struct, frozen=True, tag_field="file", tag="wfkit-report"):
    """The verdict on a workflow."""

    format: int
    workflow: str
    ok: bool
    findings: tuple[Finding, ...]
    coverage: Mapping[str, Any]

    @property
    def schedules(self) -> int:
        return int(self.coverage.get("schedules", 0))

    @property
    def seconds(self) -> float:
        return float(self.coverage.get("seconds", 0))


class Matrix(Struct, frozen=True):
    """How many schedules failed, by phase and kind of fault; only phases and kinds that some finding tells of."""

    phases: tuple[str, ...]
    kinds: tuple[str, ...]
    failed: Mapping[tuple[str, str], int]


def read_report(text: str) -> ReportFile:
    """Return what a report file holds.

    Raises:
        BadRequest: it is none, or a newer wfkit wrote it.
    """
    try:
        report = msgspec.json.decode(text, type=ReportFile)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"this is no report: {error}", help="verify again: it is written anew") from None
    if report.format > FORMAT:
        raise BadRequest(
            f"it has format {report.format}; this wfkit reads up to {FORMAT}", help="install the wfkit that wrote it"
        )
    return report


def matrix_of(findings: Sequence[Finding]) -> Matrix:
    """Return where the schedules of these findings went wrong."""
    failed: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        for cell in dict.fromkeys(finding.cells):
            failed[cell] += finding.count
    return Matrix(
        tuple(phase for phase in PHASES if any(phase == cell[0] for cell in failed)),
        tuple(kind for kind in KINDS if any(kind == cell[1] for cell in failed)),
        dict(failed),
    )
