"""One workflow, what happens around it, and what `verify` must say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from tests.quality.outside import RESOURCES, World
from wfkit import Run, Signal, Workflow
from wfkit.testing import Declaration, Instance, Report, verify

Script = Callable[[Run[Any], World], Awaitable[None]]


@dataclass(frozen=True)
class Found:
    """A finding that must be there.

    Args:
        oracle: which rule is broken.
        faults: how many faults the shrunk schedule has at most; 0 is exact: the run without any fault shows it. None for
            what replay in other surroundings shows, whether these count as a fault or not.
        by: kinds of fault, of which the schedule has no others; any if empty.
        tells: words that its title, its story or its reason must contain.
        severity: None is an error or a warning.
    """

    oracle: str
    _: KW_ONLY
    faults: int | None = 1
    by: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    severity: str | None = "error"


@dataclass(frozen=True)
class Case:
    """Arguments of `verify`, and its verdict. Without `found`, there must be neither an error nor a warning."""

    id: str
    workflow: Workflow[..., Any]
    args: tuple[Any, ...] = ()
    _: KW_ONLY
    found: Found | None = None
    script: Script | None = None
    runs: tuple[Instance, ...] = ()
    expect: tuple[Declaration, ...] = ()
    upgrade_from: Workflow[..., Any] | None = None
    run_id: str | Callable[[], str] | None = None
    workflows: tuple[Workflow[..., Any], ...] = ()
    until: str | None = None

    @property
    def name(self) -> str:
        return f"{self.id}-{self.workflow.fn.__name__}-{self.found.oracle if self.found else 'clean'}"

    def verify(self) -> Report:
        return verify(
            self.workflow,
            *self.args,
            world=World,
            resources=RESOURCES,
            script=self.script,
            runs=self.runs,
            expect=self.expect,
            upgrade_from=self.upgrade_from,
            id=self.run_id,
            workflows=self.workflows,
            until=self.until,
            budget="0.1s",
        )


def sends(*deliveries: tuple[float, Signal[Any], Any]) -> Script:
    """Return a script that sends signals, each so many seconds after the start."""
    return _delivers(deliveries, lambda run, signal, payload: run.send(signal, payload))


def publishes(*deliveries: tuple[float, Signal[Any], Any]) -> Script:
    """Return a script that publishes signals: only who waits or has subscribed gets them."""
    return _delivers(deliveries, lambda run, signal, payload: run.client.publish(signal, payload))


def _delivers(
    deliveries: tuple[tuple[float, Signal[Any], Any], ...], deliver: Callable[[Run[Any], Signal[Any], Any], Awaitable[None]]
) -> Script:
    async def script(run: Run[Any], world: World) -> None:
        passed = 0.0
        for after, signal, payload in deliveries:
            await asyncio.sleep(after - passed)
            passed = after
            await deliver(run, signal, payload)

    return script
