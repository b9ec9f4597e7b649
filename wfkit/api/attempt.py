"""What a step sees of the attempt that runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wfkit.core.commands import Undoes
from wfkit.core.loop import running
from wfkit.errors import WorkflowLoopError


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One attempt of a step. `idempotency_key` is the same on every attempt and after every crash."""

    run_id: str
    workflow: str
    step: str
    idempotency_key: str
    attempt: int
    deadline: datetime | None


def _wall_clock() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Attempt:
    """The surroundings of one attempt: what it is, what it may use."""

    info: StepInfo
    n: int = 0
    """Number of the step's command in its run."""
    undoes: Undoes | None = None
    resources: Mapping[Any, Any] = field(default_factory=dict)
    """Open resources, by definition."""
    clock: Callable[[], int] = _wall_clock
    """Microseconds since the epoch."""


attempt: ContextVar[Attempt | None] = ContextVar("wfkit_attempt", default=None)

_OUTSIDE = StepInfo("test-run", "test", "test", "test-key", 1, None)


def step_info() -> StepInfo:
    """Return what is known of the attempt that runs just now. Outside of any run it is a fixed one, for unit tests.

    Raises:
        WorkflowLoopError: called in workflow code, where there is no attempt.
    """
    if running() is not None:
        raise WorkflowLoopError("step_info() belongs into a step; a workflow has info()")
    now = attempt.get()
    return _OUTSIDE if now is None else now.info
