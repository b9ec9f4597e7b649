"""Timers: what is due, and when."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from wfkit.cli.output import Column
from wfkit.cli.timers import what
from wfkit.control.messages import FeedEvent, ListTimers, Timer
from wfkit.replay.explain import spell, until
from wfkit_tui.drawing import Line, Piece, clock_time
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.table import Table

LIMIT = 500


class TimersScreen(Frame):
    """Sleeps, retries and timeouts of unfinished runs, the next one first."""

    CSS_PATH = "timers.tcss"
    tab = "timers"

    def body(self) -> ComposeResult:
        yield Table(
            self._columns(), lambda timer: (timer.run, timer.kind, timer.name, timer.due), empty="nothing is due", id="timers"
        )

    def on_mount(self) -> None:
        self._more = False
        self._list = self.refresher(self._read)
        self.table.focus()

    @property
    def table(self) -> Table[Timer]:
        return self.query_one("#timers", Table)

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if self.is_current:
            self._list.ask()

    def tick(self) -> None:
        self.table.repaint()

    def about(self) -> Line:
        return [Piece(f"{len(self.table.rows):,}{'+' if self._more else ''} due ")] if self.is_mounted else ()

    def value(self) -> str:
        return self.table.selected.run if self.table.selected is not None else ""

    def command(self) -> str:
        return "wfkit timers"

    async def _read(self) -> None:
        found = await self.backend.ask(ListTimers(limit=LIMIT))
        self._more = found.more
        self.table.show(found.timers)
        self.draw_frame()

    def on_table_opened(self, event: Table.Opened) -> None:
        if (timer := self.table.selected) is not None:
            self.app.push_screen(DetailScreen(self.backend, timer.run))

    def _columns(self) -> list[Column[Timer]]:
        clock = self.backend.clock
        return [
            Column("DUE", lambda timer: until(timer.due, clock()), right=True),
            Column("AT", lambda timer: clock_time(timer.due), right=True, rank=3),
            Column("RUN", lambda timer: timer.run),
            Column("WORKFLOW", lambda timer: timer.workflow, cut=True, rank=1),
            Column("WHAT", what, cut=True),
            Column("SET", lambda timer: f"{spell(clock() - timer.since)} ago", right=True, rank=2),
        ]
