"""`wfkit.connect()`: the public client of an engine that runs in another process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import UNSET, Raw

from wfkit.api.definitions import Workflow
from wfkit.control import messages as m
from wfkit.control.address import FOLDER, find_socket, named_socket
from wfkit.control.client import AsyncEngineClient
from wfkit.core.entries import Record
from wfkit.engine.client import Client, End, IfFinished


class RemoteRequests:
    """Passes what a `Client` asks on to an engine's socket. See `engine.client.Requests`."""

    def __init__(self, engine: AsyncEngineClient) -> None:
        self._engine = engine

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        message = None if send is None else m.Message(*send)
        request = m.StartRun(workflow=workflow, input=args, id=id, if_finished=if_finished, send=message)
        return (await self._engine.ask(request)).run

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        await self._engine.ask(m.SendSignal(run=id, signal=signal, payload=payload, dedupe=dedupe))

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        await self._engine.ask(m.PublishSignal(signal=signal, payload=payload, dedupe=dedupe))

    async def cancel_run(self, id: str, reason: str) -> None:
        await self._engine.ask(m.CancelRun(run=id, reason=reason))

    async def terminate_run(self, id: str, reason: str) -> None:
        await self._engine.ask(m.TerminateRun(run=id, reason=reason))

    async def end_of(self, id: str) -> End:
        while (end := await self._engine.ask(m.AwaitEnd(run=id))).status is None:
            pass
        return End(end.status, None if end.value is UNSET else end.value, end.error, end.saga_failures)

    async def status_of(self, id: str) -> str:
        return (await self._engine.ask(m.GetStatus(run=id))).status

    async def state_of(self, id: str, name: str) -> Raw | None:
        value = (await self._engine.ask(m.GetState(run=id, name=name))).value
        return None if value is UNSET else value

    async def history_of(self, id: str) -> list[Record]:
        return (await self._engine.ask(m.GetRecords(run=id))).records

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        found = (await self._engine.ask(m.ListRuns(filter=filter, limit=limit))).runs
        return [(id, None) for id in dict.fromkeys(run.id for run in found)]


async def connect() -> Client:
    """Return a client of the engine that serves this folder, or the one that `WFKIT_ENGINE` names.

    It has the methods of an `Engine`, for as long as that engine runs; there is nothing to close. A run that `runs` finds
    gives its result as plain JSON values: the types of its workflow are known to the engine alone.

    Raises:
        EngineUnreachable: no engine runs there. Later calls raise it once the engine has ended.
    """
    engine = AsyncEngineClient(_meant())
    await engine.ask(m.GetEngine())
    return Client(RemoteRequests(engine))


def _meant() -> Path:
    named = os.environ.get("WFKIT_ENGINE")
    return named_socket(Path(named)) if named else find_socket(Path(FOLDER).absolute())
