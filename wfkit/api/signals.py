"""Signals: typed facts from outside, sent to a run or published to whoever waits for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, overload

import msgspec
from msgspec import UNSET
from typing_extensions import TypeForm, TypeIs

from wfkit.core.codec import Codec, codec
from wfkit.core.commands import Json, PublishSignal, SendSignal, StopAwaiting, Subscribe
from wfkit.core.durations import Duration, microseconds
from wfkit.core.keys import check_run_id
from wfkit.core.machine import Machine, current
from wfkit.core.matching import Arrived, Wait
from wfkit.errors import CodecError, DefinitionError

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received(Generic[A_co]):
    """What `wait_any` got: ask each signal whether it `came`."""

    value: A_co
    source: Waitable[Any]


class Waitable(Generic[A_co]):
    """Something that a workflow can wait for."""

    name: str
    codec: Codec

    def came(self, got: Received[Any], /) -> TypeIs[Received[A_co]]:
        """Whether `got` is this one; narrows the type of `got.value`."""
        return got.source is self


class Signal(Waitable[T]):
    """A typed fact by name. The type must be one that travels as JSON.

    Raises:
        CodecError: it is not.
    """

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self, name: str, type: TypeForm[T]) -> None: ...
    def __init__(self, name: str, type: Any) -> None:
        if not name:
            raise DefinitionError("a signal needs a name")
        self.name = name
        self.codec = codec(type)

    def __init_subclass__(cls) -> None:
        told = f"class {cls.__name__}(Signal) makes no signal: a signal is an object, and a class says what it carries"
        name = cls.__name__.lower()
        raise DefinitionError(told, help=f'{name} = Signal("{name}", {cls.__name__}), with {cls.__name__} as a dataclass')

    def __repr__(self) -> str:
        return f"<signal {self.name}>"


def as_signal(signal: Signal[Any] | str) -> Signal[Any]:
    """Return the signal of a name without a type, or the signal itself."""
    return Signal(signal, Any) if isinstance(signal, str) else signal


@overload
async def wait_signal(
    signal: Waitable[A], /, *, where: Mapping[str, object] | None = None, timeout: Duration | datetime | None = None
) -> A: ...
@overload
async def wait_signal(
    signal: str, /, *, where: Mapping[str, object] | None = None, timeout: Duration | datetime | None = None
) -> Any: ...
async def wait_signal(
    signal: Waitable[Any] | str, /, *, where: Mapping[str, object] | None = None, timeout: Duration | datetime | None = None
) -> Any:
    """Wait for a signal, and take it. What was sent before the wait is not lost: it is taken first, in order.

    Args:
        signal: the signal, or its name.
        where: fields that the payload must have, with equal values; others stay for other waits.
        timeout: a duration, or an aware datetime. One that has passed still takes what has arrived.

    Raises:
        TimeoutError: none arrived in time. One that *arrived* before the deadline wins, however late it is processed.
    """
    if isinstance(signal, str):
        signal = as_signal(signal)
    return (await _wait((signal,), where, timeout)).value


@overload
async def wait_any(
    a: Waitable[A], b: Waitable[B], /, *, timeout: Duration | datetime | None = None
) -> Received[A] | Received[B]: ...
@overload
async def wait_any(
    a: Waitable[A], b: Waitable[B], c: Waitable[C], /, *, timeout: Duration | datetime | None = None
) -> Received[A] | Received[B] | Received[C]: ...
async def wait_any(*signals: Waitable[Any], timeout: Duration | datetime | None = None) -> Received[Any]:
    """Wait for the first of several signals, and take it; the others stay.

    Returns:
        What came: `if cancelled.came(got): got.value`.

    Raises:
        TimeoutError: none arrived in time.
    """
    return await _wait(signals, None, timeout)


async def _wait(
    signals: tuple[Waitable[Any], ...], where: Mapping[str, object] | None, timeout: Duration | datetime | None
) -> Received[Any]:
    machine = current()
    fields, encoded = _fields(where)
    delay = None if timeout is None else _delay(machine, timeout)
    deadline = None if delay is None else machine.loop.now + delay
    wait = machine.open_wait([(signal.name, fields, encoded) for signal in signals], deadline)
    timer = None
    if delay is not None and not wait.done():
        if delay <= 0:
            _expire(wait)
        else:
            timer = machine.loop.call_later(delay / 1e6, _expire, wait)
    took: Arrived | None = None
    try:
        took = await wait
    finally:
        if timer is not None:
            timer.cancel()
        machine.close_wait(wait, took)
    source = next(signal for signal in signals if signal.name == took.name)
    try:
        return Received(source.codec.decode(took.payload), source)
    except CodecError as error:
        help = "widen the type of the signal in the code, and the run goes on with it"
        raise CodecError(f"signal {took.name!r} came with a payload of the wrong type: {error}", help=help) from None


def _expire(wait: Wait) -> None:
    if not wait.done():
        names = " or ".join(repr(want.name) for want in wait.wanted)
        wait.set_exception(TimeoutError(f"no signal {names} arrived in time"))


def _fields(where: Mapping[str, object] | None) -> tuple[dict[str, Any] | None, Json]:
    if not where:
        return None, UNSET
    encoded = codec(dict[str, Any]).encode(dict(where))
    return msgspec.json.decode(encoded), encoded


def _delay(machine: Machine, timeout: Duration | datetime) -> int:
    if not isinstance(timeout, datetime):
        return microseconds(timeout)
    if timeout.tzinfo is None:
        raise ValueError(f"a deadline is an aware datetime, got {timeout!r} without a time zone")
    return round(timeout.timestamp() * 1e6) - machine.loop.now


@overload
def send(run_id: str, signal: Signal[T], payload: T) -> None: ...
@overload
def send(run_id: str, signal: str, payload: object) -> None: ...
def send(run_id: str, signal: Signal[Any] | str, payload: Any) -> None:
    """Send a signal to another run. It is journaled with this activation and delivered once; nothing is awaited.

    Raises:
        DefinitionError: `run_id` cannot be the id of a run.
    """
    machine = current()
    check_run_id(run_id)
    signal = as_signal(signal)
    payload = signal.codec.encode(payload)
    machine.emit(SendSignal(machine.next_number(), run_id, signal.name, payload))


@overload
def publish(signal: Signal[T], payload: T) -> None: ...
@overload
def publish(signal: str, payload: object) -> None: ...
def publish(signal: Signal[Any] | str, payload: Any) -> None:
    """Publish a signal: every run that waits for it, or has subscribed, gets it once; nothing is awaited."""
    machine = current()
    signal = as_signal(signal)
    payload = signal.codec.encode(payload)
    machine.emit(PublishSignal(machine.next_number(), signal.name, payload))


@contextmanager
def subscribe(signal: Signal[Any] | str, where: Mapping[str, object] | None = None) -> Iterator[None]:
    """Keep published signals of this kind for later waits, from here to the end of the block.

    `where` limits what is kept. It does not limit the waits in the block: each takes any signal of its kind unless it has
    a `where` of its own.
    """
    machine = current()
    n = machine.next_number()
    machine.emit(Subscribe(n, as_signal(signal).name, _fields(where)[1]))
    try:
        yield
    finally:
        machine.emit(StopAwaiting(n))
