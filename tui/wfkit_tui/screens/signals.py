"""Signals: who waits for some, and which came."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET
from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget

from wfkit.cli.output import Column
from wfkit.cli.signals import json_text, receiver
from wfkit.control.messages import FeedEvent, FindRun, ListSignals, SignalAwaited, SignalSeen
from wfkit.core.commands import AwaitSignal, StopAwaiting, Subscribe
from wfkit.core.entries import SignalPublished, SignalReceived
from wfkit.errors import WfkitError
from wfkit.replay.explain import spell
from wfkit_tui import acting, ids, keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, json_lines, moment
from wfkit_tui.looking import Look
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.finding import FindingFrame
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.glance import Glance
from wfkit_tui.widgets.listing import Listing, Order
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table

LIMIT = 200


class SignalsScreen(FindingFrame):
    """Waits above, the longest first; arrivals below, the latest first. Where there is room, what they carry stands beside."""

    BINDINGS = keys.SIGNALS
    tab = "signals"

    def body(self) -> ComposeResult:
        yield self.field()
        with Container(id="columns"):
            with Vertical(id="left"):
                yield Rule(id="waits-title")
                yield Listing(self._waits(), _wait_key, _WAIT_ORDERS, empty="no run waits for a signal", id="waits")
                yield Rule(id="seen-title")
                yield Listing(self._seen(), _seen_key, _SEEN_ORDERS, empty="no signal yet", id="seen")
            with Vertical(id="right"):
                yield Rule(id="payload-title")
                yield Page(id="payload")
                yield Glance(self.backend.clock)

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._meant: Widget | None = None
        self._id_length = ids.LENGTH_MIN

    def on_mount(self) -> None:
        self._list = self.refresher(self._read)
        self._look = Look(self, lambda: self._selected.run if self._selected is not None else None)
        self.waits.focus()

    @property
    def waits(self) -> Listing[SignalAwaited]:
        return self.query_one("#waits", Listing)

    @property
    def seen(self) -> Listing[SignalSeen]:
        return self.query_one("#seen", Listing)

    @property
    def _selected(self) -> SignalAwaited | SignalSeen | None:
        """The selected row of the list that has, or had, the focus."""
        if self.focused in (self.waits, self.seen):
            self._meant = self.focused
        row = (self.seen if self._meant is self.seen else self.waits).selected
        assert row is None or isinstance(row, SignalAwaited | SignalSeen)
        return row

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if self.is_current and any(map(_concerns, events)):
            self._list.ask()
        if self.is_current:
            self._look.happened(events)

    def tick(self) -> None:
        self.waits.repaint()
        self._look.tick()

    def draw_frame(self) -> None:
        super().draw_frame()
        if self.is_mounted:
            self.query_one("#waits-title", Rule).title("waiting for", self.waits.told("wait", "waits"))
            self.query_one("#seen-title", Rule).title("received", self.seen.told("signal", "signals"))

    def value(self) -> str:
        row = self._selected
        if isinstance(row, SignalSeen):
            return json_text(row.payload)
        return row.name if row is not None else ""

    def command(self) -> str:
        return "wfkit signals" + (" --waits" if self.focused is self.waits else "")

    async def _read(self) -> None:
        found = await self.backend.ask(ListSignals(limit=LIMIT))
        self._id_length = ids.length_of([one.run for one in found.awaited] + [one.run or "" for one in found.signals])
        self.waits.fill(found.awaited)
        self.seen.fill(found.signals)
        self._draw_payload()
        self._look.ask()
        self.draw_frame()

    def _draw_payload(self) -> None:
        row = self._selected
        value = UNSET if row is None else row.where if isinstance(row, SignalAwaited) else row.payload
        title = "no signal" if row is None else row.name
        if isinstance(row, SignalAwaited):
            title += "" if value is UNSET else ", if it has these fields"
        self.query_one("#payload-title", Rule).title(title)

        def write(width: int) -> list[Line]:
            return list(json_lines(value, " ", width)) if value is not UNSET else []

        self.query_one("#payload", Page).show(write, top=True)

    def on_table_selected(self, event: Table.Selected) -> None:
        self._draw_payload()
        self._look.ask(hurry=True)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Another list is meant from here on."""
        self._draw_payload()
        self._look.ask(hurry=True)

    def on_table_opened(self, event: Table.Opened) -> None:
        row = event.table.selected
        if row is not None and row.run is not None:
            self.app.push_screen(DetailScreen(self.backend, row.run, self._look.page_of(row.run)))

    def action_send(self) -> None:
        row = self._selected
        if row is not None and row.run is not None:
            self.run_worker(self._send(row.run, row.name))
        else:
            self.notify("select a run that waits", severity="warning")

    def action_publish(self) -> None:
        row = self._selected
        acting.publish(self, row.name if row is not None else "")

    async def _send(self, run: str, signal: str) -> None:
        try:
            acting.send(self, (await self.backend.ask(FindRun(run=run))).run, signal)
        except WfkitError as error:
            self.notify(str(error), severity="error", markup=False)

    def _waits(self) -> list[Column[SignalAwaited]]:
        return [
            Column("SIGNAL", lambda wait: wait.name + (" (subscribed)" if wait.subscription else "")),
            Column("RUN", lambda wait: ids.shown(wait.run, self._id_length), lambda wait: wait.run),
            Column("WORKFLOW", lambda wait: wait.workflow, cut=True, rank=2),
            Column("FOR", lambda wait: spell(self.backend.clock() - wait.since), right=True),
            Column("WHERE", lambda wait: json_text(wait.where), cut=True, rank=1),
        ]

    def _seen(self) -> list[Column[SignalSeen]]:
        return [
            Column("AT", lambda signal: moment(signal.t, self.backend.clock()), right=True),
            Column("SIGNAL", lambda signal: signal.name),
            Column("TO", lambda signal: ids.shown(receiver(signal), self._id_length), receiver),
            Column("PAYLOAD", lambda signal: json_text(signal.payload), cut=True),
            Column("DEDUPE", lambda signal: signal.dedupe or "", cut=True, rank=2),
        ]


def _wait_key(wait: SignalAwaited) -> tuple[str, str, int]:
    return wait.run, wait.name, wait.since


def _seen_key(signal: SignalSeen) -> tuple[int, str | None]:
    return signal.pos, signal.run


_WAIT_ORDERS = [
    Order("longest wait"),
    Order("signal", lambda wait: wait.name),
    Order("run", lambda wait: wait.run),
    Order("workflow", lambda wait: wait.workflow),
]
_SEEN_ORDERS = [
    Order("latest"),
    Order("signal", lambda signal: signal.name),
    Order("receiver", lambda signal: signal.run or ""),
]


def _concerns(event: FeedEvent) -> bool:
    """Whether a wait or an arrival may have changed by an event: most have nothing to do with signals."""
    commands = event.commands or ()
    return isinstance(event.entry, SignalReceived | SignalPublished) or any(
        isinstance(command, AwaitSignal | Subscribe | StopAwaiting) for command in commands
    )
