"""Makes findings of violations: each is confirmed, reduced, explained, told and kept in a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from wfkit.errors import HarnessLeak, ReportNotWritten
from wfkit.sim.cause import find_cause
from wfkit.sim.explore import Explored, Found
from wfkit.sim.faults import Fault
from wfkit.sim.files import failure_file, failure_path, write_failure
from wfkit.sim.findings import ERRORS, Finding, Violation
from wfkit.sim.oracles import judge
from wfkit.sim.recording import Recording
from wfkit.sim.reference import Reference
from wfkit.sim.shrink import shrink
from wfkit.sim.simulation import Simulation
from wfkit.sim.story import tell
from wfkit.sim.subject import Subject

Plan = tuple[Fault, ...]

log = logging.getLogger("wfkit.testing")


class Case:
    """A violation, and the schedule that shows it.

    Args:
        reference: what the schedule is compared with.
        found: the violation, and the first schedule that showed it.
    """

    def __init__(self, reference: Reference, found: Found) -> None:
        self.subject = reference.subject
        self.reference = reference
        self.violation = found.violation
        self.faults: Plan = found.faults
        self.recording = found.recording
        self.seed = found.seed
        self._first = found

    def confirm(self) -> None:
        """Execute the schedule again.

        Raises:
            HarnessLeak: it went another way.
        """
        again = self._run(self.faults)
        if again.digest != self.recording.digest:
            told = ", ".join(map(str, self.faults)) or "no faults"
            raise HarnessLeak(f"the schedule with {told} went two ways: {first_difference(self.recording, again)}")

    def reduce(self) -> None:
        """Go over to the simplest schedule that shows the violation."""
        simplest = shrink(self.faults, self._shows, self.recording.trace)
        if simplest != self.faults:
            recording = self._run(simplest)
            self.faults, self.recording, self.violation = simplest, recording, self._seen_in(recording) or self.violation

    def finding(self, *, file: Path | None = None) -> Finding:
        """Explain and tell it."""
        violation = self.violation
        cause = find_cause(self.subject, violation, self.recording, lambda hold: self._run(self.faults, hold), self._judge)
        code = ERRORS[violation.oracle].code
        story = tell(
            self.recording,
            violation,
            code=code,
            why=cause.why,
            fix=cause.fix,
            replay=f"wfkit verify --replay {quote(_shown(file))}" if file is not None else "",
            test=self._as_a_test(),
            shrunk_from=len(self._first.faults),
        )
        return Finding(
            violation.oracle,
            violation.severity,
            code,
            violation.title,
            tuple(map(str, self.faults)),
            story,
            cause.why or None,
            str(file) if file is not None else "",
            self._first.times,
            violation,
            self.recording,
        )

    def keep(self, folder: Path, origin: Mapping[str, Any]) -> Path | None:
        """Write the failure file, and the histories beside it. Returns where; None if that cannot be written."""
        file = failure_path(self.violation, origin, folder)
        run = self.violation.run or self.recording.main
        histories = [
            recording.runs[run].records if run in recording.runs else () for recording in (self.recording, self.reference.base)
        ]
        failure = failure_file(self.subject, self.violation, self.recording, self.faults, self.seed, origin)
        try:
            write_failure(file, failure, *histories)
        except ReportNotWritten as error:
            log.warning("%s", error)
            return None
        return file

    def _run(self, faults: Plan, hold: frozenset[str] = frozenset()) -> Recording[Any]:
        early = self.reference.base.deliveries
        return Simulation(self.subject, faults, seed=self.seed, hold=hold, early=early).run()

    def _judge(self, recording: Recording[Any]) -> list[Violation]:
        return judge(self.subject, self.reference, recording)

    def _seen_in(self, recording: Recording[Any]) -> Violation | None:
        seen = (each for each in self._judge(recording) if each.signature == self.violation.signature)
        return next((each for each in seen if each.severity == self.violation.severity), None)

    def _shows(self, faults: Plan) -> bool:
        return self._seen_in(self._run(faults)) is not None

    def _as_a_test(self) -> str:
        faults = [str(fault) for fault in self.faults]
        told = repr(faults[0] if len(faults) == 1 else faults).replace("'", '"')
        seed = f", seed={self.seed}" if self.seed else ""
        return f"simulate({self.subject.workflow.fn.__name__}, ..., faults={told}{seed}).assert_ok()" if faults else ""


def _shown(file: Path) -> str:
    """Return a path as it is written in a shell here."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def findings_of(explored: Explored, subject: Subject, origin: Mapping[str, Any], folder: Path | None) -> list[Finding]:
    """Return what a campaign found, with a failure file for each error and warning.

    Args:
        explored: what the campaign has seen.
        subject: what it verified, with the old code if there is any.
        origin: who can replay it.
        folder: where failure files go; None for nowhere.

    Raises:
        HarnessLeak: a schedule went two ways.
    """
    made = []
    for found in explored.found:
        reference = of_old_code(subject, explored.reference, found.seed) if found.upgrade else explored.reference
        case = Case(reference, found)
        file = None
        if found.violation.severity != "info":
            if found.faults:
                case.confirm()
                if not found.upgrade:
                    case.reduce()
            file = case.keep(folder, origin) if folder is not None else None
        made.append(case.finding(file=file))
    return made


def of_old_code(subject: Subject, new: Reference, seed: int) -> Reference:
    """Return what schedules are compared with that begin with the old code of a subject.

    Args:
        subject: with the old code.
        new: the reference of the new code.
        seed: of the schedules.
    """
    return Reference.of(subject, Simulation(subject, seed=seed).run(), [new.base])


def first_difference(one: Recording[Any], other: Recording[Any]) -> str:
    """Say where two schedules that should be equal begin to differ."""
    for first, second in zip(one.trace, other.trace, strict=False):
        if first != second:
            return f"it reached {first}, and then {second} in its place"
    longer, shorter = sorted((one.trace, other.trace), key=len, reverse=True)
    if len(longer) > len(shorter):
        return f"once it ended before {longer[len(shorter)]}"
    return "it wrote other values"
