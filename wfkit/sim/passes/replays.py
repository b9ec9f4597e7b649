"""Pass 1: every history is replayed elsewhere, in this process and under other hash seeds.

So are, in later passes, histories of schedules with faults, if a workflow takes a turn in them that it has not taken before:
what it does when something fails is its code as well.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from wfkit.sim.campaign import Campaign
from wfkit.sim.code import registry_of
from wfkit.sim.deeds import may_differ
from wfkit.sim.faults import Plan
from wfkit.sim.findings import Violation
from wfkit.sim.oracles.deeds import differing
from wfkit.sim.recording import Recording
from wfkit.sim.replays import replayed
from wfkit.sim.turns import Turn, turns

RECORDS_MAX = 20_000
"""Histories of schedules with faults are replayed as long as they have no more records together: a second, about."""


def replays(campaign: Campaign) -> None:
    """Replay here, and let the processes of the hash seeds begin to."""
    campaign.hash_seeds.feed(campaign.base)
    if may_differ(campaign.base):
        campaign.hash_seeds.execute(campaign.seed)
    campaign.note(replay_all(campaign), (), campaign.base)


def replay_turns(campaign: Campaign, plan: Plan, recording: Recording[Any], new: Collection[Turn]) -> None:
    """Replay the histories of a schedule in which a workflow takes a new turn."""
    runs = {run: len(records) for run, records in recording.histories.items() if not turns(recording, run).isdisjoint(new)}
    if campaign.replayed + sum(runs.values()) > RECORDS_MAX:
        campaign.not_replayed += 1
        return
    campaign.replayed += sum(runs.values())
    campaign.hash_seeds.feed(recording, plan, runs)
    campaign.note(replayed(campaign.subject, recording, registry_of(campaign.subject, None), runs), plan, recording)


def replay_all(campaign: Campaign) -> list[Violation]:
    """Replay every beginning of the histories of the schedule without faults."""
    return replayed(campaign.subject, campaign.base, registry_of(campaign.subject, None))


def hash_seeds(campaign: Campaign) -> None:
    """Wait for what came of it under other hash seeds."""
    for shown in campaign.hash_seeds.collect():
        campaign.note([shown.violation], shown.faults, shown.recording)
    campaign.note(differing(campaign.reference, campaign.hash_seeds.executed), (), campaign.base)
    campaign.coverage.hash_seeds = campaign.hash_seeds.seeds
    campaign.coverage.not_run += campaign.hash_seeds.not_run
