"""Pass 2: every fault at every point where it fits, one at a time, also at points that only faults lead to."""

from __future__ import annotations

from wfkit.sim.campaign import Campaign
from wfkit.sim.passes.choices import faults_at, go_together, single_plans, sort_of, thinned
from wfkit.sim.passes.looks import nothing, sorts


def singles(campaign: Campaign) -> None:
    """Try them. What leads to points of new sorts is the frontier, where a second fault follows at each of these."""
    trace = campaign.base.trace
    points = thinned(trace)
    if len(points) < len(trace):
        left_out = f"single faults: at {len(trace) - len(points):,} points in the middle of long loops"
        campaign.coverage.not_run.append(left_out)
    plans = list(single_plans(campaign, points))
    campaign.total = len(plans)
    known = {sort_of(point) for point in trace}
    follow = []
    try:
        for plan, seen, here in campaign.try_all(plans, sorts):
            new = {*seen} - known
            known |= new
            if new and plan[0].cls != "T":
                recording = here or campaign.repeat(plan)
                campaign.frontier.append((plan, recording))
                at = thinned([point for point in recording.trace if sort_of(point) in new])
                pairs = [(*plan, second) for second in faults_at(campaign, at, recording)]
                follow += [pair for pair in pairs if go_together(pair)]
                campaign.total = len(plans) + len(follow)
        for _ in campaign.try_all(follow, nothing):
            pass
    finally:
        campaign.coverage.single_run, campaign.coverage.single_total = campaign.done, campaign.total
