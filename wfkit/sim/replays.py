"""Replays what was recorded, elsewhere: code that looks at more than its history gives itself away."""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import nullcontext
from typing import Any

from wfkit.api.registry import Registry
from wfkit.core.commands import CompleteRun
from wfkit.core.compare import Difference, differences
from wfkit.core.entries import BUS, RunStarted
from wfkit.core.machine import activations
from wfkit.sim import real_io
from wfkit.sim.ambient import TODAYS
from wfkit.sim.code import namespaces
from wfkit.sim.disagreements import Disagreement, about, around_difference, disagreements, spelt, state_of
from wfkit.sim.elsewhere import anywhere
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject, replaced_globals

_ARGUMENTS_MAX = 5
"""Differences of arguments that one violation shows."""


def replayed(
    subject: Subject, recording: Recording[Any], registry: Registry, only: Container[int] | None = None
) -> list[Violation]:
    """Replay the histories of a recording in this process, elsewhere, with the state of modules as it is.

    Args:
        subject: what was simulated.
        recording: what came of it.
        registry: the code of its runs.
        only: the runs, by number, whose histories are replayed as a whole; unless given all are, and their beginnings too.
    """
    start = round(subject.start.timestamp() * 1e6)
    found: dict[str, list[Disagreement]] = {}
    refused = real_io.refused() if subject.io == "refuse" else nullcontext()
    with anywhere(namespaces(registry)), replaced_globals(recording.world), refused, real_io.unlogged():
        for number, records in sorted(recording.histories.items()):
            first = records[0].entry
            if number == BUS or not isinstance(first, RunStarted) or (only is not None and number not in only):
                continue
            code, fed = registry.workflow(first.workflow), activations(records)
            if not any(each.breaks for each in found.get(code.name, ())):
                found.setdefault(code.name, []).extend(disagreements(code, fed, len(records), start, beginnings=only is None))
    return violations_of(each for all in found.values() for each in all)


def parted(one: Recording[Any], other: Recording[Any], registry: Registry) -> list[Violation]:
    """Compare two recordings of one schedule: from equal entries, code that looks at nothing else asks for equal commands.

    Args:
        one: a recording.
        other: another one.
        registry: the code of their runs.

    Returns:
        A violation for each workflow that did not; none if the recordings differ for another reason.
    """
    found: dict[str, Violation] = {}
    for id, run in one.runs.items():
        again = other.runs.get(id)
        workflow = run.state.workflow
        if again is None or workflow in found:
            continue
        for first, second in zip(activations(run.records), activations(again.records), strict=False):
            if first.entry != second.entry:
                break
            apart = differences(first.commands or (), second.commands or (), first.seq)
            if apart and not isinstance(apart[-1].requested, CompleteRun):  # only the result: replays tell of that
                found[workflow] = _parted(workflow, id, apart[-1], state_of(registry.workflow(workflow)))
                break
    return list(found.values())


def _parted(workflow: str, run: str, apart: Difference, state: tuple[str, str] | None) -> Violation:
    told = [spelt(command, arguments=not apart.breaks) for command in (apart.recorded, apart.requested)]
    recorded, requested = around_difference(*told), around_difference(*reversed(told))
    if apart.breaks or apart.recorded is None:
        title = f"{workflow} goes another way each time it is executed: {requested} instead of {recorded}"
    else:
        title = f"{workflow} asks for {about(apart.recorded)} with other arguments each time it is executed"
    cause, fix = _of_state(*state) if state is not None else _OF_MORE
    return Violation(
        "replay",
        "error",
        workflow,
        title,
        workflow,
        run,
        getattr(apart.requested or apart.recorded, "n", 0),
        state[1] if state is not None else "",
        (f"executed once: {recorded}", f"executed again: {requested}"),
        cause,
        fix,
    )


UNKNOWN = "it depends on something that differs between executions"
"""How the cause begins where nothing shows it."""
_OF_MORE = (
    "a branch, or an order, that depends on more than the history: objects by address, a module's state",
    "let only arguments, results, signals and wfkit's own clock and chance decide",
)


def _of_state(name: str, line: str) -> tuple[str, str]:
    return (
        f"it uses {name}, at {line}, which outlives the run: what one execution leaves there, the next one finds",
        "keep it in a local variable or in a step's result: a replay starts with the module as it happens to be",
    )


def violations_of(found: Iterable[Disagreement], elsewhere: str = "") -> list[Violation]:
    """Return what disagreements come to: one violation for each workflow.

    Args:
        found: the disagreements.
        elsewhere: what was different where they were found, such as `PYTHONHASHSEED=1`; empty if only what is told of them.
    """
    by_workflow: dict[str, list[Disagreement]] = {}
    for each in found:
        by_workflow.setdefault(each.workflow, []).append(each)
    violations = []
    for of_one in by_workflow.values():
        breaking = next((each for each in of_one if each.breaks), None)
        violations.append(_way(breaking, elsewhere) if breaking is not None else _arguments(of_one, elsewhere))
    return violations


def _way(it: Disagreement, elsewhere: str) -> Violation:
    cause, fix = _cause(it, elsewhere)
    return Violation(
        "replay",
        "error",
        it.workflow,
        f"{it.workflow} goes another way when it is replayed: {it.requested} instead of {it.recorded}",
        it.workflow,
        it.run,
        it.n,
        _line(it),
        _evidence(it, elsewhere),
        cause,
        fix,
    )


def _arguments(of_one: list[Disagreement], elsewhere: str) -> Violation:
    it = of_one[0]
    cause, fix = _cause(it, elsewhere)
    evidence = [line for each in of_one[:_ARGUMENTS_MAX] for line in _evidence(each, "")]
    if elsewhere:
        evidence.append(f"replayed with {elsewhere}")
    return Violation(
        "replay",
        "warning",
        it.about,
        f"{it.about} is asked for with other arguments each time {it.workflow} is replayed",
        it.workflow,
        it.run,
        it.n,
        _line(it),
        tuple(evidence),
        f"{cause}; what was recorded is what counts, so the run goes on",
        fix,
    )


def _evidence(it: Disagreement, elsewhere: str) -> tuple[str, ...]:
    lines = [f"recorded: {it.recorded} (entry {it.entry} of {it.length})", f"replayed: {it.requested}"]
    lines += [f"looked at: {what} at {line}" for what, line in it.sights[:_ARGUMENTS_MAX]]
    if elsewhere:
        lines.append(f"replayed with {elsewhere}")
    return tuple(lines)


def _line(it: Disagreement) -> str:
    sights = _of_today(it) if it.zone else it.sights
    if sights:
        return sights[-1][1].rsplit(" in ", 1)[0]
    return it.line.rsplit(" in ", 1)[0]


def _of_today(it: Disagreement) -> list[tuple[str, str]]:
    """Return where code asked what day it is. A replay gives it the day of the run, but by the zone of the machine."""
    return [sight for sight in it.sights if sight[0] in TODAYS]


def _cause(it: Disagreement, elsewhere: str) -> tuple[str, str]:
    """Return why a replay disagrees, by what its code looked at, and what to do about it."""
    if it.zone:
        why = "it depends on the time zone or the language of the machine"
        fix = "work in UTC: datetime.fromtimestamp(t, UTC), astimezone(UTC); the zone of a customer is an argument"
        if today := _of_today(it):
            what, line = today[-1]
            why = f"it looks at {what}, at {line}, which depends on the time zone of the machine"
            fix = "ask wfkit.now().date(), which is UTC; the zone of a customer is an argument"
        return why, fix
    if it.sights:
        what, line = it.sights[-1]
        return f"it looks at {what}, at {line}, which answers otherwise in every execution", _instead_of(what)
    if it.suspect is not None and it.suspect.is_seen:
        return it.suspect[:2]
    if it.state is not None:
        return _of_state(*it.state)
    if it.suspect is not None and elsewhere:
        return it.suspect[:2]
    return (
        f"{UNKNOWN}: the time zone, the environment, a module, a set's order",
        "let a step find it out, or pass it to the workflow as an argument",
    )


def _instead_of(what: str) -> str:
    if what.startswith("os.environ"):
        return "let a step read it, or pass it to the workflow as an argument"
    if what.startswith(("time.", "datetime.")):
        return "use wfkit's now(), which is the recorded time, or let a step read the clock"
    if what.startswith("uuid."):
        return "use wfkit's uuid4(), which is the same in every replay"
    return "use wfkit's rng() or uuid4(), which are the same in every replay, or draw in a step"
