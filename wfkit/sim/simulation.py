"""One schedule: the real engine on virtual time, through as many lives as the faults cost it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from random import Random
from typing import Any

from wfkit.core.entries import BUS, Record
from wfkit.core.state import RunState
from wfkit.engine.engine import Engine
from wfkit.sim import ambient, real_io
from wfkit.sim.attempts import Attempts
from wfkit.sim.bounds import ComputesForEver, watched
from wfkit.sim.clock import Clock, Entropy
from wfkit.sim.code import namespaces, registry_of
from wfkit.sim.disk import SimulatedDisk
from wfkit.sim.durable import DurableState
from wfkit.sim.endless import CALLS, LIVES_MAX, Endless
from wfkit.sim.faults import CALENDAR, HOUR, Fault, Point, begin_of
from wfkit.sim.invariants import Always, asking_of, failed, name_of
from wfkit.sim.loop import Epoch, Killed, VirtualLoop, epoch
from wfkit.sim.memory import Memory
from wfkit.sim.outside import Outside
from wfkit.sim.recording import Event, Recording, RunRecord, Stopped
from wfkit.sim.runner import SimulatedRunner
from wfkit.sim.services import canonical, surroundings
from wfkit.sim.strand import strand
from wfkit.sim.striking import Striking
from wfkit.sim.subject import Subject, replaced_globals

RESTART = 1_000_000
"""How long a crashed process is down, in microseconds."""
HORIZON = 400 * 24 * HOUR
"""How long a schedule may last, in microseconds, unless `until=` says otherwise."""
HORIZON_BASES = 10
"""If that is more, so many times as long as without faults."""


class Simulation:
    """Executes one schedule. Used once.

    Args:
        subject: what is simulated.
        faults: what goes wrong.
        seed: where all chance comes from.
        arrival: which of outcomes that are ready at the same instant comes first: 0 for the order in which they came.
        hold: what is held constant, to find the cause of a finding: "random", "time", "attempt", "memory".
        watch: told of every point, before what goes wrong there does.
        base: the schedule without faults: its deliveries are known where one comes before its time, and how long it takes.
    """

    def __init__(
        self,
        subject: Subject,
        faults: Sequence[Fault] = (),
        *,
        seed: int = 0,
        arrival: int = 0,
        hold: frozenset[str] = frozenset(),
        watch: Callable[[Simulation, Point], None] | None = None,
        base: Recording[Any] | None = None,
    ) -> None:
        real_io.install()
        self.subject = subject
        self.planned = tuple(faults)
        self.seed = seed
        self._plan = {fault.point: fault for fault in faults}
        self.loop = VirtualLoop()  # type: ignore[abstract]  # what is not there cannot be simulated
        self.start = round(_begin(subject, faults).timestamp() * 1e6)
        is_set = any(fault.kind in ("jump+", "jump-", "freeze", "skew") for fault in faults)
        self.clock = Clock(self.loop, self.start, is_set=is_set)
        self.entropy = Entropy(seed)
        self.disk = SimulatedDisk(self._reach_sync, self._wrote)
        self._registry = registry_of(subject, subject.upgrade_from)
        self._upgraded = registry_of(subject, None) if subject.upgrade_from is not None else self._registry
        striking = Striking(self)
        self._strike = striking.strike
        self._attempts = Attempts(self, striking, seed, hold)
        self._runner = SimulatedRunner(self.loop, self._attempts)
        self._engine: Engine | None = None
        self.life: contextvars.Context | None = None
        """The context of the process that lives just now, or has died last."""
        self.lives = 0
        self.main = subject.main_id if isinstance(subject.main_id, str) else ""
        self.outside = Outside(self, base.deliveries if base is not None else ())
        self._horizon = _horizon(subject, base)
        self.world: Any = None
        self.memory: Memory
        self._trace: list[Point] = []
        self._fired: list[Fault] = []
        self._events: list[Event] = []
        self.endless = Endless(self, base)
        self._recording: Recording[Any] | None = None
        self._failure: BaseException | None = None
        """Why the simulation itself cannot go on."""
        self._arrival = Random(arrival) if arrival else None
        self._watch = watch
        is_steady = base is None or not base.drawn
        self.durable = DurableState(holds_values=is_steady) if watch is not None else None
        """What would survive a crash just now; only kept for whoever watches."""
        self._counts: dict[tuple[str, int, str, str], int] = {}
        self._always = Always(subject.invariants)
        self._buried = False
        self._keeps_memory = "memory" in hold

    # -- the whole of it ----------------------------------------------------------------------------------------------

    def run(self) -> Recording[Any]:
        """Execute the schedule until it comes to rest.

        Raises:
            UnsimulatedIO: a step opened a real socket.
            DefinitionError: a handler of a fake service does not take a call.
            SimulationBounds: something takes too much memory, waits for a real lock, or computes for ever though no fault has
                struck. That it computes for ever after one is no error but what came of it: see `Recording.stopped`.
            Exception: the world, the script or an invariant of the user's failed in itself.
        """
        context = contextvars.Context()
        refused = real_io.refused() if self.subject.io == "refuse" else nullcontext()
        try:
            with (
                ambient.installed(namespaces(self._registry, self._upgraded)),
                real_io.unlogged(),
                refused,
                watched(self.end_with, self._trace.__len__),
            ):
                context.run(self._run)
        except Killed:  # it was ended, and struck once more as the block was left
            raise self._failure or Killed from None
        if self._failure is not None and not (self._recording is not None and self._computes_by_a_fault):
            raise self._failure
        assert self._recording is not None, "it came to its end"
        return self._recording

    @property
    def _computes_by_a_fault(self) -> bool:
        return isinstance(self._failure, ComputesForEver) and bool(self._fired)

    def end_with(self, error: BaseException) -> None:
        """End the simulation with an error, as soon as the code that runs just now lets go."""
        self._failure = self._failure or error

    def _run(self) -> None:
        surroundings.set(self._attempts)
        self.memory = Memory(self.subject, self._registry, self._upgraded)
        with ambient.within(self._attempts):
            self.world = self.subject.world() if self.subject.world is not None else None
            with replaced_globals(self.world) as stand_ins:
                self.memory.apart = {id(each): each for each in (self.world, *stand_ins)}
                try:
                    self.loop.call_soon(self._boot)
                    self.loop.call_soon(self.outside.begin)
                    self.loop.drive(self._horizon, self._is_over)
                    if self.endless.is_at_rest:
                        self.outside.give_up()
                    self._recording = self._recorded()
                finally:
                    self._bury()
                    self.memory.leave()

    def _is_over(self) -> bool:
        return self._failure is not None or self.endless.is_over()

    def _bury(self) -> None:
        self._buried = True
        life = self.life.get(epoch) if self.life is not None else None
        if life is not None:
            life.alive = False
        self.disk.crash()
        self._runner.bury()
        self.loop.bury()
        if self._engine is not None:
            self._engine.evict_code()

    # -- lives ----------------------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        self.lives += 1
        if self.lives > LIVES_MAX:
            return
        context = contextvars.copy_context()
        context.run(epoch.set, Epoch(self.lives))
        self.life = context
        self.entropy.drawn = sum(run != BUS for run in self.disk.records)
        if self.lives == 1:
            self._fired += [fault for fault in self.planned if fault.point.phase in CALENDAR]
        self.tell("started", "", 0, self.lives)
        task = self.loop.create_task(self._live(), context=context)
        task.add_done_callback(self._lived)

    async def _live(self) -> None:
        engine = Engine(
            self.disk.open(),
            self._registry,
            clock=self.clock,
            entropy=self.entropy,
            runner=self._runner,
            order=self._order,
            resources=self.subject.replaced(self.world),
        )
        old, self._engine = self._engine, engine
        if old is not None:
            old.evict_code()
        await engine.recover()
        self.outside.go_on(engine)

    def _lived(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Killed):
            self.end_with(error)

    def crash(self, down: int = RESTART) -> None:
        """Let the process die. Whoever called must not go on."""
        assert self.life is not None
        life = self.life.get(epoch)
        if life is None or not life.alive:
            return
        life.alive = False
        self.disk.crash()
        if not self._keeps_memory:
            self.memory.forget()
        self.tell("crashed", "", 0, down)
        self.outside.pause()
        self.loop.call_soon(self._attempts.roll_back, context=self.outer())  # in this thread, which may be another one's now
        self.loop.call_later(down / 1e6, self._boot, context=self.outer())

    def upgrade(self) -> None:
        """Let the next life run the new code."""
        self._registry = self._upgraded

    def outer(self) -> contextvars.Context:
        """Return a context that outlives every life."""
        context = contextvars.copy_context()
        context.run(epoch.set, None)
        context.run(strand.set, None)
        return context

    @property
    def is_up(self) -> bool:
        """Whether a process lives just now."""
        life = self.life.get(epoch) if self.life is not None else None
        return self._engine is not None and life is not None and life.alive

    @property
    def unfinished(self) -> Iterator[RunState]:
        """The runs that have not ended; none while no process lives."""
        return (state for state in self._engine.states if not state.finished) if self._engine is not None else iter(())

    @property
    def points(self) -> int:
        """How many points were passed."""
        return len(self._trace)

    # -- points -----------------------------------------------------------------------------------------------------------

    def hit(self, run: str, n: int, phase: str, label: str) -> Fault | None:
        """Pass a point, and return what goes wrong there."""
        if self._buried:
            raise Killed
        name = "" if run == self.main else run
        key = (name, n, phase, label)
        occurrence = self._counts[key] = self._counts.get(key, 0) + 1
        point = Point(name, n, phase, label, occurrence)
        self._trace.append(point)
        if self._watch is not None:
            self._watch(self, point)
        if phase in CALLS:
            self.endless.asked(run, n)
        if self._always.checks:  # most subjects have none, and there are many points
            self._always.ask(self.world, point)
        fault = self._plan.get(point)
        if fault is not None:
            self._fired.append(fault)
            self.endless.struck(fault)
            self.tell("fault", run, n, fault)
        return fault

    def _reach_sync(self, run: str, n: int, phase: str, label: str) -> None:
        fault = self.hit(run, n, phase, label)
        if fault is not None and self._strike(fault, run):
            raise Killed

    def _order(self, ready: Sequence[Callable[[], None]]) -> Sequence[Callable[[], None]]:
        fault = self.hit(self.main, 0, "tie", str(len(ready)))
        if fault is not None:
            return list(reversed(ready))
        if self._arrival is not None:
            return self._arrival.sample(list(ready), len(ready))
        return ready

    # -- what is kept ---------------------------------------------------------------------------------------------------------

    def tell(self, kind: str, run: str, n: int, *data: Any) -> None:
        """Keep one thing that happened, for the story."""
        self._events.append(Event(self.clock.now(), kind, run, n, data))

    def _wrote(self, run: int, record: Record) -> None:
        id, n = self.disk.ids[run], getattr(record.entry, "n", 0)
        if self.durable is not None:
            self.durable.wrote(run, record, counts=self._attempts.looks_at_number(id, n))
        self.endless.wrote(id, n, record)
        self.tell("wrote", id, n, record)

    def _recorded(self) -> Recording[Any]:
        histories = self.disk.records
        runs: dict[str, RunRecord] = {}
        for number, records in sorted(histories.items()):
            if number != BUS:
                runs[self.disk.ids[number]] = RunRecord(number, records)
        recording: Recording[Any] = Recording(
            world=self.world,
            started=self.subject.start,
            seed=self.seed,
            main=self.main,
            faults=tuple(self._fired),
            planned=self.planned,
            trace=self._trace,
            runs=runs,
            histories=histories,
            effects=self._attempts.effects,
            collisions=self._attempts.collisions,
            deliveries=self.outside.deliveries,
            states=self._states(),
            events=self._events,
            reads=self._attempts.reads,
            asides=self._attempts.asides,
            unawaited=tuple(self._attempts.dropped),  # those that are buried with the schedule are not its code's fault
            steps=self._attempts.definitions,
            changes=self._attempts.changes,
            asked=self._attempts.asked_services,
            lives=self.lives,
            ended=self.loop.now,
            stopped=self._stopped(),
            broken=self._always.broken,
            script_error=self.outside.error,
            forgotten=self.memory.forgotten,
            decode=self.subject.workflow.signature.result.decode,
        )
        sometimes = (check for check in self.subject.invariants if asking_of(check).when == "sometimes")
        recording.held = {name_of(check) for check in sometimes if failed(check, self.world, recording) is None}
        return recording

    def _states(self) -> dict[str, str]:
        states = self._attempts.states()
        snapshot = getattr(self.world, "snapshot", None)
        if snapshot is not None:
            states["world"] = canonical(snapshot())
        return states

    def _stopped(self) -> Stopped | None:
        if self._failure is not None:
            return Stopped("bounds", str(self._failure).replace("a schedule", "it", 1))
        if self.endless.stopped is not None:
            return self.endless.stopped
        if self.loop.next_due() is not None and not self.endless.is_at_rest:
            return Stopped("time", f"it had not come to rest after {self._horizon / (24 * HOUR):g} days")
        return None


def _horizon(subject: Subject, base: Recording[Any] | None) -> int:
    """Return how long a schedule may last, in microseconds."""
    if subject.until is not None:
        return subject.until
    return max(HORIZON, HORIZON_BASES * base.ended) if base is not None else HORIZON


def _begin(subject: Subject, faults: Sequence[Fault]) -> datetime:
    """Return when a schedule begins: at the subject's start, unless it is moved to another day."""
    return functools.reduce(lambda begin, fault: begin_of(fault, begin), faults, subject.start)
