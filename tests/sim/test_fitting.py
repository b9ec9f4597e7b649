"""A handler of a fake service that cannot take a call is an error of the test, not a failure of the service."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from wfkit import Retry, step, workflow
from wfkit.errors import DefinitionError
from wfkit.testing import FakeService, TestEngine, simulate

service = FakeService("none yet")


@step(retry=Retry(max_attempts=None))
async def close(deal: str) -> Any:
    try:
        return await service.call("close", deal=deal, state="won")
    except LookupError:
        return "unknown"


@workflow
async def sells(deal: str) -> Any:
    return await close(deal)


def collides(state: dict[str, Any], **fields: Any) -> Any: ...


def takes_another(state: dict[str, Any], /, deal: str, price: int) -> Any: ...


def takes_nothing() -> Any: ...


@functools.wraps(takes_another)
def wrapped(*args: Any, **fields: Any) -> Any:
    return takes_another(*args, **fields)


def takes_any(state: dict[str, Any], /, **fields: Any) -> Any:
    state |= fields
    return fields


def fails(state: dict[str, Any], /, **fields: Any) -> Any:
    raise TypeError("this deal cannot be closed")


def fails_within(state: dict[str, Any], /, **fields: Any) -> Any:
    return takes_another(state, **fields)


@functools.wraps(takes_any)
def checks(*args: Any, **fields: Any) -> Any:
    raise TypeError("a deal is a number")


def refuses(state: dict[str, Any], /, **fields: Any) -> Any:
    raise LookupError(fields["deal"])


def world_of(handler: Callable[..., Any]) -> Callable[[], object]:
    def world() -> object:
        global service  # noqa: PLW0603  # the step has no resource
        service = FakeService("crm")
        service.on("close")(handler)
        service.on_read("deal")(handler)
        return service

    return world


@pytest.mark.parametrize(
    ("handler", "told", "help"),
    [
        (
            collides,
            r"collides\(\) got multiple values for argument 'state'",
            "the call has a field state as well; keep them apart: def collides(state, /, ...)",
        ),
        (
            takes_another,
            r"takes_another\(\) got some positional-only arguments",
            "the call has the fields deal, state: let the handler take these, or the step send what the handler takes",
        ),
        (takes_nothing, r"takes_nothing\(\) got an unexpected keyword argument 'deal'", "the call has the fields deal, state"),
        (wrapped, r"takes_another\(\) got some positional-only arguments", "the call has the fields deal, state"),
    ],
)
def test_a_handler_that_cannot_take_a_call_is_told_at_once(handler: Callable[..., Any], told: str, help: str) -> None:
    """The step would try it for ever."""
    expected = rf"the handler of close in the fake service crm cannot take the call: {told}.*, at .*test_fitting\.py:\d+"
    with pytest.raises(DefinitionError, match=expected) as raised:
        simulate(sells, "d1", world=world_of(handler))

    assert raised.value.help.startswith(help)


def test_so_it_is_in_a_test_with_an_engine() -> None:
    """Nothing else would say why a run does not go on."""

    async def advances() -> None:
        world_of(collides)()
        async with TestEngine.open(workflows=[sells]) as engine:
            await engine.start(sells, "d1")
            await engine.advance(by="1h")

    with pytest.raises(DefinitionError, match="the handler of close in the fake service crm cannot take the call"):
        asyncio.run(advances())


def test_a_read_is_told_as_a_call_is() -> None:
    """A query brings fields as well."""
    world_of(collides)()
    with pytest.raises(DefinitionError, match="the handler of deal in the fake service crm cannot take the call"):
        service.read_sync("deal", state="won")


@pytest.mark.parametrize(
    ("handler", "result"), [(takes_any, {"deal": "d1", "state": "won"}), (refuses, "unknown")], ids=["answer", "refusal"]
)
def test_a_field_may_be_called_as_the_state_that_comes_by_position(handler: Callable[..., Any], result: object) -> None:
    """The step gets what the handler answers, or raises on purpose."""
    assert simulate(sells, "d1", world=world_of(handler)).result == result


@pytest.mark.parametrize("handler", [fails, fails_within, checks])
def test_a_type_error_of_the_handlers_own_code_is_the_steps_to_handle(handler: Callable[..., Any]) -> None:
    """It may well be what the step has sent."""
    world_of(handler)()
    with pytest.raises(TypeError):
        service.call_sync("close", deal="d1", state="won")
