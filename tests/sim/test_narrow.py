"""A schedule keeps only the deliveries, the runs and the parts of the input that its finding needs."""

from __future__ import annotations

import ast
import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wfkit import LedgerFinding, Signal, resource, step, wait_signal, workflow
from wfkit.sim.files import read_failure
from wfkit.sim.narrow import TRIES_MAX, narrow, simpler
from wfkit.sim.recording import Delivery
from wfkit.sim.subject import Subject
from wfkit.testing import FakeService, Instance, Report, replace, simulate, verify
from wfkit.testing.caller import Caller, Replayed, calling
from wfkit.testing.line_of_test import literal

noted = Signal("noted", str)


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Order(msgspec.Struct):
    id: str
    lines: list[Line]
    amount: float = 49.0


@resource
async def bank() -> Any:
    yield None


@step
async def charge(sku: str, amount: float) -> str:
    return str(await bank.get().call("charge", idempotency_key=str(uuid.uuid4()), sku=sku, amount=amount))


@workflow
async def buy(order: Order) -> int:
    for line in order.lines:
        for _ in range(line.count):
            await charge(line.sku, order.amount)
    return len(order.lines)


@workflow
async def buy_when_noted(order: Order) -> str:
    note = await wait_signal(noted)
    for line in order.lines:
        await charge(line.sku, order.amount)
    return note


async def script(run: Any, world: Any) -> None:
    for note in ("first", "second", "third"):
        await asyncio.sleep(60)
        await run.send(noted, note)


async def needed(run: Any, world: Any) -> None:
    await asyncio.sleep(60)
    await run.send(noted, "first")


class World:
    def __init__(self) -> None:
        self.bank = FakeService("bank")


SHOP: dict[str, Any] = {"world": World, "resources": [replace(bank, lambda world: world.bank)]}
ORDER = Order("order-77", [Line("tea", 3), Line("cup"), Line("pot")])


@pytest.fixture(autouse=True)
def caller(tmp_path: Path) -> Any:
    with calling(Caller({"pytest": "a test"}, tmp_path, budget="0.1s")) as made:
        yield made


def ledger(report: Report) -> Any:
    return next(finding for finding in report.findings if finding.oracle == "ledger")


def line_of_test(finding: Any) -> str:
    (line,) = re.findall(r"test: +(.*)\.assert_ok\(\)", finding.story)
    return str(line)


def test_the_input_keeps_what_the_finding_needs_and_its_names() -> None:
    """One line of one piece is charged twice; its sku and the amount stay, since they make nothing shorter."""
    finding = ledger(verify(buy, ORDER, **SHOP, faults="crash"))
    line = line_of_test(finding)
    assert "buy, Order(id='order-77', lines=[Line(sku='tea', count=1)], amount=49.0), ..., faults=\"crash@1:" in line
    one = eval(line.replace("...", "**SHOP"), globals())  # the line that is told must run
    with pytest.raises(LedgerFinding):
        one.assert_ok()
    assert one.digest == finding.recording.digest


def test_an_input_that_is_as_short_as_can_be_stays() -> None:
    """Then the line of the test leaves it to the reader."""
    finding = ledger(verify(buy, Order("order-77", [Line("tea")]), **SHOP, faults="crash"))
    assert line_of_test(finding).startswith("simulate(buy, ..., faults=")


def test_a_replay_takes_the_simpler_input(caller: Caller) -> None:
    """The test that made the file still says the longer one."""
    finding = ledger(verify(buy, ORDER, **SHOP, faults="crash"))
    failure = read_failure(Path(finding.file))
    assert failure.own_input
    assert failure.trace == finding.recording.digest
    with calling(Caller(caller.origin, caller.folder, replay=Path(finding.file))), pytest.raises(Replayed) as replayed:
        verify(buy, ORDER, **SHOP, faults="crash")
    assert replayed.value.verdict == "still fails"


def test_runs_that_play_no_part_are_left_out() -> None:
    """Their starts are deliveries as well."""
    others = [Instance(buy, Order(f"other-{n}", [Line("tea")]), id=f"other-{n}") for n in range(3)]
    options = SHOP | {"runs": others}
    finding = ledger(verify(buy, Order("order-77", [Line("tea")]), **options, faults="crash"))
    assert sum(fault.startswith("drop@") for fault in finding.faults) == 3
    assert "3 of 4 deliveries left out" in finding.story
    again = simulate(buy, Order("order-77", [Line("tea")]), **options, faults=finding.faults)
    assert again.digest == finding.recording.digest
    assert len(again.runs) == 1


def test_deliveries_that_play_no_part_are_left_out_and_those_that_do_stay() -> None:
    """The workflow needs one of the three notes to get anywhere."""
    finding = ledger(verify(buy_when_noted, Order("order-77", [Line("tea")]), **SHOP, script=script, faults="crash"))
    schedule = list(ast.literal_eval(line_of_test(finding).partition("faults=")[2].rstrip(")")))
    assert schedule == list(finding.faults)
    assert [fault for fault in schedule if fault.startswith("drop@")] == ["drop@1:delivery:noted", "drop@2:delivery:noted"]
    one = simulate(buy_when_noted, Order("order-77", [Line("tea")]), **SHOP, script=script, faults=schedule)
    assert one.digest == finding.recording.digest
    assert one.result == "third"


def test_nothing_is_blamed_on_what_is_left_out() -> None:
    """What it is compared with does without it, too: a wait for a signal that nobody sends is no news then."""
    order = Order("order-77", [])
    recording = simulate(buy_when_noted, order, **SHOP, script=needed, faults="drop@1:delivery:noted")
    recording.assert_ok()
    assert recording.status == "running"


def test_a_drop_of_what_is_never_delivered_is_named() -> None:
    """As a fault is that never strikes."""
    with pytest.warns(UserWarning, match="drop@7:delivery:noted did not strike"):
        simulate(buy_when_noted, ORDER, **SHOP, script=needed, faults="drop@7:delivery:noted")
    report = verify(buy_when_noted, ORDER, **SHOP, script=needed, faults=["crash", "drop@7:delivery:noted"])
    assert "drop@7:delivery:noted: the schedule never comes to that point" in report.coverage["not_run"]


def test_a_seed_becomes_0_if_it_plays_no_part() -> None:
    """The line of the test need not say it then."""
    finding = ledger(verify(buy, ORDER, **SHOP, faults="crash", seed=7))
    assert "seed=" not in line_of_test(finding)


def test_a_world_that_cannot_do_without_keeps_it() -> None:
    """An error of the user's own code is no shorter way to the same finding."""

    class Picky(World):
        pass

    async def insists(run: Any, world: Any) -> None:
        await asyncio.sleep(60)
        assert len(world.bank.effects) >= 3

    finding = ledger(verify(buy, ORDER, world=Picky, resources=SHOP["resources"], script=insists, faults="crash"))
    assert msgspec.json.decode(finding.recording.deliveries[0].payload)[0]["lines"] != []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ("a name", []),
        (True, [None, False]),
        (0, [None]),
        (7, [None, 0, 1, 3, 6]),
        (-3, [None, 0, 1]),
        ([], [None]),
        ([5], [None, [], [None], [0], [1], [2], [4]]),
        (["a", "b"], [None, [], ["a"], ["b"], ["a"], ["b"]]),
        ({"n": 1}, [None, {}, {"n": None}, {"n": 0}]),
    ],
)
def test_what_is_simpler(value: Any, expected: list[Any]) -> None:
    """Less, shorter, or nothing at all; names stay."""
    assert list(simpler(value)) == expected


def test_it_ends_whatever_is_tried() -> None:
    """After so many subjects, and fewer of them where schedules are long."""

    @workflow
    async def takes(numbers: list[int]) -> None: ...

    def tries(points: int) -> int:
        asked = 0

        def never(subject: Subject) -> None:
            nonlocal asked
            asked += 1

        deliveries = [Delivery(n, "send", "run", "noted", msgspec.Raw(b"1")) for n in range(20)]
        subject = Subject(takes, (list(range(100)),))
        assert narrow(subject, deliveries, points, never) is subject
        return asked

    assert tries(points=50) == TRIES_MAX
    assert tries(points=5_000) == 1


def test_the_code_of_a_value() -> None:
    """As a test may hold it."""
    assert literal([Order("a", [Line("b")]), {"k": None}]) == (
        "[Order(id='a', lines=[Line(sku='b', count=1)], amount=49.0), {'k': None}]"
    )
