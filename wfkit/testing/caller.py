"""Who calls `verify`, and on what terms: a test, the command line, or nobody that is known.

The pytest plugin sets it for every test, so this module loads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfkit.core.durations import Duration
    from wfkit.sim.campaign import Progress


@dataclass
class Caller:
    """What holds for each call of `verify` until another one calls. What is None is left to the call."""

    origin: Mapping[str, Any] = field(default_factory=dict)
    """Who can replay what is found: `{"pytest": node id}` or `{"wfkit": arguments of `wfkit verify`}`; empty if nobody."""
    folder: Path | None = Path(".wfkit")
    """Where failure files and reports go; None for nowhere."""
    budget: Duration | None = None
    seed: int | None = None
    jobs: int | None = None
    progress: Callable[[Progress], None] | None = None
    """Told now and then how far a campaign is."""
    replay: Path | None = None
    """A failure file. Then the call that made it executes its schedule alone, and raises `Replayed`."""
    calls: int = 0
    """How many times `verify` was called."""

    def next_origin(self) -> dict[str, Any]:
        """Count a call of `verify`, and return its origin for a failure file."""
        self.calls += 1
        return {**self.origin, "call": self.calls} if self.origin else {}


class Replayed(BaseException):
    """A failure file was replayed. It passes through the test that called `verify`, whatever that catches.

    Args:
        verdict: "still fails", "fixed" or "diverges".
        text: what there is to say of it, in lines.
    """

    def __init__(self, verdict: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text


_current = Caller()


def current() -> Caller:
    """Return who calls now."""
    return _current


@contextmanager
def calling(caller: Caller) -> Iterator[Caller]:
    """Let all calls of `verify` in this process be those of a caller."""
    global _current  # noqa: PLW0603  # a context variable would not reach the loops and threads that tests run in
    before, _current = _current, caller
    try:
        yield caller
    finally:
        _current = before
