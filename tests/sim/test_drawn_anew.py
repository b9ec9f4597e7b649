"""Steps may draw and measure what they like: where that is controlled it is the same twice, and where not it is left out."""

from __future__ import annotations

import os
import random
import ssl
import tempfile
import time
import timeit
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sim import bound_names
from tests.sim.judging import RESOURCES, World, ask, shop, subject_of
from wfkit import HarnessLeak, Workflow, step, workflow
from wfkit.sim.campaign import Campaign
from wfkit.sim.passes.fault_free import fault_free
from wfkit.testing import Report, verify

NAMES = [str(number) for number in range(1000)]


def temporary() -> str:
    descriptor, path = tempfile.mkstemp()
    os.close(descriptor)
    Path(path).unlink()
    return path


CONTROLLED: dict[str, Callable[[], object]] = {
    "clocks of the processor": lambda: (time.process_time(), time.thread_time_ns(), time.clock_gettime(time.CLOCK_REALTIME)),
    "texts of the clock": lambda: (time.strftime("%H%M%S"), time.localtime(), time.ctime(), time.asctime()),
    "a stopwatch": lambda: timeit.default_timer(),
    "a generator of one's own": lambda: random.Random().choice(NAMES),
    "a temporary file": temporary,
    "uuid1": uuid.uuid1,
    "names bound in another module": lambda: (bound_names.stamp(), bound_names.pick(NAMES), bound_names.noise()),
}
"""What steps draw or measure."""
_drawing: list[Callable[[], object]] = []


@step
async def draw() -> str:
    await ask("draw")
    return repr(_drawing[0]())


@step
async def hand_on(what: str) -> None:
    await ask("hand_on", what=what)


@workflow
async def hands_on_what_it_draws() -> str:
    drawn = await draw()
    await hand_on(drawn)
    return drawn


def checked(tried: Workflow[[], Any], *faults: str) -> Report:
    return verify(tried, world=World, resources=RESOURCES, faults=faults or ("crash",), budget="0.1s")


@pytest.mark.parametrize("what", CONTROLLED)
def test_what_is_controlled_is_the_same_in_every_execution(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever function reads the clock or draws, in whatever module, under whatever name."""
    monkeypatch.setitem(globals(), "_drawing", [CONTROLLED[what]])
    campaign = Campaign(subject_of(hands_on_what_it_draws))
    fault_free(campaign)

    assert campaign.base.drawn == frozenset()
    assert campaign.found == {}


def test_what_is_not_controlled_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As chance in C, of which nothing is known: also where it goes, and every state is still known when it comes again."""
    monkeypatch.setitem(globals(), "_drawing", [lambda: ssl.RAND_bytes(8)])
    report = checked(hands_on_what_it_draws)

    assert report.findings == []
    [drawn] = report.coverage["drawn"]
    assert drawn.startswith("draw (")
    assert "test_drawn_anew.py" in drawn
    assert drawn in report.text()
    assert report.coverage["closed"]


@step
async def pay_by_chance() -> None:
    await shop.get().call("sell", idempotency_key=ssl.RAND_bytes(8).hex())


@workflow
async def pays_by_chance() -> None:
    await pay_by_chance()


@step
async def make_key() -> str:
    return ssl.RAND_bytes(8).hex()


@step
async def pay_by(key: str) -> None:
    await shop.get().call("sell", idempotency_key=key)


@workflow
async def pays_by_a_recorded_key() -> None:
    await pay_by(await make_key())


def test_a_key_that_is_drawn_is_another_one_each_time() -> None:
    """It needs no fault to see that, and no clock or chance that is controlled."""
    [finding] = checked(pays_by_chance).findings

    assert (finding.oracle, finding.severity, finding.faults) == ("ledger", "error", ())
    assert finding.title == "sell gets another key each time pay_by_chance is executed"


def test_a_key_that_was_recorded_is_the_same() -> None:
    """Another step made it, whose result stands in the history."""
    assert checked(pays_by_a_recorded_key).findings == []


@step
async def goes_anywhere() -> None:
    await ask(f"to {ssl.RAND_bytes(8).hex()}")


@workflow
async def wanders() -> None:
    await goes_anywhere()


def test_points_that_differ_each_time_are_an_error_that_names_both() -> None:
    """There is nothing to compare schedules with: the step is named, its line, and what it did in both executions."""
    with pytest.raises(HarnessLeak, match=r"goes_anywhere, at .*test_drawn_anew.py:\d+: .* to .*, and then .* to "):
        checked(wanders)
