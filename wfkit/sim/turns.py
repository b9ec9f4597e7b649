"""The turns of a workflow: what it is told, and what it asks for in return, by kind and name.

Two histories with the same turns come through the same code, as far as a history can tell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from wfkit.core.compare import name_of
from wfkit.core.entries import BUS, RunStarted
from wfkit.sim.recording import Recording


class Turn(NamedTuple):
    """One of them."""

    workflow: str
    told: tuple[str, str]
    """The kind of entry, and the name of what it is about."""
    asked: tuple[tuple[str, str], ...]
    """Kinds of commands, and what they name."""


def turns(recording: Recording[Any], run: int) -> set[Turn]:
    """Return the turns of one history, by the number of its run; none of what is no run."""
    records = recording.histories[run]
    started = records[0].entry
    if run == BUS or not isinstance(started, RunStarted):
        return set()
    names: dict[int, str] = {}
    found = set()
    for entry, commands in ((record.entry, record.commands) for record in records if record.commands):
        asked = tuple((type(command).__name__, name_of(command)) for command in commands)
        about = getattr(entry, "name", "") or names.get(getattr(entry, "n", 0), "")
        found.add(Turn(started.workflow, (type(entry).__name__, about), asked))
        names.update((each.n, name) for each, (_, name) in zip(commands, asked, strict=True) if name and hasattr(each, "n"))
    return found


def all_turns(recording: Recording[Any]) -> set[Turn]:
    """Return the turns of all runs of a schedule."""
    return {turn for run in recording.histories for turn in turns(recording, run)}
