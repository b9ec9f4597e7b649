"""Opens the resources that steps name, once per engine, and closes them when it drains."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

from wfkit.api.resources import Resource, resources_of
from wfkit.errors import DefinitionError

CLOSING_SECONDS_MAX = 5.0
"""A resource that takes longer to close is given up: whoever stops an engine should not wait for a dead server."""

_needs = functools.lru_cache(maxsize=1_024)(resources_of)


class Resources:
    """The resources of one engine. Each lives in a task of its own, since many clients must be closed where they were opened.

    Args:
        replaced: objects that stand in for resources, in tests.
    """

    def __init__(self, replaced: Mapping[Resource[Any], Any] | None = None) -> None:
        self.open: dict[Resource[Any], Any] = dict(replaced or {})
        self._closing = asyncio.Event()
        self._lives: dict[Resource[Any], asyncio.Task[None]] = {}
        self._opened: dict[Resource[Any], asyncio.Future[None]] = {}

    def missing(self, fn: Callable[..., Any]) -> tuple[Resource[Any], ...]:
        """Return the resources that a step's function names and that are not open."""
        needs = _needs(fn)
        if not needs:
            return ()
        return tuple(resource for resource in needs if resource not in self.open)

    async def provide(self, resources: tuple[Resource[Any], ...]) -> None:
        """Open resources; one that is being opened for another step is awaited.

        Raises:
            Exception: whatever a resource raises. The step that needs it fails with that, and the next one tries again.
        """
        for resource in resources:
            if resource not in self.open:
                if resource not in self._opened:
                    self._opened[resource] = asyncio.get_running_loop().create_future()
                    self._lives[resource] = asyncio.ensure_future(self._live(resource, self._opened[resource]))
                await asyncio.shield(self._opened[resource])

    async def _live(self, resource: Resource[Any], opened: asyncio.Future[None]) -> None:
        generator = resource.fn()
        try:
            self.open[resource] = await anext(generator)
        except (Exception, SystemExit, asyncio.CancelledError) as exc:  # noqa: BLE001  # whoever waits for it gets it
            del self._opened[resource]
            if not opened.done():
                opened.set_exception(_told(resource, exc))
                opened.exception()  # whoever waited for it may have been given up
            return
        opened.set_result(None)
        await self._closing.wait()
        del self.open[resource]
        await anext(generator, None)

    async def close(self) -> None:
        """Close what was opened. An error of one does not keep the others open; the first is raised."""
        self._closing.set()
        for resource, life in self._lives.items():
            if resource not in self.open:
                life.cancel()
        if not self._lives:
            return
        done, late = await asyncio.wait(self._lives.values(), timeout=CLOSING_SECONDS_MAX)
        for life in late:
            life.cancel()
        errors = [error for life in done if not life.cancelled() and (error := life.exception()) is not None]
        if errors:
            raise errors[0]


def _told(resource: Resource[Any], exc: BaseException) -> Exception:
    """Return what the steps that need a resource fail with."""
    if isinstance(exc, StopAsyncIteration):
        return DefinitionError(f"resource {resource.name!r} yields nothing", help="it must yield its client once")
    return exc if isinstance(exc, Exception) else RuntimeError(f"resource {resource.name!r} did not open: {exc!r}")
