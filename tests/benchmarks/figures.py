"""How a figure is printed: one JSON object a line, so that runs can be compared by a program."""

import json
import statistics
import sys
from collections.abc import Sequence


def report(name: str, value: float, unit: str, **more: object) -> None:
    """Print one figure."""
    sys.stdout.write(json.dumps({"name": name, "value": round(value, 4), "unit": unit, **more}) + "\n")
    sys.stdout.flush()


def report_times(name: str, seconds: Sequence[float], **more: object) -> float:
    """Print the median of some times in milliseconds, with the 99th percentile. Returns the median in seconds."""
    median = statistics.median(seconds)
    p99 = sorted(seconds)[int(len(seconds) * 0.99)]
    report(name, median * 1e3, "ms", p99=round(p99 * 1e3, 3), samples=len(seconds), **more)
    return median
