"""What is simulated: a workflow with its input, its world, and what is declared about it."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

from wfkit.api.definitions import Workflow
from wfkit.api.resources import Resource
from wfkit.api.signals import Waitable
from wfkit.core.durations import Duration, microseconds
from wfkit.errors import DefinitionError
from wfkit.sim.faults import Point, kind_named

T = TypeVar("T")
W_contra = TypeVar("W_contra", contravariant=True)

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""When schedules begin, unless told otherwise."""

RunId = str | Callable[[], str]
"""A run's id; a function is called for each delivery of the start request, as the code of a sender would be."""


@dataclass(frozen=True, slots=True)
class Replace(Generic[W_contra]):
    """A part of the world that stands in for a resource. Made by `replace`."""

    resource: Resource[Any]
    by: Callable[[W_contra], Any]


def replace(resource: Resource[T], by: Callable[[W_contra], T]) -> Replace[W_contra]:
    """Put a part of the world where steps look for a resource: `replace(bank, lambda world: world.bank)`."""
    return Replace(resource, by)


class Instance:
    """One more run of a campaign.

    Args:
        workflow: its workflow.
        args: its arguments.
        id: its id; the workflow's name and a number unless given.
        at: how long after the main run it is started: a text such as "5m", seconds, or a timedelta.

    Raises:
        ValueError: that is no duration.
    """

    def __init__(self, workflow: Workflow[..., Any], *args: Any, id: RunId | None = None, at: Duration = 0) -> None:
        self.workflow = workflow
        self.args = args
        self.id = id
        self.at = microseconds(at)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A difference that is expected, and why. Made by `outcome`, `ignores`, `extra` or `residue`."""

    what: Literal["outcome", "ignores", "extra", "residue"]
    name: str
    fault: str = ""
    value: object = None
    reason: str = ""


def outcome(*, fault: str, value: object) -> Declaration:
    """Expect this result of the main run under this kind of fault: `outcome(fault="slow", value="fallback")`.

    Raises:
        FaultSyntaxError: there is no such kind.
    """
    return Declaration("outcome", "", kind_named(fault).name, value)


def ignores(signal: Waitable[Any] | str, reason: str) -> Declaration:
    """Expect that this signal may be left unread, or come too late."""
    return Declaration("ignores", signal if isinstance(signal, str) else signal.name, reason=reason)


def extra(effect: str, *, fault: str, reason: str) -> Declaration:
    """Expect this effect under this kind of fault only, such as a mail that tells of a delay.

    Raises:
        FaultSyntaxError: there is no such kind.
    """
    return Declaration("extra", effect, kind_named(fault).name, reason=reason)


def residue(effect: str, reason: str) -> Declaration:
    """Expect that this effect stays when the saga around it is undone, such as a fee."""
    return Declaration("residue", effect, reason=reason)


Check = Callable[..., object]
Script = Callable[[Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that a schedule needs but its faults and its seed. Durations are microseconds."""

    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    world: Callable[[], Any] | None = None
    resources: Sequence[Replace[Any]] = ()
    script: Script | None = None
    runs: Sequence[Instance] = ()
    invariants: Sequence[Check] = ()
    expect: Sequence[Declaration] = ()
    upgrade_from: Workflow[..., Any] | None = None
    until: int | None = None
    start: datetime = START
    id: RunId | None = None
    workflows: Sequence[Workflow[..., Any]] = ()
    io: Literal["refuse", "allow"] = "refuse"
    dropped: frozenset[Point] = frozenset()
    """Deliveries that are not made, with or without faults: signals of the script, starts of `runs`."""

    def __post_init__(self) -> None:
        for name in ("resources", "runs", "invariants", "expect", "workflows"):
            given = getattr(self, name)
            if not isinstance(given, Iterable):
                raise DefinitionError(f"{name}={given!r} is no list", help=f"put it into one: {name}=[...]")
        for check in self.invariants:
            if inspect.iscoroutinefunction(inspect.unwrap(check)):
                name = getattr(check, "__name__", repr(check))
                raise DefinitionError(
                    f"the invariant {name} is async, and nobody awaits it", help="write def: it only looks at the world"
                )

    @property
    def main_id(self) -> RunId:
        """The id of the main run."""
        return self.id if self.id is not None else f"{self.workflow.name}-1"

    def id_of(self, index: int) -> RunId:
        """Return the id of the instance at an index."""
        instance = self.runs[index]
        return instance.id if instance.id is not None else f"{instance.workflow.name}-{index + 2}"

    def replaced(self, world: Any) -> Mapping[Resource[Any], Any]:
        """Return what stands in for resources in a world."""
        return {each.resource: each.by(world) for each in self.resources}


@contextmanager
def replaced_globals(world: Any) -> Iterator[list[Any]]:
    """Put parts of a world in the place of module globals, as its `replaces` says: `{"shop.bank:client": make}`.

    The block is given these parts.
    """
    saved: list[tuple[Any, str, Any]] = []
    parts: list[Any] = []
    try:
        for target, make in (getattr(world, "replaces", None) or {}).items():
            module, _, path = target.partition(":")
            *owners, name = path.split(".")
            try:
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                real = getattr(owner, name)
            except (ImportError, AttributeError, ValueError) as error:
                told = f"the world replaces {target!r}, which is not there: {error}"
                raise DefinitionError(told, help='write "module:name", such as "shop.bank:client"') from None
            saved.append((owner, name, real))
            parts.append(make(world))
            setattr(owner, name, parts[-1])
        yield parts
    finally:
        for owner, name, real in reversed(saved):
            setattr(owner, name, real)
