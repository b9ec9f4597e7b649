"""What sleeping runs cost: memory above an engine with an empty journal, and the time to open a journal that holds them.

Run as a program of its own, since a process does not give back all that it has used:
`python -m tests.benchmarks.memory FOLDER RUNS RUNS_IN_MEMORY`.
"""

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

from tests.benchmarks import flows
from tests.benchmarks.figures import report
from wfkit import Engine

MONTH_SECONDS = 30 * 86_400.0
BATCH = 1_000
IDLE_SECONDS = 10
"""After this the projection is written, and the journal's log is folded into its file."""


def resident_bytes() -> int:
    """Return the memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(folder: Path, runs: int, runs_in_memory: int) -> None:
    """Start sleeping runs, wait until the engine is idle, and report."""
    path = str(folder / f"sleeping-{runs}-{runs_in_memory}.duckdb")
    kind = "in_memory" if runs_in_memory >= runs else "evicted"
    async with Engine.open(path, workflows=[flows.sleeper], runs_in_memory=runs_in_memory, control=False) as engine:
        empty = resident_bytes()
        for _ in range(0, runs, BATCH):
            await asyncio.gather(*(engine.start(flows.sleeper, MONTH_SECONDS) for _ in range(BATCH)))
        await asyncio.sleep(IDLE_SECONDS)
        gc.collect()
        used = resident_bytes() - empty
        report(f"memory_{runs}_sleeping_{kind}", used / 1e6, "MB", bytes_per_run=used // runs)
    start = time.perf_counter()
    async with Engine.open(path, workflows=[flows.sleeper], control=False):
        report(f"open_with_{runs}_sleeping", (time.perf_counter() - start) * 1e3, "ms")


if __name__ == "__main__":
    asyncio.run(measure(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
