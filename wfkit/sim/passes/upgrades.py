"""Every durable state of the old code goes on under the new one."""

from __future__ import annotations

from wfkit.sim.campaign import Campaign
from wfkit.sim.faults import KINDS, Fault, Point, plain
from wfkit.sim.oracles import judge
from wfkit.sim.reference import Reference
from wfkit.sim.simulation import Simulation


def upgrades(campaign: Campaign) -> None:
    """Restart on the new code in each of them."""
    states: dict[bytes, Point] = {}

    def watch(simulation: Simulation, point: Point) -> None:
        if plain(point.phase) in KINDS["upgrade"].phases:
            assert simulation.durable is not None
            states.setdefault(simulation.durable.hash(simulation.clock.now()), point)

    both = campaign.upgraded
    old = campaign.execute(subject=both, watch=watch)
    reference = Reference.of(both, old, [campaign.base], [])
    campaign.total = len(states)
    try:
        for point in states.values():
            plan = (Fault("upgrade", point),)
            recording = campaign.execute(plan, subject=both)
            violations = [found for found in judge(both, reference, recording) if found.oracle != "difference"]
            campaign.note(violations, plan, recording, upgrade=True)
            campaign.count(plan, violations)
            campaign.tick()
    finally:
        campaign.coverage.upgrades = campaign.done
