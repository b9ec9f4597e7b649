"""`wfkit ui` as a user starts it: a process in a real terminal, beside an engine in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.terminal import ROOT, SECONDS_MAX, WFKIT, Terminal, call, environment, terminal_in

APP = ROOT / "tests" / "cli" / "app.py"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with terminal_in(tmp_path) as terminal:
        yield terminal


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


def test_a_terminal_that_is_closed_leaves_no_ephemeral_journal(tmp_path: Path, terminal: Terminal) -> None:
    """The engine ends with it, and its folder goes."""
    shutil.copy(APP, tmp_path / "app.py")
    terminal.open(80, 24, f"TMPDIR={tmp_path}", *WFKIT, "dev", "app.py", "--ephemeral")
    terminal.until("● live")
    assert list(tmp_path.glob("wfkit-dev-*"))
    terminal.close()
    give_up = time.monotonic() + SECONDS_MAX
    while list(tmp_path.glob("wfkit-dev-*")):
        assert time.monotonic() < give_up
        time.sleep(0.05)


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


def test_what_is_typed_at_once_behind_a_slash_is_a_filter(engine: Path, terminal: Terminal) -> None:
    """All of it, in runs and in what is found by words; none of its letters is a key of the list, and a slash is one."""
    call(engine, "start", "nap", '"2 days"', "--id", "napper")
    terminal.open(80, 24, *WFKIT, "ui")
    terminal.until("> napper")
    terminal.keys("/status:/ecpoX")
    terminal.until("no status '/ecpox'")
    terminal.keys("Escape")
    terminal.until("> napper", "/ Filter")
    terminal.keys("3")
    terminal.until("WHAT")
    terminal.keys("/nap/o")
    terminal.until(" nap/o")
