"""What the command line and the screens ask of a journal with 100,000 finished runs that no engine holds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import report_times
from wfkit.control import reads
from wfkit.control.messages import GetFamily, GetRun, GroupRuns, ListRuns, ListTimers, Request
from wfkit.journal.views import open_file

SAMPLES = 5
RUN = "order_saga-77776-visa"
FILTERS = (
    "",
    "status:failed",
    "wf:order_*",
    "after:10m",
    "before:3d",
    "id:order_saga-777*",
    '"declined"',
    '"is nowhere"',
    'error:"503"',
    "error:nowhere",
    "step:ship_parcel",
    "step:give_*",
    "step:nowhere",
    "input.order.id:77",
    "input.order.id:nowhere",
)
COMMANDS = (("runs", "ls"), ("runs", "ls", "status:failed"), ("runs", "ls", "input.order.id:77"), ("runs", "why", RUN))


def measure(journal: Path) -> None:
    """Print the figures. A request is measured in this process, a command as a process."""
    requests: list[tuple[str, Request[Any]]] = [(f"list {filter}".strip(), ListRuns(filter=filter)) for filter in FILTERS]
    requests += [(f"list by {sort}", ListRuns(sort=sort, limit=500)) for sort in ("started", "updated", "status", "wake_at")]
    requests += [(f"group by {by}", GroupRuns(by=by)) for by in ("error", "step", "workflow")]
    requests += [("get a run", GetRun(run=RUN)), ("why", GetFamily(run=RUN)), ("timers", ListTimers())]
    with open_file(journal) as connection:
        connection.execute("SET threads = 1")  # as an engine has it
        for name, request in requests:
            times, used = [], []
            for _ in range(SAMPLES):
                start, before = time.perf_counter(), time.process_time()
                reads.READS[type(request)](connection, request)
                times.append(time.perf_counter() - start)
                used.append(time.process_time() - before)
            report_times("query", times, asked=name, processor=round(statistics.median(used) * 1e3, 3))
    for command in COMMANDS:
        report_times("command", [_seconds(command, journal) for _ in range(SAMPLES)], asked=" ".join(command))


def _seconds(command: Sequence[str], journal: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "wfkit", *command, "--store", str(journal)], check=True, capture_output=True)
    return time.perf_counter() - start
