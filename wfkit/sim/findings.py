"""What an oracle says of a schedule, and what becomes of it: a finding with its story."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from wfkit.errors import (
    AmbientFinding,
    DanglingFinding,
    DifferenceFinding,
    InvariantFinding,
    LedgerFinding,
    LivenessFinding,
    ReplayFinding,
    ResourceFinding,
    SagaFinding,
    SignalsFinding,
    UpgradeFinding,
    VerificationFailed,
)
from wfkit.sim.recording import Recording

Oracle: TypeAlias = Literal[
    "replay",
    "ledger",
    "difference",
    "saga",
    "liveness",
    "signals",
    "dangling",
    "ambient",
    "resource",
    "upgrade",
    "user",
]
Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

ERRORS: dict[Oracle, type[VerificationFailed]] = {
    "replay": ReplayFinding,
    "ledger": LedgerFinding,
    "difference": DifferenceFinding,
    "saga": SagaFinding,
    "liveness": LivenessFinding,
    "signals": SignalsFinding,
    "dangling": DanglingFinding,
    "ambient": AmbientFinding,
    "resource": ResourceFinding,
    "upgrade": UpgradeFinding,
    "user": InvariantFinding,
}
"""What `assert_ok` raises for each oracle; its class has the code, and the text of `wfkit explain`."""


class Violation(NamedTuple):
    """What an oracle says of one schedule."""

    oracle: Oracle
    severity: Severity
    about: str
    """The effect, command, signal or invariant that it is about: with oracle and workflow its signature."""
    title: str
    """One line in business words: `charge happened twice`."""
    workflow: str
    run: str = ""
    """Id of the run that shows it best."""
    n: int = 0
    """Number of the command that shows it best; 0 if there is none."""
    line: str = ""
    """The user's line, `file:line`, where one is known."""
    evidence: tuple[str, ...] = ()
    """Lines that tell expected and found: `fault-free: charge x1`, `this run: charge x2`."""
    why: str = ""
    """The cause, if the oracle knows it by itself."""
    fix: str = ""

    @property
    def signature(self) -> tuple[str, str, str]:
        return self.oracle, self.about, self.workflow


@dataclass
class Finding:
    """A violation, confirmed by a second run and reduced to the smallest schedule that shows it."""

    oracle: Oracle
    severity: Severity
    code: str
    title: str
    faults: tuple[str, ...]
    """The reduced schedule, such as `("crash@2:step.effect_done_not_journaled:charge",)`."""
    story: str
    """What happened, in order, with cause, fix and how to replay it."""
    why: str | None
    file: str = ""
    """Path of its failure file; empty if none was written."""
    count: int = 1
    """How many schedules of the campaign showed it."""
    violation: Violation | None = None
    recording: Recording[Any] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.story or f"{self.code}  {self.title}"
