"""Logs: the latest records of the engine's process, the newest last."""

from __future__ import annotations

from collections import deque

from textual.app import ComposeResult

from wfkit.control.messages import GetLogs, LogLine
from wfkit_tui import keys
from wfkit_tui.drawing import Line, Piece, clock_time
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.page import Page

KEPT = 5_000
"""As many as the engine keeps."""
_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "DEBUG": "dim"}


class LogsScreen(Frame):
    """What the engine's process logged. Another engine begins another list."""

    CSS_PATH = "logs.tcss"
    BINDINGS = keys.LOGS
    tab = "logs"

    def body(self) -> ComposeResult:
        yield Page(ends=True, id="lines")

    def on_mount(self) -> None:
        self._pid: int | None = None
        self._after = 0
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._list = self.refresher(self._read, pause=0.5)
        self._page.focus()

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
        return "wfkit runs logs @last"

    def action_follow(self) -> None:
        self._page.follow = not self._page.follow
        if self._page.follow:
            self._page.action_last()
        self.draw_frame()

    async def _read(self) -> None:
        facts = self.backend.facts
        if facts is None:
            if not self._lines:
                self._page.show(lambda _width: [[], [Piece("  logs are of an engine that runs, and none does", "dim")]])
            return
        if facts.pid != self._pid:
            self._pid, self._after = facts.pid, 0
            self._lines.clear()
        found = (await self.backend.ask(GetLogs(after=self._after, limit=KEPT))).lines
        if found:
            self._after = found[-1].number
        for line in found:
            self._lines += _drawn(line)
        lines: list[Line] = list(self._lines) or [[], [Piece("  nothing was logged yet", "dim")]]
        if found or not self._lines:
            self._page.show(lambda _width: lines)


def _drawn(line: LogLine) -> list[Line]:
    first, *more = line.text.splitlines() or [""]
    of = " ".join(filter(None, (line.run, line.step))) or line.logger
    head: Line = [
        Piece(f" {clock_time(line.t)}  ", "dim"),
        Piece(f"{line.level:<8}", _COLOURS.get(line.level, "")),
        Piece(f" {of}  ", "bold"),
        Piece(first),
    ]
    return [head, *([Piece(" " * 20 + text)] for text in more)]
