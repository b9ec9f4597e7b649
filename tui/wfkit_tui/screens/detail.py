"""One run: what happened in it, four ways, and what there is to say about each part and about the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import UNSET
from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget

from wfkit.cli.facts import Fact
from wfkit.cli.runs.bars import name_of
from wfkit.cli.runs.get import facts_of
from wfkit.cli.runs.history import ALL, compact
from wfkit.cli.runs.reading import lasted
from wfkit.cli.runs.records import Row, rows_of
from wfkit.cli.runs.why import about
from wfkit.control.messages import FeedEvent, GetRun, RunPage
from wfkit.replay.explain import explain, now_at, spell
from wfkit.replay.timeline import Span
from wfkit_tui import acting, keys
from wfkit_tui.backend import Backend
from wfkit_tui.disagreement import blocked_lines
from wfkit_tui.drawing import Line, Piece, cells, counted, fact_lines, fitted, json_lines, status
from wfkit_tui.history_json import HistoryJson
from wfkit_tui.parts import record_lines, span_lines, told
from wfkit_tui.screens.frame import Frame
from wfkit_tui.screens.logs import LogsScreen
from wfkit_tui.widgets.bar import Bar, Rule
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table
from wfkit_tui.widgets.timeline import Timeline

VIEWS = ("timeline", "compact", "all", "json")
VIEW_TITLES = {"timeline": "timeline", "compact": "compact", "all": "all entries", "json": "JSON"}
_ELSEWHERE = ("result", "more")
"""Facts that name a command for what stands here anyway."""
_BEFORE = ("run", "generation", "workflow", "status", "now at", "took", "so far", "input", "result", "error", "raised at")
"""Facts about the whole run that stand in the title, beside the run's own span, or with its end."""
_FAILED_ENTRIES = ("StepFailed", "AttemptFailed", "Blocked", "→ FailRun")


class DetailScreen(Frame):
    """A run.

    Args:
        backend: answers.
        run: the run's id.
        page: what is known of it already, to be shown at once.
    """

    BINDINGS = keys.DETAIL
    tab = "runs"

    def __init__(self, backend: Backend, run: str, page: RunPage | None = None) -> None:
        super().__init__(backend)
        self._run_id = run
        self._page = page
        self._view = "timeline"
        self._json = HistoryJson()
        self.add_class("-folded")

    def heading(self) -> ComposeResult:
        yield Bar(id="title")

    def body(self) -> ComposeResult:
        clock = self.backend.clock
        columns = [column for column in compact(self._began, clock) if column.only != "pipe"]
        yield Page(id="blocked")
        with Container(id="columns"):
            with Container(id="views"):
                yield Timeline(clock, id="timeline")
                yield Table[Span](columns, _span_key, id="compact")
                yield Table[Row](ALL, _row_key, id="all")
                yield Page(id="json")
                yield Rule(id="entries-title")
                yield Table[Row](ALL, _row_key, id="entries")
            with Container(id="panes"):
                with Vertical(id="part-box"):
                    yield Rule(id="part-title")
                    yield Page(id="part")
                with Vertical(id="run-box"):
                    yield Rule(id="run-title")
                    yield Page(id="run")

    def on_mount(self) -> None:
        self._history = self.refresher(self._read, pause=0.5)
        self.query_one("#run-title", Rule).title("the run")
        self._show_view()
        if self._page is not None:
            self._draw_all()

    # -- what the frame asks -------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        self._draw_title()

    def reload(self) -> None:
        self._history.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        if any(event.id == self._run_id for event in events):
            self._history.ask()

    def tick(self) -> None:
        if self._page is not None and not self._page.run.finished:
            if self._view in ("timeline", "compact"):
                self.query_one(f"#{self._view}", Table).repaint()
            self._draw_title()
            self._draw_part(top=False)
            self._draw_run()

    def value(self) -> str:
        return self._run_id

    def run_at(self) -> str:
        return self._run_id

    def command(self) -> str:
        if self._view == "json":
            return f"wfkit runs history {self._run_id} --view all --json"
        return f"wfkit runs history {self._run_id}" + (f" --view {self._view}" if self._view != "timeline" else "")

    def why_not(self, action: str) -> str:
        """Return why an action does nothing now."""
        if self._page is None:
            return "the run is not read yet"
        ended = action in acting.ACTIONS and self._page.run.finished
        return "it has ended already" if ended else super().why_not(action)

    # -- reading and painting ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        page = await self.backend.ask(GetRun(run=self._run_id))
        ended = self._page is not None and page.run.finished is not self._page.run.finished
        if self._page is None or page.run.seq != self._page.run.seq or page.run.run != self._page.run.run:
            first = self._page is None
            self._page = page
            self._draw_all()
            if first or ended:
                self.refresh_bindings()

    def _draw_all(self) -> None:
        page = self._page
        assert page is not None
        spans = told(page)
        self.query_one(Timeline).show(spans)
        self.query_one("#compact", Table).show(spans)
        rows = rows_of(page.records, 0, self._began())
        for id in ("all", "entries"):
            self.query_one(f"#{id}", Table).show(rows)
        self.query_one("#entries-title", Rule).title(counted(len(page.records), "entry", "entries"), "of the span above")
        self._json.take(page.records)
        self._draw_json()
        self._draw_title()
        self._draw_part()
        self._draw_run()

    def _began(self) -> int:
        return self._page.records[0].entry.t if self._page is not None else 0

    def _draw_json(self) -> None:
        if self._view == "json":
            self.query_one("#json", Page).show(self._json_lines)

    def _json_lines(self, width: int) -> Sequence[Line]:
        """Return the history as JSON as far as it is written; the next part follows when this one is painted."""
        lines = self._json.lines(width)
        if not self._json.complete:
            self.call_after_refresh(self._write_json)
        return lines

    def _write_json(self) -> None:
        if self._view == "json" and not self._json.complete:
            self._json.write()
            self._draw_json()

    def _draw_title(self) -> None:
        page = self._page
        if page is None:
            return
        run, present = page.run, self.backend.clock()
        generation = f" generation {run.generation}" if run.generation > 1 else ""
        at = now_at(run, present) if run.blocked is None else ""  # what blocks it has a place of its own
        left = [
            Piece(" ‹ ", "dim"),
            Piece(f"{run.id}{generation}", "bold"),
            Piece(f"  {run.workflow}  "),
            status(run.detail, bold=True),
            Piece(f"  {spell(lasted(run, present))}  "),
        ]
        view = Piece(f" v {VIEW_TITLES[self._view]} {VIEWS.index(self._view) + 1}/{len(VIEWS)} ", "bold")
        room = self.size.width - cells([*left, view])
        self.query_one("#title", Bar).show([*left, Piece(fitted(at, min(cell_len(at), max(room, 0))))], [view])

    def _draw_part(self, *, top: bool = True) -> None:
        """Tell of the selected span or record: from the top, or from the line that is at the top now."""
        page, selected = self._page, self._selected()
        if page is None or selected is None:
            return
        write: Callable[[int], Sequence[Line]]
        if isinstance(selected, Span):
            name, write = name_of(selected), partial(span_lines, page.records, selected, self.backend.clock())
        else:
            name, write = f"#{selected.seq} {selected.what}", partial(record_lines, page.records[selected.seq - 1])
        self.query_one("#part-title", Rule).title(name)
        self.query_one("#part", Page).show(write, top=top)

    def _draw_run(self) -> None:
        """Tell of the run as a whole: first why it does not go on, or how it ended. What blocks it has a place of its own."""
        page = self._page
        if page is None:
            return
        present = self.backend.clock()
        children = {child.id: child for child in page.children}
        why = [
            [fact for fact in facts if fact.label not in _ELSEWHERE]
            for facts in about(explain(page.records), children, self.backend.store, present)
        ]
        self._draw_blocked(why.pop(0) if page.run.blocked is not None else [])
        whole = [fact for fact in facts_of(page, present) if fact.label not in _BEFORE]

        def write(width: int) -> list[Line]:
            lines: list[Line] = []
            for facts in why:
                lines += [*fact_lines(facts, width), []] if any(fact.text for fact in facts) else []
            if page.result is not UNSET:
                lines += [[Piece(" result", "dim")], *json_lines(page.result, "   ", width), []]
            return lines + list(fact_lines(whole, width))

        self.query_one("#run", Page).show(write)

    def _draw_blocked(self, facts: Sequence[Fact]) -> None:
        """Tell what blocks the run across the whole width, so that recorded and requested stand side by side."""
        page = self.query_one("#blocked", Page)
        page.display = bool(facts)
        if facts:
            page.styles.height = len(list(blocked_lines(facts, self.size.width)))
            page.show(lambda width: list(blocked_lines(facts, width)))

    # -- keys ----------------------------------------------------------------------------------------------------------

    def on_table_selected(self, event: Table.Selected) -> None:
        if event.table.id == self._view:
            self._draw_part()
            self._go_to_entry()
        elif event.table.id == "entries" and event.table.has_focus:
            self._draw_part()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell of what is selected in the list that one goes to."""
        if event.widget.id in ("entries", self._view):
            self._draw_part()

    def _go_to_entry(self) -> None:
        """Select what the selected span began with: its command, or its entry."""
        selected, entries = self._selected(), self.query_one("#entries", Table)
        if isinstance(selected, Span) and not entries.has_focus:
            began = [(place, row) for place, row in enumerate(entries.rows) if row.seq == selected.records[0]]
            command = next((place for place, row in began if row.is_command and row.detail.startswith(f"#{selected.n} ")), None)
            entries.select(began[0][0] if command is None else command)

    def on_table_opened(self, event: Table.Opened) -> None:
        """A child's row leads to the child."""
        row = event.table.selected
        if isinstance(row, Span) and row.kind == "child":
            self.app.push_screen(DetailScreen(self.backend, row.name))
        else:
            self.query_one("#part", Page).focus()

    def action_view(self) -> None:
        self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
        self._show_view()
        self._draw_json()
        self._draw_title()
        self._draw_part()

    def action_copy_value(self) -> None:
        if self._view == "json":  # all of it, also what is not written yet
            while not self._json.complete:
                self._json.write()
            self._draw_json()
        super().action_copy_value()

    def action_failure(self, step: int) -> None:
        table = self._table()
        if table is None:
            return
        rows: Sequence[Span | Row] = table.rows
        places = [place for place, row in enumerate(rows) if _is_failure(row)]
        further = [place for place in places if (place - table.cursor) * step > 0]
        if further:
            table.select(min(further, key=lambda place: abs(place - table.cursor)))
        else:
            self.notify("no more failures below" if step > 0 else "no failures above", timeout=2)

    def action_follow(self) -> None:
        """Go to the end, which is where new entries come."""
        view = self.query_one(f"#{self._view}")
        if isinstance(view, Table | Page):
            view.action_last()

    def action_logs(self) -> None:
        """Show what this run logged."""
        self.app.push_screen(LogsScreen(self.backend, self._run_id))

    def action_send(self) -> None:
        if self._page is not None:
            acting.send(self, self._page.run)

    def action_cancel(self) -> None:
        if self._page is not None:
            acting.stop(self, "cancel", [self._page.run])

    def action_terminate(self) -> None:
        if self._page is not None:
            acting.stop(self, "terminate", [self._page.run])

    def _show_view(self) -> None:
        shown: Widget | None = None
        for view in VIEWS:
            widget = self.query_one(f"#{view}")
            widget.display = view == self._view
            shown = widget if view == self._view else shown
        self.set_class(self._view in ("timeline", "compact"), "-folded")
        self.set_class(self._view == "json", "-json")
        if shown is not None:
            shown.focus()

    def _table(self) -> Table[Span] | Table[Row] | None:
        view = self.query_one(f"#{self._view}")
        return view if isinstance(view, Table) else None

    def _selected(self) -> Span | Row | None:
        """What is told of: a row of the view, or of the entries below it."""
        entries = self.query_one("#entries", Table)
        table = entries if entries.has_focus else self._table()
        return table.selected if table is not None else None


def _row_key(row: Row) -> Row:
    return row


def _span_key(span: Span) -> tuple[str, str, int, int | None]:
    return span.kind, span.name, span.records[0], span.n


def _is_failure(row: Span | Row) -> bool:
    if isinstance(row, Span):
        return bool(row.attempts) or row.outcome in ("failed", "timed_out", "blocked")
    return row.what in _FAILED_ENTRIES
