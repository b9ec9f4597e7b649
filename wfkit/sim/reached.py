"""What steps keep in the memory of their process: found by walking from a function through all that it names.

Found are the variables that it binds, and what it may change of containers, of the user's classes and their objects, of locks,
events and queues, of generators of random numbers and of caches. Objects of libraries are left as they are: nobody else knows
which of their parts belong together.
"""

from __future__ import annotations

import dis
import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from random import Random
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from wfkit.api.definitions import Step
from wfkit.api.resources import Resource
from wfkit.core.loop import is_internal
from wfkit.core.names import nested
from wfkit.sim.disagreements import CHANGING
from wfkit.sim.installed import is_library, is_users_module
from wfkit.sim.kept import (
    LOCKS,
    MISSING,
    Kept,
    KeptLock,
    of_cache,
    of_cell,
    of_class,
    of_container,
    of_counter,
    of_generator,
    of_lock,
    of_object,
    of_variable,
    read_attributes,
    slots_of,
)
from wfkit.sim.services import FakeService

THINGS_MAX = 5_000
"""So many things are looked at for one step; what lies beyond is left as it is."""
ITEMS_MAX = 1_000
"""A container that holds more is a table, and not something that steps remember."""

Key: TypeAlias = tuple[int, str]
"""The id of a thing, and the name of what is kept of it; no name if that is all of it."""

_SYNCHRONIZING = ("asyncio.locks", "asyncio.queues", "threading", "queue")
"""Modules whose objects are made of attributes that belong together, and that all code changes which uses them."""
_OF_THREADS = (threading.Thread, threading.local)
_MAKING = frozenset(("__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__"))
_CHANGING = CHANGING | {
    "heappop",
    "heappush",
    "insort",
    "move_to_end",
    "reverse",
    "setattr",
    "shuffle",
    "sort",
    "subtract",
    "__dict__",
}
_STORING = {
    dis.opmap[name] for name in ("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL", "STORE_SUBSCR", "DELETE_ATTR", "DELETE_SUBSCR")
}


_all: WeakValueDictionary[Key, Kept] = WeakValueDictionary()
"""What is kept, by the thing that it is of: steps that reach the same thing share it."""


def reached(fn: Callable[..., Any], apart: Mapping[int, object]) -> dict[Key, Kept]:
    """Return what a step's function may change in the memory of the process, as it is now.

    Args:
        fn: the function.
        apart: things by their ids that are none of the process: parts of the world.
    """
    walk = _Walk(apart)
    walk.follow(getattr(fn, "__name__", "it"), fn)
    walk.go()
    return {key: _all.setdefault(key, kept) for key, kept in walk.kept()}


class _Walk:
    def __init__(self, apart: Mapping[int, object]) -> None:
        self._apart = apart
        self._seen: dict[int, object] = {}
        """Things by their ids; they are held, so that no other thing gets one of these."""
        self._pending: deque[tuple[str, Any]] = deque()
        self._found: dict[Key, tuple[Kept, Callable[[], bool]]] = {}
        """What may be changed, and whether any code does."""
        self._inner_locks: set[int] = set()
        """The ids of locks that conditions and queues of threads are made of: these take nothing else for them."""
        self._changes = False
        """Whether any code changes something, in whatever way."""
        self._stored: set[str] = set()
        """Names of attributes that code other than constructors binds."""

    def follow(self, name: str, thing: Any) -> None:
        if id(thing) not in self._seen and id(thing) not in self._apart and len(self._seen) < THINGS_MAX:
            self._seen[id(thing)] = thing
            self._pending.append((name, thing))

    def go(self) -> None:
        while self._pending:
            with suppress(Exception):  # whatever a stand-in of somebody's raises when it is looked at
                self._visit(*self._pending.popleft())

    def kept(self) -> Iterator[tuple[Key, Kept]]:
        return ((key, kept) for key, (kept, is_changed) in self._found.items() if is_changed())

    def _keep(self, key: Key, kept: Kept, is_changed: Callable[[], bool]) -> None:
        self._found[key] = kept, is_changed

    def _visit(self, name: str, thing: Any) -> None:
        cls = type(thing)
        if cls in (str, int, float, bool, bytes, type(None)) or isinstance(thing, ModuleType | Enum | FakeService):
            return
        if isinstance(thing, Step | Resource):
            self.follow(name, thing.fn)
        elif hasattr(cls, "cache_clear") or (cls is FunctionType and "cache_clear" in vars(thing)):
            self._keep((id(thing), ""), of_cache(name, thing), _always)
            self.follow(name, getattr(thing, "__wrapped__", None))
        elif isinstance(thing, FunctionType):
            self._function(name, thing)
        elif isinstance(thing, MethodType):
            self.follow(name, thing.__func__)
            self.follow(name, thing.__self__)
        elif isinstance(thing, staticmethod | classmethod):
            self.follow(name, thing.__func__)
        elif isinstance(thing, property):
            for function in (thing.fget, thing.fset, thing.fdel):
                self.follow(name, function)
        elif isinstance(thing, functools.partial):
            for each in (thing.func, *thing.args, *thing.keywords.values()):
                self.follow(name, each)
        elif isinstance(thing, type):
            self._class(thing)
        elif cls in LOCKS:
            self._keep((id(thing), ""), of_lock(name, thing), _always)
        elif cls is Random:
            self._keep((id(thing), ""), of_generator(name, thing), _always)
        else:
            self._object(name, thing)

    # -- code -----------------------------------------------------------------------------------------------------------

    def _function(self, name: str, function: FunctionType) -> None:
        code = function.__code__
        if is_library(code) or is_internal(code):
            return
        names = dict.fromkeys(each for inner in nested(code) for each in inner.co_names)
        stored = _stored(code)
        self._changes = self._changes or bool(stored) or not _CHANGING.isdisjoint(names)
        if code.co_name not in _MAKING:
            self._stored |= {each for how, each in stored if how.endswith("ATTR")}
        for each in names:
            value = function.__globals__.get(each, MISSING)
            if isinstance(value, ModuleType):
                if is_users_module(value.__name__):
                    for other in names:
                        self._variable(f"{each}.{other}", vars(value), other, is_bound=("STORE_ATTR", other) in stored)
            elif value is not MISSING:
                self._variable(each, function.__globals__, each, is_bound=("STORE_GLOBAL", each) in stored)
        for each, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._cell(each, cell, is_bound=("STORE_DEREF", each) in stored)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.follow(name, value)
        if vars(function):
            self._attributes(name, function)

    def _variable(self, name: str, namespace: dict[str, Any], key: str, *, is_bound: bool) -> None:
        value = namespace.get(key, MISSING)
        if value is MISSING or id(value) in self._apart:
            return
        if isinstance(value, itertools.count):
            self._keep((id(namespace), key), of_counter(name, namespace, key), _always)
            return
        if type(value) in LOCKS:
            self._keep((id(namespace), key), KeptLock(name, namespace, key), lambda: id(value) not in self._inner_locks)
            return
        if is_bound:
            self._keep((id(namespace), key), of_variable(name, namespace, key), _always)
        self.follow(name, value)

    def _cell(self, name: str, cell: CellType, *, is_bound: bool) -> None:
        with suppress(ValueError):  # it is not bound yet
            self.follow(name, cell.cell_contents)
            if is_bound:
                self._keep((id(cell), ""), of_cell(name, cell), _always)

    def _class(self, cls: type) -> None:
        for each in cls.__mro__:
            if is_users_module(each.__module__):
                self._keep((id(each), ""), of_class(each), functools.partial(self._binds, vars(each)))
                for key, value in list(vars(each).items()):
                    if not (key.startswith("__") and key.endswith("__")) or isinstance(value, FunctionType):
                        self.follow(f"{each.__name__}.{key}", value)

    # -- data -----------------------------------------------------------------------------------------------------------

    def _object(self, name: str, thing: Any) -> None:
        cls = type(thing)
        is_users = is_users_module(cls.__module__) or cls is SimpleNamespace
        is_synchronizing = cls.__module__ in _SYNCHRONIZING and not isinstance(thing, _OF_THREADS)
        if isinstance(thing, dict | list | set | deque):
            self._container(name, thing)
        elif isinstance(thing, tuple | frozenset):
            for each in thing if len(thing) <= ITEMS_MAX else ():
                self.follow(name, each)
        if is_users:
            self.follow(cls.__name__, cls)
        if is_synchronizing:
            self._changes = True
        if is_users or is_synchronizing:
            self._attributes(name, thing)

    def _container(self, name: str, thing: Any) -> None:
        if len(thing) > ITEMS_MAX:
            return
        self._keep((id(thing), "[]"), of_container(name, thing), lambda: self._changes)
        for each in list(thing.values() if isinstance(thing, dict) else thing):
            self.follow(name, each)

    def _attributes(self, name: str, thing: Any) -> None:
        attributes = read_attributes(thing)
        if any(id(value) in self._apart for value in attributes):
            return  # something stands in for one of them, which is put there and taken away by somebody else
        cls: Any = type(thing)
        is_changed = functools.partial(self._changes_attributes, cls, attributes[::2])
        self._keep((id(thing), ""), of_object(name, thing), is_changed)
        namespace = getattr(thing, "__dict__", {})
        for key, value in list(namespace.items()):
            if cls.__module__ in _SYNCHRONIZING:
                self._inner_locks.add(id(value))
                self.follow(f"{name}.{key}", value)
            else:
                self._variable(f"{name}.{key}", namespace, key, is_bound=False)
        for slot in slots_of(cls):
            self.follow(f"{name}.{slot.__name__}", getattr(thing, slot.__name__, None))

    def _changes_attributes(self, cls: Any, names: Iterable[str]) -> bool:
        return cls.__module__ in _SYNCHRONIZING or _changes_itself(cls) or self._binds(names)

    def _binds(self, names: Iterable[str]) -> bool:
        return not self._stored.isdisjoint(names)


def _always() -> bool:
    return True


@functools.lru_cache(maxsize=1024)
def _stored(code: CodeType) -> frozenset[tuple[str, str]]:
    """Return what code binds or changes: how, and the name of it."""
    found: set[tuple[str, str]] = set()
    for inner in nested(code):
        if not _STORING.isdisjoint(inner.co_code[::2]):
            found |= {(each.opname, str(each.argval)) for each in dis.get_instructions(inner) if each.opcode in _STORING}
    own = code.co_cellvars  # its own variables, which functions within it share
    return frozenset(each for each in found if each[0] != "STORE_DEREF" or each[1] not in own)


@functools.lru_cache(maxsize=1024)
def _changes_itself(cls: Any) -> bool:
    """Whether a class has methods, beside its constructors, that bind attributes."""
    methods = (thing for each in cls.__mro__ if is_users_module(each.__module__) for thing in vars(each).values())
    codes = (thing.__code__ for thing in methods if isinstance(thing, FunctionType) and thing.__name__ not in _MAKING)
    return any(how == "STORE_ATTR" for code in codes for how, _ in _stored(code))
