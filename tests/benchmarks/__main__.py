"""`make bench`: prints one JSON line for each figure, the bare costs of the machine first."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import bare, flows, memory, proving, queries, reload, screens, work
from tests.benchmarks.figures import report_times
from tests.benchmarks.journals import make_journal
from wfkit import Engine


async def measure_work(folder: Path, commit: float) -> None:
    """Measure one engine after the other, each on a journal of its own."""
    for name, measure in (
        ("W1", work.throughput),
        ("W2", lambda engine: work.sequential(engine, commit)),
        ("W3", lambda engine: work.round_trip(engine, commit)),
        ("W4", work.parallel),
        ("W6", work.timers),
    ):
        async with Engine.open(str(folder / f"{name}.duckdb"), workflows=flows.ALL, control=False) as engine:
            await (await engine.start(flows.one_step, 0)).result()
            await measure(engine)
    await work.recovery(folder / "W5.duckdb")


def measure_start_up(samples: int = 15) -> None:
    """How long the command line takes to answer."""
    for name, arguments in (
        ("bare_python", ["-c", "pass"]),
        ("import_wfkit", ["-c", "import wfkit"]),
        ("wfkit_help", ["-m", "wfkit", "--help"]),
    ):
        times = []
        for _ in range(samples):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        report_times(name, times)


def main() -> None:
    """Measure everything, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="wfkit-bench-") as name:
        folder = Path(name)
        bare.fdatasync(folder)
        commit = bare.commit(folder)
        asyncio.run(measure_work(folder, commit))
        for runs, runs_in_memory in ((10_000, 20_000), (100_000, 200_000), (100_000, 1_000)):
            arguments = [sys.executable, "-m", memory.__name__, name, str(runs), str(runs_in_memory)]
            subprocess.run(arguments, check=True)
        measure_start_up()
        reload.save_to_running(folder)
        journal = folder / "many" / "journal.duckdb"
        asyncio.run(make_journal(journal))
        queries.measure(journal)
        screens.measure(journal)
    proving.measure()


if __name__ == "__main__":
    main()
