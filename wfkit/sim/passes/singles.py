"""Pass 2: every fault at every point where it fits, one at a time, also at points that only faults lead to."""

from __future__ import annotations

from typing import Any

from wfkit.sim.campaign import Campaign, Tried
from wfkit.sim.faults import Plan
from wfkit.sim.passes.choices import faults_at, go_together, single_plans, sorts_of, thinned
from wfkit.sim.passes.looks import sorts_and_turns
from wfkit.sim.passes.replays import replay_turns
from wfkit.sim.recording import Recording
from wfkit.sim.turns import Turn, all_turns

_STRIDE = 59
"""Prime, so that it falls in with no number of faults that fit each turn of a loop."""


def singles(campaign: Campaign) -> None:
    """Try them. What leads to points of new sorts is the frontier, where a second fault follows at each of these."""
    trace = campaign.base.trace
    points = thinned(trace)
    if len(points) < len(trace):
        left_out = f"single faults: at {len(trace) - len(points):,} points in the middle of long loops"
        campaign.coverage.not_run.append(left_out)
    plans = list(single_plans(campaign, points))
    if len(points) < len(trace):
        plans = _spread(plans)  # one that is cut short has looked at all parts of the loop then
    campaign.total = len(plans)
    search = _Search(campaign)
    follow: list[Plan] = []
    try:
        for tried in campaign.try_all(plans, sorts_and_turns):
            recording, new = search.news(tried)
            if recording is not None and new and tried.plan[0].cls != "T":
                campaign.frontier.append((tried.plan, recording))
                at = thinned([point for point, sort in sorts_of(recording) if sort in new])
                pairs = [(*tried.plan, second) for second in faults_at(campaign, at, recording)]
                follow += [pair for pair in pairs if go_together(pair)]
                campaign.total = len(plans) + len(follow)
        for tried in campaign.try_all(follow, sorts_and_turns):
            search.news(tried)
    finally:
        campaign.coverage.single_run, campaign.coverage.single_total = campaign.done, campaign.total
        if campaign.not_replayed:
            left_out = f"replays: the histories of {campaign.not_replayed:,} schedules in which a workflow takes new turns"
            campaign.coverage.not_run.append(left_out)


def _spread(plans: list[Plan]) -> list[Plan]:
    """Return plans in another order, in which each next one is far from the last."""
    return [plan for start in range(_STRIDE) for plan in plans[start::_STRIDE]]


class _Search:
    """What has been seen so far."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._sorts = {sort for _, sort in sorts_of(campaign.base)}
        self._turns = all_turns(campaign.base)

    def news(self, tried: Tried) -> tuple[Recording[Any] | None, set[str]]:
        """Replay the new turns of a schedule. Return its new sorts of points, and the recording if there is any news."""
        turns = {each for each in tried.seen if isinstance(each, Turn)} - self._turns
        sorts = {each for each in tried.seen if isinstance(each, str)} - self._sorts
        self._turns |= turns
        self._sorts |= sorts
        if not turns and not sorts:
            return None, sorts
        recording = tried.recording or self._campaign.repeat(tried.plan)
        if turns:
            replay_turns(self._campaign, tried.plan, recording, turns)
        return recording, sorts
