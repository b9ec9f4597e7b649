"""A module that keeps something in memory, for steps of another one."""

from __future__ import annotations

COUNT = 0


def count_seen() -> int:
    return COUNT
