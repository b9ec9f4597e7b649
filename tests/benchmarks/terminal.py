"""A program in a pseudo-terminal: what it writes, how much of it, and how long after a key."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GIVE_UP_SECONDS = 20.0
QUIET_SECONDS = 0.1
"""After this a painting is taken to be over."""
SETTLE_SECONDS_MAX = 1.0
"""Something else may be painted all the time."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=$]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78])")
_MOVES = re.compile(r"\x1b\[\d+;\d+H")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Terminal:
    """Starts a program in a terminal of its own.

    Args:
        command: the program and its arguments.
        environment: of the program.
        columns, rows: the terminal's size.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int = 160, rows: int = 45) -> None:
        self.started = time.perf_counter()
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            try:
                os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color"})
            finally:
                os._exit(127)
        self.seen = ""
        """What was written since the last key."""

    def press(self, keys: str) -> None:
        self.read(0)
        self.seen = ""
        os.write(self._file, keys.encode())

    def read(self, seconds: float) -> int:
        """Take what comes within so many seconds; return at the first of it. Returns how many bytes there were."""
        ready, _, _ = select.select([self._file], [], [], seconds)
        if not ready:
            return 0
        data = os.read(self._file, 1 << 20)
        self.seen += data.decode(errors="replace")
        return len(data)

    def until(self, shows: Callable[[str], bool]) -> float:
        """Wait until something is shown. Returns when it was there."""
        give_up = time.perf_counter() + GIVE_UP_SECONDS
        while not shows(text_of(self.seen)):
            if time.perf_counter() > give_up:
                raise RuntimeError(f"it was never painted:\n{text_of(self.seen)[-3000:]}")
            self.read(0.5)
        return time.perf_counter()

    def settle(self) -> float:
        """Wait until nothing comes for a while. Returns when the last of it came."""
        last = time.perf_counter()
        give_up = last + SETTLE_SECONDS_MAX
        while time.perf_counter() < give_up and self.read(QUIET_SECONDS):
            last = time.perf_counter()
        return last

    def watch(self, seconds: float) -> int:
        """Return how many bytes are written in so many seconds."""
        end = time.perf_counter() + seconds
        count = 0
        while (left := end - time.perf_counter()) > 0:
            count += self.read(left)
        return count

    def processor_seconds(self) -> float:
        """Return how much processor time the program has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def close(self, keys: str) -> int:
        """Press the keys that leave the program. Returns its status."""
        self.press(keys)
        with contextlib.suppress(OSError):  # the other end is closed
            while self.read(GIVE_UP_SECONDS):
                pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._file)
        return os.waitstatus_to_exitcode(status)


def text_of(written: str) -> str:
    """Return what was written as text: a new line wherever the cursor was moved to."""
    return _ESCAPES.sub("", _MOVES.sub("\n", written))
