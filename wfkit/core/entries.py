"""Entries: the facts of a run, in the order in which its journal holds them.

Three families. *Fed* entries are the inputs of the deterministic core: the same ones in the same order give the same
commands. *Bookkeeping* entries are for recovery and display, and are never fed. `SignalPublished` alone belongs to
run 0, the bus. How a run ends is a command of its last activation (`commands.py`), or the entry `RunTerminated`.

Payloads are `Raw`: JSON text that stays JSON text inside a history, so that a history is readable and diffable.
`t` is microseconds since the epoch, UTC; within a run it never goes back.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Raw, Struct

from wfkit.core.commands import Command, Failure, Json

BUS = 0
"""The number of the run that holds published signals."""

FORMAT = 1
"""The version of entries and commands as they are written; it changes when an older wfkit could not read them."""


class Parent(Struct, frozen=True):
    """The run that started this one, and the number of its `StartChild` command."""

    run: int
    id: str
    n: int
    awaited: bool
    on_parent_end: Literal["abandon", "cancel"]


class _Entry(Struct, frozen=True, kw_only=True, tag_field="kind", tag=True, omit_defaults=True):
    t: int


class RunStarted(_Entry, frozen=True, kw_only=True):
    """A generation of a run begins. `args` is a JSON array of the workflow's arguments, in positional order."""

    id: str
    generation: int = 1
    workflow: str
    args: Raw
    seed: str
    """128 random bits, 32 hexadecimal digits: the only source of randomness that the workflow sees."""
    code: str = ""
    """Hash of the workflow's source, to tell an edit from other causes of a divergence."""
    python: str = ""
    """`major.minor` of the interpreter: another one may order callbacks differently."""
    patches: tuple[str, ...] = ()
    timeout: int | None = None
    """Microseconds that the whole chain may take, from its first start."""
    parent: Parent | None = None
    trigger: int | None = None
    """The number on the bus of the published signal that started this run."""
    dedupe: tuple[str, ...] = ()
    """Dedupe ids of signals that earlier generations of the chain took."""
    request: str | None = None


class StepCompleted(_Entry, frozen=True, kw_only=True):
    n: int
    value: Raw
    attempt: int = 1


class StepFailed(_Entry, frozen=True, kw_only=True):
    """The step failed for good: its policy has no attempt left, or its error is not to be retried."""

    n: int
    error: Failure
    attempt: int = 1


class TimerFired(_Entry, frozen=True, kw_only=True):
    n: int


class SignalReceived(_Entry, frozen=True, kw_only=True):
    name: str
    payload: Raw
    arrived: int
    """When it became durable outside the run's own order: a wait's deadline is compared with this."""
    dedupe: str | None = None
    published: bool = False
    request: str | None = None


class ChildEnded(_Entry, frozen=True, kw_only=True):
    n: int
    status: Literal["completed", "failed", "cancelled", "terminated", "timed_out"]
    value: Json = UNSET
    error: Failure | None = None


class CancelRequested(_Entry, frozen=True, kw_only=True):
    reason: str = ""
    by: str = ""
    timeout: bool = False
    """The workflow's own `timeout=` ran out: the run ends as `timed_out`, not as `cancelled`."""
    request: str | None = None


Fed: TypeAlias = RunStarted | StepCompleted | StepFailed | TimerFired | SignalReceived | ChildEnded | CancelRequested
FED: tuple[type[Struct], ...] = (RunStarted, StepCompleted, StepFailed, TimerFired, SignalReceived, ChildEnded, CancelRequested)


class Activated(_Entry, frozen=True, kw_only=True):
    """The commands of an entry that was written alone, into the inbox, and activated later. They are this record's."""

    of: int


class ActivationStarted(_Entry, frozen=True, kw_only=True):
    """Written before an activation that follows a crash, so that one that kills the process is recognised."""

    of: int


class AttemptStarted(_Entry, frozen=True, kw_only=True):
    """Written before an attempt that follows a worker's death, so that a step that kills the process is recognised."""

    n: int
    attempt: int


class AttemptFailed(_Entry, frozen=True, kw_only=True):
    """One attempt of a step failed and another one follows at `due` (microseconds UTC)."""

    n: int
    attempt: int
    error: Failure
    due: int
    died: bool = False
    """The worker died under it, or was stopped. Such an attempt does not count against the step's policy."""


class Blocked(_Entry, frozen=True, kw_only=True):
    """Code and history disagree, or the code has a programming error. Entry `at` and what follows wait."""

    at: int
    cause: Failure
    code: str = ""
    """The error's code, such as `WF021`."""


class Unblocked(_Entry, frozen=True, kw_only=True):
    pass


class RunTerminated(_Entry, frozen=True, kw_only=True):
    """The run was stopped from outside, without cleanup."""

    reason: str = ""
    by: str = ""
    request: str | None = None


class SignalPublished(_Entry, frozen=True, kw_only=True):
    """A fact for whoever waits for it. Its receivers' entries are in the same commit."""

    name: str
    payload: Raw
    dedupe: str | None = None
    sender: str | None = None
    receivers: int = 0
    """How many runs took delivery, or were started by it."""


Bookkeeping: TypeAlias = (
    Activated | ActivationStarted | AttemptStarted | AttemptFailed | Blocked | Unblocked | RunTerminated | SignalPublished
)
Entry: TypeAlias = Fed | Bookkeeping

KINDS: dict[type[Struct], int] = {
    RunStarted: 1,
    StepCompleted: 2,
    StepFailed: 3,
    TimerFired: 4,
    SignalReceived: 5,
    ChildEnded: 6,
    CancelRequested: 7,
    Activated: 20,
    ActivationStarted: 21,
    AttemptStarted: 22,
    AttemptFailed: 23,
    Blocked: 24,
    Unblocked: 25,
    RunTerminated: 40,
    SignalPublished: 60,
}
"""The numbers that stand for the kinds in the journal's `kind` column. They are never reused."""


class Record(Struct, frozen=True, omit_defaults=True):
    """One row of a history: an entry, and the commands of its activation.

    `commands` is None for an entry that is durable but not activated yet (the inbox) and for bookkeeping.
    """

    entry: Entry
    commands: tuple[Command, ...] | None = None
