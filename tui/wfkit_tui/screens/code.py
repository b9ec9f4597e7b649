"""Code: what the engine runs, on which versions its runs began, and which are blocked."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from wfkit.cli.code import TABLE, Row, rows_of
from wfkit.cli.output import Column, near
from wfkit.control.messages import FeedEvent, GetCode
from wfkit.core.commands import CancelRun, CompleteRun, FailRun
from wfkit.core.entries import Blocked, RunStarted, RunTerminated, Unblocked
from wfkit.core.state import RunState
from wfkit.replay.explain import now_at
from wfkit_tui import ids
from wfkit_tui.backend import Backend
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.table import Table


class CodeScreen(Frame):
    """Definitions with file and line, and the runs that cannot go on with them."""

    tab = "code"

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._id_length = ids.LENGTH_MIN

    def body(self) -> ComposeResult:
        yield Rule(id="code-title")
        yield Table(
            TABLE, lambda row: row, empty="without an engine no code is known; wfkit workflows APP reads an app", id="code"
        )
        yield Rule(id="blocked-title")
        yield Table(self._blocked(), lambda run: run.run, empty="no run is blocked", id="blocked")

    def on_mount(self) -> None:
        self._list = self.refresher(self._read)
        self.query_one("#blocked-title", Rule).title("blocked runs", "Enter opens one")
        self.query_one("#code").focus()

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if self.is_current and any(map(_concerns, events)):
            self._list.ask()

    def value(self) -> str:
        code: Table[object] = self.query_one("#code", Table)
        return getattr(code.selected, "where", "")

    def command(self) -> str:
        return "wfkit code"

    async def _read(self) -> None:
        found = await self.backend.ask(GetCode())
        app = near(found.app) if found.app else "no engine runs"
        self.query_one("#code-title", Rule).title(app)
        self.query_one("#code", Table).show([row._replace(where=near(row.where)) for row in rows_of(found)])
        blocked = [run for version in found.versions for run in version.blocked]
        self._id_length = ids.length_of(run.id for run in blocked)
        self.query_one("#blocked", Table).show(blocked)

    def on_table_opened(self, event: Table.Opened) -> None:
        """A blocked run leads to the run; a definition to the runs that it concerns."""
        row = event.table.selected
        if isinstance(row, RunState):
            self.app.push_screen(DetailScreen(self.backend, row.id))
        elif isinstance(row, Row):
            self.ui.show_runs(f"step:{row.name}" if row.kind == "step" else f"wf:{row.name}")

    def _blocked(self) -> list[Column[RunState]]:
        clock = self.backend.clock
        return [
            Column("RUN", lambda run: ids.shown(run.id, self._id_length)),
            Column("WORKFLOW", lambda run: run.workflow, cut=True, rank=1),
            Column("VERSION", lambda run: run.code, rank=2),
            Column("WHY", lambda run: now_at(run, clock()), colour=lambda _: "red", cut=True),
        ]


def _concerns(event: FeedEvent) -> bool:
    """Whether a run begins or ends, or is blocked or no longer so."""
    return isinstance(event.entry, RunStarted | RunTerminated | Blocked | Unblocked) or any(
        isinstance(command, CompleteRun | FailRun | CancelRun) for command in event.commands or ()
    )
