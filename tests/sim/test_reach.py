"""What faults lead a workflow to: a branch that is never executed is never found wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.judging import grave, pay, refund, shop, subject_of
from wfkit import Expect, Retry, StepTimeout, Workflow, saga, step, timeout, workflow
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import Explored, search
from wfkit.sim.faults import parse_fault
from wfkit.sim.simulation import Simulation
from wfkit.sim.words import words


def searched(workflow: Workflow[..., Any], *faults: str) -> Explored:
    return search(subject_of(workflow), Terms(faults=faults, budget=0.1))


def said(explored: Explored) -> list[str]:
    return [violation.title for violation in grave([each.violation for each in explored.found])]


# -- a service that hangs for as long as anybody waits ------------------------------------------------------------------


@workflow
async def takes_a_hang_for_a_no() -> str:
    try:
        return await pay(3)
    except StepTimeout:
        return "unpaid"


@workflow
async def undoes_what_hung() -> str:
    try:
        async with saga() as s:
            return await s.do(pay, 3, undo=refund)
    except StepTimeout:
        return "unpaid"


patient = pay.with_options(retry=Retry(max_attempts=None))


@workflow
async def waits_half_an_hour() -> str:
    try:
        async with timeout("30m"):
            return await patient(3)
    except TimeoutError:
        return "unpaid"


@workflow
async def undoes_after_half_an_hour() -> str:
    try:
        async with timeout("30m"), saga() as s:
            return await s.do(patient, 3, undo=refund)
    except TimeoutError:
        return "unpaid"


@pytest.mark.parametrize(
    ("workflow", "is_found"),
    [
        (takes_a_hang_for_a_no, True),
        (undoes_what_hung, False),
        (waits_half_an_hour, True),
        (undoes_after_half_an_hour, False),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_service_hangs_for_as_long_as_it_is_asked_again(workflow: Workflow[[], str], is_found: bool) -> None:
    """So what comes after the last attempt, or after a timeout around them all, is tried where there are several."""
    explored = searched(workflow, "slow_n")
    assert explored.coverage.lines_missing == []
    assert said(explored) == [f'pay took effect, and {workflow.name} completed "unpaid" as if it had not'] * is_found


@step(expect=Expect(read_only=True), timeout="10s")
async def price() -> str:
    return str(await shop.get().read("price"))


once = price.with_options(retry=Retry(max_attempts=1))


@workflow
async def asks_a_service_that_hangs() -> list[str]:
    found = []
    for look in (price, once):
        try:
            found.append(await look())
        except StepTimeout:
            found.append("none")
    return found


def test_a_service_hangs_that_is_only_read() -> None:
    """Once where there is one attempt, and for as many as there are."""
    explored = searched(asks_a_service_that_hangs, "slow", "slow_n")
    assert explored.coverage.lines_missing == []
    assert explored.coverage.single_total == 2


def test_a_hang_ends_after_so_many_attempts() -> None:
    """As its parameter says."""
    fault = parse_fault("slow_n(2)@1:call.after:pay")
    assert (str(fault), words(fault)) == (
        "slow_n(2)@1:call.after:pay",
        "pay took effect, and its answers come after the timeout, 2 times",
    )
    recording = Simulation(subject_of(takes_a_hang_for_a_no), (fault,)).run()
    assert (recording.result, sum(point.phase == "call.after" for point in recording.trace)) == ("pay accepted", 3)
