"""Where another process finds what users have defined: workflows, resources, worlds, functions."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import marshal
import os
import sys
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from msgspec import Struct

from wfkit.api.definitions import Workflow
from wfkit.api.resources import Resource

MAIN = "__wfkit_main__"
"""The name under which a script is loaded, so that what it does as `__main__` is left out."""


class EnoughLoaded(BaseException):
    """Raised in a replaying process by a script that begins to verify: what it defines above is all that is wanted of it."""


class Source(Struct, frozen=True):
    """Where something is defined."""

    module: str
    file: str
    path: str
    """Its qualified name in the module."""
    code: bytes = b""
    """The code of a function that has no name there, such as a lambda, with its defaults and what it closes over."""


def source_of(thing: Any) -> Source | None:
    """Return where a workflow, a resource, a function or a class is defined; None if another process cannot find it."""
    thing = inspect.unwrap(getattr(thing, "fn", thing))
    if not isinstance(thing, FunctionType | type):
        return None
    module = thing.__module__
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    if module == "__main__" and spec is not None:  # `python -m`
        module = spec.name
    file = thing.__code__.co_filename if isinstance(thing, FunctionType) else getattr(loaded, "__file__", None)
    if file is None:
        return None
    code = b""
    if "<" in thing.__qualname__:  # it is a lambda, or local to a function
        code = _marshalled(thing) if isinstance(thing, FunctionType) else b""
        if not code:
            return None
    return Source(module, str(Path(file).absolute()), thing.__qualname__, code)


def _marshalled(function: FunctionType) -> bytes:
    """Return the code of a function and the plain values that belong to it; nothing if there are others."""
    try:
        values = [cell.cell_contents for cell in function.__closure__ or ()]
        return marshal.dumps((function.__code__, function.__defaults__, function.__kwdefaults__, values))
    except ValueError:  # a value cannot be written, or is not there yet
        return b""


def found(source: Source) -> Any:
    """Return what is defined there, whose module is loaded for it.

    Raises:
        Exception, SystemExit: the user's code fails as it is loaded.
    """
    module = _module(source)
    if source.code:
        code, defaults, named, values = marshal.loads(source.code)  # noqa: S302  # it comes from who started this process
        assert isinstance(code, CodeType)
        function = FunctionType(code, vars(module), code.co_name, defaults, tuple(map(CellType, values)))
        function.__kwdefaults__ = named
        return function
    thing: Any = None
    with contextlib.suppress(AttributeError):
        thing = functools.reduce(getattr, source.path.split("."), module)
    if callable(thing) and getattr(thing, "__qualname__", "") == source.path:
        return thing
    for candidate in (thing, *vars(module).values()):  # whatever name its module has for it
        if isinstance(candidate, Workflow | Resource) and candidate.fn.__qualname__ == source.path:
            return candidate
    raise ImportError(f"{source.module} has no {source.path}")


def _module(source: Source) -> ModuleType:
    """Load a module: by its name where that leads to its file, otherwise as that file."""
    name = source.module if source.module != "__main__" else MAIN
    if (loaded := sys.modules.get(name)) is not None and _is_file(getattr(loaded, "__file__", None), source.file):
        return loaded
    with contextlib.suppress(ImportError, ValueError, EnoughLoaded):
        spec = importlib.util.find_spec(name)
        if spec is not None and _is_file(spec.origin, source.file):
            return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, source.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source.file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if name == MAIN:
        sys.modules["__main__"] = module  # for modules that import from the script
    with contextlib.suppress(EnoughLoaded):
        spec.loader.exec_module(module)
    return module


def _is_file(one: str | None, other: str) -> bool:
    return one is not None and os.path.realpath(one) == os.path.realpath(other)
