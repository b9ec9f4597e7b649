"""The outside of a simulation: who starts runs and sends signals, and what the schedule does to these deliveries.

It outlives the engine's lives. A request that the process died under is made again, as a careful sender does, with the
same dedupe id: so it arrives exactly once unless a fault says otherwise.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.core.entries import Record
from wfkit.engine.client import Client, End, IfFinished, Run
from wfkit.engine.engine import Engine
from wfkit.errors import (
    DuplicateRun,
    RunCancelled,
    RunEnded,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    UnknownRun,
    WfkitError,
)
from wfkit.sim.recording import Delivery
from wfkit.sim.subject import RunId

if TYPE_CHECKING:
    from wfkit.sim.simulation import Simulation

T = TypeVar("T")

_ENDS = (RunEnded, UnknownRun, RunFailed, RunCancelled, RunTerminated, RunTimedOut)
"""What a script may meet since a run has come to another end than without faults: it then ends, as a client would."""


class Outside:
    """Makes the deliveries of one schedule. To a client it is the engine, in all of its lives.

    Args:
        simulation: what they go to.
        early: the deliveries of the schedule without faults: one that comes early is known before it is made.
    """

    def __init__(self, simulation: Simulation, early: Sequence[Delivery]) -> None:
        self._simulation = simulation
        self._loop = simulation.loop
        self._early = early
        self._came_early: set[int] = set()
        """Indexes of deliveries."""
        self._engine: Engine | None = None
        self._up: list[asyncio.Future[None]] = []
        """Told when there is an engine again."""
        self._asked: dict[asyncio.Future[bool], None] = {}
        """Told whether a request was answered before the process died. A set would hand them out by their addresses."""
        self._held: Callable[[], Coroutine[Any, Any, object]] | None = None
        """Makes the delivery that changes places with the next one."""
        self.client = Client(self)
        self.deliveries: list[Delivery] = []
        self.error = ""
        """How the script ended, if not by itself."""
        self.due = 0
        """How many deliveries and starts wait for their time, the script's own apart."""

    # -- the engine's lives ---------------------------------------------------------------------------------------------

    def go_on(self, engine: Engine) -> None:
        """Make requests to an engine: it has recovered. Those come first that found none."""
        self._engine = engine
        waiting, self._up = self._up, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def pause(self) -> None:
        """Make no requests until there is an engine again: the process has died, and those under way have no answer."""
        self._engine = None
        for future in list(self._asked):
            if not future.done():
                future.set_result(False)

    async def _ask(self, request: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Make a request, again and again until an engine lives long enough to answer."""
        while True:
            while self._engine is None:
                up: asyncio.Future[None] = self._loop.create_future()
                self._up.append(up)
                await up
            life = self._simulation.life
            assert life is not None
            answered: asyncio.Future[bool] = self._loop.create_future()
            self._asked[answered] = None
            task: asyncio.Task[T] = self._loop.create_task(request(self._engine), context=life.copy())
            task.add_done_callback(functools.partial(_answer, answered))
            try:
                came = await answered
            finally:
                del self._asked[answered]
            if came:
                return task.result()

    # -- the schedule's own deliveries -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the runs, and the script."""
        self._spawn(self._main())

    def _spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(coroutine, context=self._simulation.outer())
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, _ENDS):
            self._end(f"{type(error).__name__}: {error}")
        elif error is not None:
            self._simulation.end_with(error)

    def give_up(self) -> None:
        """Note that the script went on when all else had come to rest."""
        self._end("all has come to rest, and it still looks for something")

    def _end(self, told: str) -> None:
        self.error = told
        self._simulation.tell("script", "", 0, told)

    async def _main(self) -> None:
        subject = self._simulation.subject
        for index, instance in enumerate(subject.runs):
            self._spawn(self._start_later(instance.at, subject.id_of(index), instance.workflow, instance.args))
        run = await self._start(subject.main_id, subject.workflow, subject.args)
        for planned in self._simulation.planned:
            if planned.kind == "early" and planned.point.n < len(self._early):
                self._came_early.add(planned.point.n)
                with suppress(WfkitError):
                    await self._request(self._early[planned.point.n], f"early/{planned.point.n}")
        if subject.script is not None:
            await subject.script(run, self._simulation.world)

    async def _start_later(self, at: int, id: RunId, workflow: Workflow[..., Any], args: tuple[Any, ...]) -> None:
        await self._until_due(at)
        await self._start(id, workflow, args)

    async def _start(self, id: RunId, workflow: Workflow[..., Any], args: tuple[Any, ...]) -> Run[Any]:
        encoded = workflow.signature.encode(args, {})
        made = id if isinstance(id, str) else id()
        if not self._simulation.main:
            self._simulation.main = made
        again = None if isinstance(id, str) else id
        await self._deliver(Delivery(0, "start", made, workflow.name, encoded), new_id=again)
        return Run(self.client, made, workflow)

    def cancel(self, run: str) -> None:
        """Ask a run to stop, from nowhere in particular."""
        self._spawn(self._cancel(run))

    async def _cancel(self, run: str) -> None:
        with suppress(RunEnded, UnknownRun):
            await self._ask(lambda engine: engine.requests.cancel_run(run, "cancelled by the schedule"))

    # -- what can happen to a delivery -----------------------------------------------------------------------------------

    async def _deliver(self, delivery: Delivery, new_id: Callable[[], str] | None = None) -> None:
        index = len(self.deliveries)
        delivery = replace(delivery, index=index)
        if delivery.point in self._simulation.subject.dropped:
            self.deliveries.append(replace(delivery, kind="dropped"))
            return
        self.deliveries.append(delivery)
        fault = self._simulation.hit(self._simulation.main, index, "delivery", delivery.name)
        held, self._held = self._held, None
        match fault.kind if fault is not None else "":
            case "swap":
                self._held = lambda: self._make(delivery)
            case "late":
                assert fault is not None
                self._spawn(self._make_later(fault.amount, delivery))
            case "lost_event_ack":
                await self._make(delivery)
                await self._make(delivery)
            case "dup":
                assert fault is not None
                await self._make(delivery)
                self._spawn(self._make_later(fault.amount, _again(delivery), new_id))
            case _ if index in self._came_early:
                pass
            case _:
                await self._make(delivery)
        if held is not None:
            await held()

    async def _make_later(self, wait: int, delivery: Delivery, new_id: Callable[[], str] | None = None) -> None:
        await self._until_due(wait)
        if new_id is not None:
            delivery = replace(delivery, run=new_id())
        with suppress(RunEnded, UnknownRun, DuplicateRun):
            await self._make(delivery)

    async def _until_due(self, wait: int) -> None:
        self.due += 1
        await asyncio.sleep(wait / 1e6)
        self.due -= 1

    async def _make(self, delivery: Delivery) -> None:
        self._simulation.tell("delivery", delivery.run, delivery.index, delivery)
        try:
            await self._request(delivery, delivery.dedupe or f"delivery/{delivery.index}")
        except (RunEnded, UnknownRun) as error:
            refused = replace(delivery, refused=f"{type(error).__name__}: {error}")
            self.deliveries[delivery.index] = refused
            self._simulation.tell("refused", delivery.run, delivery.index, refused)
            raise

    async def _request(self, delivery: Delivery, dedupe: str) -> None:
        run, name, payload = delivery.run, delivery.name, delivery.payload
        match delivery.kind:
            case "start":
                await self._ask(lambda engine: engine.requests.start_run(name, payload, run, delivery.if_finished, None))
            case "publish":
                await self._ask(lambda engine: engine.requests.publish_signal(name, payload, dedupe))
            case _:
                await self._ask(lambda engine: engine.requests.send_signal(run, name, payload, dedupe))

    # -- as a client's engine ----------------------------------------------------------------------------------------------

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        made = id or self._simulation.entropy.bits()
        again = self._simulation.entropy.bits if id is None else None
        await self._deliver(Delivery(0, "start", made, workflow, args, if_finished=if_finished), new_id=again)
        if send is not None:
            await self._deliver(Delivery(0, "send", made, *send))
        return made

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        await self._deliver(Delivery(0, "send", id, signal, payload, dedupe))

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        await self._deliver(Delivery(0, "publish", "", signal, payload, dedupe))

    async def cancel_run(self, id: str, reason: str) -> None:
        await self._ask(lambda engine: engine.requests.cancel_run(id, reason))

    async def terminate_run(self, id: str, reason: str) -> None:
        await self._ask(lambda engine: engine.requests.terminate_run(id, reason))

    async def end_of(self, id: str) -> End:
        return await self._ask(lambda engine: engine.requests.end_of(id))

    async def status_of(self, id: str) -> str:
        return await self._ask(lambda engine: engine.requests.status_of(id))

    async def state_of(self, id: str, name: str) -> Raw | None:
        return await self._ask(lambda engine: engine.requests.state_of(id, name))

    async def history_of(self, id: str) -> list[Record]:
        return await self._ask(lambda engine: engine.requests.history_of(id))

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        return await self._ask(lambda engine: engine.requests.find_runs(filter, limit))


def _answer(answered: asyncio.Future[bool], _task: asyncio.Task[Any]) -> None:
    if not answered.done():
        answered.set_result(True)


def _again(delivery: Delivery) -> Delivery:
    """Return the same delivery as the network may bring it twice: with the sender's dedupe id, if it gave one."""
    return delivery if delivery.dedupe is not None else replace(delivery, dedupe=f"delivery/{delivery.index}/again")
