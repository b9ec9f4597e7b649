"""A step that changes what belongs to its workflow is told as that: a replay does not execute it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.judging import RESOURCES, World, note
from wfkit import Workflow, run_step, workflow
from wfkit.testing import verify


@workflow
async def fills_a_list() -> int:
    rows: list[int] = []

    async def fetch(n: int) -> None:
        rows.extend([n, n + 1])

    for n in (0, 2):
        await run_step("fetch", fetch, n)
    return len(rows)


@workflow
async def fills_a_dict() -> int:
    rows: dict[int, int] = {}

    async def fetch(n: int) -> None:
        rows[n] = n

    await run_step("fetch", fetch, 3)
    await note(str(rows))
    return 0


@workflow
async def forgets() -> int:
    rows = {3: 4}

    async def fetch(n: int) -> None:
        del rows[n]

    await run_step("fetch", fetch, 3)
    await note(str(rows))
    return 0


@workflow
async def counts() -> int:
    rows = 0

    async def fetch(n: int) -> None:
        nonlocal rows
        rows += n

    await run_step("fetch", fetch, 3)
    await note(str(rows))
    return 0


@pytest.mark.parametrize("workflow", [fills_a_list, fills_a_dict, forgets, counts], ids=lambda it: str(it.name))
def test_a_step_that_changes_a_variable_of_its_workflow_is_named(workflow: Workflow[[], int]) -> None:
    """In each finding that comes of it, with the line."""
    report = verify(workflow, world=World, resources=RESOURCES, faults=["crash"], budget="0.1s")
    causes = {finding.why for finding in report.findings if finding.severity != "info"}
    assert causes
    begin = f"fetch() changes rows of {workflow.name}, at tests/sim/test_around.py:"
    assert [cause for cause in causes if not str(cause).startswith(begin)] == []


@workflow
async def only_looks() -> int:
    rows: list[int] = []

    async def fetch(n: int) -> list[int]:
        found = []
        by_row = {}
        for each in rows:
            found.append(each)  # noqa: PERF402
        by_row[tuple(rows)] = n
        return [*found, *by_row.values()]

    rows.extend(await run_step("fetch", fetch, 1))
    await note(str(id(rows)))
    return len(rows)


def test_a_step_that_only_reads_one_is_not_blamed() -> None:
    """What it changes is its own."""
    report = verify(only_looks, world=World, resources=RESOURCES, faults=["crash"], budget="0.1s")
    causes: list[Any] = [finding.why for finding in report.findings]
    assert causes
    assert [cause for cause in causes if "fetch()" in str(cause)] == []
