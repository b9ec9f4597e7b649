"""Strategies for Hypothesis, which is imported on use only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wfkit.sim.faults import Fault, Kind, Point, kinds_at

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_resolved: dict[tuple[tuple[int, int], ...], tuple[Fault, ...]] = {}
"""What plans have come to mean. Hypothesis makes a plan anew, and shows it, before its last run."""
_RESOLVED_MAX = 10_000


class FaultPlan:
    """Faults by position: each is a point's place in the trace, and the rank of a kind there. Made by `fault_plans`.

    Which points there are is known only when the schedule runs, so `simulate(..., faults=plan)` looks them up. Afterwards
    the plan shows as a list of faults, as `faults=` takes it.
    """

    def __init__(self, choices: Sequence[tuple[int, int]] = ()) -> None:
        self.choices = tuple(choices)

    def resolve(self, trace_of: Callable[[tuple[Fault, ...]], Sequence[Point]], *, upgrade: bool) -> tuple[Fault, ...]:
        """Return the faults that are meant.

        Each is looked up in the trace of a schedule with those before it, so it may strike where only these lead.

        Args:
            trace_of: runs a schedule, and returns its points.
            upgrade: whether there is old code, from which runs can be upgraded.
        """
        faults: tuple[Fault, ...] = ()
        for position, rank in self.choices:
            taken = {fault.point for fault in faults}
            points = [(point, kinds) for point in trace_of(faults) if point not in taken and (kinds := _kinds(point, upgrade))]
            if points:
                point, kinds = points[position % len(points)]
                faults = (*faults, Fault(kinds[rank % len(kinds)].name, point))
        if len(_resolved) >= _RESOLVED_MAX:
            _resolved.clear()
        _resolved[self.choices] = faults
        return faults

    def __repr__(self) -> str:
        faults = _resolved.get(self.choices)
        return repr([str(fault) for fault in faults]) if faults is not None else f"FaultPlan({list(self.choices)})"


def _kinds(point: Point, upgrade: bool) -> list[Kind]:
    return [kind for kind in kinds_at(point.phase) if upgrade or kind.name != "upgrade"]


def fault_plans(*, max_faults: int = 4) -> SearchStrategy[Any]:
    """Return a strategy of plans for `simulate(..., faults=plan)`: it shrinks to fewer, earlier and simpler faults."""
    from hypothesis import strategies as st

    choice = st.tuples(st.integers(0, 999), st.integers(0, 23))
    return st.lists(choice, max_size=max_faults).map(FaultPlan)
