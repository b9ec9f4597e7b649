"""A step whose result is too large to be recorded: it has taken effect, and fails for good."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import pytest

from wfkit import PayloadTooLarge, SagaFinding, resource, saga, step, step_info, workflow
from wfkit.core.codec import PAYLOAD_BYTES_MAX
from wfkit.sim.faults import kinds_at
from wfkit.sim.striking import too_large
from wfkit.testing import NO_EFFECT, FakeService, replace, simulate, verify

BIG = "big@1:step.effect_done_not_journaled:reserve"


class Shop:
    def __init__(self) -> None:
        self.stock = FakeService("stock")

        @self.stock.on("release")
        def release(state: Any, sku: str) -> object:
            return "released" if any(effect.name == "reserve" for effect in self.stock.effects) else NO_EFFECT


@resource
async def stock() -> Any:
    yield None


@step
async def reserve(sku: str) -> str:
    return str(await stock.get().call("reserve", idempotency_key=step_info().idempotency_key, sku=sku))


@step(undoes=reserve)
async def release(sku: str) -> None:
    await stock.get().call("release", idempotency_key=step_info().idempotency_key, sku=sku)


@workflow
async def careful(sku: str) -> str:
    async with saga() as s:
        return await s.do(reserve, sku, undo=release)


@workflow
async def hasty(sku: str) -> str:
    async with saga() as s:
        reserved = await reserve(sku)
        s.undo(release, sku)
        return reserved


@workflow
async def tells_why(sku: str) -> str:
    try:
        return await reserve(sku)
    except PayloadTooLarge as error:
        return f"too large: {error}"


SHOP: dict[str, Any] = {"world": Shop, "resources": [replace(stock, lambda world: world.stock)]}


def test_the_workflow_is_told_as_in_production() -> None:
    """By the class of the error, which it can catch; nothing is tried again."""
    recording = simulate(tells_why, "tea", **SHOP, faults=BIG)
    assert str(recording.result).startswith("too large: reserve() returned what cannot be recorded")
    assert [effect.name for effect in recording.effects] == ["reserve"]


def test_an_undo_that_is_registered_first_is_called() -> None:
    """`s.do` registers it before the step begins."""
    recording = simulate(careful, "tea", **SHOP, faults=BIG)
    recording.assert_ok()
    assert recording.status == "failed"
    assert [effect.name for effect in recording.effects] == ["reserve", "release"]


def test_an_undo_that_is_registered_afterwards_is_missed() -> None:
    """The step has taken effect, and nobody undoes it."""
    with pytest.raises(SagaFinding, match="returned more than can be recorded"):
        simulate(hasty, "tea", **SHOP, faults=BIG).assert_ok()


def test_it_is_searched_only_if_it_is_asked_for() -> None:
    """A result of two mebibytes is beyond what most steps can ever return."""
    assert "big" not in {kind.name for kind in kinds_at("step.effect_done_not_journaled")}
    asked = verify(hasty, "tea", **SHOP, faults="big", budget="0.1s")
    assert [finding.oracle for finding in asked.findings] == ["saga"]
    verify(careful, "tea", **SHOP, faults="big", budget="0.1s").assert_ok()


class Colour(enum.Enum):
    RED = "red"


class Page(msgspec.Struct):
    number: int
    body: list[str]


@step
async def colours() -> Colour: ...  # type: ignore[empty-body]  # it is never run
@step
async def counts() -> int: ...  # type: ignore[empty-body]  # it is never run
@step
async def pages() -> dict[str, Page]: ...  # type: ignore[empty-body]  # it is never run


def test_only_a_free_text_can_be_too_large() -> None:
    """Wherever in the result it is. What has none is left as it is: such a step can never return too much."""
    assert too_large(colours, Colour.RED) is Colour.RED
    assert too_large(counts, 7) == 7
    found = too_large(pages, {"a": Page(1, []), "b": Page(2, ["text", "more"])})
    assert found["a"] == Page(1, [])
    assert len(found["b"].body[0]) > PAYLOAD_BYTES_MAX
    assert found["b"].body[1] == "more"
    with pytest.raises(PayloadTooLarge):
        pages.signature.result.encode(found)
