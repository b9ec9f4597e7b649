"""What a command asks at a terminal before it stops several runs."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.conftest import SECONDS_MAX, call_in, environment
from tests.cli.test_engine import serving

AT_ITS_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder_with_naps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where an engine runs, with two runs."""
    import shutil

    from tests.cli.conftest import APP

    folder = tmp_path_factory.mktemp("naps")
    shutil.copy(APP, folder / "app.py")
    with serving(folder):
        for number in (1, 2):
            assert call_in(folder)("start", "nap", '"2 days"', "--id", f"nap-{number}").status == 0
        yield folder


def asked(folder: Path, keys: bytes) -> tuple[int, str]:
    """Answer the question of `wfkit runs cancel` with some keys, and return its exit status and what it showed."""
    main, side = pty.openpty()
    command = [sys.executable, "-c", AT_ITS_TERMINAL, sys.executable, "-m", "wfkit", "runs", "cancel", "--filter", "wf:nap"]
    child = subprocess.Popen(command, cwd=folder, env=environment(), stdin=side, stdout=side, stderr=side)
    os.close(side)
    shown = b""
    try:
        while b"[y/N]" not in shown:
            shown += os.read(main, 4096)
        with suppress(OSError):  # the other side is closed
            while True:
                os.write(main, keys)  # and again: what comes just before it begins to read may be lost, as a user would see
                while select.select([main], [], [], 1)[0]:
                    shown += os.read(main, 4096)
        return child.wait(SECONDS_MAX), shown.decode()
    finally:
        child.kill()
        os.close(main)


@pytest.mark.parametrize(("keys", "status"), [(b"\x03", 130), (b"\x04", 130), (b"n\n", 1), (b"\n", 1)])
def test_whoever_does_not_say_yes_stops_nothing(folder_with_naps: Path, keys: bytes, status: int) -> None:
    """Ctrl-C and Ctrl-D end the command as they end others, without another word."""
    found, shown = asked(folder_with_naps, keys)
    assert (found, "error" in shown) == (status, False), shown
    assert call_in(folder_with_naps)("runs", "-q", "status:waiting").out == "nap-2\nnap-1\n"


def test_the_question_lists_the_runs_that_are_meant(folder_with_naps: Path) -> None:
    """A filter may find more than one had in mind."""
    _, shown = asked(folder_with_naps, b"n\n")
    assert shown.replace("\r", "").startswith("  nap-2  nap, waiting\n  nap-1  nap, waiting\ncancel 2 runs? [y/N]")
