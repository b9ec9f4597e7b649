"""The rules that a schedule is judged by, one module a family."""

from __future__ import annotations

from typing import Any

from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.subject import Subject


def judge_base(subject: Subject, reference: Reference) -> list[Violation]:
    """Return what is wrong with the schedule without faults."""
    return []


def judge(subject: Subject, reference: Reference, recording: Recording[Any]) -> list[Violation]:
    """Return what is wrong with a schedule, given what its faults entitle it to."""
    return []
