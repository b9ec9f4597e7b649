"""Pass 3: all crashes, in any number. A crash leaves only what is durable: one run from each durable state covers them all."""

from __future__ import annotations

import time

from wfkit.sim.campaign import Campaign
from wfkit.sim.endless import LIVES_MAX
from wfkit.sim.faults import Fault, Plan
from wfkit.sim.passes.looks import crashable

CRASHES_MAX = LIVES_MAX - 1
"""So many crashes one schedule has at most: no other process is started then. A state that grows with each call has no end."""
STATES_MAX = 5_000
"""Durable states that the closure over crashes follows."""
CLOSURE_SECONDS = 10.0
"""The closure may take so long, or as long as the whole budget: runs with much at a time have very many states."""


def closure(campaign: Campaign) -> None:
    """Let the process die in each durable state, and in each that this leads to, until there is no new one."""
    end = time.perf_counter() + max(campaign.budget, CLOSURE_SECONDS)
    seen: set[bytes] = set()
    follow: list[Plan] = [()]
    left = 1
    try:
        while follow:
            plans, follow = follow, []
            for plan, states, _ in campaign.try_all((plan for plan in plans if time.perf_counter() < end), crashable):
                left -= 1
                for state, point in states:
                    if state not in seen and len(seen) < STATES_MAX:
                        seen.add(state)
                        left += 1  # and so it stays, if nobody follows it
                        if len(plan) < CRASHES_MAX:
                            follow.append((*plan, Fault("crash", point)))
                campaign.total = campaign.done + left
                if campaign.errors:
                    return
    finally:
        campaign.states |= seen
        campaign.coverage.states = len(seen)
        campaign.coverage.closed = not left and len(seen) < STATES_MAX
        campaign.coverage.closure_runs = campaign.done
