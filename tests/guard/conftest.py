"""The guard in place, and code that runs as a workflow does: in a `Machine`, fed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from wfkit import guard
from wfkit.api.definitions import workflow
from wfkit.core.entries import RunStarted
from wfkit.core.machine import Machine

Driver = Callable[[Callable[[], Any]], Any]

STARTED = 1_700_000_000_123_456
"""Microseconds: a day in November 2023."""
SEED = "5eed"


@pytest.fixture(autouse=True, scope="package")
def guarded() -> None:
    """Put the guard in place."""
    guard.install()


def start(call: Callable[[], Any]) -> Any:
    """Return what `call` returns as the whole of a workflow's code."""
    answers: list[Any] = []

    async def calls() -> None:
        answers.append(call())

    Machine(workflow(calls)).feed(RunStarted(t=STARTED, id="run", workflow="calls", args=Raw(b"[]"), seed=SEED), 1)
    return answers[0]


@pytest.fixture
def in_workflow() -> Driver:
    """Return what calls a function in workflow code."""
    return start
