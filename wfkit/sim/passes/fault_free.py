"""Pass 0, without faults: what all other schedules are compared with, and what may differ in them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from wfkit.core.entries import TimerFired
from wfkit.errors import HarnessLeak
from wfkit.sim.ambient import STARTS_THREAD
from wfkit.sim.campaign import Campaign
from wfkit.sim.code import registry_of
from wfkit.sim.faults import HOUR, Fault, Plan, Point, plain
from wfkit.sim.oracles import judge_base
from wfkit.sim.oracles.resource import ENTRIES_MAX
from wfkit.sim.oracles.words import listed
from wfkit.sim.passes.replays import replay_all
from wfkit.sim.recording import Delivery, Recording
from wfkit.sim.reference import Reference, redrawing
from wfkit.sim.replays import parted
from wfkit.sim.story import place
from wfkit.sim.trails import Trails
from wfkit.sim.twice import drawn_anew, first_difference, other_key, outlives

ORDERS = 8
"""Arrival orders under which a schedule without faults runs, if anything in it is ready at the same instant."""
TICK = 1_000_000
"""So much later it is at each point of a schedule that shows what the workflow measures; microseconds, as in a restart."""
TIMERS = 8
"""So many timers are looked at, whether what follows depends on how late they come."""
LATER_TIMES = 8
"""So often a step may draw, or look at the clock, before it is held that this is nothing to what it returns."""
APART = 120_000_000
"""So long after each other runs come to their first steps, to see who wins then; microseconds. No timeout is so short."""
RACE = 1_000_000
"""A timer and a delivery so close come in either order, by a restart alone: microseconds. Round times make that likely."""


def fault_free(campaign: Campaign) -> Reference:
    """Execute the schedules without faults, and let the campaign know what they come to.

    Raises:
        HarnessLeak: the same schedule goes another way each time, and not by the workflow's doing.
        SimulationBounds: something computes for ever.
    """
    subject = campaign.subject
    campaign.base = base = campaign.execute()
    if base.stopped and subject.until is None:
        return _endless(campaign)
    again = _again(campaign)
    base = campaign.base
    orders = []
    if any(point.phase == "tie" for point in base.trace):
        orders = [campaign.execute(arrival=arrival) for arrival in range(1, ORDERS + 1)]
    orders += [campaign.execute(plan) for plan in _other_starts(campaign)]
    orders += _other_winners(campaign)
    if racing := _racing(base):
        orders += [campaign.execute((Fault("late", point, 2 * RACE),)) for point in racing[:TIMERS]]
        orders += _late_timers(campaign)
    redrawn = [*again, _later(campaign, 1)]
    if base.reads or Reference.of(subject, base).reads_clock:
        late = [recording for recording in _late_timers(campaign) if _attempts(recording) == _attempts(base)]
        redrawn += [campaign.execute(ticks(base)), *late]
    campaign.reference = Reference.of(subject, base, orders, redrawn, _elsewhen(campaign, redrawn))
    campaign.note(judge_base(subject, campaign.reference), (), base)
    if any(len(run.records) > ENTRIES_MAX for run in base.runs.values()):
        campaign.hurry()
    campaign.coverage.points = sum(point.phase not in ("tie", "delivery") for point in base.trace)
    campaign.coverage.effects = len(base.effects)
    if starting := list(_starting_threads(base, campaign.reference.trails)):
        campaign.coverage.not_run.append(f"threads that {listed(starting)} starts: what runs in them is not simulated")
    return campaign.reference


def _starting_threads(base: Recording[Any], trails: Trails) -> Iterator[str]:
    """Yield the steps that start threads of their own, and where they do."""
    lines: dict[str, str] = {}
    for read in base.reads:
        step = trails.step_at(read)
        if read.what == STARTS_THREAD and step is not None:
            lines.setdefault(step.name, read.line)
    for name, line in lines.items():
        yield f"{name} ({place(line)})"


def _endless(campaign: Campaign) -> Reference:
    """Tell why a schedule does not end. There is nothing to compare others with."""
    campaign.reference = Reference.of(campaign.subject, campaign.base)
    campaign.note(judge_base(campaign.subject, campaign.reference), (), campaign.base)
    campaign.coverage.not_run.append("faults: without any, it does not come to rest")
    return campaign.reference


def _later(campaign: Campaign, times: int) -> Recording[Any]:
    """Execute the schedule without faults with other chance, and so many times three days, an hour and a bit later."""
    shift = times * timedelta(days=3, hours=1, minutes=7, seconds=11)
    later = replace(campaign.subject, start=campaign.subject.start + shift)
    return campaign.execute(seed=campaign.seed + times, subject=later)


def _elsewhen(campaign: Campaign, redrawn: Sequence[Recording[Any]]) -> list[Recording[Any]]:
    """Execute it ever later, until it is known of each step that looks at a clock or draws whether that matters."""
    trails = Trails(campaign.base)
    steps = (trails.step_at(read) for read in campaign.base.reads if not read.through)
    open = {step.name for step in steps if step is not None}.difference(*(redrawing(trails, Trails(one)) for one in redrawn))
    found: list[Recording[Any]] = []
    while open and len(found) < LATER_TIMES:
        found.append(_later(campaign, len(found) + 2))
        open.difference_update(redrawing(trails, Trails(found[-1])))
    return found


def ticks(base: Recording[Any]) -> Plan:
    """Return what lets every time that a workflow measures be another one, and nothing else."""
    phases = ("step.before", "timer.set", "wait.registered", "event.before_journal")
    return tuple(Fault("jump+", point, TICK) for point in base.trace if plain(point.phase) in phases)


def _racing(base: Recording[Any]) -> list[Point]:
    """Return the deliveries that come at about the time of a timer."""
    fired = [event.at for event in base.events if event.kind == "wrote" and isinstance(event.data[0].entry, TimerFired)]
    came = [(event.at, event.data[0].point) for event in base.events if event.kind == "delivery"]
    return [point for at, point in came if any(abs(at - other) <= RACE for other in fired)]


def _late_timers(campaign: Campaign) -> Iterator[Recording[Any]]:
    """Yield schedules in which one timer comes a second late, since the process dies then, in no step's way."""
    fired = [point for point in campaign.base.trace if point.phase == "timer.fired"]
    for point in fired[:TIMERS]:
        recording = campaign.execute((Fault("crash", point),))
        if not any(event.kind == "wrote" and getattr(event.data[0].entry, "died", False) for event in recording.events):
            yield recording


def _attempts(recording: Recording[Any]) -> int:
    return sum(event.kind == "attempt" for event in recording.events)


def _other_starts(campaign: Campaign) -> Iterator[Plan]:
    """Yield what lets the runs of the campaign start in other orders, an hour apart."""
    if not campaign.subject.runs or campaign.subject.script is not None:
        return
    for order in _orders(campaign):
        yield tuple(
            Fault("late", Point("", start.index, "delivery", start.name), place * HOUR)
            for place, start in enumerate(order)
            if place
        )


def _orders(campaign: Campaign) -> Iterator[tuple[Delivery, ...]]:
    """Yield other orders of the runs that were started from outside."""
    starts = [each for each in campaign.base.deliveries if each.kind == "start"]
    yield from itertools.islice(itertools.permutations(starts), 1, ORDERS + 1)


def _other_winners(campaign: Campaign) -> Iterator[Recording[Any]]:
    """Yield schedules in which runs that a script goes along with come to their first steps in other orders.

    The script's own times stay as they are. What it does meanwhile may lead elsewhere, so only those count in which as many
    runs end in each way as without: others were the first then.
    """
    if campaign.subject.script is None:
        return
    base, reference = campaign.base, Reference.of(campaign.subject, campaign.base)
    first = {point.run: point for point in reversed(base.trace) if point.phase == "step.before"}
    usual = Counter(end._replace(label="") for end in reference.run_ends(base))
    for order in _orders(campaign):
        points = [first.get("" if start.run == base.main else start.run) for start in order]
        plan = tuple(Fault("delay", point, place * APART) for place, point in enumerate(points) if place and point is not None)
        recording = campaign.execute(plan)
        if Counter(end._replace(label="") for end in reference.run_ends(recording)) == usual:
            yield recording


def _again(campaign: Campaign) -> list[Recording[Any]]:
    """Execute the schedule without faults again. Returns that execution if other values were drawn in it.

    What differs in values alone is drawn anew each time, as by chance that the simulation does not control. Where the process
    remembers something the first execution is another one than all that follow: the second one is then what counts.
    """
    base, again = campaign.base, campaign.execute()
    if again.digest == base.digest:
        return []
    reference = Reference.of(campaign.subject, base)
    registry = registry_of(campaign.subject, None)
    if again.trace != base.trace:
        third = campaign.execute()
        if third.trace != again.trace or parted(base, again, registry):
            _part(campaign, again)
            return []
        campaign.note([outlives(reference, base, again)], (), base)
        campaign.base, again = again, third
        reference = Reference.of(campaign.subject, campaign.base)
    elif parted(base, again, registry):
        _part(campaign, again)
        return []
    campaign.base.drawn = frozenset(drawn_anew(reference, again))
    campaign.coverage.drawn = [f"{step} ({place(reference.line_of(step))})" for step in sorted(campaign.base.drawn)]
    if (violation := other_key(reference, again)) is not None:
        campaign.note([violation], (), campaign.base)
    return [again]


def _part(campaign: Campaign, again: Recording[Any]) -> None:
    """Tell why a schedule went two ways, if it is the workflow's doing; otherwise raise."""
    campaign.reference = Reference.of(campaign.subject, campaign.base, [], [])
    campaign.note(
        [*replay_all(campaign), *parted(campaign.base, again, registry_of(campaign.subject, None))], (), campaign.base
    )
    if not campaign.found:
        told = first_difference(campaign.reference, campaign.base, again)
        raise HarnessLeak(f"the same schedule goes another way each time: {told}")
    campaign.parted = True
    campaign.coverage.not_run.append("faults: without any, the workflow already goes another way each time")
