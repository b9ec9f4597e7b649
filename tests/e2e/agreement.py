"""The same schedule twice: in a simulation, and in real processes that are killed; and how to tell the two apart."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import Raw

from tests.e2e.subjects import SUBJECTS
from wfkit.core.entries import Activated, ActivationStarted
from wfkit.engine.client import Client, Run
from wfkit.journal.duckdb import open_journal
from wfkit.journal.values import RunValues
from wfkit.sim.faults import KINDS, Fault, Point, parse_point, plain
from wfkit.sim.recording import Recording, RunRecord
from wfkit.sim.services import Effect, FakeService
from wfkit.sim.simulation import Simulation

ROOT = Path(__file__).parents[2]
SCHEDULE_SECONDS = 60
"""How long a schedule may take: far more than it does, so that a slow machine fails no test."""


class Story(NamedTuple):
    """What came of a schedule, without times, and without what differs between two machines."""

    ends: dict[str, tuple[str, str, str]]
    """Status, result and error of every run."""
    effects: list[tuple[str, str, str, str]]
    """What happened outside: service, effect, key and payload; sorted."""
    commands: dict[str, list[str]]
    """What every run asked for, in order."""
    entries: dict[str, list[str]]
    """What every run was told, and how its attempts went; sorted, since what happens side by side has no order."""
    points: list[Point]
    """Where it could have died; sorted. How often a history is read again is left out: that depends on what comes when."""

    def differences(self, other: Story) -> list[str]:
        """Return what is told otherwise, a line for each part."""
        return [
            f"{part}: {mine} != {others}"
            for part, mine, others in zip(self._fields, self, other, strict=True)
            if mine != others
        ]


def deadly_points(trace: Sequence[Point]) -> list[Point]:
    """Return the points at which a process can die."""
    return [point for point in trace if plain(point.phase) in KINDS["crash"].phases]


def points_of(name: str, deaths: Sequence[Point] = ()) -> list[Point]:
    """Return where the process can die in a schedule, in order."""
    return deadly_points(_recording(name, deaths).trace)


def simulated(name: str, deaths: Sequence[Point] = ()) -> Story:
    """Simulate a schedule."""
    recording = _recording(name, deaths)
    assert len(recording.faults) == len(deaths), "the schedule passes no such point"
    return _story(recording.runs, recording.effects, recording.trace)


def _recording(name: str, deaths: Sequence[Point]) -> Recording[Any]:
    return Simulation(SUBJECTS[name], [Fault("crash", point) for point in deaths]).run()


async def real(name: str, folder: Path, deaths: Sequence[Point] = (), *, bug: str = "none") -> Story:
    """Execute a schedule in processes that are killed. They are the only ones that ever open the journal in the folder."""
    outside = Outside(name)
    server = await asyncio.start_server(outside.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    command = [sys.executable, "-m", "tests.e2e.worker", name, str(folder), str(port), bug, *map(str, deaths)]
    async with server, asyncio.timeout(SCHEDULE_SECONDS):
        asking = asyncio.create_task(outside.ask_for_all())
        try:
            for _ in deaths:
                assert await _exit_status(command) == -signal.SIGKILL
            assert await _exit_status(command) == 0
            await asking
        finally:
            asking.cancel()
            await outside.close()
    runs = await _runs_in(folder / "journal.duckdb")
    passed = (folder / "points").read_text().splitlines()
    return _story(runs, outside.effects, [parse_point(line) for line in passed])


async def _runs_in(path: Path) -> dict[str, RunRecord]:
    """Return what a journal file holds."""
    runs = {}
    journal = await open_journal(path)
    for number in range(1, journal.last_run + 1):
        values = RunValues()
        run = RunRecord(number, [values.decode(row.body) for row in await journal.history(number)])
        runs[run.id] = run
    await journal.close()
    return runs


async def _exit_status(command: Sequence[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


class Outside:
    """What is not killed: the services, and who makes the requests. A request without an answer is made again."""

    def __init__(self, name: str) -> None:
        self._subject = subject = SUBJECTS[name]
        assert subject.world is not None
        self.world = subject.world()
        services: list[FakeService] = [each.by(self.world) for each in subject.resources]
        self._services = {service.name: service for service in services}
        self._workers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._connections: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        """Close what workers have left open."""
        for writer in self._connections:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def effects(self) -> list[Effect]:
        return [effect for service in self._services.values() for effect in service.effects]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection of a worker: its steps call services, and it waits for requests."""
        self._connections.append(writer)
        if await reader.readline() == b"requests\n":
            self._workers.put_nowait((reader, writer))
            return
        while line := await reader.readline():
            service, effect, key, payload = json.loads(line)
            answer: tuple[Any, str | None]
            try:
                answer = self._services[service].apply(effect, key, payload), None
            except Exception as error:  # noqa: BLE001  # the caller's business
                answer = str(error), type(error).__name__
            writer.write(json.dumps(answer).encode() + b"\n")

    async def ask_for_all(self) -> None:
        """Start the main run, play the script, wait for the end, and let the worker go."""
        main = str(self._subject.main_id)
        workflow = self._subject.workflow
        await self.ask("start", workflow.name, _text(workflow.signature.encode(self._subject.args, {})), main)
        if self._subject.script is not None:
            await self._subject.script(Run(Client(cast("Any", self)), main, workflow), self.world)
        await self.ask("end", main)
        _, writer = await self._workers.get()
        writer.close()

    async def ask(self, *request: Any) -> Any:
        """Make a request, again and again until a worker lives long enough to answer."""
        while True:
            reader, writer = await self._workers.get()
            writer.write(json.dumps(request).encode() + b"\n")
            with suppress(ConnectionError):
                if answer := await reader.readline():
                    self._workers.put_nowait((reader, writer))
                    return json.loads(answer)

    # -- what a script uses of an engine --------------------------------------------------------------------------------

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str) -> None:
        await self.ask("send", id, signal, _text(payload), dedupe)

    async def state_of(self, id: str, name: str) -> Raw | None:
        value = await self.ask("state", id, name)
        return None if value is None else Raw(value.encode())


def _story(runs: Mapping[str, RunRecord], effects: Sequence[Effect], trace: Sequence[Point]) -> Story:
    return Story(
        {id: _end(run) for id, run in sorted(runs.items())},
        sorted((effect.service, effect.name, str(effect.key), effect.text) for effect in effects),
        {id: [_told(command) for record in run.records for command in record.commands or ()] for id, run in runs.items()},
        {
            id: sorted(_told(record.entry) for record in run.records if type(record.entry).__name__ not in _FROM_THE_INBOX)
            for id, run in runs.items()
        },
        sorted(point for point in deadly_points(trace) if point.phase != "journal.read" and point.label not in _FROM_THE_INBOX),
    )


def _end(run: RunRecord) -> tuple[str, str, str]:
    error = run.error
    return run.status, _text(run.result) if run.result is not None else "", f"{error.type}: {error.message}" if error else ""


_FROM_THE_INBOX = (Activated.__name__, ActivationStarted.__name__)
"""Whether an entry is activated as it is written, or from the inbox, is a matter of who was quicker."""
_OF_THE_MACHINE = {"t", "due", "arrived", "seed", "parent", "took", "line", "data"}
"""What a record says of its time, of chance, of the order of rows, and of where in the code an exception came from."""


def _told(record: msgspec.Struct) -> str:
    return json.dumps(_plain(json.loads(msgspec.json.encode(record))))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if name not in _OF_THE_MACHINE}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _text(value: Raw) -> str:
    return bytes(value).decode()
