"""Makes findings of violations: each is confirmed, reduced, explained, told and kept in a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from wfkit.errors import ReportNotWritten
from wfkit.sim.around import changed_around
from wfkit.sim.campaign import Campaign, Found, Terms
from wfkit.sim.cause import Cause, find_cause
from wfkit.sim.explore import Explored
from wfkit.sim.faults import DROP, Fault, Plan
from wfkit.sim.files import failure_file, failure_path, write_failure
from wfkit.sim.findings import ERRORS, Finding, Violation
from wfkit.sim.half_done import half_done
from wfkit.sim.narrow import narrow
from wfkit.sim.oracles import judge
from wfkit.sim.passes.fault_free import fault_free
from wfkit.sim.recording import Delivery, Recording
from wfkit.sim.reference import Reference
from wfkit.sim.replays import UNKNOWN
from wfkit.sim.shrink import RUNS_MAX, shrink
from wfkit.sim.simulation import Simulation
from wfkit.sim.story import tell
from wfkit.sim.subject import Subject
from wfkit.sim.twice import outlives
from wfkit.testing.line_of_test import as_a_test

log = logging.getLogger("wfkit.testing")

POINTS_MAX = 60_000
"""Points that the schedules of a reduction may pass together."""
CUT_RUNS_MAX = 3
"""Schedules of a reduction that take seconds each."""


class _Shown(NamedTuple):
    """A violation, where it is shown."""

    reference: Reference
    recording: Recording[Any]
    violation: Violation


class Case:
    """A violation, and the schedule that shows it.

    Args:
        reference: what the schedule is compared with.
        found: the violation, and the first schedule that showed it.
    """

    def __init__(self, reference: Reference, found: Found) -> None:
        self.subject = self._given = reference.subject
        self.reference = reference
        self.violation = found.violation
        self.faults: Plan = found.faults
        self.recording = found.recording
        self.seed = found.seed
        self._first = found

    def contradicted(self) -> Violation | None:
        """Execute the schedule again, and then the one without faults. Returns what it means if either goes another way."""
        again, base = self._run(self.faults), self.reference.base
        if _is_cut(again) and _is_cut(self.recording):
            return None  # how far it came until then is a matter of the machine
        if again.digest != self.recording.digest and self._seen_in(again) is None:
            return outlives(self.reference, self.recording, again, self.violation.title)
        usual = self._run(())
        return outlives(self.reference, base, usual, self.violation.title) if usual.trace != base.trace else None

    def reduce(self) -> None:
        """Go over to the simplest schedule that shows the violation: in its faults, and then in all else."""
        if self.violation.oracle == "replay":
            return  # its replay shows it, so it is as simple as the search has found it
        simplest = shrink(self.faults, self._shows, self.recording.trace, runs_max=self._runs_max)
        if simplest != self.faults:
            recording = self._run(simplest)
            self.faults, self.recording, self.violation = simplest, recording, self._seen_in(recording) or self.violation
        if self.seed:
            self._go_over(self.subject, 0)
        narrower = narrow(self.subject, self._droppable(), len(self.recording.trace), self._length)
        if narrower is not self.subject:
            self._go_over(narrower, self.seed)

    @property
    def _runs_max(self) -> int:
        """How many schedules its reduction may cost: fewer of those that take long."""
        if _is_cut(self.recording):
            return CUT_RUNS_MAX
        return max(CUT_RUNS_MAX, min(RUNS_MAX, POINTS_MAX // max(len(self.recording.trace), 1)))

    def _droppable(self) -> list[Delivery]:
        """Return the deliveries that the main run can begin without, and that no fault is about."""
        deliveries = [each for each in self.recording.deliveries if each.kind != "dropped"]
        began = next((each for each in deliveries if each.kind == "start" and each.run == self.recording.main), None)
        struck = {fault.point for fault in self.faults}
        return [each for each in deliveries if each is not began and each.point not in struck]

    def _length(self, subject: Subject) -> int | None:
        shown = self._shown_by(subject, self.seed)
        return len(shown.recording.trace) if shown is not None else None

    def _go_over(self, subject: Subject, seed: int) -> None:
        """Go over to another subject and seed, if the violation is shown there too."""
        shown = self._shown_by(subject, seed)
        if shown is not None:
            self.reference, self.recording, self.violation = shown
            self.subject, self.seed = self.reference.subject, seed

    def _shown_by(self, subject: Subject, seed: int) -> _Shown | None:
        """Return what the same faults lead to elsewhere; None if that does not show the violation."""
        try:
            base = Simulation(subject, seed=seed).run()
            recording = Simulation(subject, self.faults, seed=seed, base=base).run()
            if recording.faults != self.recording.faults or not self._ends_as_usual(base):
                return None
            if self._seen_in(recording, Reference.of(subject, base)) is None:  # and so not beside a better reference
                return None
            reference = fault_free(Campaign(subject, Terms(seed=seed)))
        except Exception:  # noqa: BLE001  # the world or the script cannot do without what was left out
            return None
        violation = self._seen_in(recording, reference)
        return _Shown(reference, recording, violation) if violation is not None else None

    def _ends_as_usual(self, base: Recording[Any]) -> bool:
        """Whether every run of a schedule without faults ends as it did before: what is left is not another story."""
        usual = self.reference.base
        return all(id in usual.runs and run.status == usual.runs[id].status for id, run in base.runs.items())

    def finding(self, *, file: Path | None = None) -> Finding:
        """Explain and tell it."""
        violation = self.violation
        cause = self._cause()
        code = ERRORS[violation.oracle].code
        story = tell(
            self.recording,
            violation,
            code=code,
            why=cause.why,
            fix=cause.fix,
            replay=f"wfkit verify --replay {quote(_from_here(file))}" if file is not None else "",
            test=as_a_test(self.subject, self._schedule, self.seed, own_input=self._has_own_input) if self._is_a_test else "",
            shrunk_from=len(self._first.faults),
        )
        return Finding(
            violation.oracle,
            violation.severity,
            code,
            violation.title,
            tuple(map(str, self._schedule)),
            story,
            cause.why or None,
            str(file) if file is not None else "",
            self._first.times,
            violation,
            self.recording,
        )

    def _cause(self) -> Cause:
        violation, workflow = self.violation, self.reference.registry.workflows.get(self.violation.workflow)
        cause = find_cause(violation, self.recording, lambda hold: self._run(self.faults, hold), self._judge)
        if not cause.why and violation.oracle in ("difference", "user"):
            half = half_done(violation, self.reference, self.recording)
            cause = Cause(half.why, "; ".join(filter(None, (half.fix, cause.fix)))) if half is not None else cause
        is_unknown = violation.oracle in ("difference", "replay") and (not cause.why or cause.why.startswith(UNKNOWN))
        changed = changed_around(self.recording, workflow.fn) if is_unknown and workflow is not None else None
        return changed or cause

    def keep(self, folder: Path, origin: Mapping[str, Any]) -> Path | None:
        """Write the failure file, and the histories beside it. Returns where; None if that cannot be written."""
        file = failure_path(self.violation, origin, folder)
        run = self.violation.run or self.recording.main
        histories = [
            recording.runs[run].records if run in recording.runs else () for recording in (self.recording, self.reference.base)
        ]
        failure = failure_file(
            self.subject, self.violation, self.recording, self._schedule, self.seed, origin, own_input=self._has_own_input
        )
        try:
            write_failure(file, failure, *histories)
        except ReportNotWritten as error:
            log.warning("%s: %s", error.code, error)
            return None
        return file

    def _run(self, faults: Plan, hold: frozenset[str] = frozenset()) -> Recording[Any]:
        return Simulation(self.subject, faults, seed=self.seed, hold=hold, base=self.reference.base).run()

    @property
    def _schedule(self) -> Plan:
        """The faults, and the deliveries that the schedule does without."""
        return (*self.faults, *(Fault(DROP, point) for point in sorted(self.subject.dropped)))

    @property
    def _is_a_test(self) -> bool:
        """Whether executing the schedule shows the violation."""
        return bool(self.faults) and self.violation.oracle != "replay"

    @property
    def _has_own_input(self) -> bool:
        return self.subject.args is not self._given.args

    def _judge(self, recording: Recording[Any]) -> list[Violation]:
        return judge(self.subject, self.reference, recording)

    def _seen_in(self, recording: Recording[Any], reference: Reference | None = None) -> Violation | None:
        reference = reference or self.reference
        judged = judge(reference.subject, reference, recording)
        seen = (each for each in judged if each.signature == self.violation.signature)
        return next((each for each in seen if each.severity == self.violation.severity), None)

    def _shows(self, faults: Plan) -> bool:
        return self._seen_in(self._run(faults)) is not None


def _is_cut(recording: Recording[Any]) -> bool:
    """Whether the process had to end a schedule, since it computed for ever."""
    return recording.stopped is not None and recording.stopped.by == "bounds"


def _from_here(file: Path) -> str:
    """Return a path as one writes it in the working directory."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def findings_of(explored: Explored, subject: Subject, origin: Mapping[str, Any], folder: Path | None) -> list[Finding]:
    """Return what a campaign found, with a failure file for each error and warning.

    Args:
        explored: what the campaign has seen.
        subject: what it verified, with the old code if there is any.
        origin: who can replay it.
        folder: where failure files go; None for nowhere.

    """
    made: dict[tuple[str, str, str], Finding] = {}
    for found in explored.found:
        reference = of_old_code(subject, explored.reference, found.seed) if found.upgrade else explored.reference
        case = Case(reference, found)
        file = None
        if found.violation.severity != "info":
            if found.faults:
                if (other := case.contradicted()) is not None:
                    case = Case(reference, Found(other, (), found.seed, reference.base, found.times))
                elif not found.upgrade:
                    case.reduce()
            file = case.keep(folder, origin) if folder is not None else None
        made.setdefault(case.violation.signature, case.finding(file=file))
    return [*made.values()]


def of_old_code(subject: Subject, new: Reference, seed: int) -> Reference:
    """Return what schedules are compared with that begin with the old code of a subject.

    Args:
        subject: with the old code.
        new: the reference of the new code.
        seed: of the schedules.
    """
    return Reference.of(subject, Simulation(subject, seed=seed).run(), [new.base])
