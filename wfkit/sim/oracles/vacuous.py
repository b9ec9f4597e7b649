"""What a schedule without faults does not come to, so that nothing is proved of it: it fails, it waits for ever, or in vain."""

from __future__ import annotations

import dis
from collections.abc import Iterator

from wfkit.core.commands import AwaitSignal, PublishSignal, SendSignal, Subscribe
from wfkit.sim.findings import Severity, Violation
from wfkit.sim.oracles.liveness import waits_of
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.signals import unread_of
from wfkit.sim.oracles.words import listed, times
from wfkit.sim.trails import Trail, broke_down

_NEVER_WORKS = frozenset({"CodecError", "PayloadTooLarge", "UnknownWorkflow"})
"""Errors that no input and no world prevents."""
_FIX = "fix the code: no input and no world lets this come to its end"
_HAND_IT_OVER = "name the child where its parent's code is, in a table too, or hand it over: workflows=[child]"
_PLAY = (
    "let a script send it: async def script(run, world): await run.send({signal}, ...), and verify(..., script=script); "
    "on the command line --world names a class with that script; one that sends nothing says that silence is meant"
)
_COMPLETE = (
    "give it an input and a world with which it completes: verify({name}, ..., world=World); on the command line --world"
)


def proves_nothing(schedule: Schedule) -> Iterator[Violation]:
    """Tell what comes after a failure, or after a wait that nobody ends: it is never tried.

    Where deliveries are left out, such as in the shortest schedule of a finding, that is no news.
    """
    if schedule.reference.subject.dropped:
        return
    main = schedule.trails.newest(schedule.recording.main)
    unplayed = list(_unplayed(schedule))
    told = list(_told(schedule, main, unplayed)) if main is not None else []
    yield from told
    if not told:
        for trail, n, name in unplayed:
            yield _violation(
                schedule, trail, "warning", name, f"nothing is proved of what follows {name}: nobody sends it", n, _play(name)
            )
    for trail in schedule.trails:
        if trail is not main and _waits_for_ever(schedule, trail) and not _is_awaited(main, trail):
            title = f"{trail.workflow} waits for {_waited_for(schedule, trail)} for ever"
            yield _violation(schedule, trail, "info", f"{trail.workflow} waits", title, 0, "")


def _told(schedule: Schedule, main: Trail, unplayed: list[tuple[Trail, int, str]]) -> Iterator[Violation]:
    """Tell how the main run ends, if that proves nothing of the rest."""
    nobody = listed(name for _, _, name in unplayed) if unplayed else ""
    for trail in schedule.trails:
        if trail.error is not None and trail.error.type in _NEVER_WORKS:
            yield _failing(schedule, trail, "warning", "")
            return
    if main.status in ("failed", "timed_out"):
        is_for_want = bool(unplayed) and (main.error is None or main.error.type == "TimeoutError")
        has_world = schedule.reference.subject.world is not None
        is_meant = has_world and not is_for_want and not broke_down(main)
        yield _failing(schedule, main, "info" if is_meant else "warning", nobody if is_for_want else "")
    elif _waits_for_ever(schedule, main):
        names = sorted(waits_of(main))
        unread = unread_of(main)
        left = "; nobody sends it" if nobody else ""
        left += f"; unread: {', '.join(f'{name} {times(count)}' for name, count in unread.items())}" if unread else ""
        title = f"proves nothing: without any fault {main.workflow} waits for {_waited_for(schedule, main)} for ever{left}"
        fix = _play(names[0] if names else nobody or "it")
        yield _violation(schedule, main, "warning", f"{main.workflow} waits", title, 0, fix)


def _failing(schedule: Schedule, trail: Trail, severity: Severity, unplayed: str) -> Violation:
    what = f"{trail.workflow} reaches its timeout"
    if trail.error is not None:
        message = trail.error.message.partition("\n")[0]
        what = f"{trail.workflow} fails: {trail.error.type}{f': {message}' if message else ''}"
    title = f"proves nothing: without any fault {what}{f'; nobody sends {unplayed}' if unplayed else ''}"
    fix = _COMPLETE.format(name=trail.workflow)
    if unplayed:
        fix = _play(unplayed)
    elif trail.error is not None and trail.error.type in _NEVER_WORKS:
        fix = _HAND_IT_OVER if trail.error.type == "UnknownWorkflow" else _FIX
    elif broke_down(trail):
        fix = "fix the code"
    return _violation(schedule, trail, severity, f"{trail.workflow} {trail.status}", title, 0, fix)


def _play(signal: str) -> str:
    return _PLAY.format(signal=signal)


def _unplayed(schedule: Schedule) -> Iterator[tuple[Trail, int, str]]:
    """Yield the waits for signals that nobody sends, where no script says that silence is meant."""
    if schedule.reference.subject.script is not None:
        return
    sent = {
        command.name
        for trail in schedule.trails
        for command in trail.commands
        if isinstance(command, SendSignal | PublishSignal)
    }
    told = schedule.reference.sent | sent
    for trail in schedule.trails:
        for command in trail.commands:
            if isinstance(command, AwaitSignal | Subscribe) and command.name not in told:
                told |= {command.name}
                yield trail, command.n, command.name


def _waits_for_ever(schedule: Schedule, trail: Trail) -> bool:
    """Whether a run never ends, though it could: a loop without an end is meant."""
    is_cut = schedule.recording.stopped is not None or schedule.reference.subject.until is not None
    return trail.ending is None and trail.blocked is None and not is_cut and _can_return(schedule, trail)


def _can_return(schedule: Schedule, trail: Trail) -> bool:
    definition = schedule.reference.registry.workflows.get(trail.workflow)
    if definition is None:
        return True
    return any(
        each.opname.startswith("RETURN_") and each.opname != "RETURN_GENERATOR" for each in dis.get_instructions(definition.fn)
    )


def _waited_for(schedule: Schedule, trail: Trail) -> str:
    names = sorted(waits_of(trail))
    if names:
        return listed(names)
    open_children = (schedule.trails.newest(command.id) for n, command in trail.children.items() if n not in trail.ends)
    for child in open_children:
        if child is not None and child.ending is None:
            return f"{child.workflow}, which waits for {_waited_for(schedule, child)}"
    return "nothing that will ever come"


def _is_awaited(main: Trail | None, trail: Trail) -> bool:
    """Whether the main run awaits another one, and so has told of it."""
    return main is not None and any(command.id == trail.id and command.awaited for command in main.children.values())


def _violation(schedule: Schedule, trail: Trail, severity: Severity, about: str, title: str, n: int, fix: str) -> Violation:
    line = schedule.reference.line_of(workflow=trail.workflow)
    return Violation("liveness", severity, about, title, trail.workflow, trail.id, n, line, fix=fix)
