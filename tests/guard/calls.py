"""Calls that a workflow may not make, calls that it may, and what the guard says or gives to each.

Needs nothing but Python, so any Python runs it: as a program it prints what it sees in the code of a run, as JSON.
"""

from __future__ import annotations

import _thread
import importlib
import json
import logging
import multiprocessing
import os
import random
import secrets
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from uuid import uuid1, uuid4
from zoneinfo import ZoneInfo

from wfkit import guard
from wfkit.core.loop import RunLoop
from wfkit.errors import DeterminismViolation

NOWHERE = "/no/such/folder"

_warm = ThreadPoolExecutor(max_workers=1)
_warm.submit(int).result()  # its thread waits for work: the next `submit` starts none

_cold = ProcessPoolExecutor()


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def report() -> None:
    try:
        int("x")
    except ValueError:
        sys.__excepthook__(*sys.exc_info())


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "open": (lambda: open(f"{NOWHERE}/file"), "open('/no/such/folder/file') in"),  # noqa: PTH123, SIM115  # this one, too
    "os.open": (lambda: os.open(f"{NOWHERE}/file", os.O_RDONLY), "open('/no/such/folder/file') in"),
    "Path.read_text": (lambda: Path(f"{NOWHERE}/file").read_text("utf-8"), "open('/no/such/folder/file') through pathlib"),
    "os.listdir": (lambda: os.listdir(NOWHERE), "os.listdir('/no/such/folder') in"),  # noqa: PTH208  # this one, too
    "os.scandir": (lambda: os.scandir(NOWHERE), "os.scandir('/no/such/folder') in"),
    "os.remove": (lambda: Path(NOWHERE).unlink(), "os.remove('/no/such/folder') through pathlib"),
    "os.rename": (lambda: os.rename(NOWHERE, "/no"), "os.rename('/no/such/folder') in"),  # noqa: PTH104  # as above
    "os.mkdir": (lambda: os.mkdir(f"{NOWHERE}/x"), "os.mkdir('/no/such/folder/x') in"),  # noqa: PTH102  # as above
    "shutil.rmtree": (lambda: shutil.rmtree(NOWHERE), "shutil.rmtree('/no/such/folder')"),
    "tempfile.mkstemp": (lambda: tempfile.mkstemp(), "through tempfile.mkstemp()"),
    "sqlite3.connect": (lambda: sqlite3.connect(":memory:"), "sqlite3.connect(':memory:') in"),
    "input": (input, "input("),
    "socket.socket": (socket.socket, "socket.socket()"),
    "socket.create_connection": (lambda: socket.create_connection(("127.0.0.1", 9)), "through socket.create_connection()"),
    "socket.gethostname": (socket.gethostname, "socket.gethostname() in"),
    "subprocess.run": (lambda: subprocess.run(["true"], check=True), "subprocess.Popen('true') through subprocess.run()"),
    "os.system": (lambda: os.system("true"), "os.system(b'true') in"),
    "os.fork": (fork, "os.fork() in"),
    "multiprocessing": (multiprocessing.get_context("spawn").Process(target=int).start, "multiprocessing.Process.start()"),
    "time.sleep": (lambda: time.sleep(0), "time.sleep() in"),
    "Thread.start": (lambda: threading.Thread(target=int).start(), "threading.Thread.start() in"),
    "_thread": (lambda: _thread.start_new_thread(int, ()), "_thread.start_new_thread() in"),
    "ThreadPoolExecutor": (lambda: _warm.submit(int), "through concurrent.futures.thread.ThreadPoolExecutor.submit()"),
    "ThreadPoolExecutor.map": (lambda: _warm.map(int, "1"), "through concurrent.futures._base.Executor.map()"),
    "ProcessPoolExecutor": (lambda: _cold.submit(int), "ProcessPoolExecutor.submit() in"),
    "os.environ[]": (lambda: os.environ["HOME"], "os.environ['HOME'] in"),
    "os.environ.get": (lambda: os.environ.get("HOME"), "os.environ['HOME'] in"),
    "in os.environ": (lambda: "HOME" in os.environ, "os.environ['HOME'] in"),
    "os.getenv": (lambda: os.getenv("HOME"), "os.environ['HOME'] in"),
    "os.environb[]": (lambda: os.environb[b"HOME"], "os.environ[b'HOME'] in"),
    "iter(os.environ)": (lambda: iter(os.environ), "os.environ in"),
    "dict(os.environ)": (lambda: dict(os.environ), "os.environ"),
    "os.environ.copy": (os.environ.copy, "os.environ"),
    "os.environ.items": (lambda: next(iter(os.environ.items())), "os.environ"),
    "os.environ |": (lambda: os.environ | {}, "os.environ"),
    "len(os.environ)": (lambda: len(os.environ), "os.environ in"),
    "repr(os.environ)": (lambda: repr(os.environ), "os.environ in"),
    "os.environ[]=": (lambda: os.environ.__setitem__("HOME", "/"), "os.putenv(b'HOME')"),
    "del os.environ[]": (lambda: os.environ.__delitem__("NO_SUCH"), "os.unsetenv(b'NO_SUCH')"),
    "secrets.token_hex": (lambda: secrets.token_hex(), "os.urandom(32) through secrets.token_hex()"),
    "secrets.choice": (lambda: secrets.choice("ab"), "os.urandom(1) through random."),
    "secrets.randbelow": (lambda: secrets.randbelow(9), "os.urandom(1) through secrets.randbelow()"),
    "os.urandom": (lambda: os.urandom(4), "os.urandom(4) in"),
    "SystemRandom.random": (lambda: random.SystemRandom().random(), "os.urandom(7) through random.SystemRandom.random()"),
    "random.seed": (lambda: random.seed(1), "random.seed() in"),
    "uuid.uuid1": (lambda: uuid.uuid1(), "uuid.uuid1() in"),  # looked up late
    "uuid1 of a node": (lambda: uuid.uuid1(node=5, clock_seq=6), "uuid.uuid1() in"),
    "uuid1 bound early": (lambda: uuid1(), "uuid.uuid1() through uuid.uuid1()"),
}

VIRTUAL: dict[str, Callable[[], object]] = {
    "time": lambda: time.time(),
    "time_ns": lambda: time.time_ns(),
    "monotonic": lambda: time.monotonic(),
    "monotonic_ns": lambda: time.monotonic_ns(),
    "perf_counter": lambda: time.perf_counter(),
    "perf_counter_ns": lambda: time.perf_counter_ns(),
    "random": lambda: random.random(),
    "choices": lambda: random.choices("abcdef", k=9),
    "shuffle": lambda: random.sample(range(99), 9),
    "gauss": lambda: [random.gauss(0, 1) for _ in range(3)],
    "getrandbits": lambda: random.getrandbits(99),
    "randbytes": lambda: random.randbytes(5).hex(),
    "state": lambda: random.setstate(random.getstate()),
    "Random()": lambda: random.Random().random(),
    "uuid4": lambda: str(uuid.uuid4()),
    "uuid4 bound early": lambda: str(uuid4()),
}

PASSED: dict[str, Callable[[], object]] = {
    "import of Python and of C": lambda: importlib.import_module("cProfile"),
    "import of a package": lambda: importlib.import_module("xml.etree.ElementTree"),
    "time zone": lambda: ZoneInfo("Europe/Paris"),
    "date": lambda: datetime.strptime("2024-02-29 +0000", "%Y-%m-%d %z"),
    "codec": lambda: "x".encode("cp1252"),
    "log": lambda: logging.getLogger("calls").debug("nothing"),
    "report of an error that nobody catches": report,
    "traceback": lambda: traceback.format_stack(),
    "numbers": lambda: (Decimal("0.1").sqrt(), Fraction(1, 3), statistics.mean([1, 2])),
}


def observe() -> dict[str, Any]:
    """Return whether each call raises what it should, and the value of each reading, in the code of a run."""
    seen: dict[str, Any] = {}
    for name, (call, said) in REFUSED.items():
        loop = RunLoop(cast("Any", None))  # type: ignore[abstract]  # as in `Machine`; this one sets no timers
        try:
            loop.activate(call)  # type: ignore[arg-type]  # what it returns is dropped
        except DeterminismViolation as exc:
            seen[name] = said in str(exc)
    for name, correct in PASSED.items():
        loop = RunLoop(cast("Any", None))  # type: ignore[abstract]  # as above
        loop.activate(correct)  # type: ignore[arg-type]  # as above
        seen[name] = loop.violation is None
    loop = RunLoop(cast("Any", None))  # type: ignore[abstract]  # as above
    loop.started, loop.now, loop.seed = 1_700_000_000_123_456, 1_700_000_007_123_457, 99
    for name, read in VIRTUAL.items():
        loop.activate(lambda name=name, read=read: seen.__setitem__(name, read()))
    return seen


if __name__ == "__main__":
    guard.install()
    sys.stdout.write(json.dumps(observe()))
    _warm.shutdown()
