"""`wfkit.connect()`: the public client of an engine that runs in another process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET, Raw

from wfkit.api.definitions import Workflow
from wfkit.control import messages as m
from wfkit.control.address import JOURNAL, find_socket, named_socket
from wfkit.control.client import AsyncEngineClient
from wfkit.control.patience import LOOK_SECONDS, Patience, new_id
from wfkit.core.entries import Record
from wfkit.engine.client import Client, End, IfFinished
from wfkit.errors import EngineClosed, EngineUnreachable
from wfkit.journal.folder import FOLDER

A = TypeVar("A")


class RemoteRequests:
    """Passes what a `Client` asks on to an engine's socket. See `engine.client.Requests`.

    While `wfkit dev` replaces its engine, the next one is waited for. A request that might be done twice is not sent again
    once an engine may have got it.

    Args:
        named: the engine, by its socket or a folder; None: the one that serves `folder`.
        folder: where that one's journal is.
    """

    def __init__(self, named: Path | None, folder: Path) -> None:
        self._named = named
        self._folder = folder

    async def ask(self, request: m.Request[A], *, repeatable: bool = True) -> A:
        """Return the answer to a request.

        Raises:
            EngineUnreachable: no engine answers, and none is about to.
            WfkitError: the engine refused.
        """
        patience = self._patience()
        while True:
            try:
                path = find_socket(self._folder) if self._named is None else named_socket(self._named)
                return await AsyncEngineClient(path).ask(request)
            except (EngineUnreachable, EngineClosed) as error:
                if not patience.lasts(error, repeatable=repeatable):
                    raise
                await asyncio.sleep(LOOK_SECONDS)

    def _patience(self) -> Patience:
        if self._named is None:
            return Patience([self._folder], self._folder / JOURNAL)
        return Patience([self._named, self._named / FOLDER, self._named.parent], None)

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        message = None if send is None else m.Message(*send)
        request = m.StartRun(workflow=workflow, input=args, id=id or new_id(), if_finished=if_finished, send=message)
        # Asked again it could start one generation more, find that the run has ended, or send the signal once more.
        return (await self.ask(request, repeatable=if_finished == "attach" and send is None)).run

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        request = m.SendSignal(run=id, signal=signal, payload=payload, dedupe=dedupe)
        await self.ask(request, repeatable=dedupe is not None)

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        request = m.PublishSignal(signal=signal, payload=payload, dedupe=dedupe)
        await self.ask(request, repeatable=dedupe is not None)

    async def cancel_run(self, id: str, reason: str) -> None:
        await self.ask(m.CancelRun(run=id, reason=reason), repeatable=False)

    async def terminate_run(self, id: str, reason: str) -> None:
        await self.ask(m.TerminateRun(run=id, reason=reason), repeatable=False)

    async def end_of(self, id: str) -> End:
        while (end := await self.ask(m.AwaitEnd(run=id))).status is None:
            pass
        return End(end.status, None if end.value is UNSET else end.value, end.error, end.saga_failures)

    async def status_of(self, id: str) -> str:
        return (await self.ask(m.GetStatus(run=id))).status

    async def state_of(self, id: str, name: str) -> Raw | None:
        value = (await self.ask(m.GetState(run=id, name=name))).value
        return None if value is UNSET else value

    async def history_of(self, id: str) -> list[Record]:
        return (await self.ask(m.GetRecords(run=id))).records

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        found = (await self.ask(m.ListRuns(filter=filter, limit=limit))).runs
        return [(id, None) for id in dict.fromkeys(run.id for run in found)]


async def connect() -> Client:
    """Return a client of the engine that serves this folder, or the one that `WFKIT_ENGINE` names.

    It has the methods of an `Engine`, for as long as that engine runs; there is nothing to close. While `wfkit dev` replaces
    its engine a call waits for the next one. A run that `runs` finds gives its result as plain JSON values: the types of its
    workflow are known to the engine alone.

    Raises:
        EngineUnreachable: no engine runs there. Later calls raise it once the engine has ended.
    """
    requests = RemoteRequests(*_meant())
    await requests.ask(m.GetEngine())
    return Client(requests)


def _meant() -> tuple[Path | None, Path]:
    """Return the engine that is named, if one is, and the folder of the one that is meant otherwise; wherever we go later."""
    named = os.environ.get("WFKIT_ENGINE")
    return Path(named).absolute() if named else None, Path(FOLDER).absolute()
