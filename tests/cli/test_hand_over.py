"""Commands while `wfkit dev` replaces its worker, or before an engine answers: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec import Raw

import wfkit
from tests.cli.conftest import SECONDS_MAX, Wfkit, environment
from tests.dev.developing import developing
from wfkit.api.definitions import workflow
from wfkit.cli.engine import act, ask
from wfkit.control import client, patience
from wfkit.control.address import has_succession, succession
from wfkit.control.messages import GetHistory, GetStatus, ListRuns, PublishSignal, SendSignal, StartRun
from wfkit.control.patience import Patience, new_id
from wfkit.core.entries import SignalReceived
from wfkit.errors import EngineClosed, EngineUnreachable
from wfkit.journal.lock import lock_for_writing

APP = """
from wfkit import Signal, subscribe, wait_signal, workflow

fact = Signal("fact", int)
news = Signal("news", int)
VERSION = 1


@workflow
async def collect() -> int:
    with subscribe(news):
        while await wait_signal(fact):
            pass
    return 0


@workflow
async def one(number: int) -> int:
    return number
"""
EDITS = 5


def test_what_is_asked_during_a_reload_loop_is_done_once(tmp_path: Path) -> None:
    """Signals, publications and starts, all the time while the worker is replaced again and again."""
    store = tmp_path / ".wfkit" / "journal.duckdb"
    failed: list[BaseException] = []
    done = threading.Event()
    counts = {"send": 0, "publish": 0, "start": 0}

    def ask_all_the_time(what: str, ask: Callable[[int], object]) -> None:
        try:
            while not done.is_set():
                ask(counts[what] + 1)
                counts[what] += 1
        except BaseException as error:
            failed.append(error)
            raise

    def send(number: int) -> None:
        act(SendSignal(run="c", signal="fact", payload=Raw(b"%d" % number), dedupe=new_id()), store, None)

    def publish(number: int) -> None:
        act(PublishSignal(signal="news", payload=Raw(b"%d" % number), dedupe=new_id()), store, None)

    def start(number: int) -> None:
        act(StartRun(workflow="one", input=Raw(b"%d" % number), id=f"one-{number}"), store, None)

    with developing(tmp_path, "--no-tui", app=APP) as developer:
        developer.start("collect", "c")
        threads = [
            threading.Thread(target=ask_all_the_time, args=[ask.__name__, ask], daemon=True) for ask in (send, publish, start)
        ]
        for thread in threads:
            thread.start()
        for version in range(1, EDITS + 1):
            developer.edit(f"VERSION = {version}", f"VERSION = {version + 1}", told="app.py reloaded")
        done.set()
        for thread in threads:
            thread.join(SECONDS_MAX)
        assert failed == []
        assert min(counts.values()) > EDITS
        records = developer.ask(GetHistory(run="c")).records
        entries = [record.entry for record in records]
        for what, name in (("send", "fact"), ("publish", "news")):
            got = [int(bytes(e.payload)) for e in entries if isinstance(e, SignalReceived) and e.name == name]
            assert got == list(range(1, counts[what] + 1)), what
        for number in range(1, counts["start"] + 1):
            assert developer.result(f"one-{number}") == number
        assert len(developer.wfkit("runs", "wf:one", "-q", "-n", "100000").out.splitlines()) == counts["start"]


def test_a_connected_client_waits_for_the_next_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As commands do: each start is answered, and is done once, while the worker is replaced again and again."""
    monkeypatch.setenv("WFKIT_ENGINE", str(tmp_path))
    done = threading.Event()
    results: list[int] = []

    async def start_all_the_time() -> None:
        client = await wfkit.connect()
        while not done.is_set():
            run = await client.start(one, len(results) + 1, id=f"one-{len(results) + 1}")
            results.append(await run.result())

    with developing(tmp_path, "--no-tui", app=APP) as developer, ThreadPoolExecutor(1) as threads:
        starting = threads.submit(asyncio.run, start_all_the_time())
        for version in range(1, 3):
            developer.edit(f"VERSION = {version}", f"VERSION = {version + 1}", told="app.py reloaded")
        done.set()
        starting.result(SECONDS_MAX)
        assert results == list(range(1, len(results) + 1))
        assert len(developer.wfkit("runs", "wf:one", "-q", "-n", "100000").out.splitlines()) == len(results)


@workflow
async def one(number: int) -> int:
    return number


@pytest.mark.parametrize("delivered", [True, False])
def test_what_might_be_done_twice_is_not_sent_again(tmp_path: Path, delivered: bool) -> None:
    """Unless no engine can have got it: one that ends without an answer may have done it."""
    patience = Patience([tmp_path], None)
    error = EngineUnreachable("it ended before it answered")
    error.__cause__ = ConnectionResetError() if delivered else ConnectionRefusedError()
    with succession(tmp_path):
        assert patience.lasts(error, repeatable=True)
        assert patience.lasts(error, repeatable=False) != delivered
        assert patience.lasts(EngineClosed("it refused"), repeatable=False)


@contextmanager
def bare_socket(path: Path) -> Iterator[None]:
    """A path where nobody answers, as long as the block lasts; then an engine's socket is gone."""
    path.mkdir(parents=True, exist_ok=True)
    with succession(path):
        yield


def test_an_engine_that_is_too_busy_to_answer_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is it said that it takes no commands, nor that somebody else holds the journal."""
    for name in ("SILENT_SECONDS", "KNOWN_SECONDS", "SECONDS_MAX"):
        monkeypatch.setattr(client, name, 0.2)
    store = tmp_path / "journal.duckdb"
    store.touch()
    lock = lock_for_writing(store)
    try:
        with closing(socket.socket(socket.AF_UNIX)) as busy:
            busy.bind(str(tmp_path / "engine.sock"))
            busy.listen()
            for asked in (lambda: ask(ListRuns(), store, None), lambda: act(GetStatus(run="x"), store, None)):
                with pytest.raises(EngineUnreachable, match=r"has not answered for 0.2 s") as refused:
                    asked()
                assert refused.value.help is not None
                assert "computes without end" in refused.value.help
    finally:
        lock.release()


def test_who_waited_long_for_an_engine_that_is_replaced_asks_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is how long there has been none."""
    monkeypatch.setattr(patience, "HAND_OVER_SECONDS", 0.3)
    store = tmp_path / "journal.duckdb"
    asked: list[float] = []

    def leave(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.6)
        listener.close()
        asked.append(time.monotonic())

    with bare_socket(tmp_path), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "engine.sock"))
        listener.listen()
        leaving = threading.Thread(target=leave, args=[listener])
        leaving.start()
        with pytest.raises(EngineUnreachable):
            act(GetStatus(run="x"), store, None)
        leaving.join(SECONDS_MAX)
    assert time.monotonic() - asked[0] > 0.3


def test_only_where_another_engine_follows_is_it_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the error comes at once."""
    monkeypatch.setattr(patience, "HAND_OVER_SECONDS", 3.0)
    store = tmp_path / ".wfkit" / "journal.duckdb"

    def seconds_until_refused() -> float:
        began = time.monotonic()
        with pytest.raises(EngineUnreachable, match="no engine runs"):
            act(GetStatus(run="x"), store, None)
        return time.monotonic() - began

    assert seconds_until_refused() < 3
    with bare_socket(store.parent):
        assert has_succession(store.parent)
        assert seconds_until_refused() > 3
    assert not has_succession(store.parent)
    assert seconds_until_refused() < 3


def test_a_supervisor_that_was_killed_is_followed_by_nobody(tmp_path: Path) -> None:
    """What it left behind makes nobody wait."""
    with developing(tmp_path, "--no-tui", app=APP) as developer:
        assert has_succession(tmp_path / ".wfkit")
        developer.process.kill()
        developer.process.wait()
        give_up = time.monotonic() + SECONDS_MAX
        while has_succession(tmp_path / ".wfkit"):  # a child that it was just starting holds it until it executes
            assert time.monotonic() < give_up
            time.sleep(0.01)


PROGRAM = """
import asyncio
from app import one
from wfkit import Engine


async def main():
    async with Engine.open(workflows=[one]{options}):
        print("open", flush=True)
        await asyncio.sleep(60)


asyncio.run(main())
"""


@contextmanager
def program(folder: Path, options: str = "") -> Iterator[None]:
    """A program that holds the journal, from its first moment on."""
    (folder / "app.py").write_text(APP)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(options=options)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        yield
    finally:
        child.kill()
        child.communicate()


def test_an_engine_that_has_just_opened_is_waited_for(folder: Path, wfkit: Wfkit) -> None:
    """Its socket is not there yet when the first command comes."""
    with program(folder):
        assert not (folder / ".wfkit" / "engine.sock").exists()
        answer = wfkit("start", "one", "7", "--wait")
        assert (answer.status, answer.out) == (0, "7\n")


def test_a_program_that_answers_no_commands_is_named(folder: Path, wfkit: Wfkit) -> None:
    """It holds the journal, so that starting another engine would not help."""
    with program(folder, ", control=False"):
        answer = wfkit("start", "one", "7")
    assert answer.status == 4
    assert "error[WF058]: journal is in use by " in answer.err
    assert "which answers no commands" in answer.err
    assert "control=False" in answer.err
