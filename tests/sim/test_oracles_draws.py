"""What a step draws by chance and hands to the outside is what its run goes on with."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.sim.judging import shop, subject_of
from tests.sim.test_oracles_evidence import found
from wfkit import Workflow, step, step_info, workflow


async def announce(**told: Any) -> None:
    await shop.get().call("announce", idempotency_key=step_info().idempotency_key, **told)


@step
async def draws_and_announces() -> int:
    winner = random.getrandbits(32)
    await announce(winner=winner)
    return winner


@step
async def draws() -> int:
    return random.getrandbits(32)


@step
async def announces(winner: int) -> None:
    await announce(winner=winner)


@step
async def announces_at_once() -> float:
    at = time.time()
    await announce(at=at)
    return at


@step
async def announces_under_a_number() -> None:
    await announce(number=random.getrandbits(32))


@step
async def tells(what: float) -> None:
    await shop.get().call("tell", idempotency_key=step_info().idempotency_key, what=what)


@workflow
async def raffle_in_one_step() -> None:
    await tells(await draws_and_announces())


@workflow
async def raffle_in_steps() -> None:
    winner = await draws()
    await announces(winner)
    await tells(winner)


@workflow
async def tells_the_time() -> None:
    await tells(await announces_at_once())


@workflow
async def tells_no_number() -> None:
    await announces_under_a_number()
    await tells(7)


CRASH = "crash@1:step.effect_done_not_journaled:"


def test_a_draw_that_the_outside_does_not_know_is_found() -> None:
    """The service keeps the first winner under its key, and the prize goes to the second."""
    [(oracle, severity, title)] = found(subject_of(raffle_in_one_step), CRASH + "draws_and_announces")
    assert (oracle, severity) == ("ledger", "error")
    assert title.startswith("tell is told ")


@pytest.mark.parametrize(
    ("wf", "fault"),
    [
        (raffle_in_steps, "crash@2:step.effect_done_not_journaled:announces"),
        (tells_the_time, CRASH + "announces_at_once"),
        (tells_no_number, CRASH + "announces_under_a_number"),
    ],
    ids=["recorded", "time", "not used"],
)
def test_what_was_recorded_or_matters_to_nobody_is_fine(wf: Workflow[[], None], fault: str) -> None:
    """A time is a little later in the second attempt, and nobody takes it for another thing."""
    assert found(subject_of(wf), fault) == []
