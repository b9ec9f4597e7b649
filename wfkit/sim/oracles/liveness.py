"""Once nothing goes wrong any more every run ends, or waits for what it also waits for without faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfkit.api.definitions import ATTENTION_AFTER
from wfkit.core.commands import PublishSignal, SendSignal
from wfkit.core.entries import StepFailed
from wfkit.core.failures import blocking_error
from wfkit.core.state import PendingStep
from wfkit.sim.faults import COMPENSATION_PHASES
from wfkit.sim.findings import Oracle, Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed, times
from wfkit.sim.trails import Trail

_REPLAY = ("WF021",)
_AMBIENT = ("WF022", "WF023")
_SUBSCRIBE = "subscribe before asking: with subscribe(signal): ..., or let the sender send it to the run"
_BOUND = "let the loop end: count its turns, or let a failure that lasts leave it"
_ENDED = {"failed": "failed before that", "timed_out": "timed out before that", "completed": "ended before that"}
_GO_ON = "let every way out of a failure wake who waits: give the wait a timeout=, or await in one place all that it depends on"


def liveness(schedule: Schedule) -> Iterator[Violation]:
    reference, recording = schedule.reference, schedule.recording
    is_unsent = schedule.nominal == "T" and bool(schedule.came_less)
    if not reference.base.stopped and not is_unsent and not _retries_what_never_heals(schedule):
        yield from stopped(schedule)
    for id in recording.runs:
        trail = schedule.trails.newest(id)
        if trail is None or trail.ending is not None:
            continue
        base = reference.trails.newest(id)
        if trail.blocked is not None:
            if base is None or base.blocked is None or base.blocked.code != trail.blocked.code:
                yield blocked(schedule, trail)
        elif not recording.stopped and (base is None or base.ending is not None or waits_of(trail) - waits_of(base)):
            yield from _waiting(schedule, trail, sorted(waits_of(trail)))


def stopped(schedule: Schedule) -> Iterator[Violation]:
    """A schedule comes to rest by itself, unless the user says `until=`."""
    reference, recording = schedule.reference, schedule.recording
    if recording.stopped is None or not schedule.is_endless:
        return
    failing = next(_failing(schedule), None)
    if failing is not None:
        yield failing
        return
    by, workflow = recording.stopped.by, reference.subject.workflow.name
    what = f"without any fault {workflow}" if recording is reference.base else "it"
    yield Violation(
        "resource" if by == "records" else "liveness",
        "error",
        "entries" if by == "records" else "end",
        f"{what} does not come to rest: {recording.stopped.told}",
        workflow,
        recording.main,
        line=reference.line_of(workflow=workflow),
        evidence=tuple(_repeated(schedule)) if by in ("records", "circles") else (),
        fix=_BOUND if by in ("circles", "bounds") else "say how long to look: until='30 days'",
    )


def _repeated(schedule: Schedule) -> Iterator[str]:
    """Yield what the runs of a schedule that does not come to rest do most."""
    asked = Counter((trail.workflow, step.name) for trail in schedule.trails for step in trail.steps.values())
    failed = {
        trail.steps[n].name: f", which last failed with {entry.error.type}: {entry.error.message.partition(chr(10))[0]}"
        for trail in schedule.trails
        for n, (_, entry) in trail.ends.items()
        if isinstance(entry, StepFailed) and n in trail.steps
    }
    for (workflow, step), count in asked.most_common(2):
        yield f"this run: {workflow} called {step} {times(count)}{failed.get(step, '')}"


def _failing(schedule: Schedule) -> Iterator[Violation]:
    """Yield what keeps a schedule from its end: steps that fail again and again, and may not give up."""
    for id, run in schedule.recording.runs.items():
        for n, pending in run.state.open.items():
            if not isinstance(pending, PendingStep) or pending.error is None:
                continue
            name, retry, error = pending.command.name, pending.command.retry, pending.error
            if retry.max_attempts is not None or pending.attempt <= ATTENTION_AFTER:
                continue
            is_forward = pending.command.is_past_pivot
            why = "its policy tries until it succeeds"
            if retry.attention_after is not None:
                why = "compensations, and what follows a pivot, are tried until they succeed"
            yield Violation(
                "liveness",
                "error",
                name,
                f"{name} fails for ever: {error.type}: {error.message.partition(chr(10))[0]}",
                run.state.workflow,
                id,
                n,
                (error.line or "").partition(" in ")[0] or schedule.reference.line_of(name),
                (f"this run: {pending.attempt - 1:,} attempts, and no end",),
                why,
                "fix it" if is_forward else "fix it, or let it give up: @step(retry=Retry(max_attempts=...))",
            )


def waits_of(trail: Trail) -> set[str]:
    """Return the signals that a run waits for at its end."""
    return {name for n, name in trail.waits.items() if n not in trail.cut and n not in trail.closed}


def _waiting(schedule: Schedule, trail: Trail, waits: list[str]) -> Iterator[Violation]:
    reference = schedule.reference
    usual = reference.trails.newest(trail.id)
    known = waits_of(usual) if usual is not None and usual.ending is None else set()
    unusual = [name for name in waits if name not in known]
    if waits and not unusual:
        return
    is_awaiting_children = not waits and any(n not in trail.ends for n in trail.children)
    if is_awaiting_children:
        return  # the child that does not end is the finding
    # A way that faults open, such as asking a person, ends where nobody plays that person.
    silent = [other for other in _silent(schedule, unusual) if other is not trail]
    is_played = bool(set(unusual) & (reference.sent - schedule.came_less)) or bool(silent)
    is_unplayed = bool(unusual) and schedule.nominal != "M" and not is_played
    what = listed(unusual) if unusual else "nothing that will ever come"
    why, fix = "", _GO_ON
    if _was_published(schedule, unusual):
        why, fix = "what is published while nobody listens is lost", _SUBSCRIBE
    elif silent:
        how = _ENDED.get(silent[0].status) or f"waits for {listed(sorted(waits_of(silent[0])))}"
        why = f"{silent[0].workflow}, which sends it, {how}"
    elif is_unplayed:
        fix = "give script= something that sends it under this fault, or let the wait end by itself: timeout="
    yield Violation(
        "liveness",
        "info" if is_unplayed else "error",
        unusual[0] if unusual else "end",
        f"vacuous: nobody sends {what}" if is_unplayed else f"{trail.workflow} waits for {what} for ever",
        trail.workflow,
        trail.id,
        next((n for n, name in trail.waits.items() if name in unusual), 0),
        reference.line_of(workflow=trail.workflow),
        (f"fault-free: {usual.status if usual is not None else 'not started'}", f"this run: waits for {what}"),
        why,
        fix,
    )


def _silent(schedule: Schedule, names: list[str]) -> list[Trail]:
    """Return the runs that send these signals without faults, and do not here: they have ended, or wait themselves.

    One that was cancelled is none of them: who has cancelled it may know of those that wait.
    """
    found = []
    for base in schedule.reference.trails:
        trail = schedule.trails.newest(base.id)
        if trail is None or not any((_sent_by(base) - _sent_by(trail))[name] for name in names):
            continue
        if trail.status in _ENDED or (trail.status == "running" and waits_of(trail) - waits_of(base)):
            found.append(trail)
    return found


def _sent_by(trail: Trail) -> Counter[str]:
    return Counter(command.name for command in trail.commands if isinstance(command, SendSignal | PublishSignal))


def _was_published(schedule: Schedule, names: list[str]) -> bool:
    return any(delivery.kind == "publish" and delivery.name in names for delivery in schedule.recording.deliveries)


def _retries_what_never_heals(schedule: Schedule) -> bool:
    """Whether what keeps the schedule from its end is a step that fails for good, and may not give up.

    Where an undo is refused for good, other undos may be in vain that want its work.
    """
    faults = [fault for fault in schedule.recording.faults if fault.kind == "fatal"]
    fatal = {(fault.point.run or schedule.recording.main, fault.point.n) for fault in faults}
    is_undo_refused = any(fault.point.phase in COMPENSATION_PHASES for fault in faults)
    return any(
        isinstance(pending, PendingStep)
        and pending.command.retry.max_attempts is None
        and ((id, n) in fatal or (is_undo_refused and schedule.reference.is_undo(pending.command)))
        for id, run in schedule.recording.runs.items()
        for n, pending in run.state.open.items()
    )


def blocked(schedule: Schedule, trail: Trail) -> Violation:
    """Return what it means that a run is blocked."""
    assert trail.blocked is not None
    cause, code = trail.blocked.cause, trail.blocked.code
    oracle: Oracle = "replay" if code in _REPLAY else "ambient" if code in _AMBIENT else "liveness"
    first, *more = cause.message.splitlines() or [""]
    line = (cause.line or "").partition(" in ")[0] or schedule.reference.line_of(workflow=trail.workflow)
    told = f"{trail.workflow} is blocked: {first}"
    if oracle == "ambient":
        told = f"{trail.workflow} touches what workflows may not: {first}"
    return Violation(
        oracle,
        "error",
        code,
        told,
        trail.workflow,
        trail.id,
        trail.blocked.at,
        line,
        (f"{code} {cause.type}", *more),
        fix=blocking_error(trail.blocked).help,
    )


def blocked_in_base(schedule: Schedule) -> Iterator[Violation]:
    for trail in schedule.trails:
        if trail.ending is None and trail.blocked is not None:
            yield blocked(schedule, trail)
