"""The clock and chance that workflow code gets."""

from __future__ import annotations

import asyncio
import copy
import pickle
import random
import time
import uuid
from random import choice, gauss, getstate
from uuid import uuid4

import pytest
from msgspec import Raw

from tests.guard.calls import VIRTUAL
from tests.guard.conftest import SEED, STARTED, Driver
from wfkit.api import primitives
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import rng, unsafe
from wfkit.core.commands import RunStep, StartTimer
from wfkit.core.entries import RunStarted, StepCompleted, TimerFired
from wfkit.core.machine import Machine

READS = [time.time, time.time_ns, time.monotonic, time.monotonic_ns, time.perf_counter, time.perf_counter_ns]


@step
async def clock() -> float:
    return time.time()


def test_the_clock_is_the_time_of_the_last_entry() -> None:
    """Also across a durable sleep, whenever the timer fires."""
    seen: list[list[float]] = []

    @workflow
    async def sleeps() -> None:
        seen.append([read() for read in (time.time, time.time_ns, time.monotonic, time.monotonic_ns)])
        await asyncio.sleep(60)
        seen.append([read() for read in (time.time, time.time_ns, time.perf_counter, time.perf_counter_ns)])

    machine = Machine(sleeps)
    (timer,) = machine.feed(RunStarted(t=STARTED, id="r", workflow="sleeps", args=Raw(b"[]"), seed=SEED), 1)
    assert isinstance(timer, StartTimer)
    machine.feed(TimerFired(t=STARTED + 61_000_001, n=timer.n), 2)

    assert seen[0] == [STARTED / 1e6, STARTED * 1000, 0.0, 0]
    assert seen[1] == [(STARTED + 61_000_001) / 1e6, (STARTED + 61_000_001) * 1000, 61.000001, 61_000_001_000]


def test_monotonic_is_the_time_of_the_loop(in_workflow: Driver) -> None:
    """Code that computes a deadline from one and hands it to the other is right."""
    assert in_workflow(lambda: time.monotonic() == asyncio.get_running_loop().time()) is True


@pytest.mark.parametrize("name", VIRTUAL)
def test_a_value_is_the_same_in_every_execution(name: str, in_workflow: Driver) -> None:
    """Clock and chance are functions of the history."""
    assert in_workflow(VIRTUAL[name]) == in_workflow(VIRTUAL[name])


def test_random_functions_draw_from_the_runs_generator(in_workflow: Driver) -> None:
    """They and `rng()` are one stream, wherever a function was bound."""

    def draws() -> list[object]:
        values = (random.random(), choice("abcdef"), random.getrandbits(70), random.uniform(1, 2), rng().random())
        return [*values, gauss(), random.gauss(), random.randbytes(3)]

    def drawn() -> list[object]:
        own = random.Random(int(SEED, 16))
        values = (own.random(), own.choice("abcdef"), own.getrandbits(70), own.uniform(1, 2), own.random())
        return [*values, own.gauss(), own.gauss(), own.randbytes(3)]

    assert in_workflow(draws) == drawn()


def test_a_run_leaves_no_trace_in_the_random_numbers_of_the_process(in_workflow: Driver) -> None:
    """A program that seeds `random` gets the same numbers with runs in between; `gauss` keeps every second value."""

    def rest() -> list[float]:
        return [random.random(), random.gauss(), random.gauss(), random.gauss()]

    before = random.getstate()
    try:
        random.seed(7)
        random.gauss()
        undisturbed = rest()
        random.seed(7)
        random.gauss()
        in_workflow(
            lambda: [random.gauss(), random.random(), uuid.uuid4(), random.Random(), random.setstate(random.getstate())]
        )
        assert rest() == undisturbed
    finally:
        random.setstate(before)


def test_the_state_of_the_process_does_not_reach_a_run(in_workflow: Driver) -> None:
    """A value that `gauss` has left over outside is not the first one inside."""
    random.gauss()
    first = in_workflow(random.gauss)
    random.gauss()
    random.gauss()

    assert in_workflow(random.gauss) == first


def test_uuid4_is_that_of_the_run(in_workflow: Driver) -> None:
    """All three ways to make one give the same, and it is a proper one."""
    made = in_workflow(primitives.uuid4)
    assert in_workflow(uuid4) == in_workflow(lambda: uuid.uuid4()) == made  # looked up late
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


def test_unsafe_gives_the_real_clock_and_real_chance(in_workflow: Driver) -> None:
    """Inside the block nothing is replayed."""

    def knows_better() -> tuple[float, uuid.UUID, float]:
        with unsafe("for a test"):
            return time.time(), uuid4(), random.random()

    first, second = in_workflow(knows_better), in_workflow(knows_better)
    assert first[0] > STARTED / 1e6 + 1e6
    assert first[1] != second[1]
    assert first[2] != second[2]


def test_a_steps_clock_is_real() -> None:
    """A step runs on the host's loop, also while its run waits for it."""

    @workflow
    async def reads() -> float:
        return await clock()

    async def host() -> tuple[float, float, float]:
        machine = Machine(reads)
        (command,) = machine.feed(RunStarted(t=STARTED, id="r", workflow="reads", args=Raw(b"[]"), seed=SEED), 1)
        assert isinstance(command, RunStep)
        before = time.clock_gettime(time.CLOCK_REALTIME)
        real: float = await clock.fn()
        after = time.clock_gettime(time.CLOCK_REALTIME)
        machine.feed(StepCompleted(t=STARTED, n=command.n, value=Raw(str(real).encode())), 2)
        return before, real, after

    before, real, after = asyncio.run(host())
    assert before - 0.001 <= real <= after + 0.001


def test_the_shared_generator_copies_as_a_plain_one() -> None:
    """What another process or a copy gets has nothing to do with runs."""
    shared = choice.__self__  # type: ignore[attr-defined]  # a bound method
    for copied in (copy.copy(shared), copy.deepcopy(shared), pickle.loads(pickle.dumps(shared))):
        assert type(copied) is random.Random
        assert copied.getstate() == getstate()
