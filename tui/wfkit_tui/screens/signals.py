"""Signals: who waits for some, and which came."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from wfkit.cli.output import Column
from wfkit.cli.signals import json_text, receiver
from wfkit.control.messages import FeedEvent, FindRun, ListSignals, SignalAwaited, SignalSeen
from wfkit.core.commands import AwaitSignal, StopAwaiting, Subscribe
from wfkit.core.entries import SignalPublished, SignalReceived
from wfkit.errors import WfkitError
from wfkit.replay.explain import spell
from wfkit_tui import acting, keys
from wfkit_tui.drawing import Line, Piece, clock_time
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.bar import Bar
from wfkit_tui.widgets.table import Table

LIMIT = 200


class SignalsScreen(Frame):
    """Waits above, arrivals below; the latest arrival first, the longest wait first."""

    CSS_PATH = "signals.tcss"
    BINDINGS = keys.SIGNALS
    tab = "signals"

    def body(self) -> ComposeResult:
        yield Bar(id="waits-title")
        yield Table(
            self._waits(), lambda wait: (wait.run, wait.name, wait.since), empty="no run waits for a signal", id="waits"
        )
        yield Bar(id="seen-title")
        yield Table(self._seen(), lambda signal: (signal.pos, signal.run), empty="no signal yet", id="seen")

    def on_mount(self) -> None:
        self._list = self.refresher(self._read)
        self.query_one("#waits-title", Bar).show([Piece("─ who waits ", "bold")])
        self.query_one("#seen-title", Bar).show([Piece("─ what came ", "bold")], [Piece("the latest first ", "dim")])
        self.query_one("#waits").focus()

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if self.is_current and any(map(_concerns, events)):
            self._list.ask()

    def tick(self) -> None:
        self.query_one("#waits", Table).repaint()

    def about(self) -> Line:
        if not self.is_mounted:
            return ()
        return [Piece(f"{len(self.query_one('#waits', Table).rows):,} wait ")]

    def value(self) -> str:
        table = self.focused
        row = table.selected if isinstance(table, Table) else None
        if isinstance(row, SignalSeen):
            return json_text(row.payload)
        return row.name if isinstance(row, SignalAwaited) else ""

    def command(self) -> str:
        return "wfkit signals" + (" --waits" if self.focused is self.query_one("#waits") else "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what works: nothing is sent without an engine."""
        return self.backend.live or action not in acting.ACTIONS

    async def _read(self) -> None:
        found = await self.backend.ask(ListSignals(limit=LIMIT))
        self.query_one("#waits", Table).show(found.awaited)
        self.query_one("#seen", Table).show(found.signals)
        self.draw_frame()

    def on_table_opened(self, event: Table.Opened) -> None:
        row = event.table.selected
        if row is not None and row.run is not None:
            self.app.push_screen(DetailScreen(self.backend, row.run))

    def action_send(self) -> None:
        table = self.focused
        row = table.selected if isinstance(table, Table) else None
        if isinstance(row, SignalAwaited | SignalSeen) and row.run is not None:
            self.run_worker(self._send(row.run, row.name))
        else:
            self.notify("select a run that waits", severity="warning")

    def action_publish(self) -> None:
        table = self.focused
        row = table.selected if isinstance(table, Table) else None
        acting.publish(self, row.name if isinstance(row, SignalAwaited | SignalSeen) else "")

    async def _send(self, run: str, signal: str) -> None:
        try:
            acting.send(self, (await self.backend.ask(FindRun(run=run))).run, signal)
        except WfkitError as error:
            self.notify(str(error), severity="error", markup=False)

    def _waits(self) -> list[Column[SignalAwaited]]:
        return [
            Column("SIGNAL", lambda wait: wait.name + (" (subscribed)" if wait.subscription else "")),
            Column("RUN", lambda wait: wait.run),
            Column("WORKFLOW", lambda wait: wait.workflow, cut=True, rank=2),
            Column("FOR", lambda wait: spell(self.backend.clock() - wait.since), right=True),
            Column("WHERE", lambda wait: json_text(wait.where), cut=True, rank=1),
        ]

    def _seen(self) -> list[Column[SignalSeen]]:
        return [
            Column("AT", lambda signal: clock_time(signal.t), right=True),
            Column("SIGNAL", lambda signal: signal.name),
            Column("TO", receiver),
            Column("PAYLOAD", lambda signal: json_text(signal.payload), cut=True),
            Column("DEDUPE", lambda signal: signal.dedupe or "", cut=True, rank=2),
        ]


def _concerns(event: FeedEvent) -> bool:
    """Whether a wait or an arrival may have changed by an event: most have nothing to do with signals."""
    commands = event.commands or ()
    return isinstance(event.entry, SignalReceived | SignalPublished) or any(
        isinstance(command, AwaitSignal | Subscribe | StopAwaiting) for command in commands
    )
