"""Long loops: most of their points are left out, and a search that is cut short has not looked at the first turns alone."""

from __future__ import annotations

from typing import Any

import pytest

from wfkit import sleep, workflow
from wfkit.sim import campaign
from wfkit.sim.campaign import Campaign, Terms
from wfkit.sim.explore import search
from wfkit.sim.faults import Plan
from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject

TURNS = 200


@workflow
async def polling(turns: int) -> None:
    for _ in range(turns):
        await sleep("1m")


def test_the_first_schedules_are_spread_over_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their points, time would be over before the second half is looked at."""
    struck: list[int] = []
    execute = Campaign.execute

    def noting(self: Campaign, faults: Plan = (), **options: Any) -> Recording[Any]:
        struck.extend(fault.point.n for fault in faults if self.stage == "single faults")
        if len(struck) > 12:
            raise KeyboardInterrupt  # as if somebody had seen enough
        return execute(self, faults, **options)

    monkeypatch.setattr(Campaign, "execute", noting)
    found = search(Subject(polling, (TURNS,)), Terms(faults=["crash"], budget=0))
    assert found.coverage.interrupted
    assert any("in the middle of long loops" in left_out for left_out in found.coverage.not_run)
    assert max(struck) > TURNS / 2


@pytest.mark.parametrize(("asked_for", "is_cut"), [(None, True), (60.0, False)])
def test_a_history_that_is_too_long_is_not_searched_for_long(
    asked_for: float | None, is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is so long is a finding already; whoever asks for a minute gets a minute."""
    monkeypatch.setattr(campaign, "LIMIT_SECONDS_LONG", 0.0)
    search_of = Campaign(Subject(polling, (1,)), Terms(budget=0, limit=asked_for))
    search_of.hurry()
    assert search_of.out_of_time is is_cut
