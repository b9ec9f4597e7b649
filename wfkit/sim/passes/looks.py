"""What passes look for in the schedules that they try."""

from __future__ import annotations

from typing import Any

from wfkit.sim.campaign import Campaign, Seen
from wfkit.sim.faults import KINDS, Plan, Point, plain
from wfkit.sim.passes.choices import sorts_of
from wfkit.sim.recording import Recording
from wfkit.sim.simulation import Simulation
from wfkit.sim.turns import all_turns


def sorts_and_turns(campaign: Campaign, plan: Plan) -> tuple[Recording[Any], Seen]:
    """Look for the sorts of points that a schedule passes, and the turns that its workflows take."""
    recording = campaign.execute(plan)
    return recording, [*dict.fromkeys(sort for _, sort in sorts_of(recording)), *all_turns(recording)]


def states(campaign: Campaign, plan: Plan) -> tuple[Recording[Any], Seen]:
    """Look for the durable states that a schedule comes through."""
    passed: dict[bytes, None] = {}

    def watch(simulation: Simulation, _point: Point) -> None:
        assert simulation.durable is not None
        passed[simulation.durable.hash(simulation.clock.now())] = None

    return campaign.execute(plan, watch=watch), [*passed]


def crashable(campaign: Campaign, plan: Plan) -> tuple[Recording[Any], Seen]:
    """Look for durable states in which the process can die once more, when all faults have struck; each with its point."""
    left = len(plan)
    passed: dict[bytes, Point] = {}

    def watch(simulation: Simulation, point: Point) -> None:
        nonlocal left
        if left:
            left -= point == plan[len(plan) - left].point
            return
        if plain(point.phase) not in KINDS["crash"].phases or simulation.lives > len(plan) + 1:
            return
        assert simulation.durable is not None
        passed.setdefault(simulation.durable.hash(simulation.clock.now()), point)

    return campaign.execute(plan, watch=watch), [*passed.items()]
