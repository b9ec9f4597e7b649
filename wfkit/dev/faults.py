"""Injects faults into the engine of a worker, through the ports that the engine takes its world by."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, assert_never

from wfkit.api.attempt import Attempt, StepInfo
from wfkit.api.definitions import Step
from wfkit.control import reads
from wfkit.control.messages import ChaosFacts, ListSignals, SignalList, SignalSeen, Strike, Told
from wfkit.core.entries import SignalReceived
from wfkit.dev.channel import Happened, KillMe, Supervisor
from wfkit.engine.ports import Ended, Running, StepRunner
from wfkit.engine.requests import LocalRequests
from wfkit.errors import NoChaos, WfkitError
from wfkit.journal.duckdb import DuckDBJournal
from wfkit.replay.explain import spell

HELD_US = 3_000_000
JUMP_US = 3_600_000_000
ANSWER_SECONDS = 0.1
"""So long a worker that is to be killed has to answer whoever asked for that."""
SIGNALS_LOOKED_AT = 50

log = logging.getLogger("wfkit.chaos")


class ForwardClock:
    """A wall clock that can be put forward.

    Args:
        ahead: how far it is already, in microseconds.
    """

    look_seconds = 0.25
    """Whoever waits for a time sees within this that it has come all at once."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def now(self) -> int:
        return time.time_ns() // 1000 + self.ahead


def stamp_logs(clock: ForwardClock) -> None:
    """Let what this process logs have the times of a clock, as the journal has."""
    make = logging.getLogRecordFactory()

    def stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.created += clock.ahead / 1e6
        return record

    logging.setLogRecordFactory(stamped)


class HoldingRunner:
    """Runs steps as another runner does, and holds some of their results.

    Args:
        runner: the other one.
        held: is told whose result is held, and for how many microseconds.
    """

    def __init__(self, runner: StepRunner, held: Callable[[StepInfo, int], None]) -> None:
        self._runner = runner
        self._told = held
        self._loop = asyncio.get_running_loop()
        self._next: deque[int] = deque()

    def hold(self, us: int) -> None:
        """Hold the next result; if there are several to be held, the one after these."""
        self._next.append(us)

    def run(
        self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], attempt: Attempt, ended: Ended
    ) -> Running:
        return self._runner.run(step, args, kwargs, attempt, functools.partial(self._ended, attempt.info, ended))

    def close(self) -> None:
        self._runner.close()

    def _ended(self, info: StepInfo, ended: Ended, result: Any, error: BaseException | None) -> None:
        if error is not None or not self._next:
            ended(result, error)
            return
        us = self._next.popleft()
        self._told(info, us)
        self._loop.call_later(us / 1e6, ended, result, None)


class Faults:
    """Strikes the engine of this worker.

    Args:
        supervisor: is told what happens, and kills.
        requests: the engine's.
        journal: the engine's.
        clock: the engine's, if it may go forward.
        runner: the engine's.
        facts: of the session so far.
        killed: the last line of it is news to this worker's logs.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        requests: LocalRequests,
        journal: DuckDBJournal,
        clock: ForwardClock | None,
        runner: HoldingRunner,
        facts: ChaosFacts,
        *,
        killed: bool,
    ) -> None:
        self._supervisor = supervisor
        self._requests = requests
        self._journal = journal
        self._clock = clock
        self._runner = runner
        self._facts = facts
        self._logged = 0 if not facts.struck else facts.struck[-1].number - killed
        self._injecting: set[asyncio.Task[None]] = set()
        self.note(facts)

    def facts(self) -> ChaosFacts:
        return self._facts

    def note(self, facts: ChaosFacts) -> None:
        """Take over what there is to say of the session, and log what is new."""
        self._facts = facts
        for struck in facts.struck:
            if struck.number > self._logged:
                log.warning("⚡ %s", struck.text)
                self._logged = struck.number

    def inject(self, strike: Strike) -> None:
        """Begin a strike that was planned. If it cannot be, that is told."""
        task = asyncio.ensure_future(self._inject(strike))
        self._injecting.add(task)
        task.add_done_callback(self._injecting.discard)

    async def _inject(self, strike: Strike) -> None:
        try:
            await self.strike(strike)
        except WfkitError as error:
            self._supervisor.report(Happened(None, f"{strike.fault}: {error}"))

    async def strike(self, request: Strike) -> Told:
        """Inject a fault now, and return what there is to say of it.

        Raises:
            NoChaos: it cannot be.
            UnknownRun: of `dup`, there is no such run.
        """
        match request.fault:
            case "kill":
                asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._supervisor.report, KillMe())
                return Told("the worker is killed")
            case "delay":
                us = request.us or HELD_US
                self._runner.hold(us)
                return Told(f"the next result of a step is held for {spell(us)}")
            case "jump":
                return self._jump(request.us or JUMP_US)
            case "dup":
                return await self._deliver_again(request.run)
            case _:
                assert_never(request.fault)

    def _jump(self, us: int) -> Told:
        if self._clock is None:
            told = "the clock can only be moved where the journal is deleted at the end: this one would keep future times"
            raise NoChaos(told, help="wfkit dev --ephemeral")
        self._clock.ahead += us
        text = f"the clock went forward by {spell(us)}; it is {spell(self._clock.ahead)} ahead"
        self._supervisor.report(Happened("jump", text, self._clock.ahead))
        return Told(text)

    async def _deliver_again(self, run: str) -> Told:
        signal = await self._last_signal(run)
        assert signal.dedupe is not None
        before = await self._arrivals(signal)
        if signal.run is None:
            await self._requests.publish_signal(signal.name, signal.payload, signal.dedupe)
        else:
            await self._requests.send_signal(signal.run, signal.name, signal.payload, signal.dedupe)
        came = "ignored, its id is known" if await self._arrivals(signal) == before else "IT WAS TAKEN FOR ANOTHER ONE"
        where = "published" if signal.run is None else f"sent to {signal.run}"
        text = f"{signal.name} ({signal.dedupe}) {where} again: {came}"
        self._supervisor.report(Happened("dup", text))
        return Told(text)

    async def _last_signal(self, run: str) -> SignalSeen:
        """Return the last signal that came with a dedupe id; without one, a second signal is another signal."""
        if run:
            for record in reversed(await self._requests.history_of(run)):
                entry = record.entry
                if isinstance(entry, SignalReceived) and entry.dedupe is not None:
                    return SignalSeen(0, entry.t, entry.name, entry.payload, run, entry.published, None, entry.dedupe)
            raise NoChaos(f"run {run} has received no signal with a dedupe id", help=_DEDUPE)
        for signal in await self._latest(""):
            if signal.dedupe is not None:
                return signal
        raise NoChaos(f"none of the last {SIGNALS_LOOKED_AT} signals has a dedupe id", help=_DEDUPE)

    async def _arrivals(self, signal: SignalSeen) -> int:
        return sum((one.run, one.dedupe) == (signal.run, signal.dedupe) for one in await self._latest(signal.name))

    async def _latest(self, name: str) -> list[SignalSeen]:
        found: SignalList = await self._journal.read_apart(reads.signals, ListSignals(name=name, limit=SIGNALS_LOOKED_AT))
        return found.signals


_DEDUPE = "only a signal that has one can be repeated: wfkit send SIGNAL --run ID --dedupe ID"


def held(supervisor: Supervisor, info: StepInfo, us: int) -> None:
    """Tell whose result is held."""
    told = f"holds the result of {info.step}() of {info.run_id} for {spell(us)}"
    supervisor.report(Happened("delay", told))
