"""What the modules of steps keep in the memory of the process, and a process that dies takes with it.

In a simulation the process never really dies, so a cache that one step fills and another one reads outlives every crash, and
every schedule. So each schedule begins with such things as they were when a step that changes them was first entered, and the
fault `crash_fresh` lets a process begin so that is started again. What others change meanwhile, such as a test, is heeded.
"""

from __future__ import annotations

import copy
import dis
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from wfkit.core.loop import is_library
from wfkit.core.names import nested, own_functions
from wfkit.sim.disagreements import CHANGING
from wfkit.sim.subject import Replace, Subject

_CONTAINERS = (dict, list, set, deque, defaultdict, OrderedDict, Counter)
_SCALARS = (type(None), bool, int, float, str, bytes, tuple, frozenset)


class Name(NamedTuple):
    """A global of a module."""

    module: int
    """The id of its namespace."""
    name: str


class _Kept(NamedTuple):
    """What a global was at first."""

    namespace: dict[str, Any]
    value: Any
    contents: Any
    """A copy of what was in it, if it is a container."""
    is_bound_anew: bool
    """Code of a step binds the name: `global token`."""


_first: dict[Name, _Kept] = {}
_left: dict[Name, Any] = {}
"""What globals were, or what was in them, when the last schedule was over."""
_entered: set[CodeType] = set()


def look_at(function: Callable[..., Any]) -> None:
    """Remember what the globals that a step uses are, before it is entered for the first time."""
    code = getattr(function, "__code__", None)
    if code is None or code in _entered:
        return
    _entered.add(code)
    for each in own_functions(function):
        if is_library(each.__code__):
            continue
        stored = _stored(each.__code__)
        changes = _changes(each.__code__)
        for name in _names(each):
            value = each.__globals__.get(name)
            if (
                (changes and type(value) in _CONTAINERS)
                or hasattr(value, "cache_clear")
                or (name in stored and isinstance(value, _SCALARS))
            ):
                key = Name(id(each.__globals__), name)
                is_bound_anew = name in stored or (key in _first and _first[key].is_bound_anew)
                known = _first.get(key) or _Kept(each.__globals__, value, _copied(value), is_bound_anew)
                _first[key] = known._replace(is_bound_anew=is_bound_anew)


def begin(subject: Subject) -> None:
    """Let a schedule begin without what those before it have left behind."""
    for name, kept in _first.items():
        now = kept.namespace.get(name.name)
        if name in _left and not _is_same(now, _left[name]):  # somebody else has changed it since
            _first[name] = kept._replace(value=now, contents=_copied(now))
    forget(subject)


def leave() -> None:
    """Remember what a schedule leaves behind."""
    _left.update((name, _copied(kept.namespace.get(name.name))) for name, kept in _first.items())


def _is_same(now: Any, left: Any) -> bool:
    return _equal(now, left) if type(now) in _CONTAINERS and type(now) is type(left) else now is left


def _equal(now: Any, then: Any) -> bool:
    """Whether two containers hold the same. Of things that cannot say so, such as arrays, it is taken that they do not."""
    try:
        return bool(now == then)
    except Exception:  # noqa: BLE001  # whatever the user's own comparison raises
        return False


def is_used(subject: Subject) -> bool:
    """Whether anything that steps use is no longer as it was at first."""
    return bool(_changed(subject))


def forget(subject: Subject) -> list[str]:
    """Let everything be as it was at first, but for what the world, the script and the invariants use: that is outside.

    Returns:
        The names of what had been another.
    """
    changed = _changed(subject)
    for name in changed:
        kept = _first[name]
        if kept.is_bound_anew:
            kept.namespace[name.name] = kept.value
        if hasattr(kept.value, "cache_clear"):
            kept.value.cache_clear()
        elif type(kept.value) in _CONTAINERS:
            _fill(kept.value, _copied(kept.contents))
    return [name.name for name in changed]


def _changed(subject: Subject) -> list[Name]:
    changed = [name for name, kept in _first.items() if _has_changed(name, kept)]
    outside = _of_outside(subject) if changed else frozenset()
    return [name for name in changed if name not in outside]


def _has_changed(key: Name, kept: _Kept) -> bool:
    now = kept.namespace.get(key.name)
    if now is not kept.value:
        return kept.is_bound_anew  # otherwise something stands in for it
    if hasattr(now, "cache_info"):
        return bool(now.cache_info().currsize)
    return type(now) in _CONTAINERS and not _equal(now, kept.contents)


def _changes(code: CodeType) -> bool:
    """Whether code may change a container."""
    inner = [*nested(code)]
    stores = any(each.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") for one in inner for each in dis.get_instructions(one))
    return stores or any(CHANGING & set(one.co_names) for one in inner)


def _stored(code: CodeType) -> set[str]:
    return {each.argval for inner in nested(code) for each in dis.get_instructions(inner) if each.opname == "STORE_GLOBAL"}


def _names(function: FunctionType) -> dict[str, None]:
    return dict.fromkeys(name for inner in nested(function.__code__) for name in inner.co_names)


def _copied(value: Any) -> Any:
    """Copy what is plain data through and through; of other things they are kept as they are."""
    if type(value) not in _CONTAINERS:
        return value
    twin = copy.copy(value)
    if isinstance(twin, dict):
        for key, each in twin.items():
            twin[key] = _copied(each)
    elif isinstance(twin, list | deque):
        for index, each in enumerate(twin):
            twin[index] = _copied(each)
    return twin


def _fill(container: Any, contents: Any) -> None:
    container.clear()
    if isinstance(container, list | deque):
        container.extend(contents)
    else:
        container.update(contents)


# -- what belongs to the outside ----------------------------------------------------------------------------------------


def _of_outside(subject: Subject) -> frozenset[Name]:
    things = (subject.world, subject.script, *subject.invariants, *subject.resources)
    functions = (function for thing in things for given in _functions(thing) for function in own_functions(given))
    return frozenset(Name(id(each.__globals__), name) for each in functions for name in _names(each))


def _functions(thing: Any) -> Iterator[Callable[..., Any]]:
    """Yield the functions of what a user hands over: a function, a class, or a collection of such."""
    if isinstance(thing, type):
        for each in thing.__mro__[:-1]:
            yield from _of_all(vars(each).values())
    elif isinstance(thing, staticmethod | classmethod):
        yield thing.__func__
    elif isinstance(thing, Replace):
        yield thing.by
    elif isinstance(thing, dict):
        yield from _of_all(thing.values())
    elif isinstance(thing, list | tuple):
        yield from _of_all(thing)
    elif callable(thing):
        yield thing


def _of_all(things: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    for thing in things:
        yield from _functions(thing)
