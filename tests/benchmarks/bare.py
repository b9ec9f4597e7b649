"""What the machine itself costs: the floor that everything else stands on, measured in the same run."""

import os
import time
from pathlib import Path

import duckdb

from tests.benchmarks.figures import report_times

SAMPLES = 300
BODY = b"x" * 150


def fdatasync(folder: Path) -> float:
    """Append 150 bytes to a file and make them durable. Returns the median in seconds."""
    times = []
    with (folder / "bare").open("wb", buffering=0) as file:
        for _ in range(SAMPLES):
            start = time.perf_counter()
            file.write(BODY)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return report_times("bare_fdatasync", times)


def commit(folder: Path) -> float:
    """Commit one row of 150 bytes into a DuckDB table. Returns the median in seconds."""
    times = []
    with duckdb.connect(str(folder / "bare.duckdb"), config={"threads": 1}) as connection:
        connection.execute("CREATE TABLE entries(pos BIGINT, run BIGINT, seq INTEGER, kind UTINYINT, t BIGINT, body BLOB)")
        appender = connection.appender("entries")
        for i in range(SAMPLES):
            start = time.perf_counter()
            appender.append_rows([(i, 1, i, 1, 0, BODY)])
            appender.flush()
            times.append(time.perf_counter() - start)
    return report_times("bare_commit", times)
