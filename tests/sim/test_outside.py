"""Deliveries from outside: what is under way when the process dies is made again, each time in the same order."""

from __future__ import annotations

from wfkit import workflow
from wfkit.testing import Instance, simulate


@workflow
async def greet(name: str) -> str:
    return f"hello {name}"


def test_starts_that_a_crash_interrupts_are_made_again_in_one_order() -> None:
    """Were it the order of addresses in memory, schedules would go two ways."""
    others = [Instance(greet, name, id=name) for name in "bcdefgh"]
    traces = {
        tuple(map(str, simulate(greet, "a", runs=others, id="a", faults="crash@start.before_journal:greet").trace))
        for _ in range(10)
    }
    assert len(traces) == 1
