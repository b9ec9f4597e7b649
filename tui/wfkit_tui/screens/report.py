"""One report: where schedules failed, what was found, and its story."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Container, Vertical

from wfkit.cli.output import Column, with_near_paths
from wfkit_tui import keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, counted, fitted
from wfkit_tui.reports import Finding, Matrix, ReportFile, matrix_of
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.bar import Bar, Rule
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table

CELL = 10
_SIGNS = {"error": ("✗", "red"), "warning": ("▲", "yellow"), "info": ("·", "")}
_UNKNOWN = ("?", "")


class ReportScreen(Frame):
    """A report. The cells of the selected finding stand in brackets."""

    CSS_PATH = "simulations.tcss"
    BINDINGS = keys.REPORT
    tab = "simulations"

    def __init__(self, backend: Backend, report: ReportFile) -> None:
        super().__init__(backend)
        self._report = report
        self._matrix = matrix_of(report.findings)

    def body(self) -> ComposeResult:
        yield Bar(id="title")
        with Container(id="columns"):
            with Vertical(id="left"):
                yield Page(id="matrix")
                yield Table(_COLUMNS, lambda finding: finding, empty="nothing was found", id="findings")
            with Vertical(id="right"):
                yield Rule(id="story-title")
                yield Page(id="story")

    def on_mount(self) -> None:
        report = self._report
        verdict = Piece("✓ holds", "bold green") if report.ok else Piece("✗ fails", "bold red")
        counts = f"  {report.schedules:,} schedules  {report.seconds:.1f} s"
        self.query_one("#title", Bar).show([Piece(" ‹ ", "dim"), Piece(f"{report.workflow}  ", "bold"), verdict, Piece(counts)])
        self.table.show(report.findings)
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
        self.copy(self.command())

    def action_finding(self, step: int) -> None:
        self.table.select(self.table.cursor + step)

    def on_table_selected(self, event: Table.Selected) -> None:
        self._draw()

    def on_table_opened(self, event: Table.Opened) -> None:
        self.query_one("#story", Page).focus()

    def _draw(self) -> None:
        finding = self.table.selected
        matrix = list(_matrix_lines(self._matrix, finding))
        self.query_one("#matrix", Page).show(lambda _width: matrix)
        self.query_one("#matrix").styles.height = len(matrix)
        title = (
            f"finding {self.table.cursor + 1} of {len(self._report.findings)}" if finding is not None else "what was looked at"
        )
        self.query_one("#story-title", Rule).title(title, "n next" if len(self._report.findings) > 1 else "")
        told = [*(story_lines(finding) if finding is not None else ()), *coverage_lines(self._report)]
        self.query_one("#story", Page).show(lambda width: list(wrapped(told, width)), top=True)


def _matrix_lines(matrix: Matrix, selected: Finding | None) -> Iterator[Line]:
    """Yield the matrix: phases below each other, kinds of faults beside each other."""
    if not matrix.kinds:
        return
    label = max(len(phase) for phase in matrix.phases)
    here = selected.cells if selected is not None else []
    yield [Piece(f" {'at':<{label}}  ", "dim"), *(Piece(fitted(kind, CELL), "bold") for kind in matrix.kinds)]
    for phase in matrix.phases:
        line = [Piece(f" {phase:<{label}}  ")]
        for kind in matrix.kinds:
            cell = matrix.cells.get((phase, kind))
            sign, colour = _SIGNS.get(cell.severity, _UNKNOWN) if cell is not None else ("", "")
            text = f"{sign} {cell.schedules:,}" if cell is not None else ""
            line.append(Piece(fitted(f"[{text}]" if (phase, kind) in here else f" {text} ", CELL), f"bold {colour}"))
        yield line


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
        while len(rest) > width:
            cut = rest.rfind(" ", len(indent) + 1, width)
            cut = cut if cut > 0 else width
            yield [Piece(rest[:cut], style)]
            rest = indent + rest[cut:].lstrip()
        yield [Piece(rest, style)]


def coverage_lines(report: ReportFile) -> Iterator[tuple[str, str]]:
    """Yield what was looked at, as lines and their styles."""
    from wfkit.sim.report import coverage_text

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
