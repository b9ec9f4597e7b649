"""Signals that are accepted and never read."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.sim.judging import charge, found, subject_of
from wfkit import Signal, sleep, wait_signal, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import ignores

stop = Signal("stop", str)


async def stops(run: Any, world: Any) -> None:
    await asyncio.sleep(600)
    await run.send(stop, "please")


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations if each.severity != "info"]


@workflow
async def deaf() -> None:
    await sleep("1h")


@workflow
async def listens() -> str:
    await charge(1)
    try:
        await wait_signal(stop, timeout="1h")
    except TimeoutError:
        return "done"
    return "stopped"


IGNORED = (ignores(stop, "it is too late then"),)


def test_a_signal_that_nobody_reads_is_a_warning_without_any_fault() -> None:
    """Whoever sent it was told that it was accepted."""
    assert signature(found(subject_of(deaf, script=stops))) == [("signals", "warning", "stop")]
    assert found(subject_of(deaf, script=stops, expect=IGNORED)) == []


def test_a_signal_that_comes_too_late_is_a_warning_unless_it_may() -> None:
    """A run that ends with a request unread has ignored somebody; a superseded one may be."""
    assert signature(found(subject_of(listens, script=stops), "late@1:delivery:stop")) == [("signals", "warning", "stop")]
    assert signature(found(subject_of(listens, script=stops, expect=IGNORED), "late@1:delivery:stop")) == []


def test_a_run_that_failed_or_was_cancelled_reads_no_more() -> None:
    """Nobody expects an answer of a run that was ended."""
    for fault in ("fatal@1:call.before:charge", "cancel@2:wait.registered:stop", "dup@1:delivery:stop"):
        assert signature(found(subject_of(listens, script=stops), fault)) == []
