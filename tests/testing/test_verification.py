"""`verify` and `simulate`: from a workflow to findings that are confirmed, reduced, told and kept."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from wfkit import DefinitionError, FaultSyntaxError, LedgerFinding, resource, step, step_info, workflow
from wfkit.testing import FakeService, averify, ignores, replace, simulate, verify
from wfkit.testing.caller import Caller, Replayed, calling


@resource
async def bank() -> Any:
    yield None


@step
async def charge(amount: int) -> str:
    return str(await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step
async def charge_anew(amount: int) -> str:
    return str(await bank.get().call("charge", idempotency_key=str(uuid.uuid4()), amount=amount))


@workflow
async def sound(amount: int) -> str:
    return await charge(amount)


@workflow
async def careless(amount: int) -> str:
    return await charge_anew(amount)


@step
async def print_it() -> None:
    pass


@step
async def tell(amount: int) -> int:
    return amount


@workflow
async def may_tell_twice(amount: int) -> int:
    return await tell(amount)


@workflow
async def told_nothing() -> None:
    await print_it()


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


SHOP: dict[str, Any] = {"world": World, "resources": [replace(bank, lambda world: world.bank)]}
TWICE = "crash@1:step.effect_done_not_journaled:charge_anew"


@pytest.fixture(autouse=True)
def caller(tmp_path: Path) -> Any:
    with calling(Caller({"pytest": "a test"}, tmp_path, budget="0.1s")) as made:
        yield made


def test_a_finding_is_reduced_told_and_kept(caller: Caller) -> None:
    """One fault is enough, its schedule fails again by name, and the file replays it."""
    report = verify(careless, 7, **SHOP)
    with pytest.raises(LedgerFinding):
        report.assert_ok()
    (finding,) = [each for each in report.findings if each.oracle == "ledger"]
    assert len(finding.faults) == 1
    with pytest.raises(LedgerFinding):
        simulate(careless, 7, **SHOP, faults=finding.faults).assert_ok()
    path = Path(finding.file)
    assert path.is_file()
    with calling(Caller(caller.origin, caller.folder, replay=path)), pytest.raises(Replayed) as replayed:
        verify(careless, 7, **SHOP)
    assert replayed.value.verdict == "still fails"


def test_a_sound_workflow_has_no_finding_also_inside_a_running_loop(caller: Caller) -> None:
    """`verify` nests in the loop of a test, `averify` leaves it free."""

    async def test() -> None:
        verify(sound, 7, **SHOP).assert_ok()
        (await averify(sound, 7, **SHOP)).assert_ok()

    asyncio.run(test())
    assert caller.folder is not None
    assert not list(caller.folder.glob("failures/*"))


@pytest.mark.parametrize("faults", ["crash", TWICE])
def test_one_fault_needs_no_list_around_it(faults: str) -> None:
    """A text is a sequence of texts to Python, so its letters would be taken for faults; `simulate` takes it as well."""
    report = verify(careless, 7, **SHOP, faults=faults)

    assert [finding.oracle for finding in report.findings] == ["ledger"]


def test_one_schedule_is_judged_and_equal_ones_are_equal() -> None:
    """The fault decides."""
    simulate(careless, 7, **SHOP).assert_ok()
    one, other = simulate(careless, 7, **SHOP, faults=TWICE), simulate(careless, 7, **SHOP, faults=[TWICE])
    assert one.digest == other.digest
    assert [len(each.effects) for each in (one, other)] == [2, 2]
    with pytest.raises(LedgerFinding):
        one.assert_ok()
    simulate(sound, 7, **SHOP, faults=TWICE.replace("charge_anew", "charge")).assert_ok()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("slow_n(x)@1:call.after:charge", "say of how many attempts: slow_n(3)"),
        ("outage(x)@1:call.before:charge", "say for how long: outage(30m)"),
        ("crash(x)@1:call.before:charge", "crash takes none"),
    ],
)
def test_a_parameter_that_is_none_is_told_with_what_the_fault_takes(fault: str, told: str) -> None:
    """Attempts, a duration, or nothing."""
    with pytest.raises(FaultSyntaxError) as refused:
        simulate(sound, 7, **SHOP, faults=fault)
    assert refused.value.help == told


def test_what_cannot_be_simulated_is_refused() -> None:
    """With words that say why."""
    with pytest.raises(FaultSyntaxError):
        simulate(sound, 7, **SHOP, faults="crush@1:step.before:charge")
    with pytest.raises(FaultSyntaxError, match="'2026-02-30' is not when a schedule can begin"):
        simulate(sound, 7, **SHOP, faults="dst@calendar:2026-02-30")
    with pytest.raises(DefinitionError, match="is no workflow"):
        verify(sound.fn, 7, **SHOP)
    with pytest.raises(TypeError, match=r"sound\(amount\): missing a required argument: 'amount'"):
        verify(sound, **SHOP)  # type: ignore[arg-type]  # the mistake is the test
    with pytest.raises(DefinitionError, match="makes no world"):
        verify(sound, 7, world=World())  # type: ignore[arg-type]  # as above


def test_a_fault_that_never_strikes_is_named() -> None:
    """A test that proves nothing any more, such as after a step was renamed, is not green in silence."""
    with pytest.warns(UserWarning, match="crash@1:step.before:chrage did not strike"):
        simulate(sound, 7, **SHOP, faults="crash@1:step.before:chrage")
    report = verify(sound, 7, **SHOP, faults=["crash@1:step.before:chrage", "crash@1:step.before:charge"])
    assert report.coverage["not_run"] == ["crash@1:step.before:chrage: the schedule never comes to that point"]
    assert (report.coverage["single_run"], report.coverage["single_total"]) == (0, 1)


def test_the_line_of_a_test_can_be_pasted() -> None:
    """All that has a name is written out; what has none is left out, and said to be."""
    known = {**globals(), "simulate": simulate}
    finding = verify(
        may_tell_twice, 3, until="2 days", id="r-1", expect=[ignores("late", "old news")], faults="crash"
    ).findings[0]
    (line,) = re.findall(r"test: +(.*)", finding.story)
    told = "3, expect=[ignores('late', reason='old news')], until=172800, id='r-1', faults=\"crash@1:"
    assert line.startswith(f"simulate(may_tell_twice, {told}")
    with pytest.raises(LedgerFinding):
        eval(line, known)
    (line,) = re.findall(r"test: +(.*)", verify(careless, 7, **SHOP, faults="crash").findings[0].story)
    assert line.startswith("simulate(careless, ..., faults=")
    assert line.endswith("# ...: what else verify is given")


def test_a_world_that_no_step_calls_proves_little() -> None:
    """Such as one whose services nobody put where the steps look for them; the report says so."""
    report = verify(told_nothing, world=World)
    assert "what happens twice: steps ran, and called no service of the world" in report.coverage["not_run"]
    assert not verify(sound, 7, **SHOP).coverage["not_run"]
