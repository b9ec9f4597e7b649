"""Logs: the latest records of the engine's process, and what it printed, the newest last."""

from __future__ import annotations

import re
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.app import ComposeResult

from wfkit.cli.output import visible, with_near_paths
from wfkit.control.messages import GetLogs, LogLine
from wfkit_tui import keys
from wfkit_tui.backend import Backend
from wfkit_tui.drawing import Line, Piece, clock_time
from wfkit_tui.screens.finding import FindingFrame
from wfkit_tui.supervision import TOLD
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.page import Page

KEPT = 5_000
"""As many as the engine keeps."""
_SGR = re.compile(r"\x1b\[[0-9;:]*m")
"""What chooses colours on a terminal."""
_TELL_RUNS = ("wfkit.engine", "wfkit.chaos")
"""Loggers whose texts say themselves which run they are about."""
_HEAD = 20
"""Cells before the text: the time and the level."""
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

    BINDINGS = keys.LOGS
    PLACEHOLDER = "words that a line contains: a run, a level, a text"
    tab = "logs"

    def __init__(self, backend: Backend, run: str = "") -> None:
        super().__init__(backend)
        self._run_id = run
        self._pid: int | None = None
        self._after = 0
        self._records: deque[LogLine] = deque(maxlen=KEPT)
        self._again: set[LogLine] = set()
        """Those that say what another one says."""

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

    @property
    def _page(self) -> Page:
        return self.query_one("#lines", Page)

    def reload(self) -> None:
        self._draw()
        self._list.ask(hurry=True)

    def tick(self) -> None:
        self._list.ask()

    def about(self) -> Line:
        return [Piece("follows " if self.is_mounted and self._page.follow else "")]

    def command(self) -> str:
        return f"wfkit runs logs {self._run_id or '@last'}"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what works: logs have one order."""
        return action != "sort" and super().check_action(action, parameters)

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
        self._again = _told_again(self._records)
        self._draw()

    def _draw(self) -> None:
        if not self.is_current:
            return  # it is drawn when it is seen again
        words = self.sought.casefold().split()
        shown = [one for one in self._records if one not in self._again and all(word in _text(one) for word in words)]
        if not shown:
            if words:
                nothing = f"no line contains: {self.sought}"
            elif self.backend.live:
                nothing = "nothing was logged yet"
            else:
                nothing = "logs are of an engine that runs, and none does"
            self._page.show(lambda _width: [[], [Piece(f"  {nothing}", "dim")]])
        else:
            self._page.show(lambda width: [line for one in shown for line in _drawn(one, width)])


def _told_again(lines: Sequence[LogLine]) -> set[LogLine]:
    """Return the lines that say what another one says: a worker prints what it logs, and logs what the supervisor tells."""
    if all(one.number != TOLD for one in lines):
        return set()
    logged = {text for one in lines if one.number != TOLD for text in _printed(one)}
    blocked = {word for one in lines if one.level == "blocked" for word in re.split(r"[\s,]+", one.text)}
    return {
        one
        for one in lines
        if (one.number == TOLD and logged.intersection(_printed(one)))
        or (one.number != TOLD and one.run in blocked and one.text.startswith(f"run {one.run} is blocked"))
    }


def _text(line: LogLine) -> str:
    return f"{line.level} {line.run or ''} {line.step or line.logger} {line.text}".casefold()


def _printed(line: LogLine) -> list[str]:
    """Return the lines that a worker of `wfkit dev` prints of what it logs, as they are told."""
    text = with_near_paths(line.text)
    return (f"{line.level} {line.logger}: {text}" if line.logger else text).splitlines()


def _drawn(line: LogLine, width: int) -> Iterator[Line]:
    """Yield the lines that show a record; what is too long goes on in the next one."""
    of = line.logger if line.logger in _TELL_RUNS else " ".join(filter(None, (line.run, line.step))) or line.logger
    told = with_near_paths(f"{of}  {line.text}" if of else line.text)
    rows = [row for text in told.splitlines() or [""] for row in _wrapped(_plain(text), max(width - _HEAD, 1))]
    for number, row in enumerate(rows):
        if number:
            yield [Piece(" " * _HEAD + row)]
            continue
        name = row[: len(of)]
        yield [
            Piece(f" {clock_time(line.t)}  ", "dim"),
            Piece(f"{line.level:<9}", _COLOURS.get(line.level, "")),
            *([Piece(name, "bold")] if name else []),
            Piece(row[len(name) :]),
        ]


def _plain(text: str) -> str:
    """Return a line without its colours; what else would move the cursor is written out."""
    return visible(_SGR.sub("", text).expandtabs())


def _wrapped(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, drop_whitespace=False, break_on_hyphens=False)
