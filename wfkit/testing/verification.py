"""`simulate` executes one schedule, `verify` explores them all."""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack, cast

from msgspec import UNSET

from wfkit.api.definitions import Workflow
from wfkit.core.durations import Duration, microseconds
from wfkit.engine.client import Run
from wfkit.errors import CodecError, DefinitionError, ReportNotWritten
from wfkit.sim.campaign import USUAL, Campaign, Found, Terms
from wfkit.sim.coverage import Coverage
from wfkit.sim.explore import search
from wfkit.sim.faults import DROP, Fault, Point, is_drop, parse_fault, parse_schedule
from wfkit.sim.files import first_other_event, read_failure, write_report
from wfkit.sim.oracles import judge, judge_base
from wfkit.sim.passes.fault_free import fault_free
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.report import Report
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import START, Declaration, Instance, Replace, RunId, Subject
from wfkit.testing.caller import Replayed, current
from wfkit.testing.findings import Case, findings_of, log, of_old_code
from wfkit.testing.silence import silence
from wfkit.testing.strategies import FaultPlan

__tracebackhide__ = True  # pytest shows the call in the test instead, where it was wrong

R = TypeVar("R")
W = TypeVar("W")
Ts = TypeVarTuple("Ts")


def simulate(
    workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
    *args: Unpack[Ts],
    world: Callable[[], W] | None = None,
    resources: Sequence[Replace[W]] = (),
    script: Callable[[Run[R], W], Awaitable[None]] | None = None,
    runs: Sequence[Instance] = (),
    invariants: Sequence[Callable[..., object]] = (),
    expect: Sequence[Declaration] = (),
    upgrade_from: Callable[..., Any] | None = None,
    until: Duration | None = None,
    start: datetime = START,
    id: RunId | None = None,
    workflows: Sequence[Workflow[..., Any]] = (),
    io: Literal["refuse", "allow"] = "refuse",
    faults: str | Sequence[str] | FaultPlan = (),
    seed: int = 0,
) -> Recording[R]:
    """Execute one schedule on virtual time, with these faults, and judge it. Equal arguments give equal recordings.

    Args:
        workflow: a workflow.
        args: its arguments.
        world: makes the outside world, which survives crashes and is compared at the end; without one, nothing is known of
            a step but that it ran.
        resources: what of the world stands in for resources: `replace(bank, lambda world: world.bank)`.
        script: what the outside does, on virtual time: `async def script(run, world)`.
        runs: further runs of the same schedule.
        invariants: `check(world)` or `check(world, recording)`: False or an AssertionError is a finding.
        expect: differences that are meant: `outcome`, `ignores`, `extra`, `residue`.
        upgrade_from: the old version of the workflow, which the run begins with; the fault `upgrade` brings the new one.
        until: how long a schedule may last: a text such as "30d", seconds, or a timedelta. Unless given, 400 days, or ten
            times what it takes without faults if that is more. Runs that never end need it.
        start: when it begins; 2026-03-02 10:00 UTC unless given.
        id: the run's id, or a function that makes one for each time the start is delivered; the workflow's name and a 1
            unless given.
        workflows: what else the app defines, such as children that are started by name.
        io: "refuse" raises `UnsimulatedIO` where a step opens a real socket or starts a process; "allow" lets blocking clients
            in `def` steps do so.
        faults: what goes wrong, such as `"crash@2:step.effect_done_not_journaled:charge"`. A `UserWarning` names what never
            struck. `"drop@2:delivery:packed"` is none: a delivery is left out then, also of what the schedule is compared with.
        seed: where chance comes from.

    Raises:
        TypeError, CodecError: the workflow does not take these arguments.
        ValueError: `until` is no duration.
        FaultSyntaxError: a fault is not understood.
        UnsimulatedIO: a step opened a real socket.
        SimulationBounds: something never ends.
        DefinitionError: this is no workflow, or a handler of a fake service does not take a call.
    """
    subject = _subject(
        workflow, args, world, resources, script, runs, invariants, expect, upgrade_from, until, start, id, workflows, io
    )
    recording = _simulated(subject, faults, seed)
    missed = [] if isinstance(faults, FaultPlan) else _missed(recording, faults)
    if missed:
        warnings.warn(f"{', '.join(map(str, missed))} did not strike: this schedule never comes to that point", stacklevel=2)
    return recording


def verify(
    workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
    *args: Unpack[Ts],
    world: Callable[[], W] | None = None,
    resources: Sequence[Replace[W]] = (),
    script: Callable[[Run[R], W], Awaitable[None]] | None = None,
    runs: Sequence[Instance] = (),
    invariants: Sequence[Callable[..., object]] = (),
    expect: Sequence[Declaration] = (),
    upgrade_from: Callable[..., Any] | None = None,
    faults: str | Sequence[str] | None = None,
    until: Duration | None = None,
    start: datetime = START,
    id: RunId | None = None,
    workflows: Sequence[Workflow[..., Any]] = (),
    io: Literal["refuse", "allow"] = "refuse",
    budget: Duration = "5s",
    seed: int = 0,
    jobs: int = 1,
) -> Report:
    """Explore the schedules of a workflow: complete for one fault, closed for crashes, then pairs, then random plans.

    What is found is confirmed, reduced to the simplest schedule, explained, and kept in `.wfkit/failures`. Nothing is raised
    for it: a test ends with `.assert_ok()`. The other arguments are those of `simulate`.

    Args:
        workflow: a workflow.
        args: its arguments.
        faults: kinds such as `"crash"`, or whole faults, to narrow the search; everything unless given.
        budget: time for the passes that have no end of their own: a text such as "30s", seconds, or a timedelta. The others,
            all single faults and all crashes, end by themselves: they are cut short after ten times as much, or a minute if
            that is more, and the report says so.
        seed: where chance comes from.
        jobs: processes that execute schedules. More of them are sooner done, and try more random plans in the budget; what
            is found by the other passes is the same.

    Raises:
        ValueError: `jobs` is less than 1, or `until` or `budget` is no duration.
        FaultSyntaxError: a fault is not understood.
        TypeError, CodecError: the workflow does not take these arguments.
        HarnessLeak: without faults it goes another way each time, by something that the simulation does not control.
        UnsimulatedIO: a step opened a real socket.
        SimulationBounds: something never ends.
        DefinitionError: this is no workflow, or a handler of a fake service does not take a call.
        KeyboardInterrupt: what was found until then is kept in `.wfkit`.
    """
    subject = _subject(
        workflow, args, world, resources, script, runs, invariants, expect, upgrade_from, until, start, id, workflows, io
    )
    wanted = _listed(faults) if faults is not None else None
    report = explore(subject, Terms(wanted, microseconds(budget) / 1e6, seed=seed, jobs=jobs))
    if report.interrupted:
        raise KeyboardInterrupt  # the tests that follow are to be interrupted too
    return report


async def averify(workflow: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]], *args: Unpack[Ts], **options: Any) -> Report:
    """As `verify`, with the same options and errors, in a thread: the event loop of the caller goes on meanwhile."""
    return await asyncio.to_thread(cast("Any", verify), workflow, *args, **options)


def explore(subject: Subject, terms: Terms = USUAL) -> Report:
    """Explore the schedules of a subject. See `verify`, which raises the same.

    Args:
        subject: what is verified.
        terms: how far to go, where the caller does not say so.
    """
    caller = current()
    origin = caller.next_origin()
    faults = terms.faults or ()
    drops = [text for text in faults if is_drop(text)]
    struck = [text for text in faults if not is_drop(text)]
    subject = _without(subject, parse_schedule(drops)[1])
    if caller.replay is not None:
        return _replay(subject, caller.replay, origin)
    terms = dataclasses.replace(
        terms,
        faults=struck or (None if drops else terms.faults),
        budget=terms.budget if caller.budget is None else microseconds(caller.budget) / 1e6,
        seed=terms.seed if caller.seed is None else caller.seed,
        jobs=terms.jobs if caller.jobs is None else caller.jobs,
    )
    with silence():
        explored = search(subject, terms, progress=caller.progress)
        coverage = explored.coverage
        findings = findings_of(explored, subject, origin, caller.folder)
        missed = _never_struck([text for text in faults if "@" in text], explored.reference, terms.seed)
        coverage.not_run += [f"{fault}: the schedule never comes to that point" for fault in missed]
        if coverage.single_run and any(fault.kind != DROP for fault in missed):
            coverage.single_run -= 1  # what was executed is another schedule than the one that was asked for
    if coverage.interrupted:
        coverage.not_run.append("the rest: interrupted")
    if subject.world is not None and not coverage.effects and _ran_steps(explored.base):
        coverage.not_run.append("what happens twice: steps ran, and called no service of the world")
    name = subject.workflow.name
    report = Report(name, findings, coverage)
    if caller.folder is not None:
        try:
            write_report(report, str(origin.get("pytest", name)), caller.folder)
        except ReportNotWritten as error:
            log.warning("%s: %s", error.code, error)
    return report


def _never_struck(faults: Sequence[str], reference: Reference, seed: int) -> list[Fault]:
    """Return which of these faults, and of the deliveries to be left out, a schedule with all of them never comes to."""
    planned = tuple(fault for fault in map(parse_fault, faults) if fault.kind not in (DROP, "upgrade"))
    recording = Simulation(reference.subject, planned, seed=seed, base=reference.base).run() if planned else reference.base
    return [fault for fault in _missed(recording, faults) if fault.kind != "upgrade"]


def _ran_steps(recording: Recording[Any]) -> bool:
    return any(point.phase == "step.before" for point in recording.trace)


def _replay(subject: Subject, path: Path, origin: Mapping[str, Any]) -> Report:
    """Execute the schedule of a failure file, if it was made by this call.

    Raises:
        Replayed: it was.
    """
    name = subject.workflow.name
    failure = read_failure(path)
    if failure.origin.get("call", 1) != origin.get("call", 1):
        return Report(name, coverage=Coverage([f"anything: {path.name} is replayed, and another call made it"]))
    if failure.code.workflow != name:
        raise Replayed("diverges", f"{failure.code.workflow} is not verified here any more, but {name} is")
    replays = failure.signature[0] == "replay"
    if failure.faults and not replays:
        if failure.own_input and failure.input is not UNSET:
            try:
                subject = dataclasses.replace(subject, args=subject.workflow.signature.decode(failure.input))
            except CodecError as error:
                raise Replayed("diverges", f"{name} does not take the input of {path.name} any more: {error}") from None
        recording = _simulated(subject, failure.faults, failure.seed)
        findings = recording.findings
    else:  # what needs no fault may need a replay in other surroundings
        # A `sometimes` may hold where something goes wrong.
        faults = failure.faults if replays else None if failure.signature[0] == "user" else ()
        explored = search(subject, Terms(faults=faults, budget=0.0, seed=failure.seed))
        recording, findings = explored.base, findings_of(explored, subject, origin, None)
    for found in findings:
        if found.violation is not None and found.violation.signature == failure.signature:
            raise Replayed("still fails", found.story)
    event = first_other_event(path, recording.history())
    if event is not None and recording.faults != recording.planned:
        raise Replayed("diverges", f"{name} diverges at event {event}, before all faults have struck")
    raise Replayed("fixed", f"{name}: this is fixed: {failure.title}")


def _simulated(subject: Subject, faults: str | Sequence[str] | FaultPlan, seed: int) -> Recording[Any]:
    """Execute one schedule and judge it."""
    planned: tuple[Fault, ...] = ()
    if not isinstance(faults, FaultPlan):
        planned, dropped = parse_schedule(_listed(faults))
        subject = _without(subject, dropped)
    reference = fault_free(Campaign(subject, Terms(seed=seed)))
    if isinstance(faults, FaultPlan):
        planned = _resolve(faults, subject, reference, seed)
    upgrade = any(fault.kind == "upgrade" for fault in planned)
    if upgrade:
        reference = of_old_code(subject, reference, seed)
    subject = reference.subject
    if planned:
        recording = Simulation(subject, planned, seed=seed, base=reference.base).run()
        violations = judge(subject, reference, recording)
    else:
        recording = reference.base
        violations = judge_base(subject, reference)
    cases = [Found(violation, planned, seed, recording, 1, upgrade) for violation in violations]
    recording.findings = [Case(reference, case).finding() for case in cases]
    return recording


def _subject(
    workflow: Callable[..., Any],
    args: tuple[Any, ...],
    world: Callable[[], Any] | None,
    resources: Sequence[Replace[Any]],
    script: Callable[[Any, Any], Awaitable[None]] | None,
    runs: Sequence[Instance],
    invariants: Sequence[Callable[..., object]],
    expect: Sequence[Declaration],
    upgrade_from: Callable[..., Any] | None,
    until: Duration | None,
    start: datetime,
    id: RunId | None,
    workflows: Sequence[Workflow[..., Any]],
    io: Literal["refuse", "allow"],
) -> Subject:
    given = _workflow(workflow)
    try:
        given.signature.encode(args, {})
    except TypeError as error:
        names = ", ".join(name for name, _, _ in given.signature.parameters())
        raise TypeError(f"{given.name}({names}): {error}") from None
    if world is not None and not callable(world):
        raise DefinitionError(f"world={world!r} makes no world", help="hand over the class, without parentheses: world=World")
    return Subject(
        workflow=given,
        args=args,
        world=world,
        resources=resources,
        script=script,
        runs=runs,
        invariants=invariants,
        expect=expect,
        upgrade_from=_workflow(upgrade_from) if upgrade_from is not None else None,
        until=microseconds(until) if until is not None else None,
        start=start,
        id=id,
        workflows=workflows,
        io=io,
    )


def _workflow(given: Callable[..., Any]) -> Workflow[..., Any]:
    if not isinstance(given, Workflow):
        raise DefinitionError(f"{getattr(given, '__qualname__', given)!r} is no workflow", help="write @workflow above it")
    return given


def _listed(faults: str | Sequence[str]) -> Sequence[str]:
    return [faults] if isinstance(faults, str) else faults


def _without(subject: Subject, dropped: frozenset[Point]) -> Subject:
    """Return a subject whose outside does not make these deliveries."""
    return dataclasses.replace(subject, dropped=subject.dropped | dropped)


def _missed(recording: Recording[Any], faults: str | Sequence[str]) -> list[Fault]:
    """Return what was asked for, and never struck."""
    struck = {*recording.faults, *_dropped(recording)}
    return [fault for fault in map(parse_fault, _listed(faults)) if fault not in struck]


def _dropped(recording: Recording[Any]) -> set[Fault]:
    return {Fault(DROP, delivery.point) for delivery in recording.deliveries if delivery.kind == "dropped"}


def _resolve(plan: FaultPlan, subject: Subject, reference: Reference, seed: int) -> tuple[Fault, ...]:
    """Return the faults that a plan of Hypothesis means in this schedule."""
    upgrade = subject.upgrade_from is not None
    base = Simulation(subject, seed=seed).run() if upgrade else reference.base

    def trace_after(faults: tuple[Fault, ...]) -> Sequence[Point]:
        return Simulation(subject, faults, seed=seed, base=base).run().trace

    return plan.resolve(base.trace, trace_after, upgrade=upgrade)
