"""A process that writes units of three rows and prints the number of each one that it was told is durable.

Usage: writing_child.py JOURNAL. It says "ready" before it opens the journal, and ends after a minute if nobody kills it.
"""

import asyncio
import os
import sys
import time
from functools import partial

from wfkit.journal.duckdb import open_journal
from wfkit.journal.port import Row


async def main(path: str) -> None:
    os.write(1, b"ready\n")
    journal = await open_journal(path)
    number = len(await journal.history(1))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for _ in range(10):
            number += 1
            unit = [Row(run, number, 2, 0, b"x" * 300) for run in (1, 2, 3)]
            journal.append(unit, partial(report, number))
        await asyncio.sleep(0.001)
        if number % 500 == 0:
            await journal.checkpoint()


def report(number: int) -> None:
    os.write(1, b"%d\n" % number)


asyncio.run(main(sys.argv[1]))
