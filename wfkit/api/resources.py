"""Resources: clients and pools that steps use, opened once per engine."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from types import CodeType, FunctionType, MethodType
from typing import Any, Generic, TypeVar

from wfkit.api.attempt import attempt
from wfkit.core.loop import is_internal, running
from wfkit.core.names import named_by
from wfkit.errors import DefinitionError, WorkflowLoopError

T = TypeVar("T")


class Resource(Generic[T]):
    """A client or pool that steps use: opened before the first step that names it, closed when the engine closes.

    It is not closed at a crash, like everything else in the process.
    """

    def __init__(self, fn: Callable[[], AsyncIterator[T]]) -> None:
        if not inspect.isasyncgenfunction(fn):
            raise DefinitionError(
                f"resource {fn.__qualname__}() is no async generator", help="write: async def name(): ... yield client ..."
            )
        if inspect.signature(fn).parameters:
            raise DefinitionError(f"resource {fn.__qualname__}() takes parameters", help="read its settings inside it")
        self.fn = fn
        self.name = fn.__name__

    def get(self) -> T:
        """Return the open resource.

        Raises:
            WorkflowLoopError: called in workflow code (resources are for steps), or it is not open.
        """
        if running() is not None:
            raise WorkflowLoopError(f"resource {self.name!r} was asked for in workflow code", help="resources are for steps")
        now = attempt.get()
        if now is None or self not in now.resources:
            raise WorkflowLoopError(
                f"resource {self.name!r} is not open here",
                help="call .get() in a step, on the resource by its module-level name",
            )
        return now.resources[self]  # type: ignore[no-any-return]  # the engine keeps under a resource what it yields

    def __repr__(self) -> str:
        return f"<resource {self.name}>"


def resource(fn: Callable[[], AsyncIterator[T]], /) -> Resource[T]:
    """Declare a resource: an async generator with one `yield`."""
    return Resource(fn)


def resources_of(fn: Callable[..., Any]) -> tuple[Resource[Any], ...]:
    """Return the resources that a step's function names, itself or through functions and classes that it names.

    `get()` cannot wait, since it is called in the middle of a step; so what a step may need is opened before it.
    """
    found: dict[Resource[Any], None] = {}
    seen: set[CodeType] = set()
    pending: list[Any] = [fn]
    while pending:
        thing = pending.pop()
        if isinstance(thing, Resource):
            found[thing] = None
        elif isinstance(thing, type) and not is_internal_module(thing.__module__):
            pending += [member for member in vars(thing).values() if isinstance(member, FunctionType)]
        elif (function := _function(thing)) is not None and function.__code__ not in seen:
            if is_internal(function.__code__):
                continue
            seen.add(function.__code__)
            pending += named_by(function, members=(Resource, FunctionType))
    return tuple(reversed(found))


def is_internal_module(name: str) -> bool:
    return name.partition(".")[0] in ("wfkit", "builtins", "asyncio", "typing")


def _function(thing: Any) -> FunctionType | None:
    thing = getattr(thing, "fn", thing)
    thing = getattr(thing, "__wrapped__", thing)
    if isinstance(thing, MethodType):
        thing = thing.__func__
    return thing if isinstance(thing, FunctionType) else None
