"""How fast schedules are simulated, how soon a bug is found, how long the corpus takes. All in processor time of one core."""

import statistics
import time
from collections.abc import AsyncIterator

from tests.benchmarks.figures import report
from tests.quality import bugs, suspicious
from wfkit import resource, sleep, step, step_info, workflow
from wfkit.sim.campaign import Campaign, Terms
from wfkit.sim.explore import search, under_way
from wfkit.sim.faults import parse_fault
from wfkit.sim.subject import Subject, replace
from wfkit.testing import FakeService

SCHEDULES = 60
BATCHES = 15


class World:
    """A bank that knows idempotency keys."""

    def __init__(self) -> None:
        self.bank = FakeService("bank")


@resource
async def bank() -> AsyncIterator[FakeService]:
    yield FakeService("bank")


@step
async def charge(amount: int) -> str:
    return str(await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step
async def charge_without_key(amount: int) -> str:
    return str(await bank.get().call("charge", amount=amount))


@workflow
async def sequential(steps: int) -> str:
    for amount in range(steps):
        await charge(amount)
    await sleep("1 day")
    return "ok"


@workflow
async def careless(steps: int) -> str:
    for amount in range(steps):
        await charge_without_key(amount)
    return "ok"


def subject(steps: int) -> Subject:
    return Subject(sequential, (steps,), World, [replace(bank, lambda world: world.bank)])


def measure() -> None:
    """Print the figures."""
    _schedules()
    for steps in (10, 50):
        _closure(steps)
    _first_verdict()
    _corpus()


def _schedules() -> None:
    faults = (parse_fault("crash@5:step.journaled:charge"),)
    campaign = Campaign(subject(10))
    with under_way(campaign):
        campaign.base = campaign.execute()
        rates = []
        for _ in range(BATCHES):
            start = time.process_time()
            for _ in range(SCHEDULES):
                campaign.execute(faults)
            rates.append(SCHEDULES / (time.process_time() - start))
    unit = "per second and core, 10 steps and a crash"
    report("simulated_schedules", statistics.median(rates), unit, best=round(max(rates)))


def _closure(steps: int) -> None:
    start = time.process_time()
    explored = search(subject(steps), Terms(faults=["crash"], budget=0))
    report(f"closure_{steps}_runs", explored.coverage.closure_runs or 0, "runs for all crashes in any number")
    report(f"closure_{steps}", time.process_time() - start, "s, with all single crashes")


def _first_verdict() -> None:
    start = time.perf_counter()
    explored = search(Subject(careless, (10,), World, [replace(bank, lambda world: world.bank)]))
    assert explored.found
    report("first_verdict", time.perf_counter() - start, "s until a double charge in 10 steps is found")


def _corpus() -> None:
    start = time.process_time()
    cases = [*bugs.CASES, *suspicious.CASES]
    for case in cases:
        case.verify()
    report("corpus", time.process_time() - start, f"s of one core for {len(cases)} campaigns")


if __name__ == "__main__":
    measure()
