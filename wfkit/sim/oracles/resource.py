"""What a run leaves under way, and what it uses up."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET, Raw

from wfkit.core.commands import CompleteRun
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed
from wfkit.sim.trails import Trail

ENTRIES_MAX = 2_000
"""So many entries are read again whenever a run is rebuilt: after a crash, and when it has been out of memory."""
PAYLOAD_BYTES_MAX = 256 * 1024
_VALUES = ("value", "args", "payload")


def dangling(schedule: Schedule) -> Iterator[Violation]:
    """Nothing that a run began is under way when it returns."""
    for trail in schedule.trails:
        ending = trail.ending
        if not isinstance(ending, CompleteRun) or not ending.dangling:
            continue
        n = ending.dangling[0]
        names = [_name(trail, each) for each in ending.dangling]
        yield Violation(
            "dangling",
            "error",
            names[0],
            f"{trail.workflow} returned while {listed(names)} was under way, and cut it short",
            trail.workflow,
            trail.id,
            n,
            schedule.reference.line_of(names[0], names[0]),
            tuple(f"#{each} {_name(trail, each)} was begun, and not awaited" for each in ending.dangling[:4]),
            "the workflow returns without awaiting what it began",
            "await it, cancel it and await its end, or start a child that lives on: start_child(...)",
        )


def unawaited(schedule: Schedule) -> Iterator[Violation]:
    """Every call is awaited. In schedules with faults one may be dropped since what came before it failed."""
    told: set[tuple[str, str]] = set()
    for dropped in schedule.recording.unawaited:
        trail = schedule.trails.newest(dropped.run)
        if trail is None or (dropped.what, dropped.line) in told:
            continue
        told.add((dropped.what, dropped.line))
        step = trail.steps[dropped.n].name if dropped.n in trail.steps else ""
        yield Violation(
            "dangling",
            "error",
            dropped.what,
            f"{f'step {step}' if step else trail.workflow} calls {dropped.what} and never awaits it",
            trail.workflow,
            trail.id,
            dropped.n,
            dropped.line or schedule.reference.line_of(step, trail.workflow),
            (f"{dropped.what} was called, and did nothing",),
            "the call of an `async def` function runs nothing until it is awaited",
            f"await {dropped.what[:-1]}...); several at once: await asyncio.gather(...)",
        )


def _name(trail: Trail, n: int) -> str:
    if n in trail.steps:
        return trail.steps[n].name
    return trail.children[n].workflow if n in trail.children else f"#{n}"


def size(schedule: Schedule) -> Iterator[Violation]:
    """A history stays so short, and its values so small, that a run is rebuilt at once."""
    told: set[tuple[str, str]] = set()
    for trail in schedule.trails:
        if len(trail.records) > ENTRIES_MAX and (trail.workflow, "entries") not in told:
            told.add((trail.workflow, "entries"))
            yield _too_much(
                schedule,
                trail,
                "entries",
                f"{trail.workflow} has {len(trail.records):,} entries: each crash reads them all again",
                f"limit: {ENTRIES_MAX:,} entries",
                "wait longer between two turns, or go on in a child after so many of them",
            )
        name, bytes_max = _largest(trail)
        if bytes_max > PAYLOAD_BYTES_MAX and (trail.workflow, name) not in told:
            told.add((trail.workflow, name))
            yield _too_much(
                schedule,
                trail,
                name,
                f"{name} brings {bytes_max // 1024:,} KiB into the history",
                f"limit: {PAYLOAD_BYTES_MAX // 1024} KiB",
                "store it elsewhere, and pass on where it is",
            )


def _too_much(schedule: Schedule, trail: Trail, about: str, title: str, evidence: str, fix: str) -> Violation:
    line = schedule.reference.line_of(about, trail.workflow)
    return Violation("resource", "warning", about, title, trail.workflow, trail.id, 0, line, (evidence,), fix=fix)


def _largest(trail: Trail) -> tuple[str, int]:
    """Return the name of what brought the largest value of a history, and its size in bytes."""
    name, most = "", 0
    for record in trail.records:
        for thing in (record.entry, *(record.commands or ())):
            for field in _VALUES:
                value = getattr(thing, field, UNSET)
                if isinstance(value, Raw) and len(bytes(value)) > most:
                    most = len(bytes(value))
                    n = getattr(thing, "n", 0)
                    name = (
                        _name(trail, n) if n in trail.steps or n in trail.children else getattr(thing, "name", trail.workflow)
                    )
    return name, most


def amplified(schedule: Schedule) -> Iterator[Violation]:
    """No command makes more calls than its own policy allows. Compensations may try for ever.

    A step that the engine attempts once may repeat its calls by itself: nothing multiplies.
    """
    calls = schedule.reference.calls
    told: set[str] = set()
    for point in schedule.recording.trace:
        if point.phase != "call.before" or point.occurrence <= 4 or point.label in told:
            continue
        run = point.run or schedule.recording.main
        trail = schedule.trails.newest(run)
        step = trail.steps.get(point.n) if trail is not None else None
        if trail is None or step is None or step.retry.max_attempts in (None, 1):
            continue
        allowed = max(calls[point.label], 1) * (step.retry.max_attempts + schedule.recording.lives - 1)
        if point.occurrence <= allowed:
            continue
        told.add(point.label)
        most = max(p.occurrence for p in schedule.recording.trace if p[:4] == point[:4])
        yield Violation(
            "resource",
            "warning",
            point.label,
            f"one call of {step.name} asked for {point.label} {most} times: it retries what the engine retries as well",
            trail.workflow,
            run,
            point.n,
            schedule.reference.line_of(step.name),
            (f"its policy: {step.retry.max_attempts} attempts", f"this run: {most} calls"),
            "a loop of attempts within a step multiplies with the step's own policy",
            "leave repeating to the engine: @step(retry=Retry(max_attempts=...)), and call once",
        )
