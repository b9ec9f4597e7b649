"""`wfkit ui` as a user starts it: a process in a real terminal, beside an engine in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "cli" / "app.py"
SECONDS_MAX = 20.0
WFKIT = [sys.executable, "-m", "wfkit"]


def environment() -> dict[str, str]:
    left_out = ("CI", "NO_COLOR", "FORCE_COLOR", "WFKIT_STORE", "WFKIT_ENGINE", "TMUX")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONPATH": str(APP.parents[2]), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


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

    def until(self, text: str) -> str:
        """Wait until the terminal shows a text."""
        give_up = time.monotonic() + SECONDS_MAX
        while text not in (seen := self.do("capture-pane", "-p")):
            assert time.monotonic() < give_up, f"never: {text}\n{seen}"
            time.sleep(0.05)
        return seen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("platform: there is no tmux on this machine")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    """An engine in a process of its own; gives its folder."""
    shutil.copy(APP, tmp_path / "app.py")
    serve = [*WFKIT, "serve", "app.py"]
    with subprocess.Popen(serve, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None
            assert b"serving app.py" in process.stdout.readline()
            yield tmp_path
        finally:
            process.terminate()


def call(folder: Path, *arguments: str) -> None:
    subprocess.run([*WFKIT, *arguments], cwd=folder, env=environment(), check=True, capture_output=True)


def test_a_user_looks_at_a_run_and_cancels_it(engine: Path, terminal: Terminal) -> None:
    """From the first paint to the quit, which leaves the engine alone and the terminal as it was."""
    terminal.open(80, 24, *WFKIT, "ui")
    terminal.until("No runs yet")
    call(engine, "start", "nap", '"2 days"', "--id", "napper")
    terminal.until("> napper")
    terminal.keys("Enter")
    terminal.until("waits for timer of 2d")
    terminal.keys("c")
    terminal.until("$ wfkit runs cancel napper")
    terminal.keys("enough", "Enter")
    terminal.until("⊘ cancelled")
    terminal.keys("Escape")
    terminal.until("─ entries")
    terminal.keys("q")
    assert "napper" not in terminal.until("status 0")
    call(engine, "runs", "get", "napper")


def test_in_a_pipe_there_are_no_screens(tmp_path: Path) -> None:
    """It says which command does the same."""
    done = subprocess.run([*WFKIT, "ui"], cwd=tmp_path, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the screens need a terminal" in done.stderr
    assert "wfkit runs --watch" in done.stderr


def test_an_engine_that_does_not_run_is_told_before_the_screens(tmp_path: Path, terminal: Terminal) -> None:
    """With the status of the other commands."""
    terminal.open(80, 24, *WFKIT, "ui", "--engine", "nowhere")
    assert "no engine runs at nowhere" in terminal.until("status 4")
