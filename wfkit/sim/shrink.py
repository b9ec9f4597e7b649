"""Reduces a schedule that shows a finding to the simplest one that still shows it.

One order decides what is simpler: fewer faults, then simpler kinds, then points of the main run, then those that come
earlier, then the parameters that a fault has by itself, or smaller ones. So equal findings end at equal schedules, whatever
the campaign met first. A crash around a whole step is simpler than one within its calls: to understand it nothing need be
known of what the step calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from wfkit.sim.faults import KINDS, RANK, UNASKED, Fault, Plan, Point, plain

Simplicity: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]

RUNS_MAX = 60
"""Schedules that one finding may cost; what is left is then not the simplest one, but one that shows it."""

_WITHIN = frozenset({"call.before", "call.after"}) | UNASKED
"""Phases within what a step does."""


def shrink(faults: Plan, still_fails: Callable[[Plan], bool], trace: Sequence[Point], *, runs_max: int = RUNS_MAX) -> Plan:
    """Return the simplest schedule that still fails.

    Args:
        faults: a schedule that fails.
        still_fails: whether a schedule shows the same finding.
        trace: the points that the failing schedule passed, in order: where faults may be moved to.
        runs_max: schedules that may be tried.
    """
    return _Shrinking(still_fails, trace, runs_max).shrink(faults)


class _Shrinking:
    def __init__(self, still_fails: Callable[[Plan], bool], trace: Sequence[Point], runs_max: int) -> None:
        self._still_fails = still_fails
        self._runs_max = runs_max
        main_first = sorted(trace, key=lambda point: point.run != "")  # what is left of the others may be left out then
        self._order = {point: index for index, point in reversed(list(enumerate(main_first)))}
        self._tried: set[Plan] = set()

    def shrink(self, plan: Plan) -> Plan:
        """Take the first simpler plan that fails, and begin anew with it, until no simpler one does."""
        plan = self._sorted(plan)
        self._tried.add(plan)
        simpler = self._next(plan)
        while simpler is not None:
            plan, simpler = simpler, self._next(simpler)
        return plan

    def _next(self, plan: Plan) -> Plan | None:
        here = self._simplicity(plan)
        for candidates in (_with_one_less(plan), self._with_simpler_kind(plan), self._moved(plan), _with_less(plan)):
            for candidate in map(self._sorted, candidates):
                if candidate in self._tried or len({fault.point for fault in candidate}) < len(candidate):
                    continue
                assert self._simplicity(candidate) < here, "a pass offers only what is simpler"
                if len(self._tried) > self._runs_max:
                    return None
                self._tried.add(candidate)
                if self._still_fails(candidate):
                    return candidate
        return None

    def _sorted(self, plan: Plan) -> Plan:
        return tuple(sorted(plan, key=lambda fault: (self._place(fault), _rank(fault), str(fault.point))))

    def _place(self, fault: Fault) -> int:
        return self._order.get(fault.point, len(self._order))

    def _simplicity(self, plan: Plan) -> Simplicity:
        return (
            len(plan),
            tuple(sorted(_rank(fault) for fault in plan)),
            tuple(self._place(fault) for fault in plan),
            tuple(_size(fault) for fault in plan),
        )

    def _with_simpler_kind(self, plan: Plan) -> Iterator[Plan]:
        """Offer each fault as one of a simpler kind at the same point, or as a crash at the end of its step."""
        for index, fault in enumerate(plan):
            for kind in KINDS.values():
                if RANK[kind.name] < RANK[fault.kind] and plain(fault.point.phase) in kind.phases:
                    yield _with(plan, index, Fault(kind.name, fault.point))
            if plain(fault.point.phase) in _WITHIN:
                yield from (_with(plan, index, Fault("crash", point)) for point in self._ends_of(fault.point))

    def _ends_of(self, call: Point) -> Iterator[Point]:
        for point in self._order:
            if (point.run, point.n) == (call.run, call.n) and plain(point.phase) == "step.effect_done_not_journaled":
                yield point

    def _moved(self, plan: Plan) -> Iterator[Plan]:
        """Offer each fault at earlier points of its phase: first at those of the same label, which fail most likely."""
        for index, fault in enumerate(plan):
            earlier = [
                point for point, place in self._order.items() if point.phase == fault.point.phase and place < self._place(fault)
            ]
            for point in sorted(earlier, key=lambda point: (point.label != fault.point.label, self._order[point])):
                yield _with(plan, index, replace(fault, point=point))


def _rank(fault: Fault) -> int:
    return 2 * RANK[fault.kind] + (plain(fault.point.phase) in _WITHIN)


def _with_one_less(plan: Plan) -> Iterator[Plan]:
    for index in range(len(plan)):
        yield plan[:index] + plan[index + 1 :]


def _size(fault: Fault) -> int:
    """Return how much of a fault there is: for durations, whether it is another one than its kind has by itself."""
    return fault.amount if KINDS[fault.kind].is_counted else int(fault.amount != KINDS[fault.kind].default)


def _with_less(plan: Plan) -> Iterator[Plan]:
    for index, fault in enumerate(plan):
        if KINDS[fault.kind].is_counted:
            yield from (_with(plan, index, replace(fault, param=times)) for times in range(2, fault.amount))
        elif _size(fault):
            yield _with(plan, index, replace(fault, param=0))


def _with(plan: Plan, index: int, fault: Fault) -> Plan:
    return (*plan[:index], fault, *plan[index + 1 :])
