"""A process that holds a journal: as its writer, or as a reader for some seconds. It says "held" when it does.

With `fork` it is a writer with a forked child, which lives until its standard input ends.

Usage: holding_child.py write|fork|read JOURNAL SECONDS
"""

import asyncio
import contextlib
import os
import sys
import time

from wfkit.journal.duckdb import open_journal
from wfkit.journal.views import open_file


async def hold_as_writer(path: str, seconds: float, *, forks: bool) -> None:
    journal = await open_journal(path)
    if forks and os.fork() == 0:
        os.write(1, b"held\n")
        os.read(0, 1)
        os._exit(0)
    if not forks:
        os.write(1, b"held\n")
    await asyncio.sleep(seconds)
    await journal.close()


def hold_as_reader(path: str, seconds: float) -> None:
    with open_file(path):
        os.write(1, b"held\n")
        time.sleep(seconds)


with contextlib.suppress(KeyboardInterrupt):
    if sys.argv[1] in ("write", "fork"):
        asyncio.run(hold_as_writer(sys.argv[2], float(sys.argv[3]), forks=sys.argv[1] == "fork"))
    else:
        hold_as_reader(sys.argv[2], float(sys.argv[3]))
