"""Searches the schedules of a workflow, in six passes from the certain to the random.

0. Without faults, twice: the same bytes, or the simulation does not control what the code does. Under other arrival
   orders and with other chance: what may differ.
1. Replay of every prefix of every history in another world, and under other hash seeds.
2. Every fault at every point where it fits, one at a time; also at points that only faults lead to.
3. All crashes, in any number: a crash leaves only what is durable, so one run from each durable state covers them all.
4. Pairs of faults, the second in the trace of the first, but for those that a known state makes superfluous.
5. Random plans of two to six faults, for as long as there is time.
"""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from types import FrameType
from typing import Any, NamedTuple

from wfkit.errors import HarnessLeak, SimulationBounds
from wfkit.sim import ambient, lines
from wfkit.sim.code import namespaces, registry_of
from wfkit.sim.disk import Known
from wfkit.sim.faults import HOUR, KINDS, Fault, Point, kinds_at, parse_fault, plain
from wfkit.sim.findings import SEVERITIES, Violation
from wfkit.sim.hash_seeds import HashSeeds
from wfkit.sim.oracles import judge, judge_base
from wfkit.sim.recording import Delivery, Recording
from wfkit.sim.reference import Reference
from wfkit.sim.replaying_process import refuse_campaigns
from wfkit.sim.replays import parted, replayed
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject

ORDERS = 8
"""Arrival orders under which a schedule without faults runs, if anything in it is ready at the same instant."""
BETWEEN = 5 * 60_000_000
"""So long a step is held up between reading and writing: others come in between, and no timeout begins it anew."""
TICK = 1_000_000
"""So much later it is at each point of a schedule that shows what the workflow measures; microseconds, as in a restart."""
TIMERS = 8
"""So many timers are looked at, whether what follows depends on how late they come."""
STATES_MAX = 5_000
"""Durable states that the closure over crashes follows."""
CLOSURE_SECONDS = 10.0
"""The closure may take so long, or as long as the whole budget: runs with much at a time have very many states."""
AFTER_ERROR_MAX = 200
"""Schedules that a pass still runs after it has found an error: others may be found beside it."""
LIMIT_SECONDS = 10.0
LIMIT_BUDGETS = 10
"""The passes that have an end of their own are cut short after so many seconds, or so many times the budget if that is more:
a history of thousands of entries has more points than anybody waits for."""
TURNS_MAX = 40
"""So many points of one sort get their faults one by one; of longer loops the first, the last and some between."""
COLLECT_EVERY = 200
"""Schedules between two collections of garbage; in between it is off, since it would run cleanup of dead processes."""
DATES = ("2026-03-28", "2026-03-07", "2026-10-24", "2026-10-31", "2026-01-30", "2028-02-28")
"""The days before the clocks change in Europe and America, before the end of a month, and before a leap day."""

Plan = tuple[Fault, ...]


class Found(NamedTuple):
    """A violation, and the first schedule that showed it with the fewest faults."""

    violation: Violation
    faults: Plan
    seed: int
    recording: Recording[Any]
    times: int
    """How many schedules showed it."""
    upgrade: bool = False


class Progress(NamedTuple):
    """How far a campaign is."""

    stage: str
    done: int
    total: int
    """0 where it is not known."""
    found: int


@dataclass
class Explored:
    """What a campaign has seen."""

    base: Recording[Any]
    reference: Reference
    found: list[Found]
    coverage: dict[str, Any]
    subject: Subject
    interrupted: bool = False


@dataclass
class _Pairs:
    run: int = 0
    total: int = 0
    skipped: dict[str, int] = field(default_factory=lambda: {"R1": 0, "R3": 0})


class _Enough(Exception):  # no error: the pass has seen enough
    """A pass ends early."""


class Campaign:
    """One search.

    Args:
        subject: what is verified.
        faults: kinds or whole faults, to narrow the search; everything unless given.
        budget: seconds for the passes that have no end of their own.
        seed: where chance comes from.
        progress: told now and then how far it is.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        faults: Sequence[str] | None = None,
        budget: float = 5.0,
        seed: int = 0,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._new = replace(subject, upgrade_from=None)
        self._subject = subject
        self._kinds = {name for name in faults or () if name in KINDS}
        self._wanted = [parse_fault(text) for text in faults or () if text not in KINDS]
        self._narrowed = faults is not None
        self._budget = budget
        self._seed = seed
        self._progress = progress
        self._began = time.perf_counter()
        self._limit = self._began + max(LIMIT_SECONDS, LIMIT_BUDGETS * budget)
        self._found: dict[tuple[str, str, str], Found] = {}
        self._schedules = 0
        self._since_error = 0
        self._parted = False
        """Two executions of the schedule without faults differ: nothing can be said of others."""
        self._stage = ""
        self._total = 0
        self._sometimes: set[str] = set()
        self._known: dict[tuple[str, int], Known] = {}
        self._frontier: list[tuple[Plan, Recording[Any]]] = []
        """Single faults that lead to points of new sorts."""
        self._interrupts: list[int] = []
        self._hash_seeds = HashSeeds()
        self._lines = lines.Lines()
        self.coverage: dict[str, Any] = {"not_run": []}
        self.base: Recording[Any]
        self.reference: Reference

    def run(self) -> Explored:
        """Search. On Ctrl-C what was seen until then is returned, and `interrupted` is set.

        Raises:
            HarnessLeak: the same schedule went two ways.
            UnsimulatedIO, SimulationBounds: the workflow cannot be simulated as it is.
            KeyboardInterrupt: before there was anything to tell.
        """
        refuse_campaigns()
        interrupted = False
        known = namespaces(registry_of(self._new, None), registry_of(self._subject, self._subject.upgrade_from))
        with _collected(), _interrupts() as self._interrupts, ambient.installed(known), lines.watched(self._new) as self._lines:
            try:
                self._hash_seeds.start(self._new)
                self.fault_free()
                self._passes()
            except KeyboardInterrupt:
                if not hasattr(self, "reference"):
                    raise
                interrupted = True
            self.coverage |= self._lines.coverage()
        self.coverage["sometimes_met"] = len(self._sometimes)
        self.coverage["sometimes_total"] = sum(getattr(check, "when", "") == "sometimes" for check in self._new.invariants)
        self.coverage["schedules"] = self._schedules
        self.coverage["seconds"] = time.perf_counter() - self._began
        return Explored(self.base, self.reference, list(self._found.values()), self.coverage, self._new, interrupted)

    def _passes(self) -> None:
        passes = (
            (self._replays, True),
            (self._singles, True),
            (self._closure, self._wants("crash")),
            (self._upgrades, self._subject.upgrade_from is not None and self._wants("upgrade")),
            (self._hash_seed_results, True),
            (self._pairs, not self._narrowed),
            (self._beyond, not self._wanted),
        )
        for search, wanted in passes:
            if wanted and (not (self._errors or self._parted) or search == self._hash_seed_results):
                self._since_error = 0
                try:
                    search()
                except _Enough as enough:
                    self.coverage["not_run"].append(f"{self._stage}: stopped after {self._done}, {enough}")

    def _wants(self, kind: str) -> bool:
        return not self._narrowed or kind in self._kinds

    @property
    def _errors(self) -> bool:
        return any(found.violation.severity == "error" for found in self._found.values())

    # -- one schedule -----------------------------------------------------------------------------------------------------

    def _execute(self, faults: Plan = (), *, seed: int | None = None, subject: Subject | None = None, **options: Any) -> Any:
        self._schedules += 1
        if self._schedules % COLLECT_EVERY == 0:
            gc.collect()
        early: Sequence[Delivery] = self.base.deliveries if hasattr(self, "base") else ()
        simulation = Simulation(subject or self._new, faults, seed=self._seed if seed is None else seed, early=early, **options)
        recording = simulation.run()
        if self._interrupts:
            raise KeyboardInterrupt  # it came while coroutines were closed, whose exceptions are dropped
        self._known |= {(simulation.disk.ids[run], n): known for (run, n), known in simulation.disk.known.items()}
        self._sometimes |= recording.held
        return recording

    def _try(self, faults: Plan, **options: Any) -> Recording[Any]:
        """Run a schedule and judge it."""
        recording: Recording[Any] = self._execute(faults, **options)
        self._note(judge(self._new, self.reference, recording), faults, recording)
        self._tick()
        return recording

    def _note(self, violations: Iterable[Violation], faults: Plan, recording: Recording[Any], *, upgrade: bool = False) -> None:
        for violation in violations:
            known = self._found.get(violation.signature)
            if known is None or _weight(violation, faults) < _weight(known.violation, known.faults):
                times = known.times + 1 if known is not None else 1
                self._found[violation.signature] = Found(violation, faults, self._seed, recording, times, upgrade)
            else:
                self._found[violation.signature] = known._replace(times=known.times + 1)

    def _begin(self, stage: str, total: int = 0) -> None:
        self._stage, self._total, self._done = stage, total, 0

    def _tick(self) -> None:
        self._done += 1
        if self._progress is not None and self._done % 20 == 1:
            self._progress(Progress(self._stage, self._done, self._total, len(self._found)))
        if self._errors:
            self._since_error += 1
            if self._since_error > AFTER_ERROR_MAX:
                raise _Enough("since an error was found")
        if time.perf_counter() > self._limit:
            raise _Enough("out of time")

    # -- pass 0 -------------------------------------------------------------------------------------------------------------

    def fault_free(self) -> Reference:
        """Execute the schedules without faults. Returns what all others are compared with."""
        self._begin("without faults")
        self.base = self._execute()
        if self.base.stopped and self._new.until is None:
            raise SimulationBounds(f"{self._new.workflow.name} does not end, without any fault: {self.base.stopped}")
        again = self._execute()
        if again.digest != self.base.digest:
            self._leak(again)
        orders = []
        if any(point.phase == "tie" for point in self.base.trace):
            orders = [self._execute(arrival=arrival) for arrival in range(1, ORDERS + 1)]
        orders += [self._execute(plan) for plan in self._other_starts()]
        later = replace(self._new, start=self._new.start + timedelta(days=3, hours=1, minutes=7, seconds=11))
        redrawn = [self._execute(seed=self._seed + 1, subject=later)]
        if self.base.reads or Reference.of(self._new, self.base).reads_clock:
            redrawn += [self._execute(ticks(self.base)), *self._late_timers()]
        self.reference = Reference.of(self._new, self.base, orders, redrawn)
        self._note(judge_base(self._new, self.reference), (), self.base)
        self.coverage |= {
            "points": sum(point.phase not in ("tie", "delivery") for point in self.base.trace),
            "effects": len(self.base.effects),
        }
        return self.reference

    def _late_timers(self) -> Iterator[Recording[Any]]:
        """Yield schedules in which one timer comes a second late, since the process dies then, in no step's way."""
        fired = [point for point in self.base.trace if point.phase == "timer.fired"]
        for point in fired[:TIMERS]:
            recording: Recording[Any] = self._execute((Fault("crash", point),))
            if _attempts(recording) == _attempts(self.base):
                yield recording

    def _other_starts(self) -> Iterator[Plan]:
        """Yield what lets the runs of the campaign start in other orders, an hour apart."""
        if not self._new.runs or self._new.script is not None:
            return
        starts = [each for each in self.base.deliveries if each.kind == "start"]
        for order in itertools.islice(itertools.permutations(starts), 1, ORDERS + 1):
            yield tuple(
                Fault("late", Point("", start.index, "delivery", start.name), place * HOUR)
                for place, start in enumerate(order)
                if place
            )

    def _leak(self, again: Recording[Any]) -> None:
        """Tell why a schedule went two ways, if it is the workflow's doing; otherwise raise."""
        self.reference = Reference.of(self._new, self.base, [], [])
        self._note([*self._replay_all(), *parted(self.base, again)], (), self.base)
        if not self._found:
            raise HarnessLeak(_first_difference(self.base, again))
        self._parted = True
        self.coverage["not_run"].append("faults: without any, the workflow already goes another way each time")

    # -- pass 1 -------------------------------------------------------------------------------------------------------------

    def _replays(self) -> None:
        self._begin("replays")
        self._hash_seeds.feed(self.base)
        self._note(self._replay_all(), (), self.base)

    def _replay_all(self) -> list[Violation]:
        return replayed(self._new, self.base, registry_of(self._new, None))

    def _hash_seed_results(self) -> None:
        self._begin("hash seeds")
        self._note(self._hash_seeds.collect(), (), self.base)
        self.coverage["hash_seeds"] = self._hash_seeds.seeds
        self.coverage["not_run"] += self._hash_seeds.not_run

    # -- pass 2 -------------------------------------------------------------------------------------------------------------

    def _singles(self) -> None:
        points = _thinned(self.base.trace)
        if len(points) < len(self.base.trace):
            left_out = f"single faults: at {len(self.base.trace) - len(points):,} points in the middle of long loops"
            self.coverage["not_run"].append(left_out)
        plans = list(self._single_plans(points, self.base))
        self._begin("single faults", len(plans))
        try:
            self._try_singles(plans)
        finally:
            self.coverage |= {"single_run": self._done, "single_total": self._total}

    def _try_singles(self, plans: Sequence[Plan]) -> None:
        known = {_sort(point) for point in self.base.trace}
        for plan in plans:
            recording = self._try(plan)
            new = [point for point in recording.trace if _sort(point) not in known]
            known |= {_sort(point) for point in new}
            if new and plan[0].cls != "T":
                self._frontier.append((plan, recording))
                pairs = [(*plan, second) for second in self._faults_at(new, recording)]
                follow = [pair for pair in pairs if _go_together(pair)]
                self._total += len(follow)
                for pair in follow:
                    self._try(pair)

    def _single_plans(self, trace: Sequence[Point], recording: Recording[Any]) -> Iterator[Plan]:
        """Return every single fault, by kind: those that find most come first."""
        if self._wanted:
            yield tuple(self._wanted)
            return
        faults = sorted(self._faults_at(trace, recording), key=lambda fault: _URGENCY.get(fault.kind, 9))
        for fault in faults:
            yield (fault,)
        if self._wants("dst") and any(point.phase == "timer.set" for point in trace):
            for date in DATES:
                yield (Fault("dst", Point("", 0, "calendar", date)),)

    def _faults_at(self, points: Iterable[Point], recording: Recording[Any]) -> list[Fault]:
        found = []
        for point in points:
            for kind in kinds_at(point.phase):
                if kind.name in ("upgrade", "dst") or not self._wants(kind.name):
                    continue
                fault = Fault(kind.name, point)
                if point.phase == "delivery":
                    if not _fits(fault, recording):
                        continue
                elif kind.name == "cancel" and point.run:
                    continue
                elif kind.name == "fail_n":
                    known = self._known.get((point.run or self.base.main, point.n))
                    if known is None or (known.attempts == 1 and not known.endless):
                        continue  # as `fail`
                    fault = Fault("fail_n", point, known.attempts)
                elif kind.name == "delay" and point.phase in ("get", "put"):
                    fault = Fault("delay", point, BETWEEN)
                found.append(fault)
        return found

    # -- pass 3 -------------------------------------------------------------------------------------------------------------

    def _closure(self) -> None:
        self._begin("crashes in any number")
        seen: set[bytes] = set()
        paths: deque[Plan] = deque()
        runs = 0

        def follow(plan: Plan) -> Recording[Any]:
            left = len(plan)

            def watch(simulation: Simulation, point: Point) -> None:
                nonlocal left
                if left:
                    left -= point == plan[len(plan) - left].point
                    return
                if plain(point.phase) not in KINDS["crash"].phases or simulation.lives > len(plan) + 1:
                    return
                assert simulation.durable is not None
                state = simulation.durable.hash(simulation.clock.now())
                if state not in seen and len(seen) < STATES_MAX:
                    seen.add(state)
                    paths.append((*plan, Fault("crash", point)))

            return self._try(plan, watch=watch)

        follow(())
        end = time.perf_counter() + max(self._budget, CLOSURE_SECONDS)
        while paths and time.perf_counter() < end:
            runs += 1
            follow(paths.popleft())
            self._total = runs + len(paths)
            if self._errors:
                break
        self.coverage |= {"states": len(seen), "closed": not paths and len(seen) < STATES_MAX, "closure_runs": runs + 1}

    # -- upgrades -----------------------------------------------------------------------------------------------------------

    def _upgrades(self) -> None:
        """Restart every durable state of the old code on the new one."""
        states: dict[bytes, Point] = {}

        def watch(simulation: Simulation, point: Point) -> None:
            if plain(point.phase) in KINDS["upgrade"].phases:
                assert simulation.durable is not None
                states.setdefault(simulation.durable.hash(simulation.clock.now()), point)

        old = self._execute(subject=self._subject, watch=watch)
        reference = Reference.of(self._subject, old, [self.base], [])
        self._begin("upgrades", len(states))
        for point in states.values():
            plan = (Fault("upgrade", point),)
            recording = self._execute(plan, subject=self._subject)
            violations = judge(self._subject, reference, recording)
            self._note([found for found in violations if found.oracle != "difference"], plan, recording, upgrade=True)
            self._tick()
        self.coverage["upgrades"] = len(states)

    # -- pass 4 -------------------------------------------------------------------------------------------------------------

    def _pairs(self) -> None:
        pairs = _Pairs()
        end = time.perf_counter() + self._budget / 2
        base_states: set[tuple[bytes, str, str]] = set()
        states: set[tuple[bytes, str, str]] = set()

        def states_of(plan: Plan, into: list[tuple[Point, bytes]]) -> Recording[Any]:
            def watch(simulation: Simulation, point: Point) -> None:
                assert simulation.durable is not None
                into.append((point, simulation.durable.hash(simulation.clock.now())))

            recording: Recording[Any] = self._execute(plan, watch=watch)
            return recording

        base: list[tuple[Point, bytes]] = []
        states_of((), base)
        for point, state in base:
            base_states |= {(state, _sort(point), kind.name) for kind in kinds_at(point.phase)}
        firsts = [plan for plan in self._single_plans(_thinned(self.base.trace), self.base) if plan[0].kind in _FIRST]
        self._begin("pairs", 0)
        for first in firsts:
            if time.perf_counter() > end:
                break
            passed: list[tuple[Point, bytes]] = []
            recording = states_of(first, passed)
            after = next((index for index, (point, _) in enumerate(passed) if point == first[0].point), len(passed))
            hashes = dict(passed[after + 1 :])
            for second in self._faults_at(hashes, recording):
                if second.kind not in _SECOND or not _go_together((*first, second)):
                    continue
                pairs.total += 1
                known = (hashes[second.point], _sort(second.point), second.kind)
                if known in base_states:
                    pairs.skipped["R3"] += 1
                elif known in states:
                    pairs.skipped["R1"] += 1
                elif time.perf_counter() <= end:
                    states.add(known)
                    pairs.run += 1
                    self._try((*first, second))
        self.coverage |= {"pairs_run": pairs.run, "pairs_total": pairs.total, "pairs_skipped": pairs.skipped}

    # -- pass 5 -------------------------------------------------------------------------------------------------------------

    def _beyond(self) -> None:
        began = time.perf_counter()
        end = max(self._began + self._budget, began)
        self._begin("random plans")
        chance = Random(self._seed)
        faults = [plan[0] for plan in self._single_plans(self.base.trace, self.base)]
        for _, recording in self._frontier:
            faults += self._faults_at(recording.trace, recording)
        states: set[bytes] = set()
        last_new = run = 0
        cells: dict[tuple[str, str], int] = {}

        def watch(simulation: Simulation, _point: Point) -> None:
            assert simulation.durable is not None
            states.add(simulation.durable.hash(simulation.clock.now()))

        while faults and time.perf_counter() < end:
            plan: dict[Point, Fault] = {}
            for _ in range(chance.randint(2, 6)):
                # Of three that are drawn, the one whose cell was covered least.
                drawn = [chance.choice(faults) for _ in range(3)]
                fault = min(drawn, key=lambda one: cells.get((one.point.phase, one.kind), 0))
                cells[fault.point.phase, fault.kind] = cells.get((fault.point.phase, fault.kind), 0) + 1
                if _go_together((*plan.values(), fault)):
                    plan[fault.point] = fault
            run += 1
            before = len(states)
            self._try(tuple(plan.values()), watch=watch)
            if len(states) > before:
                last_new = run
        self.coverage |= {
            "random_run": run,
            "random_seconds": time.perf_counter() - began,
            "last_new_state": last_new,
        }


_URGENCY = {"crash": 0, "lost_ack": 1, "zombie": 1, "fatal": 2, "cancel": 3, "dup": 1, "fail_n": 3, "late": 4, "slow": 4}
"""Which kinds of single faults come first; the others after them."""
_FIRST = {"fail", "fail_n", "fatal", "slow", "outage", "cancel", "lost_ack", "zombie", "dup", "delay", "late", "early"}
"""Kinds that come first in pairs. Crashes do not: their closure has covered what follows them."""
_SECOND = {"crash", "fail", "fail_n", "lost_ack", "fatal", "cancel", "zombie", "slow", "dup", "tie"}


def ticks(base: Recording[Any]) -> Plan:
    """Return what lets every time that a workflow measures be another one, and nothing else."""
    phases = ("step.before", "timer.set", "wait.registered", "event.before_journal")
    return tuple(Fault("jump+", point, TICK) for point in base.trace if plain(point.phase) in phases)


def _weight(violation: Violation, faults: Plan) -> tuple[int, int]:
    """Return by what one of two violations is told: the graver, and then the simpler one."""
    return SEVERITIES.index(violation.severity), len(faults)


def _attempts(recording: Recording[Any]) -> int:
    return sum(event.kind == "attempt" for event in recording.events)


def _sort(point: Point) -> str:
    """Return what sort of point this is, wherever it is."""
    return f"{point.phase}:{point.label}"


def _thinned(trace: Sequence[Point]) -> list[Point]:
    """Leave out most of the points that come up in every turn of a long loop."""
    by_sort: dict[str, list[Point]] = {}
    for point in trace:
        by_sort.setdefault(f"{point.run}:{_sort(point)}", []).append(point)
    kept: set[Point] = set()
    for points in by_sort.values():
        if len(points) > TURNS_MAX:
            half = TURNS_MAX // 2
            middle = points[half:-4]
            kept.update(points[:half], middle[:: len(middle) // (half - 4) + 1], points[-4:])
        else:
            kept.update(points)
    return [point for point in trace if point in kept]


def _fits(fault: Fault, recording: Recording[Any]) -> bool:
    """Whether a fault of deliveries makes sense for its delivery."""
    deliveries = recording.deliveries
    index = fault.point.n
    if index >= len(deliveries):
        return False
    delivery = deliveries[index]
    signal = delivery.kind in ("send", "publish")
    match fault.kind:
        case "early" | "late":
            return signal
        case "swap":
            return signal and index + 1 < len(deliveries) and deliveries[index + 1].kind in ("send", "publish")
        case "lost_event_ack":
            return delivery.dedupe is not None
        case _:
            return True


def _go_together(plan: Plan) -> bool:
    """Whether a plan is one that a workflow can be blamed for.

    A call that arrives half a minute after its process died, when the run has been given up and undone meanwhile, undoes
    that: no workflow can help it, only a service that remembers what it was told to undo.
    """
    kinds = {fault.kind for fault in plan}
    return "zombie" not in kinds or not kinds & {"cancel", "fatal", "fail_n", "slow", "outage", "delay"}


def _first_difference(one: Recording[Any], other: Recording[Any]) -> str:
    for first, second in zip(one.trace, other.trace, strict=False):
        if first != second:
            return f"the same schedule went two ways: it reached {first}, and then {second} in its place"
    if len(one.trace) != len(other.trace):
        longer = max(one.trace, other.trace, key=len)
        return f"the same schedule went two ways: once it ended before {longer[min(len(one.trace), len(other.trace))]}"
    return "the same schedule went two ways: it wrote other values"


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Note each Ctrl-C, beside what it does anyway: what it raises may be swallowed by code that is being simulated."""
    seen: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield seen
        return

    def noting(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, noting)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _collected() -> Iterator[None]:
    """Keep the garbage collector out of schedules, and cheap between them: what is there already is not looked at."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()
