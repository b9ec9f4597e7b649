"""What all screens have in common: header, tabs, the bar that tells trouble, and the footer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import events
from textual._styles_cache import StylesCache
from textual.app import ComposeResult
from textual.containers import Center, Middle, Vertical
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input, Static

from wfkit.cli.output import near
from wfkit.cli.statuses import LOOKS, word
from wfkit.control.messages import FeedEvent
from wfkit.errors import WfkitError
from wfkit.replay.explain import spell
from wfkit_tui import acting, keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, cells, counted
from wfkit_tui.refresher import Refresher
from wfkit_tui.widgets.bar import Banner, Bar
from wfkit_tui.widgets.footer import Footer
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.tabs import Tabs

if TYPE_CHECKING:
    from wfkit_tui.app import WfkitApp

COLUMNS_MIN, ROWS_MIN = 60, 16
SILENT_SECONDS = 3.0
"""An engine that owes an answer for longer is told of: it may never give one."""
_UNFINISHED = ("unfinished", "running", "waiting", "retrying", "compensating", "blocked")
_COUNTED = (*_UNFINISHED, "failed", "timed_out", "cancelled", "terminated", "completed")
_NAMED = (
    (_COUNTED, True),
    ((*_UNFINISHED, "failed"), True),
    ((*_UNFINISHED, "failed"), False),
    (("blocked", "failed"), False),
    (("blocked",), False),
)
"""The statuses that the header names, and whether beside the journal's path: the first for which there is room.

The other statuses have their signs alone.
"""


class Frame(Screen[None]):
    """A screen between header and footer.

    Args:
        backend: answers its requests.
    """

    BINDINGS = keys.FRAME
    ALLOW_IN_MAXIMIZED_VIEW = "#top, #bigger, Footer"
    ESCAPE_TO_MINIMIZE = False  # each kind of screen does it, and draws its bars anew
    tab = ""
    """The name of the tab that is lit."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self._problem: WfkitError | None = None

    def styled_as_of(self, count: int) -> None:
        """Say that the style sheets are those of so many changes: Textual would read them all anew when this is first seen."""
        self._css_update_count = count

    # -- what a kind of screen says for itself -------------------------------------------------------------------------

    def heading(self) -> ComposeResult:
        """Yield what stands below the bars, and stays when a pane is zoomed."""
        yield from ()

    def body(self) -> ComposeResult:
        """Yield what stands between the bars."""
        raise NotImplementedError

    def reload(self) -> None:
        """Read everything again: the screen is seen again, or another engine answers."""

    def happened(self, events: Sequence[FeedEvent]) -> None:
        """Take over what became durable."""

    def tick(self) -> None:
        """Draw what depends on the time again."""

    def about(self) -> Line:
        """Return what stands at the right end of the tabs."""
        return ()

    def value(self) -> str:
        """Return what `y` copies; empty if there is nothing."""
        return ""

    def command(self) -> str:
        """Return the command line that shows what this screen shows."""
        return ""

    def run_at(self) -> str:
        """Return the id of the run that the user is at; empty if it is none."""
        return ""

    # -- the frame -----------------------------------------------------------------------------------------------------

    @property
    def ui(self) -> WfkitApp:
        return cast("WfkitApp", self.app)

    def compose(self) -> ComposeResult:
        self.add_class(*self.ui.size_classes(), update=False)  # Textual would lay the screen out first, and then once more
        with Vertical(id="top"):
            yield Bar(id="header")
            yield Tabs(id="tabs")
            yield Banner(id="trouble")
            yield from self.heading()
        yield from self.body()
        yield Footer()
        with Middle(id="bigger"), Center():
            yield Static(f"terminal too small: it needs {COLUMNS_MIN}x{ROWS_MIN}", id="bigger-text")

    def on_mount(self) -> None:
        self.ui.news.subscribe(self, self.happened)
        self.ui.standing.subscribe(self, lambda _: self._standing())
        self.ui.told.subscribe(self, lambda _: self._redraw())
        self.ui.tallied.subscribe(self, lambda _: self._redraw())
        self.ui.ticks.subscribe(self, lambda _: self._tick())
        self.draw_frame()

    def on_unmount(self) -> None:
        """Let go of the signals: those that are seldom published would keep every screen that was ever opened."""
        for signal in self.ui.signals:
            signal.unsubscribe(self)
        # Its keys are the painted lines of the last thousand widgets, whether or not these are still shown.
        StylesCache.get_inner_outer.cache_clear()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        event.refresh_styles = False  # they do not depend on which screen was seen meanwhile
        self.draw_frame()
        self.reload()

    def on_resize(self, event: events.Resize) -> None:
        self.draw_frame()

    def refresher(self, read: Callable[[], Awaitable[None]], *, pause: float = 1.0) -> Refresher:
        """Return what reads for this screen, and tells here if it cannot."""
        return Refresher(self, read, pause=pause, tell=self.tell)

    def tell(self, problem: WfkitError | None) -> None:
        """Show why something could not be read; None: it could."""
        if problem is not self._problem:
            self._problem = problem
            self.draw_frame()

    def draw_frame(self) -> None:
        """Draw header, tabs and trouble as they are now."""
        try:
            header, tabs = (self.query_one(f"#{name}", Bar) for name in ("header", "tabs"))
            trouble = self.query_one("#trouble", Banner)
        except NoMatches:
            return
        wide = self.size.width >= COLUMNS_MIN + 40
        header.show(*self._header(wide))
        zoomed = [Piece(" zoomed, z leaves ", "bold")] if self.maximized is not None else []
        tabs.show(list(self._tabs(wide)), [*zoomed, *self.about()])
        told, colour = self._trouble()
        trouble.show(told, f"bold reverse {colour}")

    def _standing(self) -> None:
        self.draw_frame()
        self.refresh_bindings()
        if self.is_current:
            self.reload()

    def _redraw(self) -> None:
        if self.is_current:  # otherwise it is drawn when it is seen again
            self.draw_frame()

    def _tick(self) -> None:
        if self.is_current:
            self.draw_frame()
            self.tick()

    def _header(self, wide: bool) -> tuple[Line, Line]:
        facts, code = self.backend.facts, self.ui.supervision
        if facts is None and code is not None:
            state, app = Piece("○ no worker", "bold red"), ""
        elif facts is None:
            state, app = Piece("○ no engine", "bold yellow"), ""
        elif self.backend.silent_seconds > SILENT_SECONDS:
            state, app = Piece("● silent", "bold red"), facts.app
        elif facts.trouble is not None:
            state, app = Piece("● trouble", "bold red"), facts.app
        else:
            state, app = Piece("● live", "bold green"), facts.app
        left = [Piece(" wfkit ", "bold"), state, Piece(f"  {_short(Path(app))}" if app else "")]
        if app and code is not None and code.version:
            left.append(Piece(f" v{code.version}"))
        struck = list(self._struck(wide))
        right = [Piece(f"   {counted(round(self.ui.rate), 'entry', 'entries')}/s ", "dim")] if facts is not None else []
        store = [Piece(f"  {_short(self.backend.store)} ", "dim")] if wide else []
        room = self.size.width - cells([*left, *struck, *right])
        right += store  # the bar leaves it out where there is no room
        counts = next(
            (
                told
                for named, with_store in _NAMED
                if cells([*(told := list(self._counts(named))), *(store if with_store else ())]) <= room
            ),
            list(self._counts(())),
        )
        return [*left, *counts, *struck], right

    def _counts(self, named: Sequence[str]) -> Iterator[Piece]:
        """Yield how many runs there are of each status; those that are `named` with its name."""
        for status in _COUNTED:
            if count := self.ui.counts.get(status):
                look = LOOKS["running" if status == "unfinished" else status]
                yield Piece("   " if named == _COUNTED else "  ")
                yield Piece(look.sign, f"bold {look.colour}")
                yield Piece(f" {count:,}" + (f" {word(status)}" if status in named else ""))

    def _struck(self, wide: bool) -> Iterator[Piece]:
        """Yield how often chaos has struck, and how far it has put the clock forward."""
        chaos = self.ui.chaos
        if chaos is not None and chaos.strikes:
            yield Piece("   ⚡", "bold magenta")
            yield Piece(f" {counted(chaos.strikes, 'fault') if wide else f'{chaos.strikes:,}'}")
            if chaos.ahead:
                yield Piece(f"   clock +{spell(chaos.ahead)}" if wide else f" +{spell(chaos.ahead)}", "magenta")

    def _tabs(self, wide: bool) -> Iterator[Piece]:
        for key, name, title in keys.SCREENS:
            yield Piece(f" {key} {title}{' ' if wide else ''}", "bold reverse" if name == self.tab else "")

    def _trouble(self) -> tuple[str, str]:
        """Return what there is to say above the screen, and in which colour."""
        facts, code = self.backend.facts, self.ui.supervision
        if code is not None and code.down:
            return f"✗ {code.down}", "red"
        if code is not None and code.refused:
            held = f"still running v{code.version}" if facts is not None else "nothing runs"
            return f"▲ {code.refused}; {held}", "yellow"
        silent = self.backend.silent_seconds
        if facts is not None and silent > SILENT_SECONDS:
            why = f": {code.last_error}" if code is not None and code.last_error else ": something computes without end"
            return f"✗ no answer for {silent:.0f} s{why}", "red"
        if self._problem is not None and (facts is not None or code is None):  # the next worker may hold the journal already
            help = f"  ({self._problem.help})" if self._problem.help else ""
            return f"✗ {self._problem}{help}", "red"
        if facts is not None and facts.trouble is not None:
            help = f"  ({facts.trouble.help})" if facts.trouble.help else ""
            return f"✗ {facts.trouble.message}{help}", "red"
        if facts is None and self.backend.trouble and code is None:
            return "no engine: this is what the journal holds. To run one: wfkit dev, wfkit serve", "yellow"
        return "", ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what works now. What does not is None, so that its key says why; a slash is a letter in a line."""
        if action == "filter":
            return not isinstance(self.focused, Input)
        return None if action in acting.ACTIONS and self.why_not(action) else True

    def why_not(self, action: str) -> str:
        """Return why an action does nothing now; empty if it does something."""
        return "" if self.backend.live else "no engine runs: wfkit dev or wfkit serve starts one"

    def on_key(self, event: events.Key) -> None:
        """Say why a key does nothing that works at other times."""
        offered = self.active_bindings.get(event.key)
        if offered is None or offered.enabled:
            return
        why = self.why_not(offered.binding.action) or "this engine takes no faults: that of wfkit dev does"
        self.notify(why, severity="warning", timeout=3)

    # -- keys of all screens -------------------------------------------------------------------------------------------

    def action_copy_value(self) -> None:
        self.copy(self.focused.text if isinstance(self.focused, Page) else self.value())

    def action_copy_command(self) -> None:
        if command := self.command():
            self.copy(self.backend.command(command))
        else:
            self.notify("no command shows this", severity="warning", timeout=2)

    def action_zoom(self) -> None:
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused, container=False)
        self.draw_frame()

    def action_back(self) -> None:
        """Leave a zoomed pane, or a screen that was opened from another one."""
        if self.maximized is not None:
            self.action_zoom()
        elif len(self.app.screen_stack) > 1:
            self.dismiss(None)

    def copy(self, text: str) -> None:
        """Put a text on the clipboard of the terminal, and say so."""
        if not text:
            self.notify("there is nothing to copy here", severity="warning", timeout=2)
            return
        self.app.copy_to_clipboard(text)
        first, *more = text.split("\n")
        self.notify(f"copied: {first}" + (" ..." if more else ""), timeout=2, markup=False)


def _short(path: Path) -> str:
    """Return a path as it is written from here, or its end if it lies elsewhere."""
    shown = Path(near(str(path.absolute())))
    return str(shown) if not shown.is_absolute() else "…/" + "/".join(shown.parts[-3:])
