"""Pass 1: every history is replayed elsewhere, in this process and under other hash seeds."""

from __future__ import annotations

from wfkit.sim.campaign import Campaign
from wfkit.sim.code import registry_of
from wfkit.sim.findings import Violation
from wfkit.sim.replays import replayed


def replays(campaign: Campaign) -> None:
    """Replay here, and let the processes of the hash seeds begin to."""
    campaign.hash_seeds.feed(campaign.base)
    campaign.note(replay_all(campaign), (), campaign.base)


def replay_all(campaign: Campaign) -> list[Violation]:
    """Replay every beginning of the histories of the schedule without faults."""
    return replayed(campaign.subject, campaign.base, registry_of(campaign.subject, None))


def hash_seeds(campaign: Campaign) -> None:
    """Wait for what came of it under other hash seeds."""
    campaign.note(campaign.hash_seeds.collect(), (), campaign.base)
    campaign.coverage.hash_seeds = campaign.hash_seeds.seeds
    campaign.coverage.not_run += campaign.hash_seeds.not_run
