"""The README's first workflow does what the README shows."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
WFKIT = (sys.executable, "-m", "wfkit")
SLEEP_SECONDS = 4


def wfkit(*arguments: str, folder: Path) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run([*WFKIT, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_first_workflow_goes_on_after_a_kill_as_shown(tmp_path: Path) -> None:
    """The workflow in the README, killed in its sleep, gives the payment number that the README shows."""
    found = re.search(r"```python\n(# app\.py\n.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "app.py").write_text(found[1].replace('sleep("20s")', f'sleep("{SLEEP_SECONDS}s")'))
    arguments = ["run", "app.py:purchase", '["order-7", 4900]', "--id", "order-7"]

    first = subprocess.Popen([*WFKIT, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wal = tmp_path / ".wfkit" / "journal.duckdb.wal"
    deadline = time.monotonic() + 30
    while b"StartTimer" not in (wal.read_bytes() if wal.exists() else b""):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()

    why = wfkit("runs", "why", "order-7", folder=tmp_path)
    assert f"timer of {SLEEP_SECONDS}s" in why
    assert "app.py:21 in purchase" in why
    assert "app.py:21 in purchase" in README
    result = wfkit("run", "app.py:purchase", "--id", "order-7", folder=tmp_path)
    assert result == '"payment-cbbe72"\n'
    assert result in README
    assert "charge" in wfkit("runs", "history", "order-7", folder=tmp_path)


def test_the_engine_in_a_program_is_used_as_shown(tmp_path: Path) -> None:
    """The snippet with Engine.open runs as it stands, around the workflow of the README."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    app = blocks[0].replace('sleep("20s")', 'sleep("10ms")')
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "program.py").write_text(blocks[1])
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "payment-cbbe72"
