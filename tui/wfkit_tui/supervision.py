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
STARTED = ("started", "reloaded")
"""What is told as soon as another process serves."""
_CODE = re.compile(r"^error\[\w+\]: ")


class Supervision:
    """Folds what a supervisor tells into what holds now.

    Args:
        news: what it tells, from its thread.
    """

    def __init__(self, news: SimpleQueue[News]) -> None:
        self._news = news
        self.last_error = ""
        """The last line that the process which runs the code wrote to stderr."""
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
            taken.append(LogLine(number=0, t=now, level=news.kind, logger="", text=with_near_paths(news.text)))
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
                self.refused = _CODE.sub("", first)
            case "died":
                self.down = f"{first}: {self.last_error}" if self.last_error else first
            case "stderr" if news.text.strip():
                self.last_error = news.text.strip()
            case _:
                pass
