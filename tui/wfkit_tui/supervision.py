"""What the supervisor of `wfkit dev` tells: whether the code as it was saved is what runs, and what it prints."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from wfkit.cli.output import with_near_paths
from wfkit.control.messages import LogLine

if TYPE_CHECKING:
    from wfkit.dev.supervisor import News

LINES_MAX = 1_000
TOLD = 0
"""The number of a line that a supervisor told; an engine counts from 1."""
_LOGGED = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.*)")
"""How a worker prints what it logs."""
STARTED = ("started", "reloaded")
"""What is told as soon as another process serves."""
_BEFORE_CAUSE = re.compile(r"^error\[\w+\]: (?:\S+ does not import: )?")


class Supervision:
    """Folds what a supervisor tells into what holds now.

    Args:
        news: what it tells, from its thread.
    """

    def __init__(self, news: SimpleQueue[News]) -> None:
        self._news = news
        self.last_error = ""
        """The last line that the process which runs the code wrote to stderr, or the text of what it logged there."""
        self.lines: deque[LogLine] = deque(maxlen=LINES_MAX)
        """What was told last; the level is the kind of the news."""
        self.version = 0
        """Counts the code that has run: a save that loads makes another one."""
        self.down = ""
        """How the process that runs the code ended; empty while there is one."""
        self.refused = ""
        """Why the code as it was saved is not what runs; empty if it is."""

    def take(self, now: int) -> list[LogLine]:
        """Take over what was told since the last time, and return it as lines of a log.

        Args:
            now: the present, microseconds UTC.
        """
        taken = []
        for news in self._waiting():
            self._fold(news)
            taken.append(_line(news, now))
        self.lines.extend(taken)
        return taken

    def _waiting(self) -> Iterator[News]:
        while True:
            try:
                yield self._news.get_nowait()
            except Empty:
                return

    def _fold(self, news: News) -> None:
        first = with_near_paths(news.text).partition("\n")[0]
        match news.kind:
            case kind if kind in STARTED:
                if self.version == 0 or news.kind == "reloaded":
                    self.version += 1
                self.down = self.refused = self.last_error = ""
            case "refused":
                self.refused = cause_of(first)
            case "died":
                self.down = f"{first}: {self.last_error}" if self.last_error else first
            case "stderr" if news.text.strip():
                logged = _LOGGED.fullmatch(first)
                self.last_error = first.strip() if logged is None else logged[3]
            case _:
                pass


def cause_of(text: str) -> str:
    """Return the first line of what was told, from where it says what is wrong."""
    return _BEFORE_CAUSE.sub("", text.partition("\n")[0])


def _line(news: News, now: int) -> LogLine:
    """Return news as a line of a log. What a worker logged is told as its record, though that may be gone with its process."""
    text = with_near_paths(news.text)
    logged = _LOGGED.fullmatch(text) if news.kind == "stderr" else None
    level, logger, text = logged.groups() if logged is not None else (news.kind, "", text)
    return LogLine(number=TOLD, t=now, level=level, logger=logger, text=text)
