"""Real sockets and processes are refused in simulations."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from wfkit import Expect, UnsimulatedIO, Workflow, step, unsafe, workflow
from wfkit.testing import simulate, verify


@step
def asks_the_web() -> None:
    urllib.request.urlopen("http://127.0.0.1:9/rates")


@step
async def connects() -> None:
    with contextlib.suppress(Exception):
        await asyncio.open_connection("127.0.0.1", 9)


@step
def starts_a_process() -> None:
    subprocess.run(["true"], check=True)


@step
async def looks_up() -> None:
    with contextlib.suppress(Exception):
        socket.getaddrinfo("example.invalid", 80)


@step
def talks(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port)) as wire:
        return wire.recv(100).decode()


@workflow
async def web() -> None:
    await asks_the_web()


@workflow
async def wire() -> None:
    await connects()


@workflow
async def process() -> None:
    await starts_a_process()


@workflow
async def name() -> None:
    await looks_up()


@workflow
async def talk(port: int) -> str:
    return await talks(port)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (web, "step asks_the_web reaches for the real world: it asks for http://127.0.0.1:9/rates"),
        (wire, "step connects reaches for the real world: it calls loop.create_connection()"),
        (process, "step starts_a_process reaches for the real world: it starts the process true"),
        (name, "step looks_up reaches for the real world: it looks up example.invalid"),
    ],
)
def test_the_step_and_its_line_are_named_whatever_the_step_makes_of_it(case: Workflow[[], None], told: str) -> None:
    """The simulation as a whole ends: the workflow cannot retry it away, and the step cannot swallow it."""
    with pytest.raises(UnsimulatedIO) as caught:
        simulate(case)
    assert str(caught.value).startswith(told)
    assert f", at {__file__}:" in str(caught.value)
    assert "io=" in caught.value.help


@step
async def asks_by_a_client() -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.get("http://127.0.0.1:9/rates")
    return answer.text


@step
async def asks_in_a_task() -> str:
    async def ask() -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get("http://127.0.0.1:9/rates")).text

    return await asyncio.create_task(ask())


@workflow
async def by_client() -> str:
    return await asks_by_a_client()


@workflow
async def in_task() -> str:
    return await asks_in_a_task()


@pytest.mark.parametrize(("case", "line"), [(by_client, "await client.get"), (in_task, "return (await client.get")])
def test_the_users_line_is_named_where_a_client_connects_in_a_task_of_its_own(case: Workflow[[], str], line: str) -> None:
    """There the call stack holds nothing of the user's: it is the line at which the step waits for the client."""
    with pytest.raises(UnsimulatedIO) as caught:
        simulate(case)
    file, number = re.search(r", at (.*?):(\d+) in ", str(caught.value)).groups()  # type: ignore[union-attr]  # it is there
    assert file == __file__
    assert line in Path(__file__).read_text().splitlines()[int(number) - 1]


def test_an_async_step_is_told_what_is_allowed() -> None:
    """`io="allow"` has been tried already."""
    with pytest.raises(UnsimulatedIO) as caught:
        simulate(by_client, io="allow")
    assert "`def` step" in caught.value.help


def test_a_whole_verification_ends_with_it() -> None:
    """And nothing is kept: it is no finding of the workflow."""
    with pytest.raises(UnsimulatedIO):
        verify(process, budget="0.1s")


def test_a_def_step_may_use_real_sockets_where_that_is_allowed() -> None:
    """Virtual time stands still meanwhile."""
    with listening(lambda wire: wire.sendall(b"hello")) as port:
        recording = simulate(talk, port, io="allow")
    assert recording.result == "hello"
    assert recording.ended == 0


def test_nothing_is_refused_beside_a_simulation() -> None:
    """Only code that belongs to one is."""
    with pytest.raises(UnsimulatedIO):
        simulate(web)
    with listening(lambda wire: wire.sendall(b"hello")) as port, socket.create_connection(("127.0.0.1", port)) as wire:
        assert wire.recv(100) == b"hello"


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopping = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            while not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    wire, _ = server.accept()
                    with wire:
                        answer(wire)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopping.set()
            thread.join()


@workflow
async def unsafely() -> None:
    with unsafe("it is only a test"), contextlib.suppress(Exception):
        urllib.request.urlopen("http://127.0.0.1:9/rates")


def test_workflow_code_does_not_reach_it_either() -> None:
    """Under `unsafe` the guard is lifted, and each of a thousand schedules would ask."""
    with pytest.raises(UnsimulatedIO, match=r"^workflow code reaches for the real world: .*test_real_io.py"):
        simulate(unsafely)


@step(expect=Expect(read_only=True))
def sums(n: int) -> int:
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(abs, range(n)))


@step(expect=Expect(read_only=True))
async def sums_beside(n: int) -> int:
    return await asyncio.to_thread(sum, range(n))


@workflow
async def adds(n: int) -> int:
    return await sums(n) + await sums_beside(n)


def test_steps_that_start_threads_are_named() -> None:
    """What runs there is not simulated. `asyncio.to_thread` goes by the loop, and is."""
    report = verify(adds, 3, faults=["crash@1:step.before:sums"])
    line = sums.fn.__code__.co_firstlineno + 3  # its decorator is the first
    [told] = [each for each in report.coverage["not_run"] if "thread" in each]
    assert told == f"threads that sums (tests/sim/test_real_io.py:{line} sums()) starts: what runs in them is not simulated"
