"""Strategies for Hypothesis, which is imported on use only."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Union

from msgspec import NODEFAULT, Struct, structs

from wfkit.api.definitions import Workflow
from wfkit.errors import CodecError
from wfkit.sim.faults import RANK, Fault, Point, kinds_at

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

INTEGER_MAX = 2**53
"""What JSON elsewhere holds exactly."""

_FAULTS = 1_000
"""Numbers of a plan below this one stand for a fault of the schedule without faults."""
_MORE = 300
"""So many numbers above stand for a fault at a point to which only those before it lead."""

_resolved: dict[tuple[int, ...], tuple[Fault, ...]] = {}
"""What plans have come to mean. Hypothesis makes a plan anew, and shows it, before its last run."""
_RESOLVED_MAX = 10_000


class FaultPlan:
    """Faults by number. A smaller number is a simpler kind, or the same kind earlier. Made by `fault_plans`.

    Which faults there are is known only when the schedule runs, so `simulate(..., faults=plan)` looks them up. Afterwards
    the plan shows as a list of faults, as `faults=` takes it.
    """

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        self.numbers = tuple(numbers)

    def resolve(
        self, base: Sequence[Point], trace_after: Callable[[tuple[Fault, ...]], Sequence[Point]], *, upgrade: bool
    ) -> tuple[Fault, ...]:
        """Return the faults that are meant. What a number means changes little when another one is left out.

        Args:
            base: the points of the schedule without faults.
            trace_after: runs a schedule, and returns its points.
            upgrade: whether there is old code, from which runs can be upgraded.
        """
        faults: dict[Point, Fault] = {}
        usual = _faults_at(base, upgrade=upgrade)
        for number in self.numbers:
            possible = usual
            if number >= _FAULTS:
                seen = set(base)
                trace = trace_after(tuple(faults.values())) if faults else ()
                possible = _faults_at([point for point in trace if point not in seen], upgrade=upgrade)
            if possible:
                fault = possible[number % _FAULTS % len(possible)]
                faults.setdefault(fault.point, fault)
        if len(_resolved) >= _RESOLVED_MAX:
            _resolved.clear()
        _resolved[self.numbers] = tuple(faults.values())
        return tuple(faults.values())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Be shown as a list of faults in Hypothesis' falsifying example."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        faults = _resolved.get(self.numbers)
        return repr([str(fault) for fault in faults]) if faults is not None else f"FaultPlan({list(self.numbers)})"


def _faults_at(points: Sequence[Point], *, upgrade: bool) -> list[Fault]:
    """Return all faults that fit, the simplest kinds first, and of each kind in the order of the schedule."""
    faults = [
        Fault(kind.name, point) for point in points for kind in kinds_at(point.phase) if upgrade or kind.name != "upgrade"
    ]
    return sorted(faults, key=lambda fault: RANK[fault.kind])


def fault_plans(*, max_faults: int = 4) -> SearchStrategy[FaultPlan]:
    """Return a strategy of plans for `simulate(..., faults=plan)`: it shrinks to fewer, simpler and earlier faults.

    Args:
        max_faults: how many faults a plan has at most; the least is none.
    """
    from hypothesis import strategies as st

    return st.lists(st.integers(0, _FAULTS + _MORE), max_size=max_faults).map(FaultPlan)


def inputs(workflow: Workflow[..., Any]) -> SearchStrategy[tuple[Any, ...]]:
    """Return a strategy of arguments for a workflow, made from its type hints: `verify(order, *args)`.

    What a hint allows and JSON cannot carry is left out.
    """
    from hypothesis import strategies as st

    def travels(args: tuple[Any, ...]) -> bool:
        try:
            workflow.signature.decode(workflow.signature.encode(args, {}))
        except CodecError:
            return False
        return True

    return st.tuples(*(_values(hint) for _, hint, _ in workflow.signature.parameters())).filter(travels)


def _values(hint: Any) -> SearchStrategy[Any]:
    """Return a strategy for a type hint; where JSON is narrower than Python, of what JSON can carry."""
    from hypothesis import strategies as st

    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _values(parts[0])
    if origin in (Union, types.UnionType):
        return st.one_of([_values(part) for part in sorted(parts, key=lambda part: part is not types.NoneType)])
    if origin is tuple and parts[-1:] != (...,):
        return st.tuples(*map(_values, parts))
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](*map(_values, [part for part in parts if part is not ...]))
    if isinstance(hint, type) and issubclass(hint, Struct):
        fields = structs.fields(hint)
        needed = {each.name: _values(each.type) for each in fields}
        optional = {each.name for each in fields if each.default is not NODEFAULT or each.default_factory is not NODEFAULT}
        return _built(hint, needed, optional)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        missing = dataclasses.MISSING
        known = [each for each in dataclasses.fields(hint) if each.init]
        optional = {each.name for each in known if each.default is not missing or each.default_factory is not missing}
        return _built(hint, {each.name: _values(hints[each.name]) for each in known}, optional)
    plain: dict[Any, Callable[[], SearchStrategy[Any]]] = {
        int: lambda: st.integers(-INTEGER_MAX, INTEGER_MAX),
        float: lambda: st.floats(allow_nan=False, allow_infinity=False),
        datetime: lambda: st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # as it asks
        **dict.fromkeys((Any, object), lambda: st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | st.text()),
    }
    return plain[hint]() if hint in plain else st.from_type(hint)


def _built(cls: type[Any], values: dict[str, SearchStrategy[Any]], optional: set[str]) -> SearchStrategy[Any]:
    """Return a strategy of objects; fields with a default may be left out."""
    from hypothesis import strategies as st

    required = {name: value for name, value in values.items() if name not in optional}
    rest = {name: value for name, value in values.items() if name in optional}
    return st.fixed_dictionaries(required, optional=rest).map(functools.partial(_make, cls))


def _make(cls: type[Any], fields: dict[str, Any]) -> Any:
    return cls(**fields)


def _lists(of: SearchStrategy[Any]) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    return st.lists(of, max_size=5)


_CONTAINERS: dict[Any, Callable[..., SearchStrategy[Any]]] = {
    list: _lists,
    Sequence: _lists,
    tuple: lambda of: _lists(of).map(tuple),
    set: lambda of: _lists(of).map(set),
    frozenset: lambda of: _lists(of).map(frozenset),
    dict: lambda keys, values: _lists(_pairs(keys, values)).map(dict),
    Mapping: lambda keys, values: _lists(_pairs(keys, values)).map(dict),
}


def _pairs(keys: SearchStrategy[Any], values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    return st.tuples(keys, values)
