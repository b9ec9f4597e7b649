"""What workflow code calls: durable time, seeded randomness, children, state, the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Generic, Literal, TypeVar, TypeVarTuple, Unpack, overload
from uuid import UUID

from typing_extensions import TypeForm

from wfkit.api.attempt import attempt
from wfkit.api.definitions import Workflow
from wfkit.core.codec import codec
from wfkit.core.commands import SetState, StartChild
from wfkit.core.durations import Duration, microseconds
from wfkit.core.keys import check_run_id, child_id
from wfkit.core.loop import running
from wfkit.core.machine import current, current_or_none
from wfkit.errors import DefinitionError

R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(us: int) -> datetime:
    """Return microseconds since the epoch as an aware datetime."""
    return _EPOCH + timedelta(microseconds=us)


async def sleep(d: Duration) -> None:
    """Sleep durably: for milliseconds or for months, across restarts."""
    current()
    await asyncio.sleep(microseconds(d) / 1e6)


async def sleep_until(dt: datetime) -> None:
    """Sleep durably until an aware datetime; at once if it has passed.

    Raises:
        ValueError: the datetime has no time zone.
    """
    machine = current()
    if dt.tzinfo is None:
        raise ValueError(f"sleep_until takes an aware datetime, got {dt!r} without a time zone")
    await asyncio.sleep(max((dt - at(machine.loop.now)).total_seconds(), 0))


def timeout(d: Duration | datetime) -> asyncio.Timeout:
    """Limit a block: `async with timeout("3 days"):` raises TimeoutError when the time is up. Durable."""
    machine = current()
    if not isinstance(d, datetime):
        return asyncio.timeout(microseconds(d) / 1e6)
    if d.tzinfo is None:
        raise ValueError(f"timeout takes a duration or an aware datetime, got {d!r} without a time zone")
    return asyncio.timeout((d - at(machine.loop.now)).total_seconds())


def now() -> datetime:
    """Return the time, aware, UTC. In a workflow it is the time of the last entry, and never goes back."""
    machine = current_or_none()
    if machine is not None:
        return at(machine.loop.now)
    step = attempt.get()
    return at(step.clock() if step is not None else time.time_ns() // 1000)


def rng() -> Random:
    """Return the run's random generator, seeded by 128 bits recorded at its start. Not for secrets."""
    return current().loop.random


def uuid4() -> UUID:
    """Return a random UUID that is the same in every replay."""
    return UUID(int=current().loop.random.getrandbits(128), version=4)


def has_patch(id: str) -> bool:
    """Whether the run started on code that declares this patch. The answer never changes within a run.

    Raises:
        DefinitionError: the workflow does not declare it: `@workflow(patches=("id",))`.
    """
    machine = current()
    if id not in machine.code.patches:
        raise DefinitionError(
            f"workflow {machine.code.name!r} does not declare the patch {id!r}", help=f'@workflow(patches=("{id}",))'
        )
    return id in machine.start.patches


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run knows of itself. `history_length` counts the entries so far."""

    id: str
    generation: int
    workflow: str
    started_at: datetime
    history_length: int
    parent: str | None


def info() -> RunInfo:
    """Return what the run knows of itself."""
    machine = current()
    start = machine.start
    parent = start.parent.id if start.parent is not None else None
    return RunInfo(start.id, start.generation, start.workflow, at(start.t), machine.seq, parent)


@contextmanager
def unsafe(reason: str) -> Iterator[None]:
    """Lift the determinism guard inside the block, which must not await.

    Args:
        reason: why this is safe; for the reader.

    Raises:
        ValueError: no reason is given.
        WorkflowLoopError: the block awaits; the run is blocked.
    """
    if not reason:
        raise ValueError("unsafe() wants a reason")
    loop = running()
    if loop is None:
        yield
        return
    loop.unsafe += 1
    try:
        yield
    finally:
        loop.unsafe -= 1


class State(Generic[T]):
    """Typed state of a run, readable from outside after each commit.

    Args:
        name: its journaled name.
        type: one that travels as JSON.
        default: makes the value that `get` returns before the first `set`.
    """

    @overload
    def __init__(self, name: str, type: type[T], default: Callable[[], T] = ...) -> None: ...
    @overload
    def __init__(self, name: str, type: TypeForm[T], default: Callable[[], T] = ...) -> None: ...
    def __init__(self, name: str, type: Any, default: Callable[[], T] | None = None) -> None:
        self.name = name
        self.codec = codec(type)
        self._default = default

    def get(self) -> T:
        """Return the value, a copy of what was set last.

        Raises:
            LookupError: nothing was set, and there is no default.
        """
        state = current().state
        return self.decode(None if state is None else state.get(self.name))

    def set(self, value: T) -> None:
        """Set the value; it is visible outside once the activation is durable."""
        machine = current()
        encoded = self.codec.encode(value)
        machine.set_state(self.name, encoded)
        machine.emit(SetState(self.name, encoded))

    def decode(self, value: Any) -> T:
        """Return the value of its JSON, or the default for None."""
        if value is not None:
            return self.codec.decode(value)  # type: ignore[no-any-return]  # the codec is that of T
        if self._default is None:
            raise LookupError(f"state {self.name!r} is not set and has no default")
        return self._default()


@dataclass(frozen=True, slots=True)
class Child(Generic[R]):
    """A child run that nobody awaits."""

    id: str


def start_child(
    wf: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
    *args: Unpack[Ts],
    id: str | None = None,
    on_parent_end: Literal["abandon", "cancel"] = "abandon",
) -> Child[R]:
    """Start a child run without awaiting it. To await one, call it: `await other(...)`.

    Args:
        wf: the child's workflow.
        args: its arguments.
        id: its run id; one in use attaches, as `start` does. Derived from the parent's id unless given.
        on_parent_end: whether it lives on or is cancelled when this run ends.

    Raises:
        DefinitionError: `wf` is no workflow, or `id` no run id: 1 to 128 of the characters `A-Z a-z 0-9 . _ : / -`.
    """
    if not isinstance(wf, Workflow):
        raise DefinitionError(f"start_child takes a @workflow, got {wf!r}")
    if id is not None:
        check_run_id(id)
    machine = current()
    n = machine.next_number()
    run_id = id if id is not None else child_id(machine.start.id, machine.start.generation, wf.name, n)
    encoded = wf.signature.encode(args, {})
    machine.start_child(n, StartChild(n, wf.name, run_id, encoded, awaited=False, on_parent_end=on_parent_end), wf.decode_end)
    return Child(run_id)


class _AfterCommit(logging.Filter):
    """Holds back what workflow code logs until its activation is durable, and drops it in replay."""

    def filter(self, record: logging.LogRecord) -> bool:
        machine = current_or_none()
        if machine is not None:
            record.__dict__.update(run_id=machine.start.id, workflow=machine.start.workflow)
            machine.logs.append(record)
            return False
        step = attempt.get()
        if step is not None:
            record.__dict__.update(run_id=step.info.run_id, workflow=step.info.workflow, step=step.info.step)
        return True


_log = logging.getLogger("wfkit.run")
_log.addFilter(_AfterCommit())
logger: logging.LoggerAdapter[logging.Logger] = logging.LoggerAdapter(_log, {})
"""The log of workflows and steps: emitted after the commit, silent in replay, stamped with run and step."""
