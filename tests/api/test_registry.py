"""What an app's code defines, and what is said of it when it is loaded."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from wfkit import wait_signal
from wfkit.api.definitions import step, where_defined, workflow
from wfkit.api.registry import Registry
from wfkit.api.signals import Signal
from wfkit.errors import CodecError


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


@step
async def refund(order: str) -> None: ...


@workflow
async def child(order: str) -> None: ...


packed = Signal("packed", str)


TOOLS: dict[str, Any] = {"refund": refund, "child": [child]}


class Desk:
    """What a workflow of several modules leads to."""

    def __init__(self) -> None:
        self.tools = TOOLS

    async def wait(self) -> str:
        return await wait_signal(packed)


@workflow
async def by_table(order: str) -> None:
    desk = Desk()
    await desk.tools["refund"](order)
    await desk.wait()


def test_what_is_only_called_through_a_table_is_known() -> None:
    """Steps and children alike: after a restart the engine has nothing but the names in its journal."""
    registry = Registry([by_table])
    assert (set(registry.workflows), set(registry.steps)) == ({"by_table", "child"}, {"refund"})


def test_signals_that_a_method_takes_are_those_of_its_workflow() -> None:
    """So a payload of another type is refused to its sender."""
    registry = Registry([by_table])
    assert registry.signals_of("by_table") == {"packed": [packed]}
    with pytest.raises(CodecError):
        registry.check_payload("packed", Raw(b"7"), "by_table")
