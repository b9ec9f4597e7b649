"""What clients ask of an engine, answered in the engine's own process. A request that changes something is durable first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.core.entries import Blocked, CancelRequested, Record, RunTerminated, SignalReceived
from wfkit.core.failures import blocking_error
from wfkit.core.keys import check_run_id
from wfkit.core.state import input_hash
from wfkit.engine.client import End, IfFinished
from wfkit.engine.mailbox import Carrying, Delivery, Mailbox
from wfkit.engine.ports import Clock, Entropy
from wfkit.engine.runs import LiveRun, Runs
from wfkit.engine.scheduler import Scheduler, nothing, resolve
from wfkit.engine.watchdog import Stuck
from wfkit.errors import DefinitionError, DuplicateRun, EngineClosed, RunEnded, UnknownRun, WfkitError
from wfkit.journal.filters import parse
from wfkit.journal.port import Journal

log = logging.getLogger("wfkit.engine")


class LocalRequests:
    """Answers requests: looks at runs, and hands the scheduler what is to happen. See `client.Requests`.

    Args:
        journal: where everything durable is.
        runs: the runs in memory.
        registry: the code.
        mailbox: what makes the entries that runs get.
        scheduler: what makes them durable and activates runs.
        clock: the wall clock.
        entropy: where ids of runs come from.
    """

    def __init__(
        self,
        journal: Journal,
        runs: Runs,
        registry: Registry,
        mailbox: Mailbox,
        scheduler: Scheduler,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._journal = journal
        self._runs = runs
        self._registry = registry
        self._mailbox = mailbox
        self._scheduler = scheduler
        self._clock = clock
        self._entropy = entropy
        self._unacknowledged: set[asyncio.Future[None]] = set()
        self._closed = False
        self.trouble: WfkitError | None = None
        """Why the journal does not accept anything just now; None while all is well."""
        self.on_stuck: Callable[[Stuck | None], None] | None = None
        """Is told, in another thread, of an activation that does not end, and by None that it has."""

    def close(self) -> None:
        """Take no more requests; those that were taken may still become durable."""
        self._closed = True

    def refuse_waiting(self) -> None:
        """Tell whoever still waits that the engine is closed."""
        for future in list(self._unacknowledged):
            _refuse(future, EngineClosed("the engine was closed before the request was durable"))
        for run in self._runs:
            for waiter in _waiters_of(run):
                _refuse(waiter, EngineClosed(f"the engine was closed while run {run.state.id} was {run.state.detail}"))

    def release(self, run: LiveRun) -> None:
        """Let those look again who wait for a run."""
        for waiter in _waiters_of(run):
            resolve(waiter)

    def note_trouble(self, error: WfkitError | None) -> None:
        """Take notice that the journal does not accept entries, or that it does again."""
        self.trouble = error
        if error is None:
            log.warning("the journal accepts entries again")
            return
        log.error("[%s] %s", error.code, error)
        for future in list(self._unacknowledged):
            _refuse(future, error)

    def note_stuck(self, stuck: Stuck | None) -> None:
        """Tell whoever wants to know that an activation does not end, or by None that it has ended. For any thread."""
        if self.on_stuck is not None:
            self.on_stuck(stuck)

    async def _durably(self, begin: Callable[[Callable[[], None]], None]) -> None:
        """Begin something and wait until it is durable."""
        if self._closed:
            raise EngineClosed("the engine is closed")
        if self.trouble is not None:
            raise self.trouble
        durable: asyncio.Future[None] = self._loop.create_future()
        self._unacknowledged.add(durable)
        try:
            begin(lambda: resolve(durable))
            await durable
        finally:
            self._unacknowledged.discard(durable)

    async def _all_durable(self) -> None:
        """Wait until all that happened before is durable."""
        await self._durably(lambda durable: self._scheduler.begin(nothing(), durable))

    async def _find(self, id: str) -> LiveRun:
        run = await self._runs.find(id)
        if run is None:
            raise UnknownRun(f"no run has the id {id!r}")
        return run

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str:
        """Start a run, or attach to the one that exists. See `Client.start`."""
        definition = self._registry.workflow(workflow)
        definition.signature.decode(args)
        if send is not None:
            self._registry.check_payload(*send, workflow)
        known = None
        if id is None:
            id = self._entropy.bits()[:20]
        else:
            check_run_id(id)
            known = await self._runs.find(id)
            if known is None and id.startswith("-"):
                raise DefinitionError(f"{id!r} is no run id", help="begin it with another character: options have a dash")
        if known is not None:
            if known.state.workflow != workflow:
                raise DuplicateRun(f"run id {id!r} is in use by workflow {known.state.workflow!r}")
            if if_finished != "restart" or not known.state.finished:
                self._check_attach(known, args, if_finished)
                if send is not None:
                    await self.send_signal(id, *send, dedupe=None)
                else:
                    await self._all_durable()
                return id
        generation, dedupe = (1, ()) if known is None else (known.state.generation + 1, tuple(known.state.dedupe or ()))
        await self._durably(
            lambda durable: self._scheduler.begin(self._first_entries(definition, id, args, generation, dedupe, send), durable)
        )
        return id

    def _first_entries(
        self,
        definition: Workflow[..., Any],
        id: str,
        args: Raw,
        generation: int,
        dedupe: tuple[str, ...],
        send: tuple[str, Raw] | None,
    ) -> Carrying:
        started = self._mailbox.new_run(definition, id, args, generation=generation, dedupe=dedupe)
        yield started
        if send is not None:
            t = started.entry.t
            yield Delivery(started.run, SignalReceived(t=t, name=send[0], payload=send[1], arrived=t))

    def _check_attach(self, known: LiveRun, args: Raw, if_finished: IfFinished) -> None:
        state = known.state
        if state.input != input_hash(args):
            raise DuplicateRun(f"run id {state.id!r} is in use with other input")
        if state.finished and if_finished == "fail":
            raise DuplicateRun(f"run {state.id!r} is already {state.status}")

    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None:
        """Send a signal to a run. See `Run.send`."""
        run = await self._find(id)
        if run.state.knows(dedupe):
            await self._all_durable()
            return
        if run.state.finished:
            raise RunEnded(f"run {id} is {run.state.status}: the signal {signal!r} was not accepted")
        self._registry.check_payload(signal, payload, run.state.workflow)
        t = self._mailbox.time_of(run)
        entry = SignalReceived(t=t, name=signal, payload=payload, arrived=t, dedupe=dedupe)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None:
        """Publish a signal. See `Client.publish`."""
        if self._runs.bus.state.knows(dedupe):
            await self._all_durable()
            return
        self._registry.check_payload(signal, payload)
        plan = self._mailbox.publish(signal, payload, dedupe=dedupe, sender=None)
        await self._durably(lambda durable: self._scheduler.begin(plan, durable))

    async def cancel_run(self, id: str, reason: str) -> None:
        """Ask a run to stop. See `Run.cancel`."""
        run = await self._find(id)
        self._refuse_if_ended(run)
        if run.state.cancelling:
            await self._all_durable()
            return
        entry = CancelRequested(t=self._mailbox.time_of(run), reason=reason)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    async def terminate_run(self, id: str, reason: str) -> None:
        """Stop a run at once. See `Run.terminate`."""
        run = await self._find(id)
        self._refuse_if_ended(run)
        entry = RunTerminated(t=self._mailbox.time_of(run), reason=reason)
        await self._durably(lambda durable: self._scheduler.deliver(run, entry, durable))

    def _refuse_if_ended(self, run: LiveRun) -> None:
        if run.state.finished:
            raise RunEnded(f"run {run.state.id} is already {run.state.status}")

    async def end_of(self, id: str) -> End:
        """Wait for the end of a run."""
        run = await self._find(id)
        while not run.over:
            await self._change_of(run)
            run = await self._find(id)
        state = run.state
        if state.status == "completed" and run.value is None:
            await self._scheduler.fetch_result(run)
        return End(state.status, run.value, state.error, state.saga_failures)

    async def status_of(self, id: str) -> str:
        run = await self._find(id)
        if run.state.finished and not run.over:
            await self._all_durable()
        return run.state.status

    async def state_of(self, id: str, name: str) -> Raw | None:
        value = ((await self._find(id)).state.state or {}).get(name)
        await self._all_durable()
        return value

    async def history_of(self, id: str) -> list[Record]:
        run = await self._find(id)
        await self._all_durable()
        return LiveRun(run.number, run.state).read(await self._journal.history(run.number))

    def id_of(self, number: int) -> str | None:
        """Return the id of a run by its number, if the run is in memory."""
        run = self._runs.get(number)
        return None if run is None else run.state.id

    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]:
        found = await self._journal.list_runs(parse(filter, self._clock.now()), limit)
        workflows = {state.id: self._registry.workflows.get(state.workflow) for state in found}
        return list(workflows.items())

    async def _change_of(self, run: LiveRun) -> None:
        """Wait until a run has ended, durably, or is blocked."""
        if self._closed:
            raise EngineClosed(f"the engine was closed while run {run.state.id} was {run.state.detail}")
        waiter: asyncio.Future[None] = self._loop.create_future()
        run.waiters = [*(run.waiters or ()), waiter]
        try:
            await waiter
        finally:
            run.waiters = [other for other in run.waiters or () if other is not waiter] or None

    async def blocked(self, id: str) -> Blocked | None:
        """Return why a run is blocked, once an attempt to go on that is under way has ended.

        Raises:
            UnknownRun: there is no such run.
        """
        run = await self._find(id)
        if run.rebuilding is not None:
            await asyncio.wait([run.rebuilding])
        return run.state.blocked

    async def end_or_block(self, id: str) -> None:
        """Wait until a run has ended, or does not go on without an edit of its code.

        Raises:
            WfkitError: it is blocked; the error is the one that blocked it.
        """
        run = await self._find(id)
        while not run.over:
            if run.state.blocked is not None:
                raise blocking_error(run.state.blocked)
            await self._change_of(run)


def _waiters_of(run: LiveRun) -> list[asyncio.Future[None]]:
    waiters, run.waiters = run.waiters, None
    return waiters or []


def _refuse(future: asyncio.Future[None], error: WfkitError) -> None:
    if not future.done():
        future.set_exception(error)
