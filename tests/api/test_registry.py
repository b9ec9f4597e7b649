"""What an app's code defines, and what is said of it when it is loaded."""

from __future__ import annotations

import pytest

from wfkit.api.definitions import step, where_defined, workflow
from wfkit.api.registry import Registry


@step
async def charge(order, amount: int) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # this is the point
    """Take what has no hint."""


@workflow
async def pay(order, /) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # as above
    await charge(order, 5)


@workflow
async def pay_twice(order: str) -> None:
    await charge(order, 5)
    await charge(order, 5)


def test_a_parameter_without_a_hint_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """For each definition, with its place, since what comes back there is plain JSON."""
    Registry([pay, pay_twice, pay])
    told = [record.getMessage() for record in caplog.records if record.name == "wfkit.app"]
    lost = "has no type hint for order: tuples, sets and dates come back as lists and text there"
    assert sorted(told) == [
        f"step charge, at {where_defined(charge.fn)}, {lost}",
        f"workflow pay, at {where_defined(pay.fn)}, {lost}",
    ]
