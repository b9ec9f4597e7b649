"""What workflow code does beside its history is done again by every replay."""

from __future__ import annotations

from collections.abc import Iterator

from wfkit.sim.findings import Violation
from wfkit.sim.oracles.schedule import Schedule
from wfkit.sim.oracles.words import times
from wfkit.sim.recording import Aside
from wfkit.sim.services import DECLARED


def asides(schedule: Schedule) -> Iterator[Violation]:
    """Workflow code asks no service for anything: not even under `unsafe`, which lifts the guard and changes nothing else."""
    told: set[tuple[str, str, str]] = set()
    for aside in schedule.recording.asides:
        if aside[:1] + aside[2:4] in told:
            continue
        told.add(aside[:1] + aside[2:4])
        count = sum(other[2:] == aside[2:] for other in schedule.recording.asides)
        yield Violation(
            "ambient",
            "error",
            f"{aside.service}.{aside.what}",
            f"{aside.workflow} itself {_deed(aside)}, in no step",
            aside.workflow,
            aside.run,
            line=aside.line,
            evidence=(f"this run: asked {times(count)}",),
            why="nothing of it is in the history, so each replay of the workflow asks again, and may get another answer",
            fix="do it in a step, whose result is recorded",
        )


def _deed(aside: Aside) -> str:
    return f"declares {aside.what}" if aside.service == DECLARED else f"asks {aside.service} for {aside.what}"
