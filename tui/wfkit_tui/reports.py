"""Reports of verification as their files hold them, and the matrix of their faults by what these struck."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from wfkit.cli.colours import Colour
from wfkit.errors import BadRequest, FaultSyntaxError
from wfkit.sim.coverage import Coverage, Struck
from wfkit.sim.faults import KINDS, parse_fault

FORMAT = 1
"""The newest version of a report that is understood."""
_FAILS = re.compile(r"proves nothing: without any fault \S+ (fails(?:: [\w.]+)?|reaches its timeout)")
"""The title of the finding that tells how a run ends badly by itself."""


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
        """The kind of each fault of its schedule, and the label of the point where it strikes."""
        found = []
        for text in self.faults:
            try:
                fault = parse_fault(text)
            except FaultSyntaxError:
                continue  # of a newer wfkit: its story tells of it
            found.append((fault.kind, fault.point.label))
        return found


class ReportFile(Struct, frozen=True, tag_field="file", tag="wfkit-report"):
    """The verdict on a workflow."""

    format: int
    workflow: str
    ok: bool
    findings: tuple[Finding, ...]
    coverage: Coverage

    @property
    def verdict(self) -> tuple[str, Colour]:
        """Whether it holds, and the colour of that. A run that fails by itself leaves little to hold, so that is told too."""
        if not self.ok:
            return "✗ fails", "red"
        ended = next(filter(None, (_FAILS.match(finding.title) for finding in self.findings)), None)
        return ("✓ holds", "green") if ended is None else (f"✓ holds (fault-free run {ended[1]})", "yellow")

    @property
    def schedules(self) -> int:
        return self.coverage.schedules or 0

    @property
    def seconds(self) -> float:
        return self.coverage.seconds or 0.0

    @property
    def struck(self) -> list[Struck]:
        return self.coverage.struck or []


class Matrix(Struct, frozen=True):
    """Which faults struck what."""

    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    """Of points, in the order in which the workflow comes to them."""
    cells: Mapping[tuple[str, str], Struck]


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


def matrix_of(report: ReportFile) -> Matrix:
    """Return how the schedules with one fault went, and where findings were made that need several."""
    cells = {(struck.kind, struck.at): struck for struck in report.struck}
    for finding in report.findings:
        for kind, at in finding.cells:
            known = cells.get((kind, at))
            if len(finding.faults) > 1 and (known is None or not known.failed):
                cells[kind, at] = Struck(kind, at, 0, finding.count, finding.severity)
    kinds = {kind for kind, _ in cells}
    return Matrix(tuple(kind for kind in KINDS if kind in kinds), tuple(dict.fromkeys(at for _, at in cells)), cells)
