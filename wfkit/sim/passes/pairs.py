"""Pass 4: pairs of faults, the second in the trace of the first, but for those that a known state makes superfluous."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from wfkit.sim.campaign import Campaign
from wfkit.sim.faults import Plan, Point, kinds_at
from wfkit.sim.passes.choices import faults_at, go_together, single_plans, sort_of, thinned
from wfkit.sim.passes.looks import states
from wfkit.sim.recording import Recording
from wfkit.sim.simulation import Simulation

_FIRST = {"fail", "fail_n", "fatal", "slow", "outage", "cancel", "lost_ack", "zombie", "dup", "delay", "late", "early"}
"""Kinds that come first in pairs. Crashes do not: their closure has covered what follows them. Nor does `slow_n`: what a run
does when a step has failed for good follows `fail_n` as well."""
_SECOND = {"crash", "fail", "fail_n", "lost_ack", "fatal", "cancel", "zombie", "slow", "dup", "tie"}


def pairs(campaign: Campaign) -> None:
    """Try them, for half of the budget."""
    chosen = _Pairs(campaign)
    try:
        for _, seen, _ in campaign.try_all(chosen, states):
            campaign.states.update(seen)
    finally:
        coverage = campaign.coverage
        coverage.pairs_run, coverage.pairs_total, coverage.pairs_skipped = campaign.done, chosen.total, chosen.skipped


class _Pairs:
    """Chooses them. It is counted how many there are, and how many are skipped for which reason.

    R1: a pair led to the same durable state before its second fault. R3: so does the schedule without faults, since the
    first fault was masked.
    """

    def __init__(self, campaign: Campaign) -> None:
        self.total = 0
        self.skipped = {"R1": 0, "R3": 0}
        self._campaign = campaign
        self._end = time.perf_counter() + campaign.budget / 2

    def __iter__(self) -> Iterator[Plan]:
        campaign = self._campaign
        passed, _ = self._states(())
        base_states = {(state, sort_of(point), kind.name) for point, state in passed for kind in kinds_at(point.phase)}
        tried: set[tuple[bytes, str, str]] = set()
        firsts = [plan for plan in single_plans(campaign, thinned(campaign.base.trace)) if plan[0].kind in _FIRST]
        for first in firsts:
            if time.perf_counter() > self._end:
                return
            passed, recording = self._states(first)
            after = next((index for index, (point, _) in enumerate(passed) if point == first[0].point), len(passed))
            hashes = dict(passed[after + 1 :])
            for second in faults_at(campaign, hashes, recording):
                if second.kind not in _SECOND or not go_together((*first, second)):
                    continue
                self.total += 1
                known = (hashes[second.point], sort_of(second.point), second.kind)
                if known in base_states:
                    self.skipped["R3"] += 1
                elif known in tried:
                    self.skipped["R1"] += 1
                elif time.perf_counter() <= self._end:
                    tried.add(known)
                    yield (*first, second)

    def _states(self, plan: Plan) -> tuple[list[tuple[Point, bytes]], Recording[Any]]:
        """Return the points of a schedule, with the durable state at each of them."""
        passed: list[tuple[Point, bytes]] = []

        def watch(simulation: Simulation, point: Point) -> None:
            assert simulation.durable is not None
            passed.append((point, simulation.durable.hash(simulation.clock.now())))

        recording = self._campaign.execute(plan, watch=watch)
        self._campaign.states.update(state for _, state in passed)
        return passed, recording
