"""What a workflow does only where something fails is replayed elsewhere as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.judging import RESOURCES, World, mail, note
from wfkit import Expect, Retry, Workflow, now, step, workflow
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.sim.turns import Turn, all_turns
from wfkit.testing import Report, outcome, verify
from wfkit.testing.caller import Caller, Replayed, calling

ITEMS = ("lamp", "chair", "table", "bed", "desk")
DECLARED = [outcome(fault=fault, value="fallback") for fault in ("fail", "fatal")]


@step(retry=Retry(max_attempts=1), expect=Expect(read_only=True))
async def ask() -> None:
    await mail.get().call("ask")


@workflow
async def falls_back_by_zone() -> str:
    try:
        await ask()
    except ConnectionError:
        for _ in range(1 + (now().astimezone().date() == now().date())):
            await note("fallback")
        return "fallback"
    return "ok"


@workflow
async def falls_back_in_set_order() -> str:
    items = set(ITEMS)
    try:
        await ask()
    except ConnectionError:
        for item in items:
            await note(item)
        return "fallback"
    return "ok"


@workflow
async def falls_back_in_order() -> str:
    items = set(ITEMS)
    try:
        await ask()
    except ConnectionError:
        for item in sorted(items):
            await note(item)
        return "fallback"
    return "ok"


def verified(flow: Workflow[[], str]) -> Report:
    return verify(flow, world=World, resources=RESOURCES, expect=DECLARED, faults=["fail"], budget="0.1s")


@pytest.mark.parametrize(
    ("flow", "cause"),
    [(falls_back_by_zone, "time zone"), (falls_back_in_set_order, "order of a set")],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_fallback_is_replayed_elsewhere(flow: Workflow[[], str], cause: str, tmp_path: Path) -> None:
    """Here and in other processes; its finding has the fault that leads there, and replays from its file."""
    with calling(Caller(folder=tmp_path)):
        report = verified(flow)
    [finding] = report.findings
    assert (finding.oracle, finding.faults) == ("replay", ("fail@1:call.before:ask",))
    assert cause in (finding.why or "")
    assert "simulate(" not in finding.story  # which replays nothing elsewhere
    with calling(Caller(folder=tmp_path, replay=Path(finding.file))), pytest.raises(Replayed) as replayed:
        verified(flow)
    assert replayed.value.verdict == "still fails"


def test_a_fallback_that_replays_alike_is_clean() -> None:
    """The order in which it goes through its set is its own."""
    assert verified(falls_back_in_order).findings == []


@workflow
async def in_turns(times: int) -> None:
    for _ in range(times):
        await note("again")


def test_a_longer_loop_takes_no_other_turns() -> None:
    """So of ten thousand histories only a few have to be replayed."""
    few, many = (all_turns(Simulation(Subject(in_turns, (times,), World, RESOURCES)).run()) for times in (2, 9))
    assert few == many
    told = ("StepCompleted", "note")
    assert few == {
        Turn("in_turns", ("RunStarted", ""), (("RunStep", "note"),)),
        Turn("in_turns", told, (("RunStep", "note"),)),
        Turn("in_turns", told, (("CompleteRun", ""),)),
    }
