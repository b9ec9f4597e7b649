"""Keeps the latest log records of an engine's process, for screens.

A process that is ours gives all of them. A program that opens an engine has a logging of its own, which stays as it is: its
root gets no handler, since with one `logging.basicConfig` would do nothing.
"""

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
def all_logs() -> Iterator[KeptLogs]:
    """Keep the log records of this process; those of runs from level INFO on."""
    kept = KeptLogs()
    root, runs = logging.getLogger(), logging.getLogger("wfkit.run")
    level = runs.level
    root.addHandler(kept)
    if level == logging.NOTSET:
        runs.setLevel(logging.INFO)
    try:
        yield kept
    finally:
        root.removeHandler(kept)
        runs.setLevel(level)


@contextlib.contextmanager
def own_logs() -> Iterator[KeptLogs]:
    """Keep what the engine and its runs log, as far as this program wants it logged at all."""
    kept = _OwnLogs()
    logger = logging.getLogger("wfkit")
    logger.addHandler(kept)
    try:
        yield kept
    finally:
        logger.removeHandler(kept)


class _OwnLogs(KeptLogs):
    """Where the program has no handler, lets warnings go to stderr, as Python does if there is none at all."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        handlers = list(_handlers(logging.getLogger(record.name)))
        unheard = handlers[0] is self and all(isinstance(handler, KeptLogs) for handler in handlers)
        if unheard and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def _handlers(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that a record of a logger comes to."""
    at: logging.Logger | None = logger
    while at is not None:
        yield from at.handlers
        at = at.parent if at.propagate else None
