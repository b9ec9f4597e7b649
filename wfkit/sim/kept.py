"""Things in the memory of a process that can be put back as they were."""

from __future__ import annotations

import ast
import functools
import itertools
import operator
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from types import CellType, MemberDescriptorType
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from wfkit.sim.installed import is_users_module
from wfkit.sim.locks import VirtualLock

State: TypeAlias = tuple[Any, ...]
MISSING = object()
LOCKS = (type(threading.Lock()), type(threading.RLock()))
_BY_THEMSELVES = (itertools.count, VirtualLock, *LOCKS)
"""What variables hold that is kept variable by variable, since something else takes its place."""


class Kept:
    """One thing that can be put back as it was.

    Args:
        name: how it is told, such as `CLIENT.token`.
        read: returns its state.
        write: sets it.
        alike: whether two states are the same.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], State],
        write: Callable[[State], None],
        alike: Callable[[State, State], bool] | None = None,
    ) -> None:
        self.name = name
        self._read = read
        self._write = write
        self._alike = alike or _is_same
        self._first = read()
        self._left: State | None = None
        """What a schedule has left behind, if that is something else."""

    @property
    def has_changed(self) -> bool:
        return not self._alike(self._read(), self._first)

    def holds(self, things: Mapping[int, object]) -> bool:
        """Whether it holds one of these things, given by their ids."""
        return any(id(value) in things for value in self._read())

    def put_back(self) -> None:
        self._write(self._first)
        self._first = self._read()

    def begin(self) -> None:
        """Put it back as it was before a schedule, or take it as it is, where somebody else has changed it since."""
        now = self._read()
        if self._alike(now, self._first):
            return
        if self._left is not None and self._alike(now, self._left):
            self.put_back()
        else:
            self._first = now

    def leave(self) -> None:
        """Remember what a schedule leaves behind."""
        now = self._read()
        self._left = None if self._alike(now, self._first) else now


def _is_same(one: State, other: State) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def of_variable(name: str, namespace: dict[str, Any], key: str) -> Kept:
    def write(state: State) -> None:
        if state[0] is MISSING:
            namespace.pop(key, None)
        else:
            namespace[key] = state[0]

    return Kept(name, lambda: (namespace.get(key, MISSING),), write)


def of_cell(name: str, cell: CellType) -> Kept:
    def read() -> State:
        try:
            return (cell.cell_contents,)
        except ValueError:  # it is not bound any more
            return (MISSING,)

    def write(state: State) -> None:
        cell.cell_contents = state[0]

    return Kept(name, read, write)


def of_counter(name: str, namespace: dict[str, Any], key: str) -> Kept:
    """Return what lets `itertools.count` begin anew. It tells where it is only as a text, and cannot be set back itself."""

    def write(state: State) -> None:
        arguments = state[0].removeprefix("count(").removesuffix(")")
        namespace[key] = itertools.count(*ast.literal_eval(f"({arguments},)"))

    return Kept(name, lambda: (repr(namespace.get(key)),), write, operator.eq)


class KeptLock(Kept):
    """A lock of threads that a variable holds. In a schedule another one stands for it, which goes by virtual time."""

    def __init__(self, name: str, namespace: dict[str, Any], key: str) -> None:
        self._namespace, self._key, self._real = namespace, key, namespace[key]
        self._stand_in = _stand_in_of(self._real)
        super().__init__(name, lambda: (self._namespace.get(key), self._stand_in.locked()), lambda _: self._stand_in.reset())
        self._first = (self._stand_in, False)

    def begin(self) -> None:
        if self._namespace.get(self._key) is self._real and is_free(self._real):
            self._stand_in.reset()
            self._namespace[self._key] = self._stand_in

    def leave(self) -> None:
        if self._namespace.get(self._key) is self._stand_in:
            self._namespace[self._key] = self._real


_stand_ins: WeakKeyDictionary[Any, VirtualLock] = WeakKeyDictionary()


def _stand_in_of(lock: Any) -> VirtualLock:
    """Return what stands for a lock, which several variables may hold."""
    return _stand_ins.setdefault(lock, VirtualLock(is_reentrant=isinstance(lock, LOCKS[1])))


def is_free(lock: Any) -> bool:
    """Whether nobody holds a lock of threads. Before Python 3.14 an `RLock` tells it only in its text."""
    return repr(lock).startswith("<unlocked")


def of_lock(name: str, lock: Any) -> Kept:
    def write(state: State) -> None:
        if state[0]:
            lock._at_fork_reinit()  # frees it, whoever holds it

    return Kept(name, lambda: (is_free(lock),), write)


def of_generator(name: str, generator: Random) -> Kept:
    return Kept(name, lambda: (generator.getstate(),), lambda state: generator.setstate(state[0]), operator.eq)


def of_cache(name: str, cache: Any) -> Kept:
    """Return what empties a cache. It can be put back as no other than that, so that is what it counts as at first."""
    kept = Kept(name, lambda: (cache.cache_info()[-1] if hasattr(cache, "cache_info") else 0,), lambda _: cache.cache_clear())
    kept.put_back()
    return kept


def of_container(name: str, container: Any) -> Kept:
    base: Any = next(each for each in (OrderedDict, dict, list, set, deque) if isinstance(container, each))
    is_mapping = issubclass(base, dict)
    fill = base.update if is_mapping or base is set else base.extend

    def read() -> State:
        return tuple(itertools.chain.from_iterable(base.items(container))) if is_mapping else tuple(base.__iter__(container))

    def write(state: State) -> None:
        base.clear(container)
        fill(container, zip(state[::2], state[1::2], strict=True) if is_mapping else state)

    return Kept(name, read, write)


def of_object(name: str, thing: Any) -> Kept:
    cls: Any = type(thing)

    def write(state: State) -> None:
        slots = {slot.__name__: slot for slot in slots_of(cls)}
        first = dict(zip(state[::2], state[1::2], strict=True))
        if (namespace := getattr(thing, "__dict__", None)) is not None:
            for key in [key for key, value in namespace.items() if key not in first and not isinstance(value, _BY_THEMSELVES)]:
                del namespace[key]
            namespace.update((key, value) for key, value in first.items() if key not in slots)
        for key, slot in slots.items():
            if key in first:
                slot.__set__(thing, first[key])
            else:
                with suppress(AttributeError):
                    slot.__delete__(thing)

    return Kept(name, functools.partial(read_attributes, thing), write)


def read_attributes(thing: Any) -> State:
    """Return the names and values of attributes, without those that are kept by themselves."""
    found: list[Any] = []
    for key, value in getattr(thing, "__dict__", {}).items():
        if not isinstance(value, _BY_THEMSELVES):
            found += (key, value)
    cls: Any = type(thing)
    for slot in slots_of(cls):
        with suppress(AttributeError):  # it has no value yet
            found += (slot.__name__, slot.__get__(thing))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def slots_of(cls: Any) -> tuple[MemberDescriptorType, ...]:
    """Return the attributes that a class of the user's keeps in slots."""
    own = (vars(each).values() for each in cls.__mro__ if is_users_module(each.__module__))
    return tuple(slot for values in own for slot in values if isinstance(slot, MemberDescriptorType))


def of_class(cls: type) -> Kept:
    def read() -> State:
        found: list[Any] = []
        for key, value in vars(cls).items():
            if not (key.startswith("__") or callable(value) or hasattr(value, "__get__")):
                found += (key, value)
        return tuple(found)

    def write(state: State) -> None:
        now, first = read(), dict(zip(state[::2], state[1::2], strict=True))
        for key in set(now[::2]) - first.keys():
            type.__delattr__(cls, key)
        for key, value in first.items():
            type.__setattr__(cls, key, value)

    return Kept(cls.__name__, read, write)
