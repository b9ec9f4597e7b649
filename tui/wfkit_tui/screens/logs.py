"""Logs: the latest records of the engine's process, and what it printed, the newest last."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from textual.app import ComposeResult

from wfkit.control.messages import GetLogs, LogLine
from wfkit_tui import keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, clock_time
from wfkit_tui.screens.finding import FindingFrame
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.page import Page

KEPT = 5_000
"""As many as the engine keeps."""
_COLOURS = {
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "bold red",
    "DEBUG": "dim",
    "stderr": "yellow",
    "refused": "yellow",
    "blocked": "red",
    "died": "red",
}


class LogsScreen(FindingFrame):
    """What the engine's process logged and printed, or what one run logged.

    Args:
        backend: answers.
        run: the run's id; empty for all that there is.
    """

    CSS_PATH = "logs.tcss"
    BINDINGS = keys.LOGS
    PLACEHOLDER = "words that a line contains: a run, a level, a text"
    tab = "logs"

    def __init__(self, backend: Backend, run: str = "") -> None:
        super().__init__(backend)
        self._run_id = run
        self._pid: int | None = None
        self._after = 0
        self._records: deque[LogLine] = deque(maxlen=KEPT)

    def body(self) -> ComposeResult:
        yield self.field()
        yield Rule(id="of")
        yield Page(ends=True, id="lines")

    def on_mount(self) -> None:
        self._list = self.refresher(self._read, pause=0.5)
        self.query_one("#of", Rule).title(f"‹ logs of {self._run_id}")
        self.query_one("#of").display = bool(self._run_id)
        if not self._run_id and self.ui.supervision is not None:
            self._add(self.ui.supervision.lines)
            self.ui.told.subscribe(self, self._add)
        self._page.focus()
        self._draw()

    @property
    def _page(self) -> Page:
        return self.query_one("#lines", Page)

    def reload(self) -> None:
        self._list.ask(hurry=True)

    def tick(self) -> None:
        self._list.ask()

    def about(self) -> Line:
        return [Piece("follows " if self.is_mounted and self._page.follow else "")]

    def command(self) -> str:
        return f"wfkit runs logs {self._run_id or '@last'}"

    def action_follow(self) -> None:
        self._page.follow = not self._page.follow
        if self._page.follow:
            self._page.action_last()
        self.draw_frame()

    def find(self, text: str) -> None:
        self._draw()

    async def _read(self) -> None:
        facts = self.backend.facts
        if facts is None:
            return
        if facts.pid != self._pid:
            self._pid, self._after = facts.pid, 0
        found = (await self.backend.ask(GetLogs(after=self._after, limit=KEPT, run=self._run_id))).lines
        if found:
            self._after = found[-1].number
            told = self.ui.supervision is not None  # of chaos, whatever becomes of the process that logs it too
            self._add([line for line in found if not (told and line.logger == "wfkit.chaos")])

    def _add(self, lines: Sequence[LogLine]) -> None:
        self._records.extend(lines)
        self._records = deque(sorted(self._records, key=lambda line: line.t), maxlen=KEPT)
        self._draw()

    def _draw(self) -> None:
        words = self.sought.casefold().split()
        lines = [drawn for one in self._records if all(word in _text(one) for word in words) for drawn in _drawn(one)]
        if not lines:
            if words:
                nothing = f"no line contains: {self.sought}"
            elif self.backend.live:
                nothing = "nothing was logged yet"
            else:
                nothing = "logs are of an engine that runs, and none does"
            lines = [[], [Piece(f"  {nothing}", "dim")]]
        self._page.show(lambda _width: lines)


def _text(line: LogLine) -> str:
    return f"{line.level} {line.run or ''} {line.step or line.logger} {line.text}".casefold()


def _drawn(line: LogLine) -> list[Line]:
    first, *more = line.text.splitlines() or [""]
    of = " ".join(filter(None, (line.run, line.step))) or line.logger
    head: Line = [
        Piece(f" {clock_time(line.t)}  ", "dim"),
        Piece(f"{line.level:<9}", _COLOURS.get(line.level, "")),
        Piece(f"{of}  " if of else "", "bold"),
        Piece(first),
    ]
    return [head, *([Piece(" " * 20 + text)] for text in more)]
