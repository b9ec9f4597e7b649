"""User code that prints does not drown the report."""

# ruff: noqa: T201  printing is what is tested

from __future__ import annotations

import sys

import pytest

from wfkit import step, step_info, workflow
from wfkit.testing import simulate, verify


@step
def loud() -> str:
    print("a def step")
    print("on stderr", file=sys.stderr)
    return step_info().idempotency_key


@step
async def aloud() -> str:
    print("an async step")
    return step_info().idempotency_key


@workflow
async def noise() -> None:
    print("a workflow")
    await loud()
    await aloud()


def test_a_campaign_prints_nothing_of_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a thousand schedules, and what a test prints itself is there."""
    print("before")
    verify(noise, budget="0.1s").assert_ok()
    print("after")
    assert capsys.readouterr() == ("before\nafter\n", "")


def test_one_schedule_prints_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`simulate` is where one looks closer."""
    simulate(noise)
    out, err = capsys.readouterr()
    assert {"a def step", "an async step", "a workflow"} == set(out.splitlines())
    assert set(err.splitlines()) == {"on stderr"}
