"""The only input and output of the screens: requests to the engine, its live feed, and the file when no engine runs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from wfkit.cli.options import with_store
from wfkit.cli.output import now
from wfkit.control.address import named_socket
from wfkit.control.client import AsyncEngineClient, engine_beside
from wfkit.control.messages import EngineFacts, FeedEvent, GetEngine, Request
from wfkit.errors import EngineUnreachable, WfkitError

A = TypeVar("A")

LOOK_SECONDS = 1.0
"""So often it is looked whether an engine has started."""


class Found:
    """An engine answers from here on; what was read before may be old."""


class Lost:
    """No engine answers from here on."""


News: TypeAlias = FeedEvent | Found | Lost


class Backend:
    """Answers the screens' requests.

    Args:
        store: the journal; the engine beside it is asked, or the file if none holds it.
        engine: the engine to ask instead, by its socket or its folder, whatever its journal is.
        clock: the present, microseconds UTC.
    """

    def __init__(self, store: Path, engine: Path | None = None, clock: Callable[[], int] = now) -> None:
        self.store = store
        self.ahead = 0
        """How far the engine's clock is put forward, in microseconds."""
        self.facts: EngineFacts | None = None
        """Of the engine that answers; None while none does."""
        self.trouble = ""
        """Why no engine answers."""
        self._clock = clock
        self._engine = engine
        self._asked: dict[int, float] = {}
        """Since when each request waits for the engine's answer."""
        self._numbers = itertools.count()
        self._wanted = asyncio.Event()

    def clock(self) -> int:
        """Return the present as the engine sees it, microseconds UTC."""
        return self._clock() + self.ahead

    @property
    def live(self) -> bool:
        return self.facts is not None

    @property
    def silent_seconds(self) -> float:
        """For how long the engine has owed an answer."""
        return time.monotonic() - min(self._asked.values()) if self._asked else 0.0

    def look(self) -> None:
        """Look at once whether an engine has started, and not only in a while."""
        self._wanted.set()

    async def ask(self, request: Request[A]) -> A:
        """Return the answer to a request: the engine's, or what the file says to one that only reads.

        Raises:
            EngineUnreachable: only an engine can answer.
            WfkitError: why there is no answer.
        """
        try:
            return await self._ask_engine(request)
        except EngineUnreachable:
            if request.acts or self._engine is not None:
                raise
        return await asyncio.to_thread(_read, self.store, request)

    async def read_facts(self) -> None:
        """Read again what the engine says of itself: by now its disk may be full, or have room again.

        Raises:
            WfkitError: why there is no answer.
        """
        before = self.facts
        if before is not None:
            facts = await self._ask_engine(GetEngine())
            if self.facts is before:
                self.facts = facts

    async def _ask_engine(self, request: Request[A]) -> A:
        number = next(self._numbers)
        self._asked[number] = time.monotonic()
        try:
            return await _apart(self._client().ask(request))
        finally:
            del self._asked[number]

    async def news(self) -> AsyncIterator[News]:
        """Yield without end what an engine makes known, and when it is there and gone."""
        while True:
            try:
                client = self._client()
                self.facts = await client.ask(GetEngine())
                self.trouble = ""
                yield Found()
                async for event in client.feed(self.facts.pos):
                    yield event
                raise EngineUnreachable("the engine has ended")
            except WfkitError as error:
                lost = self.live or not self.trouble
                self.facts, self.trouble = None, str(error)
            if lost:
                yield Lost()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()

    def command(self, text: str) -> str:
        """Return a command line as it is typed beside this journal."""
        if self._engine is not None:
            return f"{text} --engine {self._engine}"
        return with_store(text, self.store)

    def _client(self) -> AsyncEngineClient:
        if self._engine is not None:
            return AsyncEngineClient(named_socket(self._engine))
        return AsyncEngineClient(engine_beside(self.store), self.store)


async def _apart(answer: Coroutine[Any, Any, A]) -> A:
    """Wait for an answer in a context of its own.

    A limit on its time keeps the context that it was set in until that time is over, though the answer came long before:
    here this would be the screen that asked, which may have been left.
    """
    return await asyncio.get_running_loop().create_task(answer, context=Context())


def _read(store: Path, request: Request[Any]) -> Any:
    from wfkit.control.files import answer  # which loads DuckDB: only where no engine runs

    return answer(store, request)
