"""Timers: what is due, and when."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container

from wfkit.cli.output import Column
from wfkit.cli.timers import what
from wfkit.control.messages import FeedEvent, ListTimers, Timer
from wfkit.replay.explain import spell, until
from wfkit_tui import ids
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, moment
from wfkit_tui.looking import Look
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.finding import FindingFrame
from wfkit_tui.widgets.glance import Glance
from wfkit_tui.widgets.listing import Listing, Order
from wfkit_tui.widgets.table import Table

LIMIT = 500


class TimersScreen(FindingFrame):
    """Sleeps, retries and timeouts of unfinished runs, the next one first."""

    tab = "timers"

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._more = False
        self._id_length = ids.LENGTH_MIN

    def body(self) -> ComposeResult:
        yield self.field()
        with Container(id="columns"):
            yield Listing(self._columns(), _key, _ORDERS, empty="no timers", id="timers")
            yield Glance(self.backend.clock)

    def on_mount(self) -> None:
        self._list = self.refresher(self._read)
        self._look = Look(self, lambda: self.table.selected.run if self.table.selected is not None else None)
        self.table.focus()

    @property
    def table(self) -> Listing[Timer]:
        return self.query_one("#timers", Listing)

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if self.is_current:
            self._list.ask()
            self._look.happened(events)

    def tick(self) -> None:
        self.table.repaint()
        self._look.tick()

    def about(self) -> Line:
        return [Piece(f"{self.table.told('timer', 'timers', more=self._more)} ")] if self.is_mounted else ()

    def value(self) -> str:
        return self.table.selected.run if self.table.selected is not None else ""

    def command(self) -> str:
        return "wfkit timers"

    async def _read(self) -> None:
        found = await self.backend.ask(ListTimers(limit=LIMIT))
        self._more = found.more
        self._id_length = ids.length_of(timer.run for timer in found.timers)
        self.table.fill(found.timers)
        self._look.ask()
        self.draw_frame()

    def on_table_selected(self, event: Table.Selected) -> None:
        if event.table is self.table:
            self._look.ask(hurry=True)

    def on_table_opened(self, event: Table.Opened) -> None:
        if event.table is self.table and (timer := self.table.selected) is not None:
            self.app.push_screen(DetailScreen(self.backend, timer.run, self._look.page_of(timer.run)))

    def _columns(self) -> list[Column[Timer]]:
        clock = self.backend.clock
        return [
            Column("DUE", lambda timer: until(timer.due, clock()), right=True),
            Column("AT", lambda timer: moment(timer.due, clock()), right=True, rank=3),
            Column("RUN", lambda timer: ids.shown(timer.run, self._id_length), lambda timer: timer.run),
            Column("WORKFLOW", lambda timer: timer.workflow, cut=True, rank=1),
            Column("WHAT", what),
            Column("SET", lambda timer: f"{spell(clock() - timer.since)} ago", right=True, rank=2),
        ]


def _key(timer: Timer) -> tuple[str, str, str, int]:
    return timer.run, timer.kind, timer.name, timer.due


_ORDERS = [
    Order("due"),
    Order("age", lambda timer: timer.since),
    Order("run", lambda timer: timer.run),
    Order("workflow", lambda timer: timer.workflow),
    Order("kind", lambda timer: timer.kind),
]
