"""A developer: `wfkit dev` in a folder, an editor, and other commands beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from msgspec import Raw

from tests.cli.conftest import Answer, call_in, environment
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import AwaitEnd, FindRun, Request, SendSignal, StartRun

A = TypeVar("A")

SECONDS_MAX = 20.0
SAVED = 1_700_000_000
AS_USERS_HAVE_IT = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""Left out, whatever the tests run under."""
WARMING = "app.py runs ("

APP = """
from wfkit import Signal, step, wait_signal, workflow

packed = Signal("packed", str)


@step
def charge(order: str) -> str:
    return f"charged {order} by v1"


@step
def ship(box: str) -> str:
    return f"shipped {box}"


@workflow
async def purchase(order: str) -> str:
    charged = await charge(order)
    box = await wait_signal(packed)
    return charged + ", " + await ship(box)
"""

STUCK = APP.replace("    return f", "    time.sleep(0.1)\n    return f", 1).replace("\n", "\nimport time\n", 1)
STUCK = STUCK.replace("    box = await", "    while order == 'stuck': pass\n    box = await")
"""A purchase `stuck` loops for ever, some time after its start was answered."""


class Lines:
    """What a process prints, line by line."""

    def __init__(self, stream: IO[str]) -> None:
        self.all: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.all.append(line.rstrip("\n"))
                    self._changed.notify_all()

    def text(self, after: int = 0) -> str:
        return "\n".join(self.all[after:])

    def wait_for(self, part: str, after: int = 0) -> str:
        """Return the first line beyond number `after` that holds a text, once there is one."""
        with self._changed:
            found = self._changed.wait_for(lambda: next(self._with(part, after), None), SECONDS_MAX)
        assert found is not None, f"no {part!r} in\n{self.text(after)}"
        return found

    def _with(self, part: str, after: int) -> Iterator[str]:
        return (line for line in self.all[after:] if part in line)

    def end(self) -> str:
        """Wait until the process has closed its end, and return all of it."""
        self._reader.join(SECONDS_MAX)
        return self.text()


class Developer:
    """Edits the app, and sees what `wfkit dev` makes of it."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.folder = folder
        self.process = process
        self.out = Lines(process.stdout)
        self.err = Lines(process.stderr)
        self._call = call_in(folder)

    def wfkit(self, *arguments: str, **env: str) -> Answer:
        """Call another command beside it."""
        return self._call(*arguments, **env)

    def ask(self, request: Request[A]) -> A:
        """Ask the engine, which is quicker than a command."""
        store = self.folder / ".wfkit" / "journal.duckdb"
        return EngineClient(engine_beside(store), store).ask(request)

    def start(self, workflow: str, id: str, *arguments: str) -> None:
        """Start a run."""
        self.ask(StartRun(workflow=workflow, id=id, input=Raw(msgspec.json.encode(arguments))))

    def begin(self, order: str) -> None:
        """Start a purchase, which then waits for its signal."""
        self.start("purchase", order, order)
        self.wait_for_status(order, "waiting")

    def end(self, order: str, box: str) -> object:
        """Send a purchase its signal, and return its result."""
        self.ask(SendSignal(run=order, signal="packed", payload=Raw(box.encode())))
        return self.result(order)

    def result(self, id: str) -> object:
        """Wait for the end of a run, and return its result."""
        end = self.ask(AwaitEnd(run=id))
        assert isinstance(end.value, Raw), end
        return msgspec.json.decode(end.value)

    def wait_for_status(self, id: str, status: str) -> None:
        """Wait until a run has a status."""
        deadline = time.monotonic() + SECONDS_MAX
        while (found := self.ask(FindRun(run=id)).run.detail) != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def edit(self, old: str, new: str, *, told: str) -> str:
        """Replace a text in the app, and return the line that tells what came of it."""
        app = self.folder / "app.py"
        text = app.read_text()
        assert old in text
        seen = len(self.err.all)
        # As many editors save, and always in the same second.
        written = app.with_name("app.py.new")
        written.write_text(text.replace(old, new))
        os.utime(written, (SAVED, SAVED))
        written.replace(app)
        return self.err.wait_for(told, seen)

    def worker(self) -> int:
        """Return the pid of the worker that serves."""
        return int((self.folder / ".wfkit" / "journal.duckdb.lock").read_text().split("\n")[0])

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS_MAX)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in told.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not told.startswith("Z") and told != ""


def wait_until_gone(pids: list[int]) -> None:
    """Wait until processes have ended."""
    deadline = time.monotonic() + SECONDS_MAX
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def developing(folder: Path, *arguments: str, app: str = APP, told: str = WARMING) -> Iterator[Developer]:
    """Write the app and run `wfkit dev` beside it, until the end of the block."""
    (folder / "app.py").write_text(app)
    process = subprocess.Popen(
        [sys.executable, "-m", "wfkit", "dev", *arguments],
        cwd=folder,
        env={name: value for name, value in environment().items() if name not in AS_USERS_HAVE_IT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    developer = Developer(folder, process)
    try:
        developer.err.wait_for(told)
        yield developer
        if process.poll() is None:
            assert developer.stop() == 0
            assert "Traceback" not in developer.err.end()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        developer.out.end()
        developer.err.end()
