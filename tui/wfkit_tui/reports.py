"""Reports of verification as their files hold them, and which faults at which phases they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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


class Cell(NamedTuple):
    """What went wrong by one kind of fault at one phase."""

    schedules: int
    severity: str
    """The worst."""


class Matrix(Struct, frozen=True):
    """Which faults at which phases something was found by. A report tells of no others."""

    phases: tuple[str, ...]
    kinds: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]


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
    cells: dict[tuple[str, str], Cell] = {}
    for finding in findings:  # errors come first
        for place in dict.fromkeys(finding.cells):
            known = cells.get(place, Cell(0, finding.severity))
            cells[place] = known._replace(schedules=known.schedules + finding.count)
    return Matrix(
        tuple(phase for phase in PHASES if any(phase == place[0] for place in cells)),
        tuple(kind for kind in KINDS if any(kind == place[1] for place in cells)),
        cells,
    )
