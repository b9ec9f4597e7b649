"""How quickly `wfkit dev` starts, and how long after a save the new code runs."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.figures import report_times

APP = """\
from wfkit import workflow


@workflow
async def say() -> str:
    return "0"
"""


def save_to_running(folder: Path, saves: int = 15) -> None:
    """Save an app of small imports again and again, and wait each time until an engine answers that runs it."""
    app = folder / "app.py"
    app.write_text(APP)
    command = [sys.executable, "-m", "wfkit", "dev", "app.py", "--no-tui"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    _wait(process, "app.py runs")
    report_times("dev_start", [time.perf_counter() - start])
    times = []
    for number in range(saves):
        time.sleep(0.7)  # as long as a quick person needs at least
        start = time.perf_counter()
        app.write_text(APP.replace('"0"', f'"{number}"'))
        _wait(process, "app.py reloaded")
        times.append(time.perf_counter() - start)
    report_times("dev_save_to_running", times)
    process.send_signal(signal.SIGINT)
    process.communicate()


def _wait(process: subprocess.Popen[str], told: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(told, line):
            return
    raise RuntimeError(f"wfkit dev ended with status {process.wait()}")
