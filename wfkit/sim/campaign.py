"""What the passes of a search share: how a schedule is tried, what was found, and how much was looked at."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

from wfkit.sim import lines
from wfkit.sim.coverage import Coverage, Struck
from wfkit.sim.disk import Known
from wfkit.sim.faults import KINDS, Fault, Plan, Point, parse_fault
from wfkit.sim.findings import SEVERITIES, Severity, Violation
from wfkit.sim.hash_seeds import HashSeeds
from wfkit.sim.oracles import judge
from wfkit.sim.processes import Gone, Processes, ProcessesGone
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.sim.twice import shown_once

AFTER_ERROR_MAX = 200
"""Schedules that a pass still runs after it has found an error: others may be found beside it."""
LIMIT_SECONDS = 60.0
LIMIT_BUDGETS = 10
"""The passes that have an end of their own are cut short after so many seconds, or so many times the budget if that is more.
Only very long runs come to that, so that also a slow machine gives a whole verdict."""
LIMIT_SECONDS_LONG = 2.5
LIMIT_BUDGETS_LONG = 2.5
"""The same where a history is too long: that is a finding already, such a history has more points than anybody waits for, and
each schedule takes a hundred times as long as others."""
SHORTEST_SECONDS = 2.0
"""A search takes so long at least, if it is not done before: what comes sooner is no verdict."""
COLLECT_EVERY = 10
"""Schedules between two collections of garbage; in between it is off, since it would run cleanup of dead processes. Each older
generation is looked at ten times more seldom. One schedule leaves some 600 objects in cycles; when those of 200 were collected
together, that took four times as long as by tens."""

Seen: TypeAlias = Sequence[Any]
"""What a pass wants to know of a schedule: hashable, and fit to be sent from one process to another."""


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


class Tried(NamedTuple):
    """A schedule that was executed and judged."""

    plan: Plan
    seen: Seen
    """What the pass looked for. Left out may be what an earlier schedule has shown."""
    recording: Recording[Any] | None
    """None if another process executed it; see `Campaign.repeat`."""


class Told(NamedTuple):
    """What another process tells of a schedule: all that a campaign keeps of one in which nothing is found."""

    violations: Sequence[Violation] = ()
    seen: Seen = ()
    known: dict[tuple[str, int], Known] = {}  # noqa: RUF012  # nobody writes to it
    held: Collection[str] = ()
    ran: Collection[int] = ()
    failed: bool = False
    """It came to no recording. Why is seen by whoever executes it again."""


class Enough(Exception):  # no error: the pass has seen enough
    """A pass ends early."""


class OutOfTime(Enough):
    """The time for the whole search is over."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How far a search goes."""

    faults: Sequence[str] | None = None
    """Kinds or whole faults, to narrow it; everything unless given."""
    budget: float = 5.0
    """Seconds for the passes that have no end of their own."""
    limit: float | None = None
    """Seconds for the whole of it, two or more; unless given, only what takes very long is cut short."""
    seed: int = 0
    """Where chance comes from."""
    jobs: int = 1
    """Processes that execute schedules."""


USUAL = Terms()


class Campaign:
    """One search.

    Args:
        subject: what is verified.
        terms: how far it goes.
        progress: told now and then how far it is.

    Raises:
        ValueError: there is no process to search.
        FaultSyntaxError: a fault is not understood.
    """

    def __init__(self, subject: Subject, terms: Terms = USUAL, *, progress: Callable[[Progress], None] | None = None) -> None:
        if terms.jobs < 1:
            raise ValueError(f"jobs={terms.jobs}: there must be a process to search")
        faults = terms.faults
        self.subject = replace(subject, upgrade_from=None)
        self.upgraded = subject
        """The subject with its old code, if there is any."""
        self.kinds = {name for name in faults or () if name in KINDS}
        self.wanted = [parse_fault(text) for text in faults or () if text not in KINDS]
        self.narrowed = faults is not None
        self.budget = terms.budget
        self.seed = terms.seed
        self.began = time.perf_counter()
        self._terms = terms
        self._end = self.began + _seconds_max(terms)
        self._progress = progress
        self._processes: Processes[Look, Plan, Told] | None = None
        self._told: dict[Look, set[Any]] = {}
        """In one of those processes: what it has told already."""

        self.base: Recording[Any]
        """The schedule without faults."""
        self.reference: Reference
        self.parted = False
        """Two executions of the schedule without faults differ: nothing can be said of others."""
        self.found: dict[tuple[str, str, str], Found] = {}
        self.coverage = Coverage(not_run=[])
        self.struck: dict[tuple[str, str], Struck] = {}
        """How the schedules with one fault went, by its kind and the label of its point."""
        self._counted: set[Fault] = set()
        """The faults of these schedules: several passes come to the same ones."""
        if terms.jobs > 1 and hasattr(os, "fork"):
            self._processes = Processes(terms.jobs, self._tell)
        elif terms.jobs > 1:
            self.coverage.not_run.append("other processes: nothing can be forked here, so there is one alone")
        self.schedules = 0
        self.held: set[str] = set()
        """Names of the `sometimes` that held."""
        self.known: dict[tuple[str, int], Known] = {}
        """What command numbers stand for, by run."""
        self.frontier: list[tuple[Plan, Recording[Any]]] = []
        """Single faults that lead to points of new sorts."""
        self.replayed = 0
        """How many records the histories of schedules with faults have that were replayed."""
        self.not_replayed = 0
        """In how many schedules workflows take new turns that were not replayed: there were too many."""
        self.states: set[bytes] = set()
        """The durable states that schedules have come through, where a pass has looked at them."""
        self.hash_seeds = HashSeeds()
        self.lines = lines.Lines()
        self.interrupts: list[int] = []
        self.stage = ""
        self.total = 0
        self.done = 0
        self._since_error = 0

    def wants(self, kind: str) -> bool:
        return not self.narrowed or kind in self.kinds

    @property
    def errors(self) -> bool:
        return any(found.violation.severity == "error" for found in self.found.values())

    @property
    def out_of_time(self) -> bool:
        return time.perf_counter() > self._end

    def hurry(self) -> None:
        """Search for a shorter time from now on, unless one was asked for: a history is too long."""
        if self._terms.limit is None:
            seconds = max(LIMIT_SECONDS_LONG, LIMIT_BUDGETS_LONG * self.budget)
            self._end = min(self._end, time.perf_counter() + seconds)

    # -- passes -----------------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        """Begin a pass."""
        self.stage, self.total, self.done, self._since_error = stage, 0, 0, 0

    def tick(self) -> None:
        """Count a schedule of the pass.

        Raises:
            Enough: there is to be no other one.
        """
        self.done += 1
        if self._progress is not None and self.done % 20 == 1:
            self._progress(Progress(self.stage, self.done, self.total, len(self.found)))
        if self.errors:
            self._since_error += 1
            if self._since_error > AFTER_ERROR_MAX:
                raise Enough("since an error was found")
        if self.out_of_time:
            raise OutOfTime("out of time")

    def end(self) -> None:
        """End the processes that it has started."""
        if self._processes is not None:
            self._processes.end()

    # -- one schedule -----------------------------------------------------------------------------------------------------

    def execute(
        self,
        faults: Plan = (),
        *,
        seed: int | None = None,
        subject: Subject | None = None,
        arrival: int = 0,
        watch: Callable[[Simulation, Point], None] | None = None,
    ) -> Recording[Any]:
        """Execute a schedule: of another subject or with another seed, if one is given. See `Simulation`."""
        self.schedules += 1
        _collect(self.schedules)
        base = getattr(self, "base", None)
        seed = self.seed if seed is None else seed
        simulation = Simulation(subject or self.subject, faults, seed=seed, arrival=arrival, watch=watch, base=base)
        recording = simulation.run()
        if self.interrupts:
            raise KeyboardInterrupt  # it came while coroutines were closed, whose exceptions are dropped
        self.known |= {(simulation.disk.ids[run], n): known for (run, n), known in simulation.disk.known.items()}
        self.held |= recording.held
        return recording

    def repeat(self, plan: Plan) -> Recording[Any]:
        """Execute a schedule that another process has executed, and that counts as one with it."""
        self.schedules -= 1
        return self.execute(plan)

    def note(self, violations: Iterable[Violation], faults: Plan, recording: Recording[Any], *, upgrade: bool = False) -> None:
        """Keep what was found in a schedule."""
        for violation in violations:
            known = self.found.get(violation.signature)
            times = known.times + 1 if known is not None else 1
            if known is None or self._is_news(violation, faults):
                known = Found(violation, faults, self.seed, recording, times, upgrade)
            self.found[violation.signature] = known._replace(times=times)

    def count(self, plan: Plan, violations: Sequence[Violation]) -> None:
        """Count a schedule by its fault. Where there are several, nothing says which of them it is due to."""
        if len(plan) != 1 or plan[0] in self._counted:
            return
        self._counted.add(plan[0])
        place = plan[0].kind, plan[0].point.label
        gravest: Severity = min((violation.severity for violation in violations), key=SEVERITIES.index, default="info")
        known = self.struck.get(place, Struck(*place))
        worst = min(known.severity, gravest, key=SEVERITIES.index)
        self.struck[place] = Struck(*place, known.schedules + 1, known.failed + (gravest != "info"), worst)

    def _is_news(self, violation: Violation, faults: Plan) -> bool:
        """Whether it is told by this schedule, and not by one before it."""
        known = self.found.get(violation.signature)
        return known is None or _weight(violation, faults) < _weight(known.violation, known.faults)

    # -- many schedules ---------------------------------------------------------------------------------------------------

    def try_all(self, plans: Iterable[Plan], look: Look) -> Iterator[Tried]:
        """Execute and judge schedules, in as many processes as there are. They come in the order of their plans.

        Args:
            plans: asked for one by one, a few ahead of what is yielded where there are several processes.
            look: executes a schedule; a function of a module.

        Raises:
            Enough: there is to be no other one.
        """
        if self._processes is None:
            for plan in plans:
                recording, seen = look(self, plan)
                violations = judge(self.subject, self.reference, recording)
                self.note(violations, plan, recording)
                self.count(plan, violations)
                if recording.stopped is not None and recording.stopped.by == "bounds":
                    self._since_error += AFTER_ERROR_MAX // 4  # each of them takes seconds
                self.tick()
                yield Tried(plan, seen, recording)
            return
        gone: list[str] = []
        try:
            with closing(self._processes.answers(look, plans)) as answers:
                for plan, told in answers:
                    if isinstance(told, Gone):
                        gone.append(told.why)
                    else:
                        yield self._heard(plan, told, look)
        except ProcessesGone as error:
            raise Enough(str(error)) from None
        finally:
            for why in dict.fromkeys(gone):
                self.coverage.not_run.append(f"{self.stage}: {gone.count(why)} of them, {why}")

    def _tell(self, look: Look, plan: Plan) -> Told:
        """Try a schedule in a process of its own."""
        known, held, ran = dict(self.known), set(self.held), set(self.lines.ran)
        try:
            recording, seen = look(self, plan)
            violations = judge(self.subject, self.reference, recording)
        except Exception:  # noqa: BLE001  # whatever it is, it comes again where it can be raised
            return Told(failed=True)
        told = self._told.setdefault(look, set())
        news = [each for each in dict.fromkeys(seen) if each not in told]
        told.update(news)
        now_known = {key: value for key, value in self.known.items() if known.get(key) != value}
        return Told(violations, news, now_known, self.held - held, self.lines.ran - ran)

    def _heard(self, plan: Plan, told: Told, look: Look) -> Tried:
        """Take what another process tells. A schedule with news is executed here as well: findings are made in one place."""
        self.schedules += 1
        self.known |= told.known
        self.held |= set(told.held)
        self.lines.ran |= set(told.ran)
        recording, seen, violations = None, told.seen, told.violations
        if told.failed or any(self._is_news(violation, plan) for violation in told.violations):
            self.schedules -= 1
            recording, seen = look(self, plan)
            violations = judge(self.subject, self.reference, recording)
            self.note(violations, plan, recording)
            shown = {each.signature for each in violations}
            once = (shown_once(self.reference, each, plan) for each in told.violations if each.signature not in shown)
            self.note(once, (), self.base)
        else:
            for violation in told.violations:
                found = self.found[violation.signature]
                self.found[violation.signature] = found._replace(times=found.times + 1)
        self.count(plan, violations)
        self.tick()
        return Tried(plan, seen, recording)


Look: TypeAlias = Callable[[Campaign, Plan], tuple[Recording[Any], Seen]]
"""How a pass executes a schedule, and what it looks for in it. A function of a module: other processes find it by name."""


def _collect(schedules: int) -> None:
    """Collect garbage, if it is time to after so many schedules."""
    for generation in (2, 1, 0):
        if schedules % (COLLECT_EVERY * 10**generation) == 0:
            gc.collect(generation)
            return


def _seconds_max(terms: Terms) -> float:
    """Return how long a search may take."""
    if terms.limit is not None:
        return max(terms.limit, SHORTEST_SECONDS)
    return max(LIMIT_SECONDS, LIMIT_BUDGETS * terms.budget)


def _weight(violation: Violation, faults: Plan) -> tuple[int, int]:
    """Return by what one of two violations is told: the graver, and then the simpler one."""
    return SEVERITIES.index(violation.severity), len(faults)
