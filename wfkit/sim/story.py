"""Tells a finding as a story: what happened, in order and in the terms of the business, and why."""

from __future__ import annotations

from typing import Any

from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording


def tell(
    base: Recording[Any],
    recording: Recording[Any],
    violation: Violation,
    *,
    code: str,
    why: str = "",
    fix: str = "",
    replay: str = "",
    test: str = "",
    shrunk_from: int = 0,
) -> str:
    """Return the story of a violation.

    Args:
        base: the schedule without faults.
        recording: the schedule that shows it, reduced.
        violation: what its oracle says.
        code: of the finding, such as WF063.
        why: its cause, where it is known.
        fix: what to do about it.
        replay: the command that shows it again.
        test: the line of a test that shows it again.
        shrunk_from: how many faults the schedule had when it was found.
    """
    return f"{code}  {violation.workflow}: {violation.title}"
