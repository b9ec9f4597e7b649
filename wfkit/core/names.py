"""What a function's code names, found by reading it: nothing is called for it."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those of the functions and classes within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


_WORKFLOW = re.compile(r"^@(?:wfkit\.)?workflow\b(.*?)^async def (\w+)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\bname\s*=\s*[\"']([^\"']+)[\"']")


def workflows_written_in(source: str) -> list[str]:
    """Return the names of the workflows that a module's text defines at its top level, as far as reading it tells."""
    found = []
    for options, function in _WORKFLOW.findall(source):
        named = _NAME.search(options)
        found.append(named[1] if named is not None else function)
    return found


def closed_over(fn: FunctionType) -> dict[str, object]:
    """Return the variables of the functions around it that a function uses, by name."""
    found = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            found[name] = cell.cell_contents
    return found


def named_by(fn: FunctionType, members: tuple[type, ...] = ()) -> Iterator[Any]:
    """Yield the globals and closed-over variables that a function's code names.

    Args:
        fn: the function.
        members: classes of what is also looked up in the modules that it names, such as `steps.charge`.
    """
    names = dict.fromkeys(name for code in nested(fn.__code__) for name in code.co_names)
    for name in names:
        thing = fn.__globals__.get(name)
        if isinstance(thing, ModuleType):
            yield from (member for other in names if isinstance(member := vars(thing).get(other), members))
        elif thing is not None:
            yield thing
    yield from closed_over(fn).values()


def own_functions(fn: Callable[..., Any]) -> Iterator[FunctionType]:
    """Yield a function and the functions of its module that it names, itself or through these."""
    seen: set[CodeType] = set()
    pending: list[Any] = [fn]
    while pending:
        function = inspect.unwrap(pending.pop())
        if not isinstance(function, FunctionType) or function.__code__ in seen:
            continue
        seen.add(function.__code__)
        yield function
        named = (thing for thing in named_by(function) if isinstance(thing, FunctionType))
        pending += [other for other in named if other.__module__ == function.__module__]
