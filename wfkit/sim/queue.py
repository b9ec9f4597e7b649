"""A message queue that delivers at least once, as those of clouds do."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wfkit.core.durations import Duration, microseconds
from wfkit.sim.services import FakeService


@dataclass
class Message:
    """A message under way."""

    id: str
    """The same each time it is delivered: a good `dedupe=` for what is made of it."""
    body: Mapping[str, Any]
    receives: int = 0
    """How often it was delivered."""
    hidden_until: float = 0.0
    """When it is delivered again unless it is acknowledged by then; seconds of the event loop."""


class FakeQueue(FakeService):
    """A queue to which steps send, and from which a script takes.

    Each send is a message, also if a step sends it again. A message that is not acknowledged in time is delivered again, after
    those that were sent meanwhile; after `receives_max` deliveries it goes to `dead`.

    Args:
        name: how reports call it.
        hidden: how long a delivered message waits to be acknowledged: a text such as "30s", seconds, or a timedelta.
        receives_max: how often a message is delivered at most.

    Raises:
        ValueError: `hidden` is no duration.
    """

    def __init__(self, name: str = "queue", *, hidden: Duration = "30s", receives_max: int = 5) -> None:
        super().__init__(name, keys="ignored")
        self._hidden_seconds = microseconds(hidden) / 1e6
        self._receives_max = receives_max
        self._arrived: asyncio.Event | None = None
        self.messages: list[Message] = []
        """Those that are not acknowledged, in order."""
        self.dead: list[Message] = []
        """Those that were given up."""

    async def send(self, **body: Any) -> None:
        """Send a message."""
        await self.call("send", **body)

    def send_sync(self, **body: Any) -> None:
        """As `send`, for a `def` step."""
        self.call_sync("send", **body)

    async def receive(self) -> Message:
        """Wait for a message, and take it. It comes again unless it is acknowledged."""
        loop = asyncio.get_running_loop()
        while True:
            for message in list(self.messages):
                if message.hidden_until <= loop.time():
                    self.messages.remove(message)
                    if message.receives == self._receives_max:
                        self.dead.append(message)
                        continue
                    self.messages.append(message)
                    message.receives += 1
                    message.hidden_until = loop.time() + self._hidden_seconds
                    return copy.copy(message)
            self._arrived = asyncio.Event()
            due = min((message.hidden_until for message in self.messages), default=None)
            try:
                async with asyncio.timeout_at(due):
                    await self._arrived.wait()
            except TimeoutError:
                continue  # one is due again

    def ack(self, message: Message) -> None:
        """Acknowledge a message: it is done with."""
        self.messages = [other for other in self.messages if other.id != message.id]

    def nack(self, message: Message) -> None:
        """Give a message back: it is delivered again at once, after those that wait."""
        for other in self.messages:
            if other.id == message.id:
                other.hidden_until = 0.0
        if self._arrived is not None:
            self._arrived.set()

    def _answer(self, name: str, key: str | None, payload: dict[str, Any]) -> Any:
        id = super()._answer(name, key, payload)
        if name == "send":
            self.messages.append(Message(f"{self.name}-{len(self.effects) + 1}", copy.deepcopy(payload)))
            if self._arrived is not None:
                self._arrived.set()
        return id
