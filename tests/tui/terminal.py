"""A terminal as a user has it, and the commands that are typed in others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 30.0
WFKIT = [sys.executable, "-m", "wfkit"]


def environment() -> dict[str, str]:
    """Return the environment of what runs in a terminal: nothing in it decides about colours or the journal."""
    left_out = ("CI", "NO_COLOR", "FORCE_COLOR", "WFKIT_STORE", "WFKIT_ENGINE", "TMUX")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def call(folder: Path, *arguments: str) -> str:
    """Run a command of wfkit in a folder, which must succeed, and return what it printed."""
    done = subprocess.run([*WFKIT, *arguments], cwd=folder, env=environment(), check=True, capture_output=True, text=True)
    return done.stdout


class Terminal:
    """A terminal of tmux, on a server of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]

    def open(self, columns: int, rows: int, *command: str) -> None:
        size = ["-x", str(columns), "-y", str(rows)]
        shell = " ".join(map(str, command)) + "; echo status $?; cat"
        self.do("new-session", "-d", "-c", str(self._folder), *size, shell)

    def do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], env=environment(), check=True, capture_output=True, text=True)
        return done.stdout

    def keys(self, *keys: str) -> None:
        self.do("send-keys", *keys)

    def until(self, *texts: str) -> str:
        """Wait until the terminal shows all of these texts at once, and return what it shows."""
        give_up = time.monotonic() + SECONDS_MAX
        while missing := [text for text in texts if text not in (seen := self.do("capture-pane", "-p"))]:
            assert time.monotonic() < give_up, f"never: {missing}\n{seen}"
            time.sleep(0.05)
        return seen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@contextmanager
def terminal_in(folder: Path) -> Iterator[Terminal]:
    """Give a terminal whose commands run in a folder, until the end of the block."""
    if shutil.which("tmux") is None:
        pytest.skip("platform: there is no tmux on this machine")
    terminal = Terminal(folder)
    try:
        yield terminal
    finally:
        terminal.close()
