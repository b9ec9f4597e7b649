"""Keeps the latest log records of an engine's process, for screens."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from wfkit.control.messages import GetLogs, LogLine, LogLines

KEPT = 5_000
"""About 1 MB. Logs are for looking at what goes on now; what must last belongs into a file."""
TEXT_MAX = 10_000


class KeptLogs(logging.Handler):
    """Holds the latest records in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=KEPT)
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # the record is the user's, and so are the objects in it
            text = f"{record.msg!r} (which cannot be formatted)"
        self._number += 1
        self._lines.append(
            LogLine(
                number=self._number,
                t=int(record.created * 1e6),
                level=record.levelname,
                logger=record.name,
                text=text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "...",
                run=getattr(record, "run_id", None),
                step=getattr(record, "step", None),
            )
        )

    def lines(self, request: GetLogs) -> LogLines:
        """Return the lines that a request asks for."""
        found = [
            line for line in list(self._lines) if line.number > request.after and (not request.run or line.run == request.run)
        ]
        return LogLines(found[-request.limit :])


@contextlib.contextmanager
def kept_logs() -> Iterator[KeptLogs]:
    """Keep the log records of this process; those of runs from level INFO on."""
    handler = KeptLogs()
    root, runs = logging.getLogger(), logging.getLogger("wfkit.run")
    level = runs.level
    root.addHandler(handler)
    if level == logging.NOTSET:
        runs.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        runs.setLevel(level)
