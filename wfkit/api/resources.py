"""Resources: clients and pools that steps use, opened once per engine."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from wfkit.api.attempt import attempt
from wfkit.api.definitions import Step
from wfkit.core.loop import running
from wfkit.core.reach import Seen, reached
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
    """Return the resources that a step's function may ask for: itself, or through what it calls, other steps included.

    `get()` cannot wait, since it is called in the middle of a step; so what a step may need is opened before it.
    """
    seen: Seen = {}
    found: dict[Resource[Any], None] = {}
    pending: list[Callable[..., Any]] = [fn]
    while pending:
        for thing in reached(pending.pop(), (Resource, Step), seen):
            if isinstance(thing, Resource):
                found[thing] = None
            elif isinstance(thing, Step):
                pending.append(thing.fn)
    return tuple(found)
