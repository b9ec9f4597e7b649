"""`simulate` executes one schedule, `verify` explores them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, TypeVarTuple, Unpack

from wfkit.api.definitions import Workflow
from wfkit.core.durations import Duration, microseconds
from wfkit.engine.client import Run
from wfkit.errors import DefinitionError
from wfkit.sim.faults import Fault, parse_fault
from wfkit.sim.recording import Recording
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import START, Declaration, Instance, Replace, RunId, Subject
from wfkit.testing.strategies import FaultPlan

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
        world: makes the outside world, which survives crashes and is compared at the end.
        resources: what of the world stands in for resources: `replace(bank, lambda world: world.bank)`.
        script: what the outside does, on virtual time: `async def script(run, world)`.
        runs: further runs of the same schedule.
        invariants: `check(world)` or `check(world, recording)`: False or an AssertionError is a finding.
        expect: differences that are meant: `outcome`, `ignores`, `extra`, `residue`.
        upgrade_from: the old version of the workflow, which the run begins with; the fault `upgrade` brings the new one.
        until: how long a schedule may last; 400 days unless given. Runs that never end need it.
        start: when it begins.
        id: the run's id, or a function that makes one for each time the start is delivered.
        workflows: what else the app defines, such as children that are started by name.
        io: "refuse" raises `UnsimulatedIO` where a step opens a real socket or starts a process.
        faults: what goes wrong, such as `"crash@2:step.effect_done_not_journaled:charge"`.
        seed: where chance comes from.

    Raises:
        FaultSyntaxError: a fault is not understood.
        UnsimulatedIO: a step opened a real socket.
        SimulationBounds: something never ends.
        DefinitionError: this is no workflow.
    """
    subject = _subject(
        workflow, args, world, resources, script, runs, invariants, expect, upgrade_from, until, start, id, workflows, io
    )
    planned = _parse(subject, faults, seed)
    return Simulation(subject, planned, seed=seed).run()


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
    return Subject(
        workflow=_workflow(workflow),
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


def _parse(subject: Subject, faults: str | Sequence[str] | FaultPlan, seed: int) -> tuple[Fault, ...]:
    if isinstance(faults, FaultPlan):
        return faults.resolve(
            lambda before: Simulation(subject, before, seed=seed).run().trace, upgrade=subject.upgrade_from is not None
        )
    return tuple(map(parse_fault, [faults] if isinstance(faults, str) else faults))
