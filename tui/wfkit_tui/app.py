"""The application: it follows the engine, and hands on to the screens what happens there."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.filter import LineFilter, NoColor
from textual.signal import Signal

from wfkit.control.messages import ChaosFacts, FeedEvent, GetChaos, GetStore, ListRuns, LogLine, Struck
from wfkit.errors import WfkitError
from wfkit_tui import acting, keys
from wfkit_tui.backend import Backend, Found, Lost
from wfkit_tui.dialogs.help import HelpDialog
from wfkit_tui.dialogs.quit import QuitDialog
from wfkit_tui.drawing import Ascii, Harmless
from wfkit_tui.palette import Offers
from wfkit_tui.refresher import Refresher
from wfkit_tui.screens.code import CodeScreen
from wfkit_tui.screens.frame import COLUMNS_MIN, ROWS_MIN, Frame
from wfkit_tui.screens.logs import LogsScreen
from wfkit_tui.screens.runs import RunsScreen
from wfkit_tui.screens.signals import SignalsScreen
from wfkit_tui.screens.simulations import SimulationsScreen
from wfkit_tui.screens.timers import TimersScreen
from wfkit_tui.supervision import STARTED, Supervision

if TYPE_CHECKING:
    from wfkit.dev.supervisor import News

PAINTS_PER_SECOND = 3
PAINTS_PER_SECOND_FAR = 2
"""Over ssh."""
AHEAD_SECONDS = (1.0, 0.2)
"""When the first screen is built that nobody has gone to yet, and how long after it the next one."""
RATE_SECONDS = 5.0
"""Over so long the rate of entries is taken."""
WIDTHS: list[tuple[int, str]] = [(0, "-tiny"), (COLUMNS_MIN, "-slim"), (80, "-narrow"), (100, "-middle"), (140, "-wide")]
HEIGHTS: list[tuple[int, str]] = [(0, "-flat"), (ROWS_MIN, "-low"), (22, "-normal"), (36, "-high")]
"""Classes of the style sheets, by the size of the terminal."""
STYLES: list[str | PurePath] = [
    "app.tcss",
    *(f"screens/{name}.tcss" for name in ("runs", "signals", "timers", "code", "simulations", "logs", "detail")),
]
"""All at once: a sheet that comes with its screen makes Textual read every other one anew."""
SCREENS: dict[str, type[Frame]] = {
    "runs": RunsScreen,
    "signals": SignalsScreen,
    "timers": TimersScreen,
    "code": CodeScreen,
    "simulations": SimulationsScreen,
    "logs": LogsScreen,
}


DETAILED_MAX = 200
"""So many unfinished runs are asked for what they do; of more it is only told how many there are."""
QUIT_SECONDS = 1.0
"""So long it is waited for the number of unfinished runs before it is asked whether to leave them."""


class WfkitApp(App[None]):
    """The screens on an engine or a journal.

    Args:
        backend: answers.
        ascii: show no character that is not ASCII.
        theme: `dark` or `light`, as the terminal is: the colours are its own.
        supervision: what `wfkit dev` tells of the code.
        ahead: build each screen before somebody goes to it, when the first one is painted.
    """

    TITLE = "wfkit"
    CSS_PATH = STYLES
    BINDINGS = keys.EVERYWHERE
    COMMANDS: ClassVar = {Offers}
    DEFAULT_MODE = "runs"
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    def __init__(
        self,
        backend: Backend,
        *,
        ascii: bool = False,
        theme: str = "dark",
        supervision: Supervision | None = None,
        ahead: bool = False,
    ) -> None:
        # Textual would answer NO_COLOR with shades of grey, of which a terminal of few colours makes black on black.
        plain = bool(os.environ.pop("NO_COLOR", ""))
        super().__init__()
        self.theme = f"ansi-{theme}"
        self.no_color = plain
        self._last = [Harmless(), *([NoColor()] if plain else []), *([Ascii()] if ascii else [])]
        """What every line goes through at last."""
        self.backend = backend
        self.supervision = supervision
        self.counts: dict[str, int] = {}
        """Runs by status; `running` is told in detail: waiting, retrying, compensating. `unfinished`: all of these together."""
        self.unfinished = 0
        """Runs that have not ended, the blocked ones among them."""
        self.rate = 0.0
        """Entries a second, lately."""
        self.news: Signal[list[FeedEvent]] = Signal(self, "news")
        self.told: Signal[list[LogLine]] = Signal(self, "told")
        """A supervisor has told something."""
        self.standing: Signal[None] = Signal(self, "standing")
        """Another engine answers, or none any more."""
        self.tallied: Signal[None] = Signal(self, "tallied")
        """Runs were counted anew."""
        self.ticks: Signal[None] = Signal(self, "ticks")
        self.chaos: ChaosFacts | None = None
        """What chaos does to the engine, if it is that of `wfkit dev`."""
        self.struck: Signal[list[Struck]] = Signal(self, "struck")
        self.signals: tuple[Signal[Any], ...] = (self.news, self.told, self.standing, self.tallied, self.ticks, self.struck)
        """All that a screen may subscribe to."""
        self._ahead = ahead
        self._arrived: list[FeedEvent] = []
        self._counted = 0
        self._count = Refresher(self, self._read_counts, pause=2.0, tell=lambda _: None)
        self._strikes = Refresher(self, self._read_chaos, pause=0.5, tell=lambda _: None)
        self._facts = Refresher(self, backend.read_facts, pause=2.0, tell=lambda _: None)
        for name, screen in SCREENS.items():
            self.add_mode(name, partial(self._build, screen))

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._last]

    def delay_update(self, delay: float = 0.0) -> None:
        """Paint at once: Textual would wait for 50 ms, to hide how a screen comes together that is shown for the first time."""

    def on_mount(self) -> None:
        far = "SSH_CONNECTION" in os.environ
        self.set_interval(1 / (PAINTS_PER_SECOND_FAR if far else PAINTS_PER_SECOND), self._hand_on)
        self.set_interval(1.0, self._tick)
        if self.supervision is not None:  # whose engine ends with the screens, and whose journal may be deleted then
            for number in (signal.SIGHUP, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.run_worker(self._follow())
        self._count.ask()
        if self._ahead:
            self.set_timer(AHEAD_SECONDS[0], self._build_ahead)

    def size_classes(self) -> Iterator[str]:
        """Yield the classes that a screen has by the size of the terminal."""
        for cells, classes in ((self.size.width, WIDTHS), (self.size.height, HEIGHTS)):
            yield max((least, name) for least, name in classes if least <= cells)[1]

    def action_go(self, name: str) -> None:
        """Go to one of the screens that have a digit."""
        if len(self.screen_stack) > 1 and self.current_mode == name:
            self.pop_screen()  # from a run back to the list that it was opened from
        else:
            self.switch_mode(name)

    def show_runs(self, filter: str) -> None:
        """Go to the runs that a filter finds."""
        self.switch_mode("runs")
        screen = self.screen_stack[0]
        assert isinstance(screen, RunsScreen)
        screen.use_filter(filter)

    def action_chaos(self) -> None:
        """Ask which fault is to strike the engine."""
        if isinstance(self.screen, Frame):
            acting.chaos(self.screen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what works: faults are for the engine of `wfkit dev`. What does not is None: its key says why."""
        return True if action != "chaos" or (self.backend.facts is not None and self.backend.facts.chaos) else None

    async def action_quit(self) -> None:
        """Leave the screens. The engine of `wfkit dev` ends with them, so that is asked first if runs are unfinished."""
        if self.supervision is not None and not isinstance(self.screen, QuitDialog):
            with suppress(WfkitError, TimeoutError):  # then those count that were counted last
                async with asyncio.timeout(QUIT_SECONDS):
                    await self._read_counts()
            if self.unfinished:
                self.push_screen(QuitDialog(self.unfinished, kept=self.chaos is None or not self.chaos.jumps))
                return
        self.exit()

    def action_help(self) -> None:
        """Tell the keys of the screen and of the pane that has the focus."""
        if not isinstance(self.screen, HelpDialog):
            self.push_screen(HelpDialog(list(self.screen.active_bindings.values())))

    def _build(self, kind: type[Frame]) -> Frame:
        screen = kind(self.backend)
        screen.styled_as_of(self._css_update_count)
        return screen

    def _build_ahead(self) -> None:
        """Build a screen that nobody has gone to yet, which takes longer than to paint it; then the next one in a while."""
        unbuilt = next((name for name in SCREENS if name not in self._screen_stacks), None)
        if unbuilt is not None:
            self._init_mode(unbuilt)
            self.set_timer(AHEAD_SECONDS[1], self._build_ahead)
        else:  # what is there now stays, so the collector need not look at all of it again and again: 60 ms each time
            gc.collect()
            gc.freeze()

    async def _follow(self) -> None:
        async for news in self.backend.news():
            if isinstance(news, FeedEvent):
                self._arrived.append(news)
            elif isinstance(news, Found | Lost):
                self.standing.publish(None)
                self._count.ask(hurry=True)

    def _hand_on(self) -> None:
        """Hand on what has arrived since the last time: so many entries, one painting."""
        if self.supervision is not None and (told := self.supervision.take(self.backend.clock())):
            if any(line.level in STARTED for line in told):
                self.backend.look()
            self.told.publish(told)
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._counted += len(arrived)
            self.news.publish(arrived)
            self._count.ask()

    def _tick(self) -> None:
        self.rate += (self._counted - self.rate) / RATE_SECONDS
        self._counted = 0
        if self.rate < 0.5 / RATE_SECONDS:
            self.rate = 0.0
        self.ticks.publish(None)
        if self.backend.facts is not None:
            self._facts.ask()
            if self.backend.facts.chaos:
                self._strikes.ask()
            else:
                self.chaos, self.backend.ahead = None, 0

    async def _read_chaos(self) -> None:
        """Read what chaos did, and hand on what is new since the last time."""
        before, now = self.chaos, await self.backend.ask(GetChaos())
        self.chaos, self.backend.ahead = now, now.ahead
        if before != now:
            known = before.struck if before is not None and before.strikes <= now.strikes else []  # else: another session
            self.struck.publish([one for one in now.struck if one not in known])
            self.tallied.publish(None)

    async def _read_counts(self) -> None:
        counts = Counter((await self.backend.ask(GetStore())).runs)
        self.unfinished = counts["running"] + counts["blocked"]
        if running := counts.pop("running", 0):
            if running <= DETAILED_MAX:
                found = await self.backend.ask(ListRuns(filter=("status:running",), limit=DETAILED_MAX))
                counts += Counter(run.detail for run in found.runs)
            else:
                counts["unfinished"] = running
        self.counts = counts
        self.tallied.publish(None)


def main(store: Path, engine: Path | None, *, ascii: bool, theme: str, news: SimpleQueue[News] | None = None) -> int:
    """Show the screens until the user leaves them. Returns 0, or another number after a bug, which has been told.

    Args:
        store: the journal; the engine beside it is asked, if one runs.
        engine: the engine to ask instead.
        ascii: show no character that is not ASCII.
        theme: `dark` or `light`, as the terminal is; empty to guess.
        news: what the supervisor of `wfkit dev` tells, from its thread.
    """
    theme = theme or guessed_theme(os.environ.get("COLORFGBG", ""))
    supervision = Supervision(news) if news is not None else None
    ascii = ascii or not _can_show_all()
    app = WfkitApp(Backend(store, engine), ascii=ascii, theme=theme, supervision=supervision, ahead=True)
    app.run()
    return app.return_code or 0


def guessed_theme(colours: str) -> str:
    """Return whether a terminal is dark or light, by what some of them say in `COLORFGBG`: `foreground;background`.

    The colours are the terminal's own sixteen either way; only the shades of bars differ.
    """
    with suppress(ValueError):
        return "light" if int(colours.rsplit(";", maxsplit=1)[-1]) in (7, 15) else "dark"
    return "dark"


def _can_show_all() -> bool:
    with suppress(LookupError, UnicodeEncodeError):
        "▶█".encode(sys.stderr.encoding or "ascii")
        return True
    return False
