"""One report: where schedules failed, what was found, and its story."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Container, Vertical

from wfkit.cli.output import Column, with_near_paths
from wfkit.sim.coverage import Struck, coverage_text
from wfkit_tui import keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, counted, fitted
from wfkit_tui.reports import Finding, Matrix, ReportFile, matrix_of
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.bar import Bar, Rule
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table

CELL = 12
_CORNER = "fault at"
_MORE = "99 more ✓"
_ENDS = {"CompleteRun": "completion", "FailRun": "failure", "CancelRun": "cancel"}
"""What a journal calls the ends of a run, in plain words."""
_SIGNS = {"error": ("✗", "red"), "warning": ("▲", "yellow"), "info": ("·", "")}
_UNKNOWN = ("?", "")


class ReportScreen(Frame):
    """A report. The cells of the selected finding stand in brackets."""

    BINDINGS = keys.REPORT
    tab = "simulations"

    def __init__(self, backend: Backend, report: ReportFile) -> None:
        super().__init__(backend)
        self._report = report
        self._matrix = matrix_of(report)

    def heading(self) -> ComposeResult:
        yield Bar(id="title")

    def body(self) -> ComposeResult:
        with Container(id="columns"):
            with Vertical(id="left"):
                yield Page(id="matrix")
                yield Table(_COLUMNS, lambda finding: finding, empty="nothing was found", id="findings")
            with Vertical(id="right"):
                yield Rule(id="story-title")
                yield Page(id="story")

    def on_mount(self) -> None:
        report = self._report
        told, colour = report.verdict
        verdict = Piece(told, f"bold {colour}")
        counts = f"  {counted(report.schedules, 'schedule')}  {report.seconds:.1f} s"
        self.query_one("#title", Bar).show([Piece(" ‹ ", "dim"), Piece(f"{report.workflow}  ", "bold"), verdict, Piece(counts)])
        self.table.show(report.findings)
        self.table.styles.max_height = 1 + max(len(report.findings), 2)  # room that few of them leave is the story's
        self.table.focus()
        self._draw()

    @property
    def table(self) -> Table[Finding]:
        return self.query_one("#findings", Table)

    def about(self) -> Line:
        return [Piece(counted(len(self._report.findings), "finding") + " ")]

    def value(self) -> str:
        finding = self.table.selected
        return finding.story or finding.title if finding is not None else ""

    def command(self) -> str:
        finding = self.table.selected
        if finding is None or not finding.file:
            return ""
        return f"wfkit verify --replay {shlex.quote(finding.file)}"

    def action_copy_command(self) -> None:
        if command := self.command():
            self.copy(command)  # the failure's path says where it is
        else:
            self.notify("no finding is selected that can be replayed", severity="warning", timeout=2)

    def action_finding(self, step: int) -> None:
        self.table.select(self.table.cursor + step)

    def on_table_selected(self, event: Table.Selected) -> None:
        self._draw()

    def on_table_opened(self, event: Table.Opened) -> None:
        self.query_one("#story", Page).focus()

    def _draw(self) -> None:
        finding = self.table.selected
        self.query_one("#matrix", Page).show(lambda width: list(_matrix_lines(self._matrix, finding, width)))
        self.query_one("#matrix").styles.height = 1 + len(self._matrix.kinds) if self._matrix.kinds else 0
        title = f"finding {self.table.cursor + 1} of {len(self._report.findings)}" if finding is not None else "what was tried"
        self.query_one("#story-title", Rule).title(title, "n next" if len(self._report.findings) > 1 else "")
        told = [*(story_lines(finding) if finding is not None else ()), *coverage_lines(self._report)]
        self.query_one("#story", Page).show(lambda width: list(wrapped(told, width)), top=True)


def _matrix_lines(matrix: Matrix, selected: Finding | None, width: int) -> Iterator[Line]:
    """Yield the matrix: kinds of faults below each other, and what they struck beside each other.

    Kinds with failures come first. Where not all labels fit the width, those at which nothing failed are left out first.
    """
    if not matrix.kinds:
        return
    named = max(len(_CORNER), *map(len, matrix.kinds))
    room = width - named - 3
    labels = _fitting(matrix, max((room - (len(_MORE) if len(matrix.labels) * CELL > room else 0)) // CELL, 1))
    here = selected.cells if selected is not None else []
    more = len(matrix.labels) - len(labels)
    yield [
        Piece(f" {_CORNER:<{named}}  ", "dim"),
        *(Piece(fitted(f" {_ENDS.get(label, label)}", CELL - 1) + " ", "bold") for label in labels),
        Piece(f"{more} more ✓" if more else "", "dim"),
    ]
    failed = {struck.kind for struck in matrix.cells.values() if struck.failed}
    for kind in sorted(matrix.kinds, key=lambda kind: kind not in failed):
        yield [
            Piece(f" {kind:<{named}}  "),
            *(_cell(matrix.cells.get((kind, label)), selected=(kind, label) in here) for label in labels),
        ]


def _fitting(matrix: Matrix, count: int) -> list[str]:
    """Return as many labels as there is room for, in their order, those first at which something failed."""
    failed = {struck.at for struck in matrix.cells.values() if struck.failed}
    first = sorted(matrix.labels, key=lambda label: label not in failed)[:count]
    return [label for label in matrix.labels if label in first]


def _cell(struck: Struck | None, *, selected: bool) -> Piece:
    if struck is None:
        return Piece(" " * CELL)
    sign, colour = _SIGNS.get(struck.severity, _UNKNOWN) if struck.failed else ("✓", "green")
    count = (
        f"{struck.failed:,}/{struck.schedules:,}"
        if struck.failed and struck.schedules
        else f"{struck.failed or struck.schedules:,}"
    )
    text = f"[{sign} {count}]" if selected else f" {sign} {count} "
    return Piece(fitted(text, CELL), f"bold {colour}" if struck.failed else colour)


def story_lines(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield a finding's story, as lines and their styles."""
    first, *rest = (finding.story or f"{finding.code}  {finding.title}").split("\n")
    yield first, "bold"
    for line in rest:
        yield line, _style(line.strip())
    line = with_near_paths(finding.line)
    if line and line not in finding.story:
        yield f"  at {line}", "dim"


def _style(line: str) -> str:
    if line.startswith(("why:", "fix:")):
        return "bold"
    if line.startswith(("replay:", "test:")):
        return "cyan"
    return "yellow" if "crashed" in line or "requested" in line else ""


def wrapped(lines: Sequence[tuple[str, str]], width: int) -> Iterator[Line]:
    """Yield lines; one that is too long goes on with its own indentation and two cells more."""
    for text, style in lines:
        indent = " " * (len(text) - len(text.lstrip()) + 3)
        rest = " " + text
        room = max(width, len(indent) + 1)  # where there is less, each line takes one more letter all the same
        while len(rest) > room:
            cut = rest.rfind(" ", len(indent) + 1, room)
            cut = cut if cut > 0 else room
            yield [Piece(rest[:cut], style)]
            rest = indent + rest[cut:].lstrip()
        yield [Piece(rest, style)]


def coverage_lines(report: ReportFile) -> Iterator[tuple[str, str]]:
    """Yield what was looked at, as lines and their styles."""
    yield "", ""
    for line in coverage_text(report.workflow, report.coverage).split("\n"):
        yield line, "dim"


_COLUMNS: list[Column[Finding]] = [
    Column("", lambda finding: _SIGNS.get(finding.severity, _UNKNOWN)[0]),
    Column("CODE", lambda finding: finding.code),
    Column("FINDING", lambda finding: finding.title, cut=True),
    Column("SCHEDULES", lambda finding: f"{finding.count:,}", right=True, rank=1),
    Column("FAULTS", lambda finding: ", ".join(finding.faults), cut=True, rank=2),
]
