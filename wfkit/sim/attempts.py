"""What steps find around them in a simulation: points to pass, services, a clock and chance; and what they did there."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from wfkit.api.attempt import Attempt, StepInfo, attempt
from wfkit.api.definitions import Step
from wfkit.core.machine import current, current_or_none
from wfkit.sim.databases import Connection, has_open_work, telling
from wfkit.sim.disk import step_phase
from wfkit.sim.faults import COMMIT_PHASE, EFFECT_PHASE, Fault
from wfkit.sim.loop import Killed, epoch
from wfkit.sim.recording import Aside, Change, Read, Unawaited
from wfkit.sim.services import FOREVER, OPAQUE, PASSED, Calling, Effect, FakeService, KeyValue, Pause, Request, canonical
from wfkit.sim.strand import strand
from wfkit.sim.striking import Striking, too_large

if TYPE_CHECKING:
    from wfkit.sim.simulation import Simulation


class Attempts:
    """The attempts of one schedule. It is the `StepPoints`, the `Surroundings` and the `Ambience` of their steps.

    Args:
        simulation: the schedule.
        striking: what goes wrong in it.
        seed: where chance comes from.
        hold: what is held constant, of "random", "time" and "attempt".
    """

    def __init__(self, simulation: Simulation, striking: Striking, seed: int, hold: frozenset[str]) -> None:
        self._simulation = simulation
        self._striking = striking
        self._random = Random(seed)
        self._constants = hold
        self._services: list[FakeService] = []
        self.definitions: dict[str, Step[..., Any]] = {}
        """The steps that were called, by name."""
        self._databases: list[sqlite3.Connection] = []
        self._committed: set[tuple[str, int]] = set()
        """Steps under way that have committed, and have not gone on since."""
        self._steps: dict[tuple[str, int], Step[..., Any]] = {}
        self._declaring: dict[tuple[str, int], bool] = {}
        """Steps under way: whether they have declared an effect."""
        self._undoing: set[tuple[str, int]] = set()
        """Compensations under way."""
        self._given_up: set[tuple[str, int]] = set()
        """Steps under way that did not wait for a call to its end."""
        self._read: dict[tuple[str, int], set[str]] = {}
        """What steps have read of their attempts: the key, the attempt's number."""
        self.effects: list[Effect] = []
        self.collisions: list[tuple[Effect, Effect]] = []
        """First and second use of an idempotency key for two different things."""
        self.reads: list[Read] = []
        self.asides: list[Aside] = []
        self.dropped: list[Unawaited] = []
        self.changes: list[Change] = []
        self.asked_services: dict[tuple[str, int], set[str]] = {}
        """The services that steps turned to."""
        self._looks = 0
        """How often somebody asked how much was computed."""

    def looks_at_number(self, run: str, n: int) -> bool:
        """Whether a step has looked at the number of its attempt."""
        return "attempt" in self._read.get((run, n), ())

    def states(self) -> dict[str, str]:
        """Return the state of every service that has one, as canonical JSON."""
        return {service.name: canonical(service.state) for service in self._services if service.state}

    @functools.cached_property
    def _opaque(self) -> bool:
        """Whether nothing is known of a step but that it ran: there is no world, or none that plays any part outside."""
        subject, world = self._simulation.subject, self._simulation.world
        return world is None or not (self._services or subject.resources or getattr(world, "replaces", None))

    # -- around an attempt ------------------------------------------------------------------------------------------------

    def entering(self, step: Step[..., Any], now: Attempt) -> tuple[Attempt, Calling]:
        info = now.info
        where = (info.run_id, now.n)
        self._simulation.memory.enter(step.fn)
        self._steps[where] = self.definitions[step.name] = step
        if info.attempt == 1:  # of a new generation, which counts its commands anew
            self.asked_services.pop(where, None)
        self._declaring[where] = False
        self._given_up.discard(where)
        self._committed.discard(where)
        known = self._simulation.disk.points.known_of(*where)
        if known is not None and known.compensation:
            self._undoing.add(where)
        else:
            self._undoing.discard(where)  # of an earlier generation of the run
        self._simulation.tell("attempt", info.run_id, now.n, step.name, info.attempt, info.idempotency_key)
        if "random" in self._constants:
            self._random.seed(f"{info.run_id}/{now.n}")
        number = 1 if "attempt" in self._constants else info.attempt
        seen = _SeenInfo(info.run_id, info.workflow, info.step, info.idempotency_key, number, info.deadline)
        object.__setattr__(seen, "read", self._read.setdefault(where, set()))  # of a frozen class
        # All fields, one by one: `replace` takes as long as all the rest.
        return Attempt(seen, now.n, now.undoes, now.resources, now.clock), self._passing_in(step)

    def _passing_in(self, step: Step[..., Any]) -> Calling:
        yield from self.reach(None, "step.before", step.name)
        if self._opaque:
            yield from self.reach(None, "call.before", step.name)

    def leaving(
        self, step: Step[..., Any], now: Attempt, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Calling:
        run, n = now.info.run_id, now.n
        if _is_dead():
            yield FOREVER
        if (run, n) in self._given_up:
            self._simulation.tell("impatient", run, n, step.name)
        if self._opaque and not self._declaring.get((run, n)):
            key = now.info.idempotency_key if "idempotency_key" in self._read[run, n] else None
            payload = {"args": args, **kwargs} if kwargs else {"args": args}
            self.happened(Effect(self.now(), OPAQUE, step.name, key, payload, run, n), again=False)
            yield from self.reach(None, "call.after", step.name)
        fault = yield from self.reach(None, "step.effect_done_not_journaled", step.name)
        return too_large(step, result) if fault is not None and fault.kind == "big" else result

    def failing(self, step: Step[..., Any], now: Attempt) -> None:
        run, n = now.info.run_id, now.n
        if (run, n) in self._given_up and not _is_dead():
            self._simulation.tell("unanswered", run, n, step.name)

    # -- what services ask ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._simulation.clock.now() / 1e6, UTC)

    def joined(self, service: FakeService) -> None:
        self._services.append(service)

    def reach(self, service: FakeService | None, phase: str, label: str, request: Request | None = None) -> Calling:
        now = attempt.get()
        if now is None:
            return PASSED  # the script, or the world itself, uses the service
        if _is_dead():
            return _for_ever()
        where = run, n = now.info.run_id, now.n
        if service is not None:
            self.asked_services.setdefault(where, set()).add(service.name)
        fault = self._simulation.hit(run, n, step_phase(phase, compensation=where in self._undoing), label)
        if fault is None and not self._striking.has_struck:
            return PASSED  # as nearly always: making a generator for it takes longer than all else
        return self._struck(fault, now, phase, label, label if service is None else service.name, request)

    def _struck(
        self, fault: Fault | None, now: Attempt, phase: str, label: str, service: str, request: Request | None
    ) -> Calling:
        where = now.info.run_id, now.n
        try:
            if fault is not None:
                yield from self._striking.strike_step(fault, now, self._steps[where], label, service, request)
            yield from self._striking.strike_again(now, phase, label, service)
        except GeneratorExit:
            self._given_up.add(where)
            raise
        return fault

    def happened(self, effect: Effect, *, again: bool) -> None:
        key = (effect.run, effect.n)
        self._simulation.tell("repeated" if again else "effect", effect.run, effect.n, effect)
        self._simulation.endless.answered(effect.run, effect.n)
        if key in self._declaring:
            self._declaring[key] = True
        if not again:
            self._simulation.endless.changed()
            self.effects.append(effect)
            if self._simulation.durable is not None:
                self._simulation.durable.happened(effect)

    def declared(self, effect: Effect) -> Calling:
        if _is_dead():
            yield FOREVER
        self.happened(effect, again=False)
        if not any(map(has_open_work, self._databases)):
            self._committed.discard((effect.run, effect.n))  # a crash here is one after the commit as well
            yield from self.reach(None, EFFECT_PHASE, effect.name)

    def came_to_nothing(self, effect: Effect, why: str) -> None:
        self._simulation.tell("nothing", effect.run, effect.n, effect, why)

    def collided(self, first: Effect, second: Effect) -> None:
        self.collisions.append((first, second))

    def changed(self, service: FakeService, by: str, before: Mapping[str, Any]) -> None:
        now = attempt.get()
        run, n = (now.info.run_id, now.n) if now is not None else ("", 0)
        self._simulation.endless.changed()
        self.changes.append(Change(run, n, service.name, by, before))
        if isinstance(service, KeyValue):
            self._simulation.tell("put", run, n, by)
        if self._simulation.durable is not None:
            self._simulation.durable.changed(service)

    def connected(self, database: sqlite3.Connection) -> None:
        self._databases.append(database)

    def committed(self) -> None:
        now = attempt.get()
        if now is not None:
            where = run, n = now.info.run_id, now.n
            self._committed.add(where)
            self._simulation.tell("committed", run, n)
            if self._simulation.durable is not None:
                self._simulation.durable.committed(run, n)

    def querying(self) -> Calling:
        now = attempt.get()
        where = (now.info.run_id, now.n) if now is not None else None
        if now is None or where not in self._committed or any(map(has_open_work, self._databases)):
            return PASSED
        self._committed.remove(where)
        return self.reach(None, COMMIT_PHASE, now.info.step)

    def roll_back(self) -> None:
        """Roll back every open transaction: the process has died."""
        for database in self._databases:
            with suppress(sqlite3.ProgrammingError):  # it is closed, or belongs to a thread that stands still for ever
                if database.in_transaction:
                    database.rollback()

    def hold(self, pause: Pause) -> None:
        here = strand.get()
        if here is None:  # a blocking call in an `async def` step: the loop stands still meanwhile
            if pause == FOREVER:
                raise Killed
            self._simulation.loop.now += pause
        else:
            here.hold(pause)
            now = attempt.get()
            if now is not None:
                self._simulation.tell("resumed", now.info.run_id, now.n, now.info.step, now.info.attempt)

    def end_with(self, error: BaseException) -> None:
        self._simulation.end_with(error)

    # -- time and chance, as steps and the outside see them -----------------------------------------------------------------

    def wall(self) -> int:
        return self._simulation.start if "time" in self._constants else self._simulation.clock.now()

    def since(self) -> int:
        return self._simulation.loop.now

    def computed(self) -> int:
        self._looks += 1
        return 1000 * self._looks

    def slept(self, seconds: float) -> None:
        self.hold(round(seconds * 1e6))

    def chance(self) -> Random:
        return self._random

    def connection(self, factory: Any) -> Any:
        return telling(factory, Connection)

    def saw(self, what: str, line: str, *, through: str) -> None:
        now = attempt.get()
        if now is not None:
            self.reads.append(Read(now.info.run_id, now.n, what, line, through))

    def asked(self, service: str, what: str, line: str) -> None:
        start = current().start
        self.asides.append(Aside(start.workflow, start.id, service, what, line))

    def unawaited(self, coroutine: CoroutineType[Any, Any, Any], line: str) -> None:
        machine, now = current_or_none(), attempt.get()
        run, n = (now.info.run_id, now.n) if now is not None else ("", 0)
        if machine is not None:
            run, n = machine.start.id, 0
        self.dropped.append(Unawaited(run, n, f"{coroutine.__qualname__}()", line))


def _is_dead() -> bool:
    """Whether the process has died in a call that nothing is awaited for: what is left of its code is in `finally` blocks."""
    life = epoch.get()
    return life is not None and not life.alive


def _for_ever() -> Calling:
    yield FOREVER


class _Noted:
    """A field of a `StepInfo` of which it is noted that it was read. All others are as quick as they were."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._slot = StepInfo.__dict__[name]

    def __get__(self, seen: _SeenInfo | None, owner: type | None = None) -> Any:
        if seen is None:
            return self
        seen.read.add(self._name)
        return self._slot.__get__(seen, owner)

    def __set__(self, seen: _SeenInfo, value: Any) -> None:
        self._slot.__set__(seen, value)


class _SeenInfo(StepInfo):
    """What a step knows of its attempt; it is noted what of it was read."""

    __slots__ = ("read",)
    read: set[str]

    idempotency_key = _Noted("idempotency_key")
    attempt = _Noted("attempt")
