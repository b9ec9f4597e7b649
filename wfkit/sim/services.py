"""Outside services that a simulation controls: what happens there is known, and they fail where a schedule says.

A service lives in the world of a schedule, so it outlives every crash of the process. Outside of a simulation it works
as well, for ordinary tests.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import json
import sqlite3
import sys
from collections.abc import Callable, Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from wfkit.api.attempt import attempt
from wfkit.core.loop import location, user_frame
from wfkit.sim import ambient
from wfkit.sim.fitting import misfit, takes_key

F = TypeVar("F", bound=Callable[..., Any])

Pause: TypeAlias = int
"""How long a call is held up in a simulation, in microseconds; `FOREVER` if its process is dead."""
FOREVER: Pause = -1

Calling: TypeAlias = Generator[Pause, None, Any]
"""A call under way: it yields its pauses, and returns the answer."""


def _passed() -> Calling:
    yield from ()


PASSED = _passed()
"""What passing a point returns where nothing goes wrong. It is exhausted, so all points can share it."""
next(PASSED, None)


class NoEffect:
    """A handler's answer where there was nothing to do. See `NO_EFFECT`."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def __call__(self, answer: Any) -> NoEffect:
        return NoEffect(answer)

    def __repr__(self) -> str:
        return "NO_EFFECT" if self.answer is None else f"NO_EFFECT({self.answer!r})"


NO_EFFECT = NoEffect()
"""A handler's answer: accepted, but there was nothing to do. `NO_EFFECT(answer)` gives the caller an answer all the same."""


class Refusal(Exception):
    """A handler has answered by a refusal of its protocol, so nothing has happened. Its text says what it has answered."""


OPAQUE = "step"
"""The service of an effect of which nothing is known but the step that made it."""
DECLARED = "declared"
"""The service of effects that steps declare by `effect(...)`."""
SETTING = ("PUT", "DELETE")
"""Methods of HTTP that by definition come to the same, however often they are called."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happened outside."""

    at: datetime
    service: str
    name: str
    key: str | None
    payload: Mapping[str, Any]
    run: str = ""
    """Id of the run whose step did it; empty outside of runs."""
    n: int = 0
    """Number of that step's command."""

    @property
    def text(self) -> str:
        """The payload as canonical JSON."""
        return canonical(self.payload)


class Request(NamedTuple):
    """A call on its way to a service."""

    arrive: Callable[[], object]
    """Lets it arrive, be its caller still there or not."""
    is_done: bool
    """Whether it comes to nothing new, so that there is nothing to refuse any more."""
    refusal: Callable[[], BaseException] | None = None
    """Makes the error by which it is refused for good; it is one of the step's own unless given."""


class Surroundings(Protocol):
    """The simulation, as a service sees it."""

    def now(self) -> datetime: ...
    def joined(self, service: FakeService) -> None:
        """The service is a part of the world."""
        ...

    def reach(self, service: FakeService, phase: str, label: str, request: Request | None = None) -> Calling:
        """Pass a point of a step: it counts as passed at once. Iterate over what is returned to let go wrong what is to."""
        ...

    def happened(self, effect: Effect, *, again: bool) -> None:
        """An effect took place, or was recognised by its key and did not take place again."""
        ...

    def declared(self, effect: Effect) -> Calling:
        """A step says that an effect took place: its process may die before it goes on."""
        ...

    def came_to_nothing(self, effect: Effect, why: str) -> None:
        """A call arrived, and there was nothing to do, or it was refused. `why` says which."""
        ...

    def collided(self, first: Effect, second: Effect) -> None:
        """One idempotency key came with two different things."""
        ...

    def changed(self, service: FakeService, by: str, before: Mapping[str, Any]) -> None:
        """The state of a service may have changed by a call. `before` is what it was; nobody writes to that."""
        ...

    def connected(self, database: sqlite3.Connection) -> None:
        """A connection to SQLite was opened."""
        ...

    def committed(self) -> None:
        """What was written to SQLite is there from now on, whoever dies."""
        ...

    def querying(self) -> Calling:
        """A statement is about to be executed by SQLite."""
        ...

    def hold(self, pause: Pause) -> None:
        """Hold up the thread of a `def` step."""
        ...

    def end_with(self, error: BaseException) -> None:
        """The simulation cannot go on: it ends with this error."""
        ...


surroundings: ContextVar[Surroundings | None] = ContextVar("wfkit_surroundings", default=None)
"""The simulation that is under way; None outside of one."""


class FakeService:
    """A stateful outside service; every call is an effect.

    A handler answers a call: `@bank.on("charge")` above `def charge(state, amount): ...`. It may take `idempotency_key`. If
    it raises, the state is what it was before, and the caller gets the exception. Without a handler the answer is a text
    such as `charge-1`. Fields come by name, the state by position: with `def update(state, /, **fields)` a field may be
    called `state` as well.

    Args:
        name: how reports call it.
        keys: whether a repeated idempotency key returns the first answer and does nothing more ("honoured"), or each call
            is a new effect ("ignored").
    """

    def __init__(self, name: str, *, keys: Literal["honoured", "ignored"] = "honoured") -> None:
        self.name = name
        self.keys = keys
        self.state: dict[str, Any] = {}
        """What the handlers keep; JSON values."""
        self.effects: list[Effect] = []
        """What happened, in order."""
        self.attempts: list[Effect] = []
        """Every call that arrived: refused, failed and deduplicated ones too."""
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._readers: dict[str, Callable[..., Any]] = {}
        self._answers: dict[str, tuple[Effect, Any]] = {}
        self._counts: dict[str, int] = {}
        self._waiting: list[Callable[[], object]] = []
        """Wakes those that wait for something to happen."""
        self._values: dict[str, tuple[str, str]] = {}
        """What things were last set to, by what sets them: the name of the call, and its payload."""
        host = surroundings.get()
        if host is not None:
            host.joined(self)

    def on(self, effect: str) -> Callable[[F], F]:
        """Register the handler of an effect: `handler(state, **payload)` returns the answer, or `NO_EFFECT`."""

        def register(handler: F) -> F:
            self._handlers[effect] = handler
            return handler

        return register

    @property
    def handled(self) -> list[str]:
        """The effects and queries that have a handler."""
        return [*self._handlers, *self._readers]

    def handler_of(self, effect: str) -> Callable[..., Any] | None:
        """Return the handler that `on` has registered for an effect."""
        return self._handlers.get(effect)

    def on_read(self, query: str) -> Callable[[F], F]:
        """Register the handler of a query: `handler(state, **payload)` returns the answer."""

        def register(handler: F) -> F:
            self._readers[query] = handler
            return handler

        return register

    async def call(self, effect: str, /, *, idempotency_key: str | None = None, **payload: Any) -> Any:
        """Ask for an effect, as a client would over the network.

        Raises:
            ConnectionError: in a simulation, the service did not answer; it may have acted.
            DefinitionError: the handler does not take these fields.
            Exception: whatever the handler raises.
        """
        return await with_pauses(self._calling(effect, idempotency_key, payload))

    def call_sync(self, effect: str, /, *, idempotency_key: str | None = None, **payload: Any) -> Any:
        """As `call`, for a `def` step."""
        return in_thread(self._calling(effect, idempotency_key, payload))

    async def read(self, query: str, /, **payload: Any) -> Any:
        """Ask for something that changes nothing. Without a handler of `on_read` it is the one of `on`."""
        return await with_pauses(self.reading(query, payload))

    def read_sync(self, query: str, /, **payload: Any) -> Any:
        """As `read`, for a `def` step."""
        return in_thread(self.reading(query, payload))

    async def happened(self, effect: str, *, times: int = 1) -> Effect:
        """Wait until an effect has happened so often, and return it. In a script: `await world.mail.happened("send")`.

        A schedule in which it never happens comes to rest all the same.
        """
        while True:
            found = [each for each in self.effects if each.name == effect]
            if len(found) >= times:
                return found[times - 1]
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            # Whoever acts may be a step that dies just then, or in a thread: the waiter is told in its own context.
            wake = functools.partial(loop.call_soon_threadsafe, _wake, future, context=contextvars.copy_context())
            self._waiting.append(wake)
            try:
                await future
            finally:
                if wake in self._waiting:
                    self._waiting.remove(wake)

    def _calling(self, effect: str, key: str | None, payload: dict[str, Any]) -> Calling:
        host = surroundings.get()
        if host is not None:
            request = Request(lambda: self.apply(effect, key, payload), self.has_done(effect, key, payload))
            yield from host.reach(self, "call.before", effect, request)
        answer = self.apply(effect, key, payload)
        if host is not None:
            yield from host.reach(self, "call.after", effect)
        return answer

    def reading(self, query: str, payload: dict[str, Any]) -> Calling:
        """Return a read under way, as a transport carries it out."""
        _asked(self.name, query)
        host = surroundings.get()
        if host is not None:
            yield from host.reach(self, "read", query)
        handler = self._readers.get(query) or self._handlers.get(query)
        return self.state.get(query) if handler is None else self._ask(query, handler, copy.deepcopy(self.state), payload)

    def has_done(self, name: str, key: str | None, payload: dict[str, Any], *, sets: str = "") -> bool:
        """Whether a call comes to nothing new: by its key, or since it sets what is so already. Arguments as of `apply`."""
        if key is not None and key in self._answers:
            return self.keys == "honoured"
        return bool(sets) and self._values.get(sets) == (name, canonical(payload))

    def apply(self, name: str, key: str | None, payload: dict[str, Any], *, sets: str = "") -> Any:
        """Let a call arrive now, whatever becomes of its answer.

        Args:
            name: what is asked for.
            key: the idempotency key.
            payload: the handler's arguments.
            sets: what the call sets to a value: the same value once more is nothing new, unless the handler's state says so.
        """
        _asked(self.name, name)
        host = surroundings.get()
        now = attempt.get()
        at = host.now() if host is not None else datetime.now(UTC)
        run, n = (now.info.run_id, now.n) if now is not None else ("", 0)
        effect = Effect(at, self.name, name, key, {each: copy.deepcopy(value) for each, value in payload.items()}, run, n)
        self.attempts.append(effect)
        known = self._answers.get(key) if key is not None else None
        if known is not None:
            first, answer = known
            if (first.name, first.text) != (name, effect.text) and host is not None:
                host.collided(first, effect)
            if self.keys == "honoured":
                if host is not None:
                    host.happened(effect, again=True)
                return copy.deepcopy(answer)
        before = copy.deepcopy(self.state) if self._handlers else self.state
        try:
            answer = self._answer(name, key, payload)
        except BaseException as error:
            self.state = before
            if host is not None:
                why = str(error) if isinstance(error, Refusal) else f"its handler raised {type(error).__name__}"
                host.came_to_nothing(effect, why)
            raise
        if host is not None and self._handlers:
            host.changed(self, name, before)
        if isinstance(answer, NoEffect):
            if host is not None:
                host.came_to_nothing(effect, "there was nothing to do")
            return answer.answer
        if sets:
            before_it, self._values[sets] = self._values.get(sets), (name, effect.text)
            if before_it == self._values[sets] and canonical(self.state) == canonical(before):
                if host is not None:
                    host.happened(effect, again=True)
                return answer
        self.effects.append(effect)
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
        if key is not None and known is None:
            self._answers[key] = (effect, copy.deepcopy(answer))
        if host is not None:
            host.happened(effect, again=False)
        return answer

    def _answer(self, name: str, key: str | None, payload: dict[str, Any]) -> Any:
        handler = self._handlers.get(name)
        if handler is None:
            self._counts[name] = self._counts.get(name, 0) + 1
            return f"{name}-{self._counts[name]}"
        if takes_key(handler):
            payload = {**payload, "idempotency_key": key}
        return self._ask(name, handler, self.state, payload)

    def _ask(self, name: str, handler: Callable[..., Any], state: dict[str, Any], payload: dict[str, Any]) -> Any:
        """Let a handler answer.

        Raises:
            DefinitionError: it does not take what the call brings. That is no failure of the service, which a step could try
                again: a simulation ends with it.
            Exception: whatever the handler raises.
        """
        try:
            return handler(state, **payload)
        except TypeError as error:
            wrong = misfit(f"{name} in the fake service {self.name}", handler, payload, error)
            if wrong is None:
                raise
        host = surroundings.get()
        if host is not None:
            host.end_with(wrong)
        raise wrong


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Mailbox(FakeService):
    """A mail server: it knows no keys, and what was sent is sent."""

    def __init__(self, name: str = "mail") -> None:
        super().__init__(name, keys="ignored")

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self.call("send", **message)

    def send_sync(self, **message: Any) -> None:
        """As `send`, for a `def` step."""
        self.call_sync("send", **message)

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """What was sent, in order."""
        return [effect.payload for effect in self.effects]


class KeyValue(FakeService):
    """A store that steps read and write. What is stored is state, not an effect."""

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        return await with_pauses(self._getting(key, default))

    def get_sync(self, key: str, default: Any = None) -> Any:
        """As `get`, for a `def` step."""
        return in_thread(self._getting(key, default))

    async def put(self, key: str, value: Any) -> None:
        """Set the value of a key."""
        await with_pauses(self._putting(key, lambda _: (True, value)))

    def put_sync(self, key: str, value: Any) -> None:
        """As `put`, for a `def` step."""
        in_thread(self._putting(key, lambda _: (True, value)))

    async def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        """Set the value of a key if it is the expected one (None: not set); return whether it was."""
        return bool(await with_pauses(self._putting(key, lambda now: (now == expected, value))))

    def compare_and_set_sync(self, key: str, expected: Any, value: Any) -> bool:
        """As `compare_and_set`, for a `def` step."""
        return bool(in_thread(self._putting(key, lambda now: (now == expected, value))))

    def _getting(self, key: str, default: Any) -> Calling:
        _asked(self.name, f"get({key!r})")
        host = surroundings.get()
        if host is not None:
            yield from host.reach(self, "get", key)
        return copy.deepcopy(self.state.get(key, default))

    def _putting(self, key: str, decide: Callable[[Any], tuple[bool, Any]]) -> Calling:
        _asked(self.name, f"put({key!r})")
        host = surroundings.get()
        if host is not None:
            yield from host.reach(self, "put", key)
        wanted, value = decide(self.state.get(key))
        if wanted:
            before, self.state[key] = dict(self.state), copy.deepcopy(value)
            if host is not None:
                host.changed(self, key, before)
        if host is not None:
            yield from host.reach(self, "put.after", key)
        return wanted


def effect(name: str, *, key: str | None = None, **payload: Any) -> None:
    """Declare, in a step, that something has just happened outside. Outside of a simulation it does nothing.

    A schedule may let the process die just afterwards, unless a transaction of SQLite is open: that would take it back.

    Args:
        name: what happened.
        key: the idempotency key that the outside was given: two of one key are one effect.
        payload: JSON values.
    """
    _asked(DECLARED, f"effect({name!r})")
    host = surroundings.get()
    now = attempt.get()
    if host is not None and now is not None:
        in_thread(host.declared(Effect(host.now(), DECLARED, name, key, payload, now.info.run_id, now.n)))


def _asked(service: str, what: str) -> None:
    """Tell the simulation if it is workflow code that asks a service for something."""
    here = ambient.of_workflow()
    if here is not None:
        frame = user_frame(sys._getframe(2))
        here.asked(service, what, location(frame) if frame is not None else "")


async def with_pauses(calling: Calling) -> Any:
    """Carry out a call on the event loop, which goes on while it is held up. Returns its answer."""
    try:
        while True:
            pause = next(calling)
            if pause == FOREVER:
                await asyncio.get_running_loop().create_future()
            else:
                await asyncio.sleep(pause / 1e6)
    except StopIteration as done:
        return done.value
    finally:
        calling.close()  # whoever does not wait so long gives it up here and now


def in_thread(calling: Calling) -> Any:
    """Carry out a call in a thread, which stands still while it is held up. Returns its answer."""
    host = surroundings.get()
    try:
        while True:
            pause = next(calling)
            assert host is not None  # nobody else makes pauses
            host.hold(pause)
    except StopIteration as done:
        return done.value


_CANONICAL = json.JSONEncoder(sort_keys=True, default=repr, separators=(",", ":"))


def canonical(value: object) -> str:
    """Return a value as JSON with sorted keys; what is no JSON is shown by `repr`."""
    return _CANONICAL.encode(value)
