"""An engine for unit tests: the real one, on virtual time, with its journal in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any

from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.api.resources import Resource
from wfkit.core.durations import Duration, microseconds
from wfkit.core.entries import Record
from wfkit.core.loop import is_inside_a_loop
from wfkit.engine.apps import load_app
from wfkit.engine.client import Client, End, IfFinished
from wfkit.errors import DefinitionError
from wfkit.sim.subject import START
from wfkit.testing.machine import Machine


class _Requests:
    """Answers a client by driving the machine. See `client.Requests`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._requests = machine.engine.requests

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        return self._machine.finish(self._requests.start_run(workflow, args, id, if_finished, send))

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        self._machine.finish(self._requests.send_signal(id, signal, payload, dedupe))

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        self._machine.finish(self._requests.publish_signal(signal, payload, dedupe))

    async def cancel_run(self, id: str, reason: str) -> None:
        self._machine.finish(self._requests.cancel_run(id, reason))

    async def terminate_run(self, id: str, reason: str) -> None:
        self._machine.finish(self._requests.terminate_run(id, reason))

    async def end_of(self, id: str) -> End:
        """Run on to the end of a run, skipping time.

        Raises:
            StuckRun: nothing will ever bring what it waits for.
            WfkitError: it is blocked.
        """
        await _let_others()
        ended = self._machine.begin(self._requests.end_or_block(id))
        for turn in ("skip time", "after the others"):
            if not ended.done():
                self._machine.go_on(ended)
            if not ended.done() and turn == "skip time":
                await _let_others()  # one of them may be about to send what is waited for
        if not ended.done():
            ended.cancel()
            raise self._machine.stuck(id)
        ended.result()
        return self._machine.finish(self._requests.end_of(id))

    async def status_of(self, id: str) -> str:
        return self._machine.finish(self._requests.status_of(id))

    async def state_of(self, id: str, name: str) -> Raw | None:
        return self._machine.finish(self._requests.state_of(id, name))

    async def history_of(self, id: str) -> list[Record]:
        return self._machine.finish(self._requests.history_of(id))

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        return self._machine.finish(self._requests.find_runs(filter, limit))


TURNS = 10
"""How often the test's other tasks get their turn before time is skipped: enough for one that only sends something."""


async def _let_others() -> None:
    if is_inside_a_loop():  # otherwise it is another library's loop
        for _ in range(TURNS):
            await asyncio.sleep(0)


class TestEngine(Client):
    """The real engine on virtual time, its journal in memory, for ordinary unit tests. Use `TestEngine.open`.

    Time stands still but for `advance`, and for `run.result()`, which skips to the run's end, and raises `StuckRun` if nothing
    that is due will ever bring it. Code of steps sees that time too, in `time.time()` and `asyncio.sleep`. Give fakes as
    `resources=`: real sockets are refused in steps.
    """

    __test__ = False  # not a test class for pytest

    def __init__(self, machine: Machine) -> None:
        super().__init__(_Requests(machine))
        self._machine = machine

    @staticmethod
    def open(
        *,
        workflows: Sequence[Workflow[..., Any]] = (),
        app: str | None = None,
        resources: Mapping[Resource[Any], object] | None = None,
        start: datetime = START,
    ) -> AbstractAsyncContextManager[TestEngine]:
        """Open an engine: `async with TestEngine.open(workflows=[order]) as engine:`.

        Args:
            workflows: workflows to run, with the steps and children that they name.
            app: a module or file whose workflows to run; instead of `workflows`.
            resources: objects that stand in for resources: `{bank: FakeService("bank")}`.
            start: when its time begins; 2026-03-02 10:00 UTC unless given.

        Raises:
            DefinitionError: neither workflows nor an app is given, or both are.
            AppError: the app does not import, or defines no workflow.
            DuplicateName: two definitions share a name.
        """
        return _open(workflows, app, resources or {}, start)

    async def advance(self, by: Duration) -> None:
        """Let time pass, and do all that becomes due.

        Args:
            by: a text such as "90s" or "30d", seconds, or a timedelta.

        Raises:
            ValueError: that is no duration.
            WfkitError: a run is blocked; the error is the one that blocked it.
            UnsimulatedIO: a step reached for the real world.
            DefinitionError: a handler of a fake service does not take a call.
            SimulationBounds: there was no end to what became due.
        """
        await _let_others()
        machine = self._machine
        until = machine.loop.now + microseconds(by)
        machine.settle(until)
        machine.loop.now = max(machine.loop.now, until)
        machine.raise_blocked()

    def now(self) -> datetime:
        """Return the time, UTC."""
        return self._machine.now()


@asynccontextmanager
async def _open(
    workflows: Sequence[Workflow[..., Any]], app: str | None, resources: Mapping[Resource[Any], object], start: datetime
) -> AsyncIterator[TestEngine]:
    if (app is None) == (not workflows):
        raise DefinitionError("an engine needs app= or workflows=, and not both")
    machine = Machine(Registry(workflows) if app is None else load_app(app), resources, start)
    try:
        yield TestEngine(machine)
    finally:
        machine.close()
