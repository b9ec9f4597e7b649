"""Which faults are tried: where they fit, and what is worth its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from wfkit.sim.campaign import Campaign
from wfkit.sim.faults import OF_CALLS, Fault, Plan, Point, kinds_at, new_year, plain
from wfkit.sim.recording import Recording

BETWEEN = 5 * 60_000_000
"""So long a step is held up between reading and writing: others come in between, and no timeout begins it anew."""
TURNS_MAX = 40
"""So many points of one sort get their faults one by one; of longer loops the first, the last and some between."""
CALLS_MAX = 2
"""So many calls of one step are looked at, whether they make another key when a year has ended."""
DATES = (
    "2026-03-28",
    "2026-03-26",
    "2026-03-07",
    "2026-10-24",
    "2026-10-22",
    "2026-10-31",
    "2026-12-31",
    "2026-01-30",
    "2028-02-28",
)
"""One and three days before the clocks change in Europe, one before they do in America, the ends of months and of a year."""
_ENTERED = ("step.before", "comp.before")
_URGENCY = {"crash": 0, "lost_ack": 1, "zombie": 1, "fatal": 2, "cancel": 3, "dup": 1, "fail_n": 3, "late": 4, "slow": 4}
"""Which kinds of single faults come first; the others after them."""


def single_plans(campaign: Campaign, points: Sequence[Point]) -> Iterator[Plan]:
    """Yield every single fault at points of the schedule without faults, by kind: those that find most come first."""
    if campaign.wanted:
        yield tuple(campaign.wanted)
        return
    faults = sorted(faults_at(campaign, points, campaign.base), key=lambda fault: _URGENCY.get(fault.kind, 9))
    for fault in faults:
        yield (fault,)
    if campaign.wants("dst") and any(point.phase == "timer.set" for point in points):
        for date in DATES:
            yield (Fault("dst", Point("", 0, "calendar", date)),)
    if campaign.wants("new_year"):
        yield from _new_years(campaign)


def _new_years(campaign: Campaign) -> Iterator[Plan]:
    """Yield what lets a new year begin between two attempts of a step that makes a key of its own, which may hold a date.

    A second later the hour, the day, the month and the year are others.
    """
    base, trails = campaign.base, campaign.reference.trails
    done = {(event.run, event.n): event for event in base.events if event.kind == "effect"}
    left = dict.fromkeys((point.label for point in base.trace), CALLS_MAX)
    for point in base.trace:
        event = done.get((point.run or base.main, point.n))
        step = trails.step_at(event) if event is not None else None
        if plain(point.phase) != "step.effect_done_not_journaled" or event is None or step is None or not left[point.label]:
            continue
        if event.data[0].key in (None, step.key):
            continue
        left[point.label] -= 1
        seconds = (event.at - round(base.started.timestamp() * 1e6)) // 1_000_000 + 1
        midnight = datetime(base.started.year + 1, 1, 1, tzinfo=UTC)
        yield new_year(midnight - timedelta(seconds=seconds)), Fault("crash", point)


def faults_at(campaign: Campaign, points: Iterable[Point], recording: Recording[Any]) -> list[Fault]:
    """Return what can go wrong at points of a schedule."""
    found = []
    for point in points:
        for kind in kinds_at(point.phase, campaign.kinds):
            if kind.name in ("upgrade", "dst") or not campaign.wants(kind.name):
                continue
            fault = Fault(kind.name, point)
            if point.phase == "delivery":
                if not _fits(fault, recording):
                    continue
            elif kind.name == "cancel" and point.run:
                continue
            elif kind.is_counted or (kind.name == "slow" and plain(point.phase) == "read"):
                attempts = _attempts_at(campaign, point)
                if kind.is_counted == (attempts == 1):
                    continue  # the kind that strikes once does as much; or a read hangs once of several times: a mere pause
                if kind.is_counted:
                    fault = Fault(kind.name, point, attempts)
            elif kind.name == "delay" and plain(point.phase) in ("read", "get", "put"):
                fault = Fault("delay", point, BETWEEN)
            found.append(fault)
    return found


def _attempts_at(campaign: Campaign, point: Point) -> int:
    """Return how often the step of a point is tried at most; as often as by default, if it is tried without end."""
    known = campaign.known.get((point.run or campaign.base.main, point.n))
    return known.attempts if known is not None else 1


def sort_of(point: Point) -> str:
    """Return what sort of point this is, wherever it is."""
    return f"{point.phase}:{point.label}"


def sorts_of(recording: Recording[Any]) -> Iterator[tuple[Point, str]]:
    """Yield the points of a schedule, in order, and of what sort each is by what goes on there.

    The same call is of another sort in another step, and so is all of an undo that takes something back: what may go wrong in
    one that has nothing to undo shows nothing.
    """
    acted = {(effect.run, effect.n) for effect in recording.effects}
    steps: dict[tuple[str, int], str] = {}
    for point in recording.trace:
        run, n, phase, label, _ = point
        sort = f"{phase}:{label}"
        if phase in _ENTERED:
            steps[run, n] = label
        elif phase in OF_CALLS:
            sort += f":{steps.get((run, n), '')}"
        if phase.startswith("comp.") and (run or recording.main, n) in acted:
            sort += ":acted"
        yield point, sort


def thinned(trace: Sequence[Point]) -> list[Point]:
    """Leave out most of the points that come up in every turn of a long loop."""
    by_sort: dict[str, list[Point]] = {}
    for point in trace:
        by_sort.setdefault(f"{point.run}:{sort_of(point)}", []).append(point)
    kept: set[Point] = set()
    for points in by_sort.values():
        if len(points) > TURNS_MAX:
            half = TURNS_MAX // 2
            middle = points[half:-4]
            kept.update(points[:half], middle[:: len(middle) // (half - 4) + 1], points[-4:])
        else:
            kept.update(points)
    return [point for point in trace if point in kept]


def go_together(plan: Plan) -> bool:
    """Whether a plan is one that a workflow can be blamed for.

    A call that arrives half a minute after its process died, when the run has been given up and undone meanwhile, undoes
    that: no workflow can help it, only a service that remembers what it was told to undo.
    """
    kinds = {fault.kind for fault in plan}
    return "zombie" not in kinds or not kinds & {"cancel", "fatal", "fail_n", "slow", "slow_n", "outage", "delay"}


def _fits(fault: Fault, recording: Recording[Any]) -> bool:
    """Whether a fault of deliveries makes sense for its delivery."""
    deliveries = recording.deliveries
    index = fault.point.n
    if index >= len(deliveries):
        return False
    delivery = deliveries[index]
    signal = delivery.kind in ("send", "publish")
    match fault.kind:
        case "early" | "late":
            return signal
        case "swap":
            return signal and index + 1 < len(deliveries) and deliveries[index + 1].kind in ("send", "publish")
        case "lost_event_ack":
            return delivery.dedupe is not None
        case _:
            return True
