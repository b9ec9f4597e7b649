"""Replays histories in processes with other hash seeds, where sets of text have another order."""

from __future__ import annotations

from typing import Any

from wfkit.sim.findings import Violation
from wfkit.sim.recording import Recording
from wfkit.sim.subject import Subject


class HashSeeds:
    """The replays of one campaign under other hash seeds."""

    def __init__(self) -> None:
        self.seeds: tuple[int, ...] = (0, 1, 2)
        self.not_run: list[str] = []

    def start(self, subject: Subject) -> None:
        """Let the processes load the code of a subject. Returns at once."""

    def feed(self, recording: Recording[Any]) -> None:
        """Let them replay the histories of a recording. Returns at once."""

    def collect(self) -> list[Violation]:
        """Await what they say."""
        return []
