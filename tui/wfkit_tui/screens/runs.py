"""Runs: the list of runs as the engine changes them, and a look at the one that is selected."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from time import monotonic
from typing import get_args

from textual.app import ComposeResult
from textual.containers import Container
from textual.timer import Timer
from textual.widgets import Input

from wfkit.cli.colours import Colour
from wfkit.cli.output import Column
from wfkit.cli.runs.ls import tries
from wfkit.cli.runs.reading import lasted
from wfkit.cli.statuses import LOOKS, word
from wfkit.control.messages import FeedEvent, ListRuns, LogLine, Sort, Struck
from wfkit.core.state import RunState
from wfkit.errors import FilterError, WfkitError
from wfkit.journal.filters import parse
from wfkit.replay.explain import now_at, spell, until
from wfkit_tui import acting, ids, keys
from wfkit_tui.backend import Backend
from wfkit_tui.book import RunBook
from wfkit_tui.drawing import Line, Piece, clock_time, counted, moment
from wfkit_tui.happenings import Happenings
from wfkit_tui.looking import Look
from wfkit_tui.screens.detail import DetailScreen
from wfkit_tui.screens.frame import Frame
from wfkit_tui.supervision import cause_of
from wfkit_tui.widgets.bar import Banner, Rule
from wfkit_tui.widgets.field import FilterField
from wfkit_tui.widgets.glance import Glance
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.table import Table

LIMIT = 500
"""So many runs are listed at first; twice as many each time that somebody comes to the end of them."""
LIMIT_MAX = 64_000
FEED_MAX = 200
MOVE_SECONDS = 1.9
"""Between two times that rows come and go by themselves: it moves every line, which a busy engine would do all the time."""
SORTS: tuple[Sort, ...] = get_args(Sort)
_CODE_COLOURS: dict[str, Colour] = {
    "started": "green",
    "reloaded": "green",
    "goes on": "green",
    "refused": "yellow",
    "blocked": "red",
    "died": "red",
}
"""What a supervisor tells that belongs among the entries."""
_SORTED: dict[Sort, tuple[str, bool]] = {
    "started": ("STARTED", True),
    "updated": ("UPDATED", True),
    "id": ("RUN", False),
    "workflow": ("WORKFLOW", False),
    "status": ("STATUS", False),
    "wake_at": ("DUE", False),
}
"""The column that shows what is sorted by, and whether the latest comes first."""
CHECK_SECONDS = 0.15
"""After the last key it is told what is wrong with a filter: most are, until they are whole."""
TERMS = 'terms: status:  wf:  id:  step:  error:  input.NAME:  after:  before:  "text"'
"""Stands below a filter that is written, where it is told what is wrong: a line that comes and goes moves the whole screen."""
NOTHING = "No runs yet. Press s to start one, or: wfkit start WORKFLOW '{...}'"


class RunsScreen(Frame):
    """Master of the screens: everything begins with a run."""

    BINDINGS = keys.RUNS
    tab = "runs"

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self._filter = ""
        self._sort: Sort = "started"
        self._limit = LIMIT
        self._more = False
        self._id_length = ids.LENGTH_MIN
        self._moved = -MOVE_SECONDS
        """When the rows were moved last, in seconds of a clock of its own."""
        self._book = self._new_book()
        self._feed = Happenings(FEED_MAX)
        self._check_soon: Timer | None = None

    def body(self) -> ComposeResult:
        yield FilterField('status:failed  wf:order_*  after:10m  step:ship  error:"503"  "text"', id="filter")
        yield Banner(id="wrong")
        with Container(id="columns"):
            yield Table(self._columns(), lambda run: run.run, empty="reading ...", id="runs")
            yield Glance(self.backend.clock)
        yield Rule(id="feed-title")
        yield Page(ends=True, id="feed")

    def on_mount(self) -> None:
        self._list = self.refresher(self._read, pause=1.0)
        self._look = Look(self, lambda: self.table.selected.id if self.table.selected is not None else None)
        self.query_one("#feed-title", Rule).title("entries", "as they come")
        self._draw_feed()
        self.ui.told.subscribe(self, self._hear)
        self.ui.struck.subscribe(self, self._tell_strikes)
        self.table.follow = True  # until somebody moves, or does something
        self.table.sorted_by = _SORTED[self._sort]
        self.table.focus()

    @property
    def table(self) -> Table[RunState]:
        return self.query_one("#runs", Table)

    @property
    def meant(self) -> list[RunState]:
        """The marked runs, or the selected one."""
        table = self.table
        marked = [run for run in table.rows if run.run in table.marked]
        return marked or ([table.selected] if table.selected is not None else [])

    # -- what the frame asks -------------------------------------------------------------------------------------------

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        self._feed.add(events, self._book.state_of)
        self._book.apply(events)
        if self._book.stale:
            self._list.ask()
        if self.is_current:
            self._paint({event.run for event in events})

    def tick(self) -> None:
        if self._book.moved:
            self._paint(set())
        self.table.repaint({run.run for run in self.table.rows[:1000] if not run.finished})
        self._look.tick()

    def about(self) -> Line:
        if not self.is_mounted:
            return ()
        marked = len(self.table.marked)
        shown = counted(len(self._book.rows), "run", more=self._more)
        told = [f"{marked} marked" if marked else "", "follows" if self.table.follow else "", shown]
        return [Piece(f" {text} ") for text in told if text]

    def value(self) -> str:
        return "\n".join(run.id for run in self.meant)

    def run_at(self) -> str:
        return self.table.selected.id if self.table.selected is not None else ""

    def command(self) -> str:
        sort = f" --sort {self._sort}" if self._sort != "started" else ""
        return f"wfkit runs{f' {shlex.quote(self._filter)}' if self._filter else ''}{sort}"

    def why_not(self, action: str) -> str:
        """Return why an action does nothing now."""
        of_runs = action in acting.ACTIONS - {"start"} and self.is_mounted
        return super().why_not(action) or ("there is no run" if of_runs and not self.table.rows else "")

    # -- reading and painting ------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        self._book.expect()
        request = ListRuns(filter=self._filter, sort=self._sort, limit=self._limit)
        try:
            found = await self.backend.ask(request)
        except BaseException:
            self._book.load(self._book.rows)
            raise
        if request.filter != self._filter or request.sort != self._sort:
            return  # somebody has asked for something else meanwhile
        self._more = found.more
        self._book.load(found.runs)
        self._book.moved = True
        self._paint(None)
        self._look.ask(hurry=True)
        self.draw_frame()

    def tell(self, problem: WfkitError | None) -> None:
        """Show why nothing could be read; where there is no journal yet, an engine that starts makes one."""
        super().tell(problem)
        if problem is not None and not self._book.rows:
            self.table.show([], empty="waiting for an engine that runs here")

    def _paint(self, told: set[int] | None) -> None:
        """Show what has changed, and no more than that. `told`: the runs that something happened to; None: perhaps to all."""
        table, book = self.table, self._book
        if book.moved and (told is None or monotonic() - self._moved > MOVE_SECONDS):
            self._show_rows()
        else:
            table.repaint(book.changed)
        book.changed.clear()
        run = table.selected
        if run is not None and (told is None or run.run in told):
            self._look.ask()
        self._draw_feed()

    def _show_rows(self) -> None:
        table, book = self.table, self._book
        first = bool(book.rows) is not bool(table.rows)
        self._id_length = ids.length_of(run.id for run in book.rows)
        table.show(book.rows, empty=f"no runs match: {self._filter}" if self._filter else NOTHING)
        book.moved, self._moved = False, monotonic()
        self.draw_frame()
        if first:
            self.refresh_bindings()

    def _draw_feed(self) -> None:
        lines = list(self._feed.lines) or [[Piece(" nothing new since you opened this", "dim")]]
        self.query_one("#feed", Page).show(lambda _width: lines)

    def _hear(self, told: Sequence[LogLine]) -> None:
        """Tell among the entries what became of the code: what ran before a save, and what after."""
        for line in told:
            if line.level in _CODE_COLOURS:
                first = Piece(cause_of(line.text), _CODE_COLOURS[line.level])
                self._feed.lines.append([Piece(f" {clock_time(line.t)}  ", "dim"), Piece("code  ", "bold"), first])
        self._draw_feed()

    def _tell_strikes(self, struck: Sequence[Struck]) -> None:
        """Tell among the entries what chaos did to the engine, and how that recovered."""
        for one in struck:
            time = Piece(f" {clock_time(one.t)}  ", "dim")
            self._feed.lines.append([time, Piece("chaos  ", "bold"), Piece(f"⚡ {one.text}", "magenta")])
        self._draw_feed()

    # -- the list ------------------------------------------------------------------------------------------------------

    def on_table_selected(self, event: Table.Selected) -> None:
        if event.table is not self.table:
            return
        self._look.ask(hurry=not self.table.follow)
        self.draw_frame()
        if self._more and self.table.cursor >= len(self.table.rows) - 2 and self._limit < LIMIT_MAX:
            self._limit *= 2
            self.reload()

    def on_table_opened(self, event: Table.Opened) -> None:
        if (run := self.table.selected) is not None:
            self._stay()
            self.app.push_screen(DetailScreen(self.backend, run.id, self._look.page_of(run.id)))

    def action_mark(self) -> None:
        if (run := self.table.selected) is not None:
            self.table.marked ^= {run.run}
            self.table.repaint_cursor()
            self.table.action_move(1)
            self.draw_frame()

    def action_unmark(self) -> None:
        if self.maximized is not None:
            self.action_zoom()
        elif self.table.marked:
            self._unmark()
        elif self._filter:
            self.use_filter("")
        self.draw_frame()

    def _unmark(self) -> None:
        self.table.marked.clear()
        self.table.refresh()
        self.draw_frame()

    def action_sort(self) -> None:
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self.table.set_columns(self._columns(), _SORTED[self._sort])
        self._begin()

    def action_follow(self) -> None:
        self.table.follow = not self.table.follow
        if self.table.follow:
            self.table.action_first()
        self.draw_frame()

    # -- the filter ----------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("-shown")
        self.set_focus(field)
        self._check(field.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._check_soon is not None:
            self._check_soon.stop()
        self._check_soon = self.set_timer(CHECK_SECONDS, lambda: self._check(event.input.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._check(event.value):
            self.use_filter(event.value.strip())

    def action_leave_line(self) -> None:
        """Leave the filter as it was."""
        self.use_filter(self._filter)

    def _check(self, text: str) -> bool:
        """Tell what is wrong with a filter."""
        wrong = self.query_one("#wrong", Banner)
        try:
            parse(text, self.backend.clock())
        except FilterError as error:
            wrong.show(f"{error}; {error.help}", "bold red")
            return False
        wrong.show(TERMS if self.query_one("#filter", Input).has_focus else "", "dim")
        return True

    def use_filter(self, text: str) -> None:
        """List the runs that a filter finds, and show it above them."""
        field = self.query_one("#filter", Input)
        field.value = text
        field.set_class(bool(text), "-shown")
        self.table.focus()
        self.query_one("#wrong", Banner).show("", "")
        if text != self._filter:
            self._filter = text
            self._begin()

    def _begin(self) -> None:
        self._limit = LIMIT
        self._book = self._new_book()
        self.draw_frame()
        self.reload()

    def _new_book(self) -> RunBook:
        return RunBook(parse(self._filter, self.backend.clock()), self._sort)

    # -- what changes runs ---------------------------------------------------------------------------------------------

    def _stay(self) -> None:
        """From now on, keep the run selected that is: something is done with it, and more may be."""
        self.table.follow = False
        self.draw_frame()

    def action_start(self) -> None:
        self._stay()
        acting.start(self)

    def action_send(self) -> None:
        if (run := self.table.selected) is not None:
            self._stay()
            acting.send(self, run)

    def action_cancel(self) -> None:
        self._stay()
        acting.stop(self, "cancel", self.meant, self._unmark)

    def action_terminate(self) -> None:
        self._stay()
        acting.stop(self, "terminate", self.meant, self._unmark)

    def _columns(self) -> list[Column[RunState]]:
        clock = self.backend.clock
        times: dict[str, Column[RunState]] = {
            "updated": Column("UPDATED", lambda run: moment(run.updated, clock()), right=True, rank=3),
            "wake_at": Column("DUE", lambda run: until(run.wake_at, clock()) if run.wake_at else "", right=True, rank=3),
        }
        started = Column[RunState]("STARTED", lambda run: moment(run.started, clock()), right=True, rank=3)
        return [
            Column(
                "RUN", lambda run: ids.shown(run.id, self._id_length) + (f" g{run.generation}" if run.generation > 1 else "")
            ),
            Column("WORKFLOW", lambda run: run.workflow, cut=True),
            Column(
                "STATUS",
                lambda run: f"{LOOKS[run.detail].sign} {word(run.detail)}",
                colour=lambda run: LOOKS[run.detail].colour,
            ),
            Column("TIME", lambda run: spell(lasted(run, clock())), right=True, rank=2),
            Column("TRY", tries, right=True, rank=4),
            times.get(self._sort, started),
            Column("NOW AT", lambda run: now_at(run, clock()), cut=True),
        ]
