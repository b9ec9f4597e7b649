"""Simulations: the reports that verification has left beside the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Container, Vertical

from wfkit.cli.colours import Colour
from wfkit.cli.output import Column, ago
from wfkit.control.messages import GetReport, ListReports, Report
from wfkit.errors import BadRequest
from wfkit_tui.drawing import Line, Piece
from wfkit_tui.reports import ReportFile, read_report
from wfkit_tui.screens.finding import FindingFrame
from wfkit_tui.screens.report import ReportScreen, coverage_lines, story_lines, wrapped
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.listing import Listing, Order
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table

NOTHING = "No reports yet. Leave one: wfkit verify APP:WORKFLOW '{...}'"


class Row(NamedTuple):
    """A report that was found."""

    listed: Report
    report: ReportFile | None
    wrong: str = ""
    """Why it cannot be read."""


class SimulationsScreen(FindingFrame):
    """The reports of `.wfkit/reports`, the newest first."""

    tab = "simulations"

    def body(self) -> ComposeResult:
        yield self.field()
        with Container(id="columns"):
            yield Listing(_COLUMNS, lambda row: row.listed.name, _ORDERS, empty=NOTHING, id="reports")
            with Vertical(id="right"):
                yield Rule(id="story-title")
                yield Page(id="story")

    def on_mount(self) -> None:
        self._known: dict[str, Row] = {}
        self._list = self.refresher(self._read, pause=2.0)
        self.table.focus()

    @property
    def table(self) -> Listing[Row]:
        return self.query_one("#reports", Listing)

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def tick(self) -> None:
        self._list.ask()

    def about(self) -> Line:
        return [Piece(f"{self.table.told('report', 'reports')} ")] if self.is_mounted else ()

    def value(self) -> str:
        return self.table.selected.listed.name if self.table.selected is not None else ""

    async def _read(self) -> None:
        found = (await self.backend.ask(ListReports())).reports
        rows = [await self._row(one) for one in found if one.name.startswith("reports/") and one.name.endswith(".json")]
        self._known = {row.listed.name: row for row in rows}
        if rows != self.table.all:
            self.table.fill(rows)
            self._draw_story()
            self.draw_frame()

    async def _row(self, listed: Report) -> Row:
        known = self._known.get(listed.name)
        if known is not None and known.listed == listed:
            return known
        try:
            return Row(listed, read_report((await self.backend.ask(GetReport(name=listed.name))).text))
        except BadRequest as error:
            return Row(listed, None, str(error))

    def _draw_story(self) -> None:
        """Show beside the list what the selected report says first."""
        row = self.table.selected
        self.query_one("#story-title", Rule).title(row.listed.name if row is not None else "no report", "Enter opens it")
        self.query_one("#story", Page).show(_summary(row), top=True)

    def on_table_selected(self, event: Table.Selected) -> None:
        self._draw_story()

    def on_table_opened(self, event: Table.Opened) -> None:
        row = self.table.selected
        if row is not None and row.report is not None:
            self.app.push_screen(ReportScreen(self.backend, row.report))


def _summary(row: Row | None) -> Callable[[int], Sequence[Line]]:
    if row is None:
        return lambda _width: ()
    if row.report is None:
        return lambda _width: [[Piece(f" {row.wrong}", "yellow")]]
    report = row.report
    first = list(story_lines(report.findings[0])) if report.findings else []
    return lambda width: [*wrapped([*first, *coverage_lines(report)], width)]


def _verdict(row: Row) -> str:
    if row.report is None:
        return "? unreadable"
    return row.report.verdict[0]


def _colour(row: Row) -> Colour:
    if row.report is None:
        return "yellow"
    return row.report.verdict[1]


def _first(row: Row) -> str:
    if row.report is None:
        return row.wrong
    return row.report.findings[0].title if row.report.findings else ""


_ORDERS = [
    Order("newest"),
    Order("workflow", lambda row: row.report.workflow if row.report is not None else ""),
    Order("findings", lambda row: -len(row.report.findings) if row.report is not None else 1),
]
_COLUMNS: list[Column[Row]] = [
    Column("WORKFLOW", lambda row: row.report.workflow if row.report else row.listed.name),
    Column("VERDICT", _verdict, colour=_colour),
    Column("FINDINGS", lambda row: f"{len(row.report.findings):,}" if row.report else "", right=True),
    Column("SCHEDULES", lambda row: f"{row.report.schedules:,}" if row.report else "", right=True, rank=2),
    Column("WRITTEN", lambda row: ago(row.listed.modified), right=True, rank=1),
    Column("FIRST FINDING", _first, cut=True),
]
