"""One schedule: the real engine on virtual time, through as many lives as the faults cost it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import blake2b
from random import Random
from typing import Any

from wfkit import guard
from wfkit.api.attempt import Attempt, StepInfo, attempt
from wfkit.api.definitions import NonRetryable, Step, Workflow
from wfkit.api.registry import Registry
from wfkit.core.entries import BUS, Record
from wfkit.engine.engine import Engine
from wfkit.sim import ambient, real_io
from wfkit.sim.bounds import watched
from wfkit.sim.disk import SimulatedDisk, step_phase
from wfkit.sim.durable import DurableState
from wfkit.sim.faults import HOUR, Fault, Point
from wfkit.sim.loop import Epoch, Killed, VirtualLoop, epoch
from wfkit.sim.outside import Outside
from wfkit.sim.recording import Event, Read, Recording, RunRecord
from wfkit.sim.runner import SimulatedRunner
from wfkit.sim.services import FOREVER, Calling, Effect, FakeService, Pause, canonical, surroundings
from wfkit.sim.strand import strand
from wfkit.sim.subject import Subject

RESTART = 1_000_000
"""How long a crashed process is down, in microseconds."""
LIVES_MAX = 30
ENTRIES_MAX = 20_000
"""Records that one schedule may write."""
HORIZON = 400 * 24 * HOUR
"""How long a schedule may last, in microseconds, unless `until=` says otherwise."""
REFUSALS_MAX = 12
"""How often a call is refused that is retried without end; its run needs attention by then."""
LOOK_SECONDS = 3600.0
"""How soon timers notice that the clock was set, where a schedule sets it."""


class Clock:
    """The wall clock of the simulated machine: it goes with virtual time, unless a fault sets or stops it."""

    def __init__(self, loop: VirtualLoop, start: int, *, is_set: bool) -> None:
        self._loop = loop
        self._start = start
        self.look_seconds = LOOK_SECONDS if is_set else float("inf")
        self.offset = 0
        self.stopped: int | None = None

    def now(self) -> int:
        if self.stopped is not None:
            return self.stopped
        return self._start + self._loop.now + self.offset


class Entropy:
    """Recorded randomness: the same after a crash as it would have been before, if nothing of it was durable."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.drawn = 0

    def bits(self) -> str:
        self.drawn += 1
        return blake2b(f"{self._seed}/{self.drawn}".encode(), digest_size=16).hexdigest()


class Simulation:
    """Executes one schedule. Used once.

    Args:
        subject: what is simulated.
        faults: what goes wrong.
        seed: where all chance comes from.
        arrival: which of outcomes that are ready at the same instant comes first: 0 for the order in which they came.
        hold: what is held constant, to find the cause of a finding: "random", "time", "attempt".
        watch: told of every point, before what goes wrong there does.
        early: the deliveries of the schedule without faults, for those that come before their time.
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
        early: Sequence[Any] = (),
    ) -> None:
        guard.install()
        self.subject = subject
        self.planned = tuple(faults)
        self.plan = {fault.point: fault for fault in faults}
        self.constants = hold
        self.loop = VirtualLoop()  # type: ignore[abstract]  # what is not there cannot be simulated
        self.start = round(_begin(subject, faults).timestamp() * 1e6)
        is_set = any(fault.kind in ("jump+", "jump-", "freeze", "skew") for fault in faults)
        self.clock = Clock(self.loop, self.start, is_set=is_set)
        self.entropy = Entropy(seed)
        self.disk = SimulatedDisk(self._reach_sync, self._wrote)
        self.registry = registry_of(subject, subject.upgrade_from)
        self.upgraded = registry_of(subject, None) if subject.upgrade_from is not None else self.registry
        self.runner = SimulatedRunner(self.loop, self)
        self.engine: Engine | None = None
        self.life: contextvars.Context | None = None
        self.lives = 0
        self.down = RESTART
        self.main = subject.main_id if isinstance(subject.main_id, str) else ""
        self.outside = Outside(self, early)
        self.world: Any = None
        self.services: list[FakeService] = []
        self.effects: list[Effect] = []
        self.collisions: list[tuple[Effect, Effect]] = []
        self.trace: list[Point] = []
        self.fired: list[Fault] = []
        self.events: list[Event] = []
        self.reads: list[Read] = []
        self.entries = 0
        self.failure: BaseException | None = None
        """Why the simulation itself cannot go on."""
        self._seed = seed
        self._random = Random(seed)
        self._arrival = Random(arrival) if arrival else None
        self._watch = watch
        self.durable = DurableState() if watch is not None else None
        """What would survive a crash just now; only kept for whoever watches."""
        self._counts: dict[tuple[str, int, str, str], int] = {}
        self._steps: dict[tuple[str, int], Step[..., Any]] = {}
        self._fatal: dict[tuple[str, int, str], BaseException] = {}
        self._refused: dict[tuple[str, int, str], int] = {}
        self._failing: dict[tuple[str, int, str], int] = {}
        self._outages: dict[str, int] = {}
        self._declaring: dict[tuple[str, int], bool] = {}
        """Steps under way: whether they have declared an effect."""
        self._read: dict[tuple[str, int], set[str]] = {}
        """What steps have read of their attempts: the key, the attempt's number."""
        self._buried = False
        self._broken: list[tuple[str, str, str]] = []
        self._held: set[str] = set()
        self._always = [check for check in subject.invariants if getattr(check, "when", "") == "always"]
        self._sometimes = [check for check in subject.invariants if getattr(check, "when", "") == "sometimes"]
        self._checking = False

    # -- the whole of it ----------------------------------------------------------------------------------------------

    def run(self) -> Recording[Any]:
        """Execute the schedule until it comes to rest.

        Raises:
            UnsimulatedIO: a step opened a real socket.
            SimulationBounds: something computes for ever, or takes too much memory.
            Exception: the world, the script or an invariant of the user's failed in itself.
        """
        context = contextvars.Context()
        refused = real_io.refused() if self.subject.io == "refuse" else nullcontext()
        with ambient.installed(namespaces(self.registry, self.upgraded)), _quiet(), refused, watched(self.end_with):
            recording = context.run(self._run)
        if self.failure is not None:
            raise self.failure
        return recording

    def end_with(self, error: BaseException) -> None:
        """End the simulation with an error, as soon as the code that runs just now lets go."""
        self.failure = self.failure or error

    def _run(self) -> Recording[Any]:
        surroundings.set(self)
        with ambient.within(self):
            return self._run_within()

    def _run_within(self) -> Recording[Any]:
        self.world = self.subject.world() if self.subject.world is not None else None
        with replaced_globals(self.world):
            try:
                self.loop.call_soon(self._boot)
                self.loop.call_soon(self.outside.begin)
                self.loop.drive(self._horizon, self._is_over)
                return self._recording()
            finally:
                self._bury()

    @property
    def _horizon(self) -> int:
        return HORIZON if self.subject.until is None else self.subject.until

    def _is_over(self) -> bool:
        return self.failure is not None or self.entries > ENTRIES_MAX or self.lives > LIVES_MAX

    def _bury(self) -> None:
        self._buried = True
        life = self.life.get(epoch) if self.life is not None else None
        if life is not None:
            life.alive = False
        self.disk.crash()
        self.runner.bury()
        self.loop.bury()
        if self.engine is not None:
            for run in self.engine._runs:
                self.engine._runs.cool(run)

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
            self.fired += [fault for fault in self.planned if fault.kind == "dst"]
        self.tell("started", "", 0, self.lives)
        task = self.loop.create_task(self._live(), context=context)
        task.add_done_callback(self._lived)

    async def _live(self) -> None:
        engine = Engine(
            self.disk.open(),
            self.registry,
            clock=self.clock,
            entropy=self.entropy,
            runner=self.runner,
            order=self._order,
            resources=self.subject.replaced(self.world),
        )
        old, self.engine = self.engine, engine
        if old is not None:
            for run in old._runs:
                old._runs.cool(run)
        await engine.recover()
        self.outside.is_up(engine)

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
        self.tell("crashed", "", 0, down)
        self.outside.is_down()
        self.loop.call_later(down / 1e6, self._boot, context=self.outer())

    def outer(self) -> contextvars.Context:
        """Return a context that outlives every life."""
        context = contextvars.copy_context()
        context.run(epoch.set, None)
        context.run(strand.set, None)
        return context

    # -- points -----------------------------------------------------------------------------------------------------------

    def hit(self, run: str, n: int, phase: str, label: str) -> Fault | None:
        """Pass a point, and return what goes wrong there."""
        if self._buried:
            raise Killed
        name = "" if run == self.main else run
        key = (name, n, phase, label)
        occurrence = self._counts[key] = self._counts.get(key, 0) + 1
        point = Point(name, n, phase, label, occurrence)
        self.trace.append(point)
        if self._watch is not None:
            self._watch(self, point)
        if self._always:
            self._check_always(point)
        fault = self.plan.get(point)
        if fault is not None:
            self.fired.append(fault)
            self.tell("fault", run, n, fault)
        return fault

    def _reach_sync(self, run: str, n: int, phase: str, label: str) -> None:
        fault = self.hit(run, n, phase, label)
        if fault is not None and self._strike(fault, run):
            raise Killed

    def _strike(self, fault: Fault, run: str) -> bool:
        """Let something go wrong that the engine as a whole meets. Returns True if the process died of it."""
        match fault.kind:
            case "crash" | "crash_replay":
                self.crash(self.down)
            case "crash_long":
                self.crash(fault.amount)
            case "upgrade":
                self.registry = self.upgraded
                self.crash(self.down)
            case "skew":
                self.clock.offset -= fault.amount
                self.crash(self.down)
            case "cancel":
                self.outside.cancel(run)
                return False
            case "jump+":
                self.clock.offset += fault.amount
                return False
            case "jump-":
                self.clock.offset -= fault.amount
                return False
            case "freeze":
                self.clock.stopped = self.clock.now()
                self.loop.call_later(HOUR / 1e6, self._thaw, context=self.outer())
                return False
            case _:
                return False
        return True

    def _thaw(self) -> None:
        self.clock.stopped = None

    def _order(self, ready: Sequence[Callable[[], None]]) -> Sequence[Callable[[], None]]:
        fault = self.hit(self.main, 0, "tie", str(len(ready)))
        if fault is not None:
            return list(reversed(ready))
        if self._arrival is not None:
            return self._arrival.sample(list(ready), len(ready))
        return ready

    # -- what services and the runner ask -----------------------------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now() / 1e6, UTC)

    def joined(self, service: FakeService) -> None:
        self.services.append(service)

    def reach(self, service: FakeService | None, phase: str, label: str, late: Callable[[], object] | None = None) -> Calling:
        now = attempt.get()
        if now is None:
            return  # the script, or the world itself, uses the service
        run, n = now.info.run_id, now.n
        fault = self.hit(run, n, self._phase(run, n, phase), label)
        if fault is not None:
            yield from self._strike_step(fault, now, label, late)
        if phase == "call.before":
            self._stand(service, run, n, label)

    def _strike_step(self, fault: Fault, now: Attempt, label: str, late: Callable[[], object] | None) -> Calling:
        """Let something go wrong inside a step."""
        run, n = now.info.run_id, now.n
        where = (run, n, label)
        match fault.kind:
            case "zombie":
                if late is not None:
                    self.loop.call_later(fault.amount / 1e6, self._call_late, late, context=self.outer())
                self.crash(self.down)
                yield FOREVER
            case "lost_ack":
                raise ConnectionError(f"{label}: the answer was lost")
            case "fail":
                raise ConnectionError(f"{label}: no answer")
            case "fail_n":
                self._failing[where] = fault.amount
            case "fatal":
                self._fatal[where] = self._business_error(run, n, label)
            case "outage":
                self._outages[label] = self.loop.now + fault.amount
            case "slow":
                deadline = now.info.deadline
                left = round(deadline.timestamp() * 1e6) - self.clock.now() if deadline is not None else HOUR
                yield max(left, 0) + 1_000_000
            case "delay":
                yield fault.amount
            case _:
                if self._strike(fault, run):
                    yield FOREVER

    def _call_late(self, late: Callable[[], object]) -> None:
        self.tell("late", "", 0)
        with suppress(Exception):  # the service refuses it, and nobody is there to hear
            late()

    def _stand(self, service: FakeService | None, run: str, n: int, label: str) -> None:
        """Fail a call that is to fail more than once."""
        where = (run, n, label)
        if where in self._fatal and self._refuses(where):
            raise self._fatal[where]
        if self._failing.get(where):
            self._failing[where] -= 1
            raise ConnectionError(f"{label}: no answer")
        if self._outages.get(label, 0) > self.loop.now:
            raise ConnectionError(f"{service.name if service is not None else label} is down")

    def _refuses(self, where: tuple[str, int, str]) -> bool:
        """Whether a call is refused once more. One that is retried without end is accepted some time, by somebody's act."""
        self._refused[where] = self._refused.get(where, 0) + 1
        known = self.disk.known.get((self._number(where[0]), where[1]))
        return known is None or not known.endless or self._refused[where] <= REFUSALS_MAX

    def _business_error(self, run: str, n: int, label: str) -> BaseException:
        """Return an error that is not retried: one that the step declares, if it can be made."""
        step = self._steps.get((run, n))
        for declared in step.declared if step is not None else ():
            with suppress(Exception):  # a class of the user's that wants other arguments
                return declared(f"{label}: refused")
        return NonRetryable(f"{label}: refused")

    def _phase(self, run: str, n: int, phase: str) -> str:
        number = self._number(run)
        known = self.disk.known.get((number, n))
        return step_phase(phase, compensation=known is not None and known.compensation)

    def _number(self, run: str) -> int:
        engine = self.engine
        live = engine._runs.named(run) if engine is not None else None
        return live.number if live is not None else -1

    def happened(self, effect: Effect, *, again: bool) -> None:
        key = (effect.run, effect.n)
        self.tell("repeated" if again else "effect", effect.run, effect.n, effect)
        if key in self._declaring:
            self._declaring[key] = True
        if not again:
            self.effects.append(effect)
            if self.durable is not None:
                self.durable.happened(effect)

    def collided(self, first: Effect, second: Effect) -> None:
        self.collisions.append((first, second))

    def changed(self, service: FakeService) -> None:
        if self.durable is not None:
            self.durable.changed(service)

    def hold(self, pause: Pause) -> None:
        here = strand.get()
        if here is None:  # a blocking call in an `async def` step: the loop stands still meanwhile
            if pause == FOREVER:
                raise Killed
            self.loop.now += pause
        else:
            here.hold(pause)

    # -- attempts -------------------------------------------------------------------------------------------------------------

    def entering(self, step: Step[..., Any], now: Attempt) -> tuple[Attempt, Calling]:
        info = now.info
        where = (info.run_id, now.n)
        self._steps[where] = step
        self._declaring[where] = False
        self.tell("attempt", info.run_id, now.n, step.name, info.attempt, info.idempotency_key)
        if "attempt" in self.constants:
            info = replace(info, attempt=1)
        if "random" in self.constants:
            self._random.seed(f"{info.run_id}/{now.n}")
        values = {name: getattr(info, name) for name in StepInfo.__slots__}
        seen = _SeenInfo(**values)
        object.__setattr__(seen, "read", self._read.setdefault(where, set()))  # of a frozen class
        return replace(now, info=seen), self._passing_in(step)

    def _passing_in(self, step: Step[..., Any]) -> Calling:
        yield from self.reach(None, "step.before", step.name)
        if self.subject.world is None:
            yield from self.reach(None, "call.before", step.name)

    def leaving(self, step: Step[..., Any], now: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Calling:
        run, n = now.info.run_id, now.n
        if self.subject.world is None and not self._declaring.get((run, n)):
            # Nothing is known of this step but that it ran: the whole of it is one effect.
            key = now.info.idempotency_key if "idempotency_key" in self._read[run, n] else None
            payload = {"args": args, **kwargs} if kwargs else {"args": args}
            self.happened(Effect(self.now(), OPAQUE, step.name, key, payload, run, n), again=False)
            yield from self.reach(None, "call.after", step.name)
        yield from self.reach(None, "step.effect_done_not_journaled", step.name)

    # -- time and chance, as steps and the outside see them -----------------------------------------------------------------

    def wall(self) -> int:
        return self.start if "time" in self.constants else self.clock.now()

    def since(self) -> int:
        return self.loop.now

    def slept(self, seconds: float) -> None:
        self.hold(round(seconds * 1e6))

    def chance(self) -> Random:
        return self._random

    def saw(self, what: str, line: str) -> None:
        now = attempt.get()
        if now is not None:
            self.reads.append(Read(now.info.run_id, now.n, what, line))

    # -- what is kept ---------------------------------------------------------------------------------------------------------

    def tell(self, kind: str, run: str, n: int, *data: Any) -> None:
        """Keep one thing that happened, for the story."""
        self.events.append(Event(self.clock.now(), kind, run, n, data))

    def _wrote(self, run: int, record: Record) -> None:
        self.entries += 1
        if self.durable is not None:
            n = getattr(record.entry, "n", 0)
            self.durable.wrote(run, record, counts="attempt" in self._read.get((self.disk.ids[run], n), ()))
        self.tell("wrote", self.disk.ids[run], getattr(record.entry, "n", 0), record)

    def _check_always(self, point: Point) -> None:
        if self._checking:
            return
        self._checking = True
        try:
            for check in self._always:
                told = failed(check, self.world, None)
                if told is not None and all(name != check.__name__ for name, _, _ in self._broken):
                    self._broken.append((check.__name__, told, str(point)))
        finally:
            self._checking = False

    def _recording(self) -> Recording[Any]:
        histories = self.disk.records
        runs: dict[str, RunRecord] = {}
        for number, records in sorted(histories.items()):
            if number != BUS:
                runs[self.disk.ids[number]] = RunRecord(number, records)
        recording: Recording[Any] = Recording(
            world=self.world,
            started=self.subject.start,
            main=self.main,
            faults=tuple(self.fired),
            planned=self.planned,
            trace=self.trace,
            runs=runs,
            histories=histories,
            effects=self.effects,
            collisions=self.collisions,
            deliveries=self.outside.deliveries,
            states=self._states(),
            events=self.events,
            reads=self.reads,
            lives=self.lives,
            ended=self.loop.now,
            stopped=self._stopped(),
            broken=self._broken,
            held=self._held,
            script_error=self.outside.error,
            decode=self.subject.workflow.signature.result.decode,
        )
        for check in self._sometimes:
            if failed(check, self.world, recording) is None:
                recording.held.add(check.__name__)
        return recording

    def _states(self) -> dict[str, str]:
        states = {service.name: canonical(service.state) for service in self.services if service.state}
        snapshot = getattr(self.world, "snapshot", None)
        if snapshot is not None:
            states["world"] = canonical(snapshot())
        return states

    def _stopped(self) -> str:
        if self.entries > ENTRIES_MAX:
            return f"it wrote more than {ENTRIES_MAX:,} records"
        if self.lives > LIVES_MAX:
            return f"the process was started more than {LIVES_MAX} times"
        if self.loop._next_due() is not None:
            return f"it had not come to rest after {self._horizon / (24 * HOUR):g} days"
        return ""


OPAQUE = "step"
"""The service of an effect of which nothing is known but the step that made it."""


class _SeenInfo(StepInfo):
    """What a step knows of its attempt; it is noted what of it was read."""

    __slots__ = ("read",)
    read: set[str]

    def __getattribute__(self, name: str) -> Any:
        if name in ("idempotency_key", "attempt"):
            self.read.add(name)
        return super().__getattribute__(name)


def _begin(subject: Subject, faults: Sequence[Fault]) -> datetime:
    """Return when a schedule begins: at the subject's start, unless it is moved to another day."""
    for fault in faults:
        if fault.kind == "dst":
            return datetime.combine(date.fromisoformat(fault.point.label), subject.start.timetz())
    return subject.start


def registry_of(subject: Subject, old: Workflow[..., Any] | None) -> Registry:
    """Return the code of a subject.

    Args:
        subject: what is simulated.
        old: the version of its workflow that takes the place of the new one, under the same name.
    """
    workflows = (*subject.workflows, *(instance.workflow for instance in subject.runs))
    if old is None:
        return _registry(subject.workflow, *workflows)
    return _registry(_renamed(old, subject.workflow.name), *(each for each in workflows if each.name != subject.workflow.name))


@functools.lru_cache(maxsize=64)
def _registry(*workflows: Workflow[..., Any]) -> Registry:
    """Collect the code once for all schedules: the engine only reads it."""
    return Registry(workflows)


@functools.lru_cache(maxsize=64)
def _renamed(old: Workflow[..., Any], name: str) -> Workflow[..., Any]:
    renamed = Workflow(old.fn, name=name, patches=old.patches, on=old.on)
    renamed.timeout = old.timeout
    return renamed


def namespaces(*registries: Registry) -> list[dict[str, Any]]:
    """Return the globals of the modules in which steps and workflows are defined."""
    found: dict[int, dict[str, Any]] = {}
    for registry in registries:
        functions = [each.fn for each in registry.workflows.values()] + [each.fn for each in registry.steps.values()]
        for function in functions:
            globals = getattr(inspect.unwrap(function), "__globals__", {})
            found[id(globals)] = globals
    return list(found.values())


def failed(check: Callable[..., object], world: Any, recording: Recording[Any] | None) -> str | None:
    """Ask an invariant. Returns what it says if it does not hold, otherwise None."""
    try:
        held = check(world) if recording is None or not _takes_two(check) else check(world, recording)
    except AssertionError as error:
        return str(error) or "an assertion does not hold"
    return "it does not hold" if held is False else None


def _takes_two(check: Callable[..., object]) -> bool:
    return len(inspect.signature(check).parameters) > 1


@contextmanager
def replaced_globals(world: Any) -> Iterator[None]:
    """Put parts of a world in the place of module globals, as its `replaces` says: `{"shop.bank:client": make}`."""
    saved: list[tuple[Any, str, Any]] = []
    try:
        for target, make in (getattr(world, "replaces", None) or {}).items():
            module, _, path = target.partition(":")
            *owners, name = path.split(".")
            owner = functools.reduce(getattr, owners, importlib.import_module(module))
            saved.append((owner, name, getattr(owner, name)))
            setattr(owner, name, make(world))
        yield
    finally:
        for owner, name, real in reversed(saved):
            setattr(owner, name, real)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: a thousand schedules would tell a thousand times what the report tells once."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
