"""A `sometimes` that never holds: the campaign has not tried what it should, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wfkit import InvariantFinding, resource, saga, step, step_info, workflow
from wfkit.testing import FakeService, Replace, Report, replace, residue, sometimes, verify
from wfkit.testing.caller import Caller, Replayed, calling


@resource
async def bank() -> Any:
    yield None


@step
async def charge() -> None:
    await bank.get().call("charge", idempotency_key=step_info().idempotency_key)


@step
async def refund() -> None:
    await bank.get().call("refund", idempotency_key=step_info().idempotency_key)


@step
async def ship() -> None:
    await bank.get().call("ship", idempotency_key=step_info().idempotency_key)


@workflow
async def order() -> None:
    async with saga() as s:
        await s.do(charge, undo=refund)
        await ship()


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


def money_went_back(world: World) -> bool:
    return any(effect.name == "refund" for effect in world.bank.effects)


def money_was_doubled(world: World) -> bool:
    return any(effect.name == "double" for effect in world.bank.effects)


def verified(*checks: Any, **options: Any) -> Report:
    resources: list[Replace[World]] = [replace(bank, lambda world: world.bank)]
    meant = [residue("ship", "it is on its way")]
    return verify(order, world=World, resources=resources, invariants=checks, expect=meant, budget="0.1s", **options)


def test_what_a_fault_brings_about_has_held() -> None:
    """No schedule without faults gives money back; that one does is enough."""
    assert verified(sometimes(money_went_back)).findings == []


def test_what_nothing_brings_about_is_a_warning_that_names_the_check() -> None:
    """A campaign that never came to what it is about proves less than it seems to."""
    report = verified(sometimes(money_went_back), sometimes(money_was_doubled))
    [finding] = report.findings
    assert (finding.oracle, finding.severity) == ("user", "warning")
    assert finding.title == "money_was_doubled: it held in no schedule"
    with pytest.raises(InvariantFinding, match="money_was_doubled"):
        report.assert_ok()


def test_a_search_that_was_narrowed_says_nothing_of_it() -> None:
    """It may hold in what was left out."""
    assert verified(sometimes(money_was_doubled), faults=["crash"]).findings == []


def test_its_file_replays(tmp_path: Path) -> None:
    """It takes a search: no schedule shows it by itself."""
    with calling(Caller(folder=tmp_path)):
        [finding] = verified(sometimes(money_was_doubled)).findings
    with pytest.raises(Replayed) as replayed, calling(Caller(folder=tmp_path, replay=Path(finding.file))):
        verified(sometimes(money_was_doubled))
    assert replayed.value.verdict == "still fails"
    with pytest.raises(Replayed) as replayed, calling(Caller(folder=tmp_path, replay=Path(finding.file))):
        verified(sometimes(money_went_back))
    assert replayed.value.verdict == "fixed"
