"""`Engine.open`: commands and clients reach a program's engine for as long as it is open, and the program notices nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from tests.cli.conftest import call_in, environment
from tests.control.app import add_up, nap
from wfkit import Engine
from wfkit.control.address import find_socket
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine, GetLogs, SendSignal
from wfkit.errors import EngineUnreachable

SECONDS_MAX = 30.0
JOURNAL = ".wfkit/journal.duckdb"

PROGRAM = """
import asyncio, logging, signal, sys
from tests.control.app import add_up
from wfkit import Engine

OPTIONS = dict({options})


async def main():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with Engine.open("{journal}", workflows=[add_up], **OPTIONS) as engine:
        run = await engine.start(add_up, 1, id="waiting")
        print("ready", flush=True)
        print(await run.result(), flush=True)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    print("closed", flush=True)


{first}
asyncio.run(main())
"""


@contextlib.contextmanager
def program(folder: Path, *, options: str = "", first: str = "", journal: str = JOURNAL) -> Iterator[subprocess.Popen[str]]:
    """Run a program that opens an engine and starts a run, until the end of the block at the latest."""
    source = PROGRAM.replace("{options}", options).replace("{first}", first).replace("{journal}", journal)
    child = subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def client_of(folder: Path) -> EngineClient:
    """Return a client of the engine in a folder, once it answers."""
    journal = folder / JOURNAL
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        client = EngineClient(engine_beside(journal), journal)
        try:
            client.ask(GetEngine())
        except EngineUnreachable:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return client


def test_commands_reach_the_engine_of_a_program(tmp_path: Path) -> None:
    """They list its runs and send it a signal; closing takes the socket away; nothing is logged."""
    wfkit = call_in(tmp_path)
    first = "logging.basicConfig(level=logging.INFO)"
    with program(tmp_path, first=first) as child:
        client_of(tmp_path)
        assert wfkit("runs", "-q").out == "waiting\n"
        assert wfkit("send", "fact", "7", "--run", "waiting").status == 0
        out, err = child.communicate(timeout=SECONDS_MAX)
        assert (out, err) == ("7\nclosed\n", "")
    assert not find_socket(tmp_path / ".wfkit").exists()


def test_a_program_may_keep_to_itself(tmp_path: Path) -> None:
    """Then no socket is made."""
    with program(tmp_path, options="control=False"):
        time.sleep(1.0)
        assert not find_socket(tmp_path / ".wfkit").exists()


def test_what_a_killed_program_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """The next one serves in its place."""
    with program(tmp_path) as child:
        client_of(tmp_path)
        child.send_signal(signal.SIGKILL)
        child.wait(SECONDS_MAX)
        assert find_socket(tmp_path / ".wfkit").exists()
    with program(tmp_path) as child:
        assert client_of(tmp_path).ask(GetEngine()).pid == child.pid


def test_a_second_journal_in_the_folder_runs_without_a_socket(tmp_path: Path) -> None:
    """Which is told once; the first one is reached as before, and the second one does its work."""
    with program(tmp_path) as first:
        client_of(tmp_path)
        with program(tmp_path, journal=".wfkit/other.duckdb") as second:
            assert second.stderr is not None
            assert "other commands cannot reach this engine: [WF059]" in second.stderr.readline()
            assert second.stderr.readline().startswith("  help  ")
            second.send_signal(signal.SIGINT)
            _, err = second.communicate(timeout=SECONDS_MAX)
            assert "WF059" not in err
        assert client_of(tmp_path).ask(GetEngine()).pid == first.pid


def test_where_no_socket_fits_the_engine_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither beside the journal nor among the temporary files."""
    folder = tmp_path / ("long" * 30) / ".wfkit"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    async def life() -> str:
        async with Engine.open(str(folder / "journal.duckdb"), workflows=[nap]) as engine:
            async with asyncio.timeout(SECONDS_MAX):
                while not caplog.records:
                    await asyncio.sleep(0.02)
            return await (await engine.start(nap, "1ms")).result()

    assert asyncio.run(life()) == "rested"
    (record,) = caplog.records
    assert (record.levelname, "WF057" in record.getMessage()) == ("WARNING", True)


def test_two_engines_in_one_process_are_both_reached(tmp_path: Path) -> None:
    """Each in its own folder, by the loop that they run on."""

    async def life() -> tuple[int, int]:
        folders = [tmp_path / name for name in ("one", "two")]
        async with (
            Engine.open(str(folders[0] / JOURNAL), workflows=[add_up]) as one,
            Engine.open(str(folders[1] / JOURNAL), workflows=[add_up]) as two,
        ):
            runs = [await engine.start(add_up, 1, id="waiting") for engine in (one, two)]
            for number, folder in enumerate(folders):
                client = await asyncio.to_thread(client_of, folder)
                request = SendSignal(run="waiting", signal="fact", payload=Raw(str(number).encode()))
                await asyncio.to_thread(client.ask, request)
            return await runs[0].result(), await runs[1].result()

    assert asyncio.run(life()) == (0, 1)


def test_the_programs_logging_stays_as_it_is(tmp_path: Path) -> None:
    """No handler at the root; levels as they were; the engine's warnings are kept all the same, and go to stderr once."""
    root = "assert logging.getLogger().handlers == [], logging.getLogger().handlers"
    warn = (
        "logging.getLogger('wfkit.engine').warning('a warning of the engine'); logging.getLogger('wfkit.run').info('nothing')"
    )
    first = f"""
import threading, time
from pathlib import Path

def later():
    while not Path(".wfkit/engine.sock").exists():
        time.sleep(0.02)
    time.sleep(0.1)
    {root}
    assert logging.getLogger("wfkit.run").level == logging.NOTSET
    {warn}
    print("warned", flush=True)

threading.Thread(target=later).start()
"""
    with program(tmp_path, first=first) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "warned\n"
        client = client_of(tmp_path)
        assert [line.text for line in client.ask(GetLogs()).lines] == ["a warning of the engine"]
        client.ask(SendSignal(run="waiting", signal="fact", payload=Raw(b"1")))
        out, err = child.communicate(timeout=SECONDS_MAX)
        assert (out, err) == ("1\nclosed\n", "a warning of the engine\n")


def test_what_is_open_for_a_moment_pays_nothing(tmp_path: Path) -> None:
    """Neither a web server nor a socket."""
    source = f"""
import asyncio, sys
from tests.control.app import nap
from wfkit import Engine


async def main():
    async with Engine.open("{JOURNAL}", workflows=[nap]) as engine:
        print(await (await engine.start(nap, "1ms")).result())


asyncio.run(main())
print({{"starlette", "uvicorn"}} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "rested\nset()\n"


def test_naming_the_engine_loads_no_database() -> None:
    """An app may import it at its top, and be checked without DuckDB."""
    source = "import sys; from wfkit import Engine; print({'duckdb', 'starlette'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_uvicorn_of_the_program_keeps_its_logs(tmp_path: Path) -> None:
    """A program may serve by uvicorn itself: our server changes none of its loggers."""
    access = logging.getLogger("uvicorn.access")
    handler = logging.NullHandler()
    access.addHandler(handler)
    try:

        async def life() -> None:
            async with Engine.open(str(tmp_path / JOURNAL), workflows=[nap]):
                await asyncio.to_thread(client_of, tmp_path)
                assert access.propagate
                assert access.handlers == [handler]

        asyncio.run(life())
    finally:
        access.removeHandler(handler)


def test_without_a_server_installed_the_engine_runs(tmp_path: Path) -> None:
    """As in a program that was packed without what it does not import itself."""
    with program(tmp_path, first="sys.modules['uvicorn'] = None") as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "other commands cannot reach this engine\n"
        assert any("import of uvicorn halted" in line for line in iter(child.stderr.readline, ""))
        assert child.poll() is None
