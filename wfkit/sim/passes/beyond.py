"""Pass 5: random plans of two to six faults, for as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random

from wfkit.sim.campaign import Campaign, OutOfTime
from wfkit.sim.faults import Fault, Plan, Point
from wfkit.sim.passes.choices import faults_at, go_together, single_plans
from wfkit.sim.passes.looks import states


def beyond(campaign: Campaign) -> None:
    """Try them. The more processes there are, the further it comes in one and the same series of plans."""
    began = time.perf_counter()
    faults = [plan[0] for plan in single_plans(campaign, campaign.base.trace)]
    for _, recording in campaign.frontier:
        faults += faults_at(campaign, recording.trace, recording)
    last_new = 0
    known = len(campaign.states)
    try:
        with suppress(OutOfTime):  # it has no end of its own, so nothing is left out
            for _, seen, _ in campaign.try_all(_plans(faults, campaign.seed, campaign.began + campaign.budget), states):
                if not campaign.states.issuperset(seen):
                    last_new = campaign.done
                    campaign.states.update(seen)
    finally:
        coverage = campaign.coverage
        coverage.random_run, coverage.random_seconds = campaign.done, time.perf_counter() - began
        coverage.last_new_state, coverage.new_states = last_new, len(campaign.states) - known


def _plans(faults: Sequence[Fault], seed: int, end: float) -> Iterator[Plan]:
    """Yield plans, until it is late."""
    chance = Random(seed)
    cells: dict[tuple[str, str], int] = {}
    while len(faults) > 1 and time.perf_counter() < end:
        plan: dict[Point, Fault] = {}
        for _ in range(chance.randint(2, 6)):
            # Of three that are drawn, the one whose cell was covered least.
            drawn = [chance.choice(faults) for _ in range(3)]
            fault = min(drawn, key=lambda one: cells.get((one.point.phase, one.kind), 0))
            cells[fault.point.phase, fault.kind] = cells.get((fault.point.phase, fault.kind), 0) + 1
            if go_together((*plan.values(), fault)):
                plan[fault.point] = fault
        if len(plan) > 1:  # one by one all faults were tried before
            yield tuple(plan.values())
