"""What schedules without faults do: what all others are compared with."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Raw

from wfkit.api.definitions import Expect, Step, Workflow, where_defined
from wfkit.api.registry import Registry
from wfkit.core.commands import CompleteRun, RunStep
from wfkit.core.entries import BUS, ChildEnded, StepCompleted, StepFailed
from wfkit.core.names import nested, own_functions
from wfkit.sim.code import registry_of, steps_of
from wfkit.sim.drawn import Path, differing, masked, unordered, without_counts
from wfkit.sim.faults import Fault
from wfkit.sim.recording import Recording, RunRecord
from wfkit.sim.services import DECLARED, OPAQUE, Effect, canonical
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.sim.trails import Trail, Trails, ending_of, status_of
from wfkit.sim.volatile import holding, is_marked, is_volatile, leaves, settled

Named: TypeAlias = tuple[str, str]
"""An effect by the names of its service and its own."""
Told: TypeAlias = tuple[str, str, str]
"""An effect with its payload as text, without what is drawn anew."""

_CLOCKS = frozenset({"now", "time", "time_ns", "monotonic", "perf_counter", "datetime", "date"})
_CLOCK_MODULES = ("time.", "datetime.")
_DEFAULT = Expect()


class RunEnd(NamedTuple):
    """How a run ended. The label is its id where that is known beforehand; empty for the main run and for children."""

    label: str
    workflow: str
    status: str
    error: str
    result: str


class Outcome(NamedTuple):
    """All that can be seen of a schedule from outside, without what is drawn anew."""

    runs: tuple[RunEnd, ...]
    effects: Counter[Told]
    states: tuple[tuple[str, str], ...]


class Reference:
    """The schedules of a subject without faults. Made by `Reference.of`."""

    def __init__(
        self,
        subject: Subject,
        base: Recording[Any],
        orders: Sequence[Recording[Any]],
        redrawn: Sequence[Recording[Any]],
        elsewhen: Sequence[Recording[Any]],
    ) -> None:
        self.subject = subject
        self.base = base
        self.orders = orders
        self.redrawn = redrawn
        self.elsewhen = elsewhen
        self.trails = Trails(base)
        self.registry: Registry = registry_of(subject, None)
        self.steps = dict(self.registry.steps)
        """The definitions of steps by name: those that code leads to, and those that were called all the same."""
        for recording in (base, *orders, *redrawn):
            self.learn(recording)
        self._drawn: dict[tuple[str, ...], set[Path]] = {}
        self._paused: dict[tuple[Fault, int], Recording[Any]] = {}
        self.unsteady: set[Named] = set()
        """Effects that without any fault happen now more, now less often."""
        for other in redrawn:
            self._learn(other)
        self._follow_volatile()
        self._endings = {id: ending_of(run.records) for id, run in base.runs.items()}

    @classmethod
    def of(
        cls,
        subject: Subject,
        base: Recording[Any],
        orders: Sequence[Recording[Any]] = (),
        redrawn: Sequence[Recording[Any]] = (),
        elsewhen: Sequence[Recording[Any]] = (),
    ) -> Reference:
        """Make a reference.

        Args:
            subject: what is simulated.
            base: the schedule without faults.
            orders: the same under other orders of arrival.
            redrawn: the same with another seed and another start, to know which values are drawn anew each time.
            elsewhen: more of these, to know which steps draw at all: a choice of two falls alike every other time.
        """
        return cls(subject, base, orders, redrawn, elsewhen)

    # -- the user's definitions -----------------------------------------------------------------------------------------

    def learn(self, recording: Recording[Any]) -> None:
        """Get to know the steps that a schedule has called, however its code came by them."""
        self.steps |= recording.steps

    def step(self, name: str) -> Step[..., Any] | None:
        return self.steps.get(name)

    def expect(self, name: str) -> Expect:
        """Return what the user expects of a step; nothing of one that has no definition."""
        step = self.steps.get(name)
        return step.expect if step is not None else _DEFAULT

    def may_repeat(self, step: str) -> bool:
        """Whether the user says that a step may run once more than it has to."""
        expect = self.expect(step)
        return bool(expect.read_only or expect.idempotent or expect.at_least_once)

    def is_undo(self, call: RunStep) -> bool:
        """Whether a step call undoes another one: as a saga's compensation, or by its definition."""
        step = self.step(call.name)
        return call.compensation or call.undoes is not None or (step is not None and step.undoes is not None)

    def is_ignored(self, signal: str) -> bool:
        """Whether the user expects that a signal may be left unread, or come too late."""
        return any(each.what == "ignores" and each.name == signal for each in self.subject.expect)

    def line_of(self, step: str = "", workflow: str = "") -> str:
        """Return the user's line of a step, or else of a workflow."""
        definition: Any = self.steps.get(step) or self.registry.workflows.get(workflow)
        return where_defined(definition.fn) if definition is not None else ""

    def undos_of(self, step: str) -> list[str]:
        """Return the names of the steps that are declared to undo a step."""
        return [each.name for each in self.steps.values() if each.undoes is not None and each.undoes.name == step]

    def undoes_by_hand(self, workflow: str) -> bool:
        """Whether a workflow's code can come to a step that is declared to undo another one."""
        definition = self.registry.workflows.get(workflow)
        return definition is not None and any(step.undoes is not None for step in steps_of(definition))

    @functools.cached_property
    def failing(self) -> frozenset[str]:
        """Names of the steps of which a call fails for good without any fault."""
        ends = ((trail, n, entry) for trail in self.trails for n, (_, entry) in trail.ends.items())
        return frozenset(trail.steps[n].name for trail, n, entry in ends if isinstance(entry, StepFailed))

    @functools.cached_property
    def redrawing(self) -> frozenset[str]:
        """Names of the steps that come to other values without any fault, with another clock and other chance."""
        return frozenset(name for other in (*self.redrawn, *self.elsewhen) for name in redrawing(self.trails, Trails(other)))

    @functools.cached_property
    def volatile_steps(self) -> frozenset[str]:
        """Names of the steps whose whole result is declared to be volatile."""
        return frozenset(name for name, step in self.steps.items() if is_marked(_hint_of(step)))

    @functools.cached_property
    def reads_clock(self) -> bool:
        """Whether the code of a workflow names a clock, or what a step returns depends on one: then values may hold a time."""
        reads = (read for read in self.base.reads if read.what.startswith(_CLOCK_MODULES) and not read.through)
        if any(step is not None and step.name in self.redrawing for step in map(self.trails.step_at, reads)):
            return True
        functions = (fn for workflow in self.registry.workflows.values() for fn in own_functions(workflow.fn))
        return any(name in _CLOCKS for fn in functions for code in nested(fn.__code__) for name in code.co_names)

    # -- what is seen of a schedule ---------------------------------------------------------------------------------------

    def is_same(self, recording: Recording[Any]) -> bool:
        """Whether a schedule is like the base to the letter. Quick, and never wrong where it says yes."""
        base = self.base
        if len(recording.effects) != len(base.effects) or recording.states != base.states:
            return False
        if recording.runs.keys() != base.runs.keys():
            return False
        for one, other in zip(recording.effects, base.effects, strict=True):
            if one.name != other.name or one.service != other.service or one.payload != other.payload:
                return False
        return all(self._ends_the_same(id, run) for id, run in recording.runs.items())

    def _ends_the_same(self, id: str, run: RunRecord) -> bool:
        ending, usual = ending_of(run.records), self._endings[id]
        if ending == usual or not (isinstance(ending, CompleteRun) and isinstance(usual, CompleteRun)):
            return ending == usual
        workflow = _workflow(run)
        return (
            is_volatile(self._result_hint(workflow))
            and len({self.result_text(workflow, each.value) for each in (ending, usual)}) == 1
        )

    @functools.cached_property
    def awaits_more(self) -> bool:
        """Whether there is more to compare than effects and ends: signals that are taken, and runs that do not end."""
        return bool(self.sent) or not all(self._endings.values())

    @functools.cached_property
    def outcomes(self) -> list[Outcome]:
        """The outcomes without faults, that of the base first."""
        return [self.outcome(recording) for recording in (self.base, *self.orders)]

    def outcome(self, recording: Recording[Any]) -> Outcome:
        states = recording.states | {name: state for name in self._overrun(recording) if (state := self.base.states.get(name))}
        return Outcome(
            self.run_ends(recording),
            self._effects(recording),
            tuple(sorted((service, self._state(service, state)) for service, state in states.items())),
        )

    def _overrun(self, recording: Recording[Any]) -> set[str]:
        """Return the services at which a step that may run again acted more often than usual: their state is another one."""
        if recording is self.base or all(step.expect == _DEFAULT for step in self.steps.values()):
            return set()
        return {service for service, _, _ in self._of_lenient(recording) - self._usual_of_lenient}

    @functools.cached_property
    def _usual_of_lenient(self) -> Counter[Told]:
        return self._of_lenient(self.base)

    def _of_lenient(self, recording: Recording[Any]) -> Counter[Told]:
        """Count the effects of steps that only read, or may happen more than once."""
        trails = self.trails if recording is self.base else Trails(recording)
        steps = ((effect, trails.step_of(effect)) for effect in happened(recording))
        expected = ((effect, self.expect(step.name)) for effect, step in steps if step is not None)
        return Counter(self.told(effect) for effect, expect in expected if expect.read_only or expect.at_least_once)

    def _effects(self, recording: Recording[Any]) -> Counter[Told]:
        """Count the effects. Those that may be repeated count once, and those of a step that only reads not at all."""
        effects = happened(recording)
        if all(step.expect == _DEFAULT for step in self.steps.values()):
            return Counter(map(self.told, effects))
        trails = self.trails if recording is self.base else Trails(recording)
        counts: Counter[Told] = Counter()
        for effect in effects:
            step, told = trails.step_of(effect), self.told(effect)
            expect = self.expect(step.name) if step is not None else _DEFAULT
            if not expect.read_only and not (counts[told] and (expect.idempotent or expect.at_least_once)):
                counts[told] += 1
        return +counts

    def run_ends(self, recording: Recording[Any]) -> tuple[RunEnd, ...]:
        return tuple(sorted(self.run_end(id, run) for id, run in recording.runs.items()))

    def run_end(self, id: str, run: RunRecord) -> RunEnd:
        ending = ending_of(run.records)
        started: Any = run.records[0].entry
        error = getattr(ending, "error", None)
        text = self.result_text(started.workflow, run.result)
        label = id if id in self._labels else ""
        status = status_of(ending, None) if ending is not None else run.status
        return RunEnd(label, started.workflow, status, error.type if error is not None else "", text)

    def result_text(self, workflow: str, result: Raw | None) -> str:
        """Return the result of a run of a workflow without what is drawn anew; empty if there is none."""
        if result is None:
            return ""
        return self._text(("result", workflow), settled(self._result_hint(workflow), msgspec.json.decode(result)))

    def whole_result_text(self, workflow: str, result: Raw | None) -> str:
        """As `result_text`, with what is declared to be volatile: it may differ, and tell something by that."""
        return self._text(("result", workflow), msgspec.json.decode(result)) if result is not None else ""

    def has_whole_result_of(self, run: Trail, other: Trail) -> bool:
        """Whether two runs came to the same result, with what is declared to be volatile."""
        one, two = (self.whole_result_text(each.workflow, each.result) for each in (run, other))
        return one == two

    @functools.cached_property
    def _labels(self) -> frozenset[str]:
        ids = (self.subject.id_of(index) for index in range(len(self.subject.runs)))
        return frozenset(id for id in ids if isinstance(id, str))

    def told(self, effect: Effect) -> Told:
        return effect.service, effect.name, self._text(("effect", effect.service, effect.name), effect.payload)

    def request(self, name: str, args: Raw) -> tuple[str, str]:
        """Return what a run calls, and its arguments as JSON, without what is drawn anew."""
        return name, self._text(("args", name), msgspec.json.decode(args))

    def _state(self, service: str, state: str) -> str:
        return self._uncounted(canonical(unordered(self.state(service, state))))

    def state(self, service: str, text: str) -> Any:
        """Return the state of a service without what is drawn anew."""
        return masked(msgspec.json.decode(text), self._drawn.get(("state", service), ()))

    def _text(self, of: tuple[str, ...], value: Any) -> str:
        paths = self._drawn.get(of)
        return self._uncounted(canonical(masked(_plain(value), paths) if paths else value))

    @functools.cached_property
    def _uncounted(self) -> Callable[[str], str]:
        return without_counts(effect.name for effect in self.base.effects)

    def paused(self, fault: Fault, pause: int) -> Recording[Any]:
        """Execute the schedule in which a step is held up at the point of a fault, for so many microseconds, and no more."""
        if (fault, pause) not in self._paused:
            plan = (Fault("delay", fault.point, pause),)
            self._paused[fault, pause] = Simulation(self.subject, plan, seed=self.base.seed, base=self.base).run()
        return self._paused[fault, pause]

    # -- what is drawn anew ---------------------------------------------------------------------------------------------

    def _learn(self, other: Recording[Any]) -> None:
        base = self.base
        for workflow in {_workflow(run) for run in base.runs.values()}:
            self._pair(("result", workflow), _results(base, workflow), _results(other, workflow))
        asked, others_asked = _requests(self.trails), _requests(Trails(other))
        for name, args in asked.items():
            self._pair(("args", name), args, others_asked.get(name, []))
        mine, theirs = _by_name(base.effects), _by_name(other.effects)
        for named in mine.keys() | theirs.keys():
            ours, others = mine.get(named, []), theirs.get(named, [])
            if len(ours) != len(others):
                self.unsteady.add(named)
            self._pair(("effect", *named), [_plain(one.payload) for one in ours], [_plain(one.payload) for one in others])
        for service, state in base.states.items():
            if service in other.states:
                self._pair(("state", service), [msgspec.json.decode(state)], [msgspec.json.decode(other.states[service])])

    def _pair(self, of: tuple[str, ...], ours: list[Any], others: list[Any]) -> None:
        """Compare values two by two, in their order; those that both sides have are no pairs."""
        both = Counter(map(canonical, ours)) & Counter(map(canonical, others))
        for one, other in zip(_less(ours, both), _less(others, both), strict=False):
            found = differing(one, other)
            if found:
                self._drawn.setdefault(of, set()).update(found)

    # -- what is declared to be volatile ----------------------------------------------------------------------------------

    def _result_hint(self, workflow: str) -> Any:
        return _hint_of(self.registry.workflows.get(workflow))

    def _follow_volatile(self) -> None:
        """Learn where the results of steps and children go that may differ between runs: there nothing is compared."""
        definitions: tuple[Any, ...] = (*self.steps.values(), *self.registry.workflows.values())
        if not any(is_volatile(_hint_of(definition)) for definition in definitions):
            return
        for recording in (self.base, *self.orders, *self.redrawn):
            parts = list(self._volatile_parts(Trails(recording)))
            for effect in recording.effects:
                self._taint(("effect", effect.service, effect.name), _plain(effect.payload), parts)
            for service, state in recording.states.items():
                self._taint(("state", service), msgspec.json.decode(state), parts)
            for run in recording.runs.values():
                if run.result is not None:
                    self._taint(("result", _workflow(run)), msgspec.json.decode(run.result), parts)

    def _volatile_parts(self, trails: Trails) -> Iterator[Any]:
        for trail in trails:
            for n, (_, entry) in trail.ends.items():
                drawn: list[Any] = []
                if isinstance(entry, StepCompleted):
                    settled(_hint_of(self.step(trail.steps[n].name)), msgspec.json.decode(entry.value), drawn)
                elif isinstance(entry, ChildEnded) and isinstance(entry.value, Raw) and n in trail.children:
                    settled(self._result_hint(trail.children[n].workflow), msgspec.json.decode(entry.value), drawn)
                yield from leaves(drawn)

    def _taint(self, of: tuple[str, ...], value: Any, parts: Sequence[Any]) -> None:
        found = set(holding(value, parts))
        if found:
            self._drawn.setdefault(of, set()).update(found)

    # -- how often things happen ----------------------------------------------------------------------------------------

    @functools.cached_property
    def counts(self) -> Counter[Told | Named]:
        """How often each effect happens at most without faults, with its payload and by its name alone."""
        counts: Counter[Told | Named] = Counter()
        for recording in (self.base, *self.orders, *self.redrawn):
            here: Counter[Told | Named] = Counter()
            for effect in happened(recording):
                told = self.told(effect)
                here[told] += 1
                here[told[:2]] += 1
            counts |= here
        return counts

    @functools.cached_property
    def per_command(self) -> Counter[Told]:
        """How often one command has an effect with its payload at most without faults."""
        counts: Counter[Told] = Counter()
        for recording in (self.base, *self.orders, *self.redrawn):
            here = Counter((self.told(effect), effect.run, effect.n) for effect in happened(recording))
            for (told, _, _), count in here.items():
                counts[told] = max(counts[told], count)
        return counts

    @functools.cached_property
    def calls(self) -> Counter[str]:
        """How often one command makes a call of a label at most without faults."""
        counts: Counter[str] = Counter()
        for point in self.base.trace:
            if point.phase == "call.before":
                counts[point.label] = max(counts[point.label], point.occurrence)
        return counts

    @functools.cached_property
    def sent(self) -> frozenset[str]:
        """Names of the signals that somebody sends without faults: the outside, or a run."""
        names = {delivery.name for delivery in self.base.deliveries if delivery.kind in ("send", "publish")}
        for number, records in self.base.histories.items():
            names |= {getattr(record.entry, "name", "") for record in records if number == BUS or _is_signal(record.entry)}
        return frozenset(names - {""})


def redrawing(ones: Trails, others: Trails) -> Iterator[str]:
    """Yield the names of the steps that came to other values in another schedule."""
    for trail in ones:
        again = others.newest(trail.id)
        for n, step in trail.steps.items():
            if again is not None and n in trail.ends and n in again.ends:
                entry, other = trail.ends[n][1], again.ends[n][1]
                if isinstance(entry, StepCompleted) and entry.value != getattr(other, "value", None):
                    yield step.name


def _hint_of(definition: Step[..., Any] | Workflow[..., Any] | None) -> Any:
    """Return the hint of what a step or workflow returns."""
    return definition.signature.result.hint if definition is not None else Any


def happened(recording: Recording[Any]) -> list[Effect]:
    """Return the effects of runs, each key counted once where only the key can tell that two are one.

    Services that honour keys have counted already. What the outside did by itself is left out.
    """
    found: list[Effect] = []
    seen: set[tuple[Any, ...]] = set()
    for effect in recording.effects:
        if not effect.run:
            continue
        if effect.service == OPAQUE:
            # Of a step without a key nothing is known but that it ran; that it ran twice is told apart from this.
            same: tuple[Any, ...] = (effect.name, effect.key) if effect.key is not None else (effect.run, effect.n)
        elif effect.service == DECLARED and effect.key is not None:
            same = (effect.name, effect.key)
        else:
            found.append(effect)
            continue
        if same not in seen:
            seen.add(same)
            found.append(effect)
    return found


def _plain(value: Any) -> Any:
    return msgspec.json.decode(canonical(value))


def _workflow(run: RunRecord) -> str:
    started: Any = run.records[0].entry
    return str(started.workflow)


def _results(recording: Recording[Any], workflow: str) -> list[Any]:
    runs = (run for run in recording.runs.values() if _workflow(run) == workflow)
    return [msgspec.json.decode(run.result) for run in runs if run.result is not None]


def _requests(trails: Trails) -> dict[str, list[Any]]:
    """Return the arguments of all that runs call, by name."""
    found: dict[str, list[Any]] = {}
    for trail in trails:
        for name, args in trail.requests:
            found.setdefault(name, []).append(msgspec.json.decode(args))
    return found


def _by_name(effects: Iterable[Effect]) -> dict[Named, list[Effect]]:
    found: dict[Named, list[Effect]] = {}
    for effect in effects:
        found.setdefault((effect.service, effect.name), []).append(effect)
    return found


def _less(values: list[Any], both: Counter[str]) -> list[Any]:
    left = both.copy()
    kept = []
    for value in values:
        text = canonical(value)
        if left[text]:
            left[text] -= 1
        else:
            kept.append(value)
    return kept


def _is_signal(entry: object) -> bool:
    return type(entry).__name__ == "SignalReceived"
