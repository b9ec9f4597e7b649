"""SIGKILL of a process that writes a journal: nothing acknowledged is lost, and no unit is there in part."""

import asyncio
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wfkit.journal.duckdb import open_journal

CHILD = Path(__file__).with_name("writing_child.py")
ROOT = Path(__file__).parents[2]


def start(journal: Path) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen([sys.executable, CHILD, journal], stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def kill(child: "subprocess.Popen[bytes]") -> list[int]:
    """Kill it and return the numbers of all units that were acknowledged to it."""
    child.send_signal(signal.SIGKILL)
    output, _ = child.communicate(timeout=30)
    return [int(line) for line in output.split(b"\n")[:-1]]


async def lengths(path: Path) -> list[int]:
    journal = await open_journal(path)
    histories = [await journal.history(run) for run in (1, 2, 3)]
    await journal.close()
    assert all([row.seq for row in history] == list(range(1, len(history) + 1)) for history in histories)
    return [len(history) for history in histories]


def test_every_acknowledged_unit_survives_a_kill(tmp_path: Path) -> None:
    """Whole units and all that were acknowledged, over several kills of the same journal at random moments."""
    path, moments, written = tmp_path / "journal.duckdb", random.Random(7), 0
    for _ in range(6):
        child = start(path)
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], 30)[0]  # it acknowledges: it is in the midst of writing
        time.sleep(moments.uniform(0, 0.2))
        acknowledged = kill(child)
        found = asyncio.run(lengths(path))
        assert len(set(found)) == 1
        assert found[0] >= max(acknowledged) > written
        written = found[0]


@pytest.mark.parametrize("delay_ms", range(0, 100, 8))
def test_a_kill_during_the_first_creation_leaves_nothing_half_made(tmp_path: Path, delay_ms: int) -> None:
    """Whatever the moment, the next one opens a journal that works."""
    path = tmp_path / "journal.duckdb"
    child = start(path)
    time.sleep(delay_ms / 1000)
    kill(child)
    found = asyncio.run(lengths(path))
    assert len(set(found)) == 1
