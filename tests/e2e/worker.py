"""One life of a process that runs a subject on a journal file, and dies by SIGKILL at named points.

Usage: python -m tests.e2e.worker SUBJECT FOLDER PORT BUG [POINT...]. Whoever listens at the port is the outside: its services
answer the calls of steps, and it makes the requests. FOLDER holds the journal, and the points that all lives have passed.
BUG is `none`, or names one that is planted: with `hasty`, the first life takes a write for durable before it is.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Raw

from tests.e2e.subjects import ERRORS, SUBJECTS
from wfkit.api.attempt import Attempt, attempt
from wfkit.api.definitions import Step
from wfkit.api.registry import Registry
from wfkit.core.entries import Record
from wfkit.core.state import RunState
from wfkit.engine.engine import Engine, running
from wfkit.engine.ports import Ended, Running
from wfkit.engine.requests import LocalRequests
from wfkit.engine.runner import HostRunner
from wfkit.errors import WfkitError
from wfkit.journal.duckdb import DuckDBJournal, open_journal
from wfkit.journal.filters import RunFilter
from wfkit.journal.memory import LAZY_SECONDS
from wfkit.journal.port import Row, RunRow
from wfkit.sim.disk import WritePoints, step_phase
from wfkit.sim.faults import Point, parse_point
from wfkit.sim.services import Calling, Effect, FakeService, Mailbox, Pause, Request, surroundings


class Road:
    """The points that are passed, and those at which the process dies. Its lives count on from each other.

    Args:
        path: the file of all points that were passed.
        main: id of the main run, which the names of points leave out.
        deadly: where to die.
    """

    def __init__(self, path: Path, main: str, deadly: frozenset[Point]) -> None:
        path.touch()
        passed = (parse_point(line) for line in path.read_text().splitlines())
        self._counts = Counter((point.run, point.n, point.phase, point.label) for point in passed)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._main = main
        self._deadly = deadly

    def reach(self, run: str, n: int, phase: str, label: str) -> None:
        where = ("" if run == self._main else run, n, phase, label)
        self._counts[where] += 1
        point = Point(*where, self._counts[where])
        os.write(self._file, f"{point}\n".encode())
        if point in self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)


class PassingJournal:
    """A journal file with points around its commits: each unit is one commit, as on the simulated disk.

    What was appended together is written one by one, and reported durable when all of it is.
    """

    def __init__(self, inner: DuckDBJournal, points: WritePoints, *, hasty: bool) -> None:
        self.epoch = inner.epoch
        self.last_run = inner.last_run
        self._inner = inner
        self._points = points
        self._hasty = hasty and inner.epoch == 1
        self._waiting: list[tuple[Callable[[], Awaitable[None]], Callable[[], None] | None]] = []
        self._urgent = asyncio.Event()
        self._writing = asyncio.create_task(self._write())

    async def learn(self) -> None:
        """Learn the names of what earlier lives have written."""
        for run in range(self.last_run + 1):
            self._points.decode(await self._inner.history(run))

    def append(self, rows: Sequence[Row], durable: Callable[[], None] | None = None) -> None:
        self._do(partial(self._commit, rows, self._points.decode(rows)), durable)

    def watch(self, changed: Callable[[WfkitError | None], None]) -> None:
        self._inner.watch(changed)

    async def history(self, run: int, after: int = 0) -> list[Row]:
        await self._done(_nothing)
        found = await self._inner.history(run, after)
        if self.epoch > 1 and run in self._points.ids:
            self._points.read(run)
        return found

    async def find(self, id: str) -> RunRow | None:
        return await self._inner.find(id)

    async def stored(self, run: int) -> RunRow | None:
        return await self._inner.stored(run)

    async def unfinished(self) -> list[RunRow]:
        return await self._inner.unfinished()

    async def since_projection(self) -> list[Row]:
        return await self._inner.since_projection()

    async def project(self, rows: Sequence[RunRow]) -> None:
        await self._done(partial(self._inner.project, rows))

    async def list_runs(self, wanted: RunFilter, limit: int) -> list[RunState]:
        await self._done(_nothing)
        return await self._inner.list_runs(wanted, limit)

    async def close(self) -> None:
        if not self._writing.done():
            await self._done(_nothing)
            self._writing.cancel()
        await self._inner.close()

    def _do(self, act: Callable[[], Awaitable[None]], durable: Callable[[], None] | None) -> None:
        self._waiting.append((act, durable))
        if durable is not None:
            self._urgent.set()
        elif len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(LAZY_SECONDS, self._urgent.set)

    async def _done(self, act: Callable[[], Awaitable[None]]) -> None:
        done = asyncio.Event()
        self._do(act, done.set)
        await done.wait()

    async def _write(self) -> None:
        while True:
            await self._urgent.wait()
            self._urgent.clear()
            group, self._waiting = self._waiting, []
            told = [durable for _, durable in group if durable is not None]
            if self._hasty:
                _tell(told)
                await asyncio.sleep(0.05)  # so that what follows is really done by then
            for act, _ in group:
                await act()
            if not self._hasty:
                _tell(told)

    async def _commit(self, rows: Sequence[Row], decoded: Sequence[tuple[int, Record]]) -> None:
        for run, record in decoded:
            self._points.pass_before(run, record)
        committed = asyncio.Event()

        def durable() -> None:
            for run, record in decoded:
                self._points.pass_after(run, record)
            committed.set()

        self._inner.append(rows, durable)
        await committed.wait()


class PassingRunner(HostRunner):
    """Runs steps as an ordinary engine does, with points before and after."""

    def __init__(self, loop: asyncio.AbstractEventLoop, surroundings: Surroundings) -> None:
        super().__init__(loop)
        self._surroundings = surroundings

    def run(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], now: Attempt, ended: Ended) -> Running:
        surroundings.set(self._surroundings)
        reach, passing = self._surroundings.pass_point, copy.copy(step)

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            reach("step.before", step.name)
            result = await step.fn(*args, **kwargs)
            reach("step.effect_done_not_journaled", step.name)
            return result

        def called(*args: Any, **kwargs: Any) -> Any:
            reach("step.before", step.name)
            result = step.fn(*args, **kwargs)
            reach("step.effect_done_not_journaled", step.name)
            return result

        passing.fn = awaited if step.is_async else called
        return super().run(passing, args, kwargs, now, ended)


class Surroundings:
    """What a service is told where a simulation would be: only that points are passed."""

    def __init__(self, points: WritePoints, road: Road) -> None:
        self._points = points
        self._road = road

    def pass_point(self, phase: str, label: str) -> None:
        now = attempt.get()
        assert now is not None
        run, n = now.info.run_id, now.n
        numbers = [number for number, id in self._points.ids.items() if id == run]
        known = self._points.known[numbers[-1], n]
        self._road.reach(run, n, step_phase(phase, compensation=known.compensation), label)

    def reach(self, service: FakeService, phase: str, label: str, request: Request | None = None) -> Calling:
        self.pass_point(phase, label)
        yield from ()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def joined(self, service: FakeService) -> None: ...
    def happened(self, effect: Effect, *, again: bool) -> None: ...
    def declared(self, effect: Effect) -> Calling:
        yield from ()

    def came_to_nothing(self, effect: Effect, why: str) -> None: ...
    def collided(self, first: Effect, second: Effect) -> None: ...
    def changed(self, service: FakeService, by: str, before: Mapping[str, Any]) -> None: ...
    def connected(self, database: object) -> None: ...
    def committed(self) -> None: ...
    def querying(self) -> Calling:
        yield from ()

    def hold(self, pause: Pause) -> None: ...
    def end_with(self, error: BaseException) -> None: ...


class Line:
    """A connection to the outside's services."""

    def __init__(self, port: int) -> None:
        self._file = socket.create_connection(("127.0.0.1", port)).makefile("rw")
        self._lock = threading.Lock()
        self._file.write("services\n")

    def ask(self, *question: Any) -> Any:
        with self._lock:
            self._file.write(json.dumps(question) + "\n")
            self._file.flush()
            answer, error = json.loads(self._file.readline())
        if error is not None:
            raise ERRORS[error](answer)
        return answer


class FarService(Mailbox):
    """A service of the outside, across a connection."""

    def __init__(self, name: str, line: Line) -> None:
        super().__init__(name)
        self._line = line

    def apply(self, name: str, key: str | None, payload: dict[str, Any], **_: Any) -> Any:
        return self._line.ask(self.name, name, key, payload)


async def serve(engine: Engine, port: int) -> None:
    """Do what the outside asks for, one by one, until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"requests\n")
    requests = engine.requests
    while line := await reader.readline():
        what, *arguments = json.loads(line)
        writer.write(json.dumps(await REQUESTS[what](requests, *arguments)).encode() + b"\n")
    writer.close()


async def _start(requests: LocalRequests, workflow: str, args: str, id: str) -> str:
    return await requests.start_run(workflow, Raw(args.encode()), id, "attach", None)


async def _send(requests: LocalRequests, id: str, name: str, payload: str, dedupe: str) -> None:
    await requests.send_signal(id, name, Raw(payload.encode()), dedupe)


async def _state(requests: LocalRequests, id: str, name: str) -> str | None:
    value = await requests.state_of(id, name)
    return None if value is None else bytes(value).decode()


async def _end(requests: LocalRequests, id: str) -> str:
    """Wait for the end. `end_of` would read the history of a run that has ended before, which is a point too."""
    while (status := await requests.status_of(id)) == "running":
        await asyncio.sleep(0.005)
    return status


REQUESTS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    "start": _start,
    "send": _send,
    "state": _state,
    "end": _end,
}


async def live(name: str, folder: Path, port: int, bug: str, deadly: frozenset[Point]) -> None:
    subject, line = SUBJECTS[name], Line(port)
    road = Road(folder / "points", str(subject.main_id), deadly)
    points = WritePoints(road.reach)
    journal = PassingJournal(await open_journal(folder / "journal.duckdb"), points, hasty=bug == "hasty")
    await journal.learn()
    assert subject.world is not None
    far = {each.resource: FarService(each.by(subject.world()).name, line) for each in subject.resources}
    runner = PassingRunner(asyncio.get_running_loop(), Surroundings(points, road))
    async with running(journal, Registry([subject.workflow]), runner=runner, resources=far) as engine:
        await serve(engine, port)


def _tell(told: Sequence[Callable[[], None]]) -> None:
    for durable in told:
        durable()


async def _nothing() -> None:
    """Be the last thing of a group."""


if __name__ == "__main__":
    name, folder, port, bug, *names = sys.argv[1:]
    asyncio.run(live(name, Path(folder), int(port), bug, frozenset(map(parse_point, names))))
