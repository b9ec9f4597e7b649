"""What code can come to: through names, tables, objects, and the user's other modules. Nothing is called to find out.

Names alone are not enough: a step may be called through a table, a method, a partial or a helper of another module. What is
found is what may be called, which is more than what will be.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import Any

from wfkit.core.loop import is_internal_file, is_library_file
from wfkit.core.names import closed_over, nested

THINGS_MAX = 20_000
"""So many things are looked at, the nearest first: a program may hold on to very much data."""
_ITEMS_MAX = 1_000
"""So many items of one container."""
_ITEMS = (list, tuple, deque, set, frozenset)
_LOOKUPS = frozenset({"__dict__", "getattr", "vars"})
"""Whoever names one of these may mean any name of a module."""

Seen = dict[int, object]
"""What was looked at, by its id. It is kept alive, so that nothing else gets that id."""


def reached(start: Any, leaves: tuple[type, ...] = (), seen: Seen | None = None) -> Iterator[Any]:
    """Yield what code can come to: functions of the user's, and objects of some classes. The nearest come first.

    Args:
        start: a function, or anything else that can be called.
        leaves: classes whose objects are yielded, and not looked into.
        seen: what was looked at already, and is left out; what is looked at now is added.
    """
    home = str(getattr(start, "__module__", None)).partition(".")[0]
    seen = {} if seen is None else seen
    pending = deque([start])
    for _ in range(THINGS_MAX):
        if not pending:
            return
        thing = pending.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if issubclass(type(thing), leaves):  # isinstance would ask a proxy for what it stands for
            yield thing
            continue
        if type(thing) is FunctionType and _is_users(str(thing.__module__), thing.__code__.co_filename, home):
            yield thing
            pending += _named(thing, home)
        pending += _parts(thing, home)


def _named(function: FunctionType, home: str) -> Iterator[Any]:
    """Yield the globals that a function's code names, and what it names of modules."""
    names = dict.fromkeys(name for code in nested(function.__code__) for name in code.co_names)
    known = function.__globals__
    yield from (known.get(name) for name in names)
    if "globals" in names:
        yield from known.values()
    package = known.get("__package__")
    modules = [thing for name in names if type(thing := known.get(name)) is ModuleType]
    modules += [
        sys.modules[path] for name in names for path in (name, f"{package}.{name}") if path in sys.modules
    ]  # its imports
    for module in modules:  # a package leads to the modules in it
        is_any = not _LOOKUPS.isdisjoint(names) and _is_users(module.__name__, _file_of(module), home)
        members = [*vars(module).values()] if is_any else [vars(module).get(name) for name in names]
        modules += [member for member in members if type(member) is ModuleType and member not in modules]
        yield from members


def _parts(thing: Any, home: str) -> Iterable[Any]:
    """Return what a thing holds on to, if any of it may come to be called."""
    kind = type(thing)
    if kind is FunctionType:
        defaults = thing.__defaults__ or (), (thing.__kwdefaults__ or {}).values()
        return chain(closed_over(thing).values(), *defaults, vars(thing).values())
    if kind is MethodType:
        return thing.__func__, thing.__self__
    if issubclass(kind, functools.partial):
        return thing.func, *thing.args, *thing.keywords.values()
    if issubclass(kind, staticmethod | classmethod):
        return (thing.__func__,)
    if issubclass(kind, property):
        return thing.fget, thing.fset
    if issubclass(kind, dict | MappingProxyType):
        items = thing.items() if kind is MappingProxyType else dict.items(thing)
        return chain.from_iterable(islice(items, _ITEMS_MAX))
    if issubclass(kind, _ITEMS):
        return islice(thing, _ITEMS_MAX)
    if issubclass(kind, type):
        return chain.from_iterable(_members(each) for each in thing.__mro__ if _is_class_of_users(each, home))
    return _held(thing, kind, home)


def _members(cls: type) -> Iterator[Any]:
    """Yield what a class defines, without what its metaclass keeps there."""
    return (each for name, each in vars(cls).items() if type(each) is FunctionType or not name.startswith("__"))


def _held(thing: Any, kind: type, home: str) -> Iterator[Any]:
    """Yield what an object of the user's holds, and its class; of another one, the functions that it wraps."""
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        attributes = {}
    if not isinstance(attributes, dict):
        return
    if kind is SimpleNamespace:
        yield from attributes.values()
    elif _is_class_of_users(kind, home):
        yield kind
        yield from attributes.values()
        for slot in (member for each in kind.__mro__ for member in vars(each).values()):
            if type(slot) is MemberDescriptorType:
                with contextlib.suppress(AttributeError):  # it is empty
                    yield slot.__get__(thing, kind)
    else:
        yield from (each for each in attributes.values() if type(each) is FunctionType)


def _is_class_of_users(cls: type, home: str) -> bool:
    module = str(vars(cls).get("__module__"))
    return _is_users(module, _file_of(sys.modules.get(module)), home)


def _is_users(module: str, file: str | None, home: str) -> bool:
    """Whether something was written by the user: it comes with no library, or from the package of what was begun with."""
    if file is not None and is_internal_file(file):
        return False
    return module.partition(".")[0] == home or not (file is None or is_library_file(file))


def _file_of(module: ModuleType | None) -> str | None:
    return vars(module).get("__file__") if module is not None else None
