"""Why an engine is silent, in a file beside its socket: while workflow code computes, the engine itself answers nobody."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from wfkit.core.durations import display

FILE = "engine.stuck"


class Computing(Struct, frozen=True):
    """A run whose code computes for too long."""

    run: str
    line: str
    """`file:line in function`; empty if that is not known."""
    since: int
    """Microseconds UTC."""


def note_computing(socket: Path, computing: Computing | None) -> None:
    """Let whoever waits for an answer know what is under way; or that it has ended.

    Args:
        socket: the engine's.
        computing: what is under way, if anything is.
    """
    path = socket.with_name(FILE)
    with contextlib.suppress(OSError):  # it is a service, and may fail
        if computing is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(msgspec.json.encode(computing))


def why_silent(socket: Path) -> str:
    """Return what an engine that does not answer is known to do; empty if nothing is known."""
    try:
        found = msgspec.json.decode(socket.with_name(FILE).read_bytes(), type=Computing)
    except (OSError, msgspec.MsgspecError):
        return ""
    seconds = max(time.time_ns() // 1000 - found.since, 0) // 1_000_000
    told = f"run {found.run} has been computing for {display(seconds * 1_000_000)}"
    return told + (f", at {found.line}" if found.line else "")
