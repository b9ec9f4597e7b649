"""The screens on a live engine that writes 20 entries a second, with 100,000 finished runs in its journal.

Run as a program of its own: `python -m tests.benchmarks.screens JOURNAL`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from tests.benchmarks import orders
from tests.benchmarks.figures import report, report_times
from tests.benchmarks.terminal import GIVE_UP_SECONDS, Terminal
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine, StartRun
from wfkit.errors import EngineUnreachable

WFKIT = [sys.executable, "-m", "wfkit"]
ROOT = Path(__file__).parents[2]
ENTRIES_PER_SECOND = 20
ENTRIES_PER_RUN = 5
FILLED_SECONDS = 12.0
"""Until as many entries are listed as are kept: before that, the list of entries grows, and its scrollbar is painted."""
WINDOW_SECONDS = 10.0
WINDOWS = 5
SAMPLES = 40
DOWN, UP, PAGE_DOWN, PAGE_UP, ENTER, ESCAPE = "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~", "\r", "\x1b"
FILTER = "status:failed"
SHOWN_BY = {"2": "no run waits for a signal", "3": "WHAT", "4": "VERSION", "5": "No reports", "6": "follows", "1": "NOW AT"}
"""What is seen of the screen that a digit leads to."""

_SELECTED = re.compile(r"\n> (\S{8,})")
"""The run under the cursor, in a line of the list."""


def environment() -> dict[str, str]:
    left_out = ("CI", "NO_COLOR", "FORCE_COLOR", "WFKIT_STORE", "WFKIT_ENGINE", "SSH_CONNECTION")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tui'}",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "COLORTERM": "truecolor",
    }


@contextlib.contextmanager
def engine_on(journal: Path) -> Iterator[EngineClient]:
    """Serve the journal in a process of its own."""
    serve = [*WFKIT, "serve", orders.__name__, "--store", str(journal)]
    with subprocess.Popen(serve, cwd=journal.parent, env=environment(), stdout=subprocess.DEVNULL) as process:
        try:
            yield _client_of(process, journal)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _client_of(process: subprocess.Popen[bytes], journal: Path) -> EngineClient:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        client = EngineClient(engine_beside(journal), journal)  # each time anew: where the socket is shows when it is there
        with contextlib.suppress(EngineUnreachable):
            client.ask(GetEngine())
            return client
        time.sleep(0.05)
    raise RuntimeError(f"wfkit serve does not serve, status {process.poll()}")


@contextlib.contextmanager
def orders_coming_in(client: EngineClient) -> Iterator[None]:
    """Start runs at a steady pace, so many that the engine writes `ENTRIES_PER_SECOND`."""
    enough = threading.Event()

    def start() -> None:
        for number in itertools.count(10_000_000):
            if enough.wait(ENTRIES_PER_RUN / ENTRIES_PER_SECOND):
                return
            order = msgspec.Raw(msgspec.json.encode({"id": number, "packing_seconds": 2.0}))
            client.ask(StartRun(workflow="order_saga", input=order))

    starter = threading.Thread(target=start)
    starter.start()
    try:
        yield
    finally:
        enough.set()
        starter.join()


class Keys:
    """Presses keys, and keeps how long it takes until something is painted, and until that is what was asked for."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._first: list[float] = []
        self._shown: list[float] = []

    def press(self, keys: str, shows: Callable[[str], bool]) -> None:
        terminal = self.terminal
        terminal.press(keys)
        began = time.perf_counter()
        terminal.read(GIVE_UP_SECONDS)
        self._first.append(time.perf_counter() - began)
        self._shown.append(terminal.until(shows) - began)
        terminal.settle()

    def report(self, name: str) -> None:
        """Report what was pressed since the last time."""
        report_times(f"screen_{name}", self._shown, first_bytes=round(statistics.median(self._first) * 1e3, 3), **load())
        self._first.clear()
        self._shown.clear()


def load() -> dict[str, float]:
    """Return how busy the machine is with other things as well."""
    return {"load": round(os.getloadavg()[0], 1)}


def _shows(wanted: str, text: str) -> bool:
    return wanted in text


def moves(keys: Keys) -> None:
    """Move in the list of runs, by lines and by pages."""
    for name, there, back in (("arrow", DOWN, UP), ("page", PAGE_DOWN, PAGE_UP)):
        for number in range(SAMPLES):
            keys.press(there if number % 20 < 10 else back, lambda text: _SELECTED.search(text) is not None)
        keys.report(name)


def filters(keys: Keys) -> None:
    """Type a filter, and let the list be filtered."""
    applied = Keys(keys.terminal)
    for _ in range(3):
        keys.terminal.press("/")
        keys.terminal.settle()
        for end in range(1, len(FILTER) + 1):
            keys.press(FILTER[end - 1], partial(_shows, f"\n {FILTER[:end]} "))
        applied.press(ENTER, lambda text: text.count("✗ failed") > 5)
        _escape(keys.terminal, "✓ completed")
    keys.report("filter_typing")
    applied.report("filter_applied")


def runs_opened(keys: Keys) -> None:
    """Open the run under the cursor, and leave it."""
    for _ in range(SAMPLES // 4):
        keys.press(ENTER, lambda text: "imeline 1/4" in text)
        _escape(keys.terminal, "NOW AT")
    keys.report("run_opened")


def _escape(terminal: Terminal, shown: str) -> None:
    """Press escape, and wait for what is shown then: an escape that another key follows soon is another key."""
    terminal.press(ESCAPE)
    terminal.until(partial(_shows, shown))
    terminal.settle()


def switches(keys: Keys) -> None:
    """Go through the screens."""
    for _ in range(5):
        for digit, shown in SHOWN_BY.items():
            keys.press(digit, partial(_shows, shown))
    keys.report("switched")


def costs(terminal: Terminal) -> None:
    """What the screens cost while nobody touches them."""
    written, used = [], []
    for _ in range(WINDOWS):
        before = terminal.processor_seconds()
        written.append(terminal.watch(WINDOW_SECONDS) / WINDOW_SECONDS / 1e3)
        used.append((terminal.processor_seconds() - before) / WINDOW_SECONDS * 100)
    for name, windows, unit in (("writes", written, "kB/s to the terminal"), ("processor", used, "% of a core")):
        report(f"screen_{name}", statistics.median(windows), unit, windows=[round(window, 2) for window in windows], **load())
    report("screen_memory", terminal.resident_bytes() / 1e6, "MB")


def paints(journal: Path) -> None:
    """How long after its start the program paints, and shows runs."""
    first, used, runs = [], [], []
    for _ in range(5):
        terminal = Terminal([*WFKIT, "ui", "--store", str(journal)], environment())
        first.append(terminal.until(lambda text: "Runs" in text) - terminal.started)
        used.append(terminal.processor_seconds())
        runs.append(terminal.until(lambda text: _SELECTED.search(text) is not None) - terminal.started)
        terminal.settle()
        terminal.close("q")
    report_times("screen_first_paint", first, **load())
    report_times("screen_first_paint_processor", used)
    report_times("screen_first_runs", runs, **load())


def measure(journal: Path) -> None:
    """Print the figures of a journal that is there."""
    with engine_on(journal) as client, orders_coming_in(client):
        paints(journal)
        terminal = Terminal([*WFKIT, "ui", "--store", str(journal)], environment())
        terminal.until(lambda text: _SELECTED.search(text) is not None)
        terminal.watch(FILLED_SECONDS)
        costs(terminal)
        keys = Keys(terminal)
        for act in (moves, filters, runs_opened, switches):
            act(keys)
        report("screen_memory_later", terminal.resident_bytes() / 1e6, "MB")
        terminal.close("q")


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
