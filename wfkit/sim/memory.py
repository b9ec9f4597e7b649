"""What steps keep in the memory of the process, and a process that dies takes with it.

In a simulation the process never really dies, so a cache that one step fills and another one reads would outlive every crash,
and every schedule. So each schedule begins with such things as they were when a step that reaches them was first looked at,
and each crash puts them back. What others change meanwhile, such as a test, is heeded. What the world, the script and the
invariants use is outside of the process: there it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from wfkit.api.registry import Registry
from wfkit.core.names import nested, own_functions
from wfkit.sim.kept import Kept
from wfkit.sim.reached import Key, reached
from wfkit.sim.subject import Replace, Subject

KNOWN_MAX = 2_000
"""So many functions of steps are remembered; the oldest are looked at again."""
OUTSIDE_MAX = 1_000
"""So many things of the outside are told from those of the process."""

_known: dict[Callable[..., Any], Mapping[Key, Kept]] = {}


def look_at(registry: Registry) -> None:
    """Remember what the steps of a registry may change, as it is now."""
    for step in registry.steps.values():
        _of(step.fn, {})


def _of(fn: Callable[..., Any], apart: Mapping[int, object]) -> Mapping[Key, Kept]:
    known = _known.get(fn)
    if known is None:
        known = _known[fn] = reached(fn, apart)
        if len(_known) > KNOWN_MAX:
            del _known[next(iter(_known))]
    return known


class Memory:
    """The memory of the process in one schedule.

    Args:
        subject: what is simulated.
        registries: the code that it may run.
    """

    def __init__(self, subject: Subject, *registries: Registry) -> None:
        self._subject = subject
        self._entered: set[Callable[..., Any]] = set()
        self._kept: dict[Key, Kept] = {}
        self.apart: Mapping[int, object] = {}
        """Things by their ids that a world has put in the place of others."""
        self.forgotten: list[str] = []
        """Names of what crashes took."""
        for registry in registries:
            for step in registry.steps.values():
                self.enter(step.fn)

    def enter(self, fn: Callable[..., Any]) -> None:
        """Let what a step reaches be as it was before the schedule, if none has reached it yet."""
        if fn in self._entered:
            return
        self._entered.add(fn)
        new = {key: kept for key, kept in _of(fn, self.apart).items() if key not in self._kept}
        self._kept |= new
        for kept in self._changed(new):
            kept.begin()

    def forget(self) -> None:
        """Let all be as it was at first: the process has died."""
        for kept in self._changed(self._kept):
            kept.put_back()
            self.forgotten.append(kept.name)

    def leave(self) -> None:
        """Remember what the schedule leaves behind."""
        for kept in self._kept.values():
            kept.leave()

    def _changed(self, kept: Mapping[Key, Kept]) -> list[Kept]:
        changed = {key: each for key, each in kept.items() if each.has_changed}
        if not changed:
            return []
        names, things = _outside(self._subject)
        inside = (each for key, each in changed.items() if key not in names and key[0] not in things)
        return [each for each in inside if not each.holds(self.apart)]


class _Outside(NamedTuple):
    """What belongs to the outside."""

    names: frozenset[Key]
    """Globals, by the ids of their namespaces."""
    things: frozenset[int]
    """What they hold, by its id."""


_used: tuple[tuple[Any, ...], list[tuple[dict[str, Any], str]]] = ((), [])
"""The parts of the last subject, and the globals that their code names."""


def _outside(subject: Subject) -> _Outside:
    """Return what belongs to the outside: what the code of the world, the script, the invariants and stand-ins names."""
    global _used  # noqa: PLW0603  # for the schedules of one search it is the same
    parts = (subject.world, subject.script, *subject.invariants, *subject.resources)
    if len(parts) != len(_used[0]) or any(one is not other for one, other in zip(parts, _used[0], strict=True)):
        functions = [function for part in parts for given in _functions(part) for function in own_functions(given)]
        _used = parts, [(each.__globals__, name) for each in functions for name in _names(each)]
    variables = _used[1]
    held = [namespace[name] for namespace, name in variables if name in namespace]
    return _Outside(frozenset((id(namespace), name) for namespace, name in variables), frozenset(_within(held)))


def _within(things: Iterable[Any]) -> set[int]:
    """Return the ids of things, and of what they are made of."""
    found: dict[int, Any] = {}
    pending = list(things)
    while pending and len(found) < OUTSIDE_MAX:
        thing = pending.pop()
        if id(thing) in found or isinstance(thing, FunctionType):
            continue
        found[id(thing)] = thing
        if isinstance(thing, dict):
            pending += thing.values()
        elif isinstance(thing, list | tuple | set | frozenset):
            pending += thing
        elif not isinstance(thing, type):
            pending += getattr(thing, "__dict__", {}).values()
    return set(found)


def _names(function: FunctionType) -> dict[str, None]:
    return dict.fromkeys(name for inner in nested(function.__code__) for name in inner.co_names)


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
