"""Once nothing goes wrong any more every run ends, or waits for what it also waits for without faults."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.api.definitions import ATTENTION_AFTER
from wfkit.core.commands import AwaitSignal, PublishSignal, SendSignal, Subscribe
from wfkit.core.failures import blocking_error
from wfkit.core.state import PendingStep
from wfkit.sim.findings import Oracle, Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import listed
from wfkit.sim.trails import Trail, broke_down

_REPLAY = ("WF021",)
_AMBIENT = ("WF022", "WF023")
_SUBSCRIBE = "subscribe before asking: with subscribe(signal): ..., or let the sender send it to the run"
_GO_ON = "let every way out of a failure wake who waits: give the wait a timeout=, or await in one place all that it depends on"

_OTHER_INPUT = "give it an input and a world with which it completes"
_HAND_IT_OVER = "name the child where its parent's code is, in a table too, or hand it over: workflows=[child]"


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
        elif not recording.stopped and (base is None or base.ending is not None or _waits(trail) - _waits(base)):
            yield from _waiting(schedule, trail, sorted(_waits(trail)))


def stopped(schedule: Schedule) -> Iterator[Violation]:
    """A schedule comes to rest by itself, unless the user says `until=`."""
    reference, recording = schedule.reference, schedule.recording
    if recording.stopped is None:
        return
    is_long = recording.stopped.by in ("records", "failures")
    if not is_long and reference.subject.until is not None:
        return
    failing = next(_failing(schedule), None)
    if failing is not None:
        yield failing
    else:
        yield Violation(
            "resource" if is_long else "liveness",
            "error",
            "entries" if is_long else "end",
            f"it does not come to rest: {recording.stopped.told}",
            reference.subject.workflow.name,
            recording.main,
            line=reference.line_of(workflow=reference.subject.workflow.name),
            fix="say how long to look: until='30 days'",
        )


def _failing(schedule: Schedule) -> Iterator[Violation]:
    """Yield what keeps a schedule from its end: steps that fail again and again, and may not give up."""
    for id, run in schedule.recording.runs.items():
        for n, pending in run.state.open.items():
            if not isinstance(pending, PendingStep) or pending.error is None:
                continue
            name, retry, error = pending.command.name, pending.command.retry, pending.error
            if retry.max_attempts is not None or pending.attempt <= ATTENTION_AFTER:
                continue
            is_forward = retry.attention_after is not None and not pending.command.compensation
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
                "fix the code" if is_forward else "mend it, or let it give up: @step(retry=Retry(max_attempts=...))",
            )


def _waits(trail: Trail) -> set[str]:
    """Return the signals that a run waits for at its end."""
    return {name for n, name in trail.waits.items() if n not in trail.cut and n not in trail.closed}


def _waiting(schedule: Schedule, trail: Trail, waits: list[str]) -> Iterator[Violation]:
    reference = schedule.reference
    usual = reference.trails.newest(trail.id)
    known = _waits(usual) if usual is not None and usual.ending is None else set()
    unusual = [name for name in waits if name not in known]
    if waits and not unusual:
        return
    is_awaiting_children = not waits and any(n not in trail.ends for n in trail.children)
    if is_awaiting_children:
        return  # the child that does not end is the finding
    # A way that faults open, such as asking a person, ends where nobody plays that person.
    is_unplayed = bool(unusual) and schedule.nominal != "M" and not set(unusual) & (reference.sent - schedule.came_less)
    what = listed(unusual) if unusual else "nothing that will ever come"
    why, fix = "", _GO_ON
    if _was_published(schedule, unusual):
        why, fix = "what is published while nobody listens is lost", _SUBSCRIBE
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


def _was_published(schedule: Schedule, names: list[str]) -> bool:
    return any(delivery.kind == "publish" and delivery.name in names for delivery in schedule.recording.deliveries)


def _retries_what_never_heals(schedule: Schedule) -> bool:
    """Whether all that keeps the schedule from its end is a step that fails for good, and may not give up."""
    fatal = {(fault.point.run or schedule.recording.main, fault.point.n) for fault in schedule.recording.faults}
    return any(
        isinstance(pending, PendingStep) and (id, n) in fatal and pending.command.retry.max_attempts is None
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


def vacuous(schedule: Schedule) -> Iterator[Violation]:
    """In the schedule without faults: waits for signals that nobody sends. What follows them is then never tried."""
    reference = schedule.reference
    if reference.subject.script is not None:
        return
    sent = reference.sent | {
        command.name
        for trail in schedule.trails
        for record in trail.records
        for command in record.commands or ()
        if isinstance(command, SendSignal | PublishSignal)
    }
    told: set[str] = set()
    for trail in schedule.trails:
        for record in trail.records:
            for command in record.commands or ():
                if isinstance(command, AwaitSignal | Subscribe) and command.name not in sent | told:
                    told.add(command.name)
                    yield Violation(
                        "liveness",
                        "info",
                        command.name,
                        f"vacuous: nobody sends {command.name}",
                        trail.workflow,
                        trail.id,
                        command.n,
                        reference.line_of(workflow=trail.workflow),
                        fix="give script= something that sends it; a script that sends nothing says that silence is meant",
                    )


def blocked_in_base(schedule: Schedule) -> Iterator[Violation]:
    for trail in schedule.trails:
        if trail.ending is None and trail.blocked is not None:
            yield blocked(schedule, trail)


def failed_in_base(schedule: Schedule) -> Iterator[Violation]:
    """Without any fault the main run fails: whatever comes after the failure is never tried, and no failure is news."""
    recording = schedule.recording
    run = recording.run
    if run is not None and run.status in ("failed", "timed_out"):
        reference, workflow = schedule.reference, run.state.workflow
        trail = schedule.trails.newest(run.id)
        is_broken = trail is not None and broke_down(trail)
        told = f"{run.error.type}: {run.error.message}".partition("\n")[0] if run.error is not None else run.status
        yield Violation(
            "liveness",
            "warning" if is_broken else "info",
            f"{workflow} {run.status}",
            f"vacuous: without any fault {workflow} {'fails' if run.status == 'failed' else 'reaches its timeout'}: {told}",
            workflow,
            run.id,
            line=reference.line_of(workflow=workflow),
            fix="fix the code" if is_broken else _HAND_IT_OVER if "UnknownWorkflow" in told else _OTHER_INPUT,
        )
