"""Commands: what the deterministic core asks for.

A command that opens something (a step, a timer, a wait, a child) has a number `n`, counted in the order in which the
run asks; what comes of it names that number. Numbers are a stable identity: every execution of the same history gives
the same ones. Durations are microseconds.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

Json: TypeAlias = Raw | UnsetType
"""A JSON text, or UNSET where there is none: msgspec cannot tell a text from null in `Raw | None`."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """An exception as it travels: a type by name, a message, and its JSON arguments and attributes, if they are JSON."""

    type: str
    message: str = ""
    args: Json = UNSET
    data: Json = UNSET
    line: str | None = None
    """Where it was raised, `file:line in function`, for people."""
    bases: tuple[str, ...] = ()
    """Names of the bases of a class that is not builtin, nearest first, up to `Exception`."""


class RetryPolicy(Struct, frozen=True, omit_defaults=True):
    """How often and when a failed attempt is repeated. `max_attempts` counts the first one; None means for ever."""

    max_attempts: int | None = 4
    initial: int = 1_000_000
    backoff: float = 2.0
    max_interval: int = 60_000_000
    jitter: float = 0.0
    non_retryable: tuple[str, ...] = ("NonRetryable",)
    """Names of exception classes, or of their bases, that end the step at once."""
    attention_after: int | None = None
    """Mark the run as needing attention after so many failed attempts; for steps that are retried without end."""


DEFAULT_RETRY = RetryPolicy()
DEFAULT_TIMEOUT = 600_000_000
"""One attempt may take 10 minutes unless the step says otherwise."""


class Undoes(Struct, frozen=True, omit_defaults=True):
    """What a compensation undoes: the key, outcome and result of the step call."""

    step: str
    key: str
    outcome: Literal["completed", "failed", "unknown"]
    result: Json = UNSET


class _Command(Struct, frozen=True, tag_field="do", tag=True, omit_defaults=True):
    pass


class RunStep(_Command, frozen=True):
    """Run a step. Everything that its execution depends on is recorded here, and never computed again."""

    n: int
    name: str
    args: Raw
    """A JSON array, in the positional order of the step's parameters."""
    key: str
    """The idempotency key: the same on every attempt, after every crash, on every engine."""
    retry: RetryPolicy = DEFAULT_RETRY
    timeout: int = DEFAULT_TIMEOUT
    total_timeout: int | None = None
    undoes: Undoes | None = None
    compensation: bool = False
    """It belongs to a saga's way back: it is never starved by other steps."""
    inline: bool = False
    """The function has no definition of this name: only the run's own code knows it."""

    @property
    def is_past_pivot(self) -> bool:
        """Whether a saga is past its pivot with this: it is tried until it succeeds, and not undone."""
        return not self.compensation and self.retry.max_attempts is None and self.retry.attention_after is not None


class CancelStep(_Command, frozen=True):
    n: int
    awaited: bool = False
    """The run waits for the step's end: an outcome must follow even so."""


class StartTimer(_Command, frozen=True):
    n: int
    delay: int


class CancelTimer(_Command, frozen=True):
    n: int


class AwaitSignal(_Command, frozen=True):
    """A wait opens. `where` is a JSON object of fields that the payload must have, with equal values."""

    n: int
    name: str
    where: Json = UNSET


class Subscribe(_Command, frozen=True):
    """A buffer for published signals opens."""

    n: int
    name: str
    where: Json = UNSET


class StopAwaiting(_Command, frozen=True):
    """A wait or subscription `n` is closed. `took` numbers the entry whose signal the wait took, if it took one."""

    n: int
    took: int | None = None


class SendSignal(_Command, frozen=True):
    n: int
    run_id: str
    name: str
    payload: Raw


class PublishSignal(_Command, frozen=True):
    n: int
    name: str
    payload: Raw


class StartChild(_Command, frozen=True):
    n: int
    workflow: str
    id: str
    args: Raw
    awaited: bool = True
    on_parent_end: Literal["abandon", "cancel"] = "abandon"


class CancelChild(_Command, frozen=True):
    n: int


class SetState(_Command, frozen=True):
    name: str
    value: Raw


class RegisterUndo(_Command, frozen=True):
    """A compensation was registered; for display and for oracles, never compared."""

    step: str
    undo: str
    args: Raw
    of: int | None = None
    """The number of the `RunStep` that it undoes."""


class ReleaseUndos(_Command, frozen=True):
    """A saga ended well, or passed its pivot: these compensations will not run. As little compared as `RegisterUndo`."""

    undos: tuple[str, ...]
    """Their names, in the order in which they were registered."""
    of: tuple[int | None, ...] = ()
    """The number of the `RunStep` that each would undo; None for one that was registered by hand. Older histories have none."""


class FailSaga(_Command, frozen=True):
    """An exception has left a saga before its pivot: its compensations follow. As little compared as `RegisterUndo`."""

    since: int
    """The number of the first command of its block."""
    kept: tuple[int, ...] = ()
    """The numbers of the steps whose undos sagas within its block had released by then. Older histories have none."""


class CompleteRun(_Command, frozen=True):
    value: Raw
    dangling: tuple[int, ...] = ()
    """Numbers of the steps and awaited children that were still pending when the workflow returned."""
    saga_failures: tuple[str, ...] = ()
    """What could not be undone, in a saga whose exception the workflow caught."""


class FailRun(_Command, frozen=True):
    error: Failure
    saga_failures: tuple[str, ...] = ()
    dangling: tuple[int, ...] = ()


class CancelRun(_Command, frozen=True):
    """The cancellation that was asked for left the workflow: it is cancelled, or timed out."""

    reason: str = ""
    timed_out: bool = False
    saga_failures: tuple[str, ...] = ()
    dangling: tuple[int, ...] = ()


Opening: TypeAlias = RunStep | StartTimer | AwaitSignal | Subscribe | SendSignal | PublishSignal | StartChild
Closing: TypeAlias = CancelStep | CancelTimer | StopAwaiting | CancelChild
Informational: TypeAlias = SetState | RegisterUndo | ReleaseUndos | FailSaga
Ending: TypeAlias = CompleteRun | FailRun | CancelRun
Command: TypeAlias = Opening | Closing | Informational | Ending
