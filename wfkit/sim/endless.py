"""Tells when a schedule is over that does not end by itself: more time would change nothing, or nobody waits for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wfkit.core.entries import AttemptFailed, Record, RunStarted, SignalReceived
from wfkit.core.state import PendingStep, PendingTimer, RunState
from wfkit.sim.faults import ASKED, HOUR, KINDS, Fault
from wfkit.sim.recording import Recording, Stopped

if TYPE_CHECKING:
    from wfkit.sim.simulation import Simulation

LIVES_MAX = 30
ENTRIES_MAX = 20_000
"""Records that one schedule may write."""
IN_VAIN_MAX = 1_000
"""How often one step may fail without having asked a service for anything, or although the service did it, where nothing
else goes on: no healing of services will help it."""
CIRCLE_MIN = 1_000
CIRCLE_BASES = 10
"""A run goes round in circles that writes so many records, or so many times those of the schedule without faults, while
nothing outside changes and nothing else goes on."""
TURNS_MAX = 1_000
"""How often a script may look for something when all runs have ended, or wait for what only the script can bring."""

CALLS = ASKED | {f"comp.{phase}" for phase in ASKED}
"""The phases in which a step asks a service for something."""


class Endless:
    """Looks at a schedule under way.

    Args:
        simulation: the schedule.
        base: the one without faults; None while that is executed.
    """

    def __init__(self, simulation: Simulation, base: Recording[object] | None) -> None:
        self._simulation = simulation
        self._entries = 0
        self._changed = 0
        """How many records there were when something outside changed last."""
        self._in_vain: Counter[tuple[str, int]] = Counter()
        """How often steps have failed, since a service last failed them, for other reasons."""
        self._unanswered: dict[tuple[str, int], int] = {}
        """The same of steps that wait for an answer."""
        self._turns = 0
        """How often time has moved since the last point."""
        self._points = 0
        self._healed = 0
        """When the last fault is over."""
        self._circle: int | None = None
        if base is not None and simulation.subject.until is None:
            self._circle = max(CIRCLE_MIN, CIRCLE_BASES * sum(map(len, base.histories.values())))
        self.stopped: Stopped | None = None
        """Why the schedule is over; None while it is not, and where nothing but the script goes on."""
        self.is_at_rest = False
        """Whether nothing but the script goes on, which looks again and again for what will not come."""

    # -- what happens ---------------------------------------------------------------------------------------------------

    def asked(self, run: str, n: int) -> None:
        """Note that a step asks a service for something: if it fails by that, the service may heal."""
        in_vain = self._in_vain.pop((run, n), 0)
        if in_vain:
            self._unanswered[run, n] = in_vain

    def answered(self, run: str, n: int) -> None:
        """Note that it was done what a step asked for: if it fails now, that has other reasons."""
        if self._unanswered and (run, n) in self._unanswered:
            self._in_vain[run, n] += self._unanswered.pop((run, n))

    def struck(self, fault: Fault) -> None:
        """Note that something goes wrong, for as long as it takes."""
        takes = HOUR * fault.amount if KINDS[fault.kind].is_counted else max(fault.amount, HOUR)
        self._healed = max(self._healed, self._simulation.loop.now + takes)

    def wrote(self, run: str, n: int, record: Record) -> None:
        self._entries += 1
        if isinstance(record.entry, AttemptFailed):
            self._in_vain[run, n] += 1
        elif isinstance(record.entry, RunStarted | SignalReceived):
            self.changed()

    def changed(self) -> None:
        """Note that something outside has changed."""
        self._changed = self._entries

    # -- what comes of it -----------------------------------------------------------------------------------------------

    def is_over(self) -> bool:
        """Return whether the schedule is to end here. Asked whenever time is about to move, and now and then."""
        if self.stopped is None and not self.is_at_rest:
            self._look()
        return self.stopped is not None or self.is_at_rest

    def _look(self) -> None:
        simulation = self._simulation
        points = simulation.points
        self._turns = self._turns + 1 if points == self._points else 0
        self._points = points
        if self._entries > ENTRIES_MAX:
            self.stopped = Stopped("records", f"it wrote more than {ENTRIES_MAX:,} records")
        elif simulation.lives > LIVES_MAX:
            self.stopped = Stopped("lives", f"the process was started more than {LIVES_MAX} times")
        elif self._fails_in_vain():
            self.stopped = Stopped("failures", f"a step failed more than {IN_VAIN_MAX:,} times, and nothing else went on")
        elif self._goes_round():
            told = f"it goes round in circles: {self._entries - self._changed:,} records, and nothing outside has changed"
            self.stopped = Stopped("circles", told)
        elif self._turns > TURNS_MAX and simulation.is_up and simulation.loop.now > self._healed and not simulation.outside.due:
            self.is_at_rest = not any(map(_moves, simulation.unfinished))

    def _goes_round(self) -> bool:
        if self._circle is None or self._entries - self._changed <= self._circle:
            return False
        simulation = self._simulation
        moving = sum(map(_moves, simulation.unfinished))
        return simulation.loop.now > self._healed and moving <= 1 and not simulation.loop.has_outside_timers

    def _fails_in_vain(self) -> bool:
        if self._entries <= IN_VAIN_MAX or max(self._in_vain.values(), default=0) <= IN_VAIN_MAX:
            return False
        if self._is_alone():
            return True
        self._in_vain.clear()  # what else goes on may help it, and then it takes another thousand to see that it did not
        return False

    def _is_alone(self) -> bool:
        """Whether nothing goes on but steps that fail in vain."""
        simulation = self._simulation
        if not simulation.is_up or simulation.loop.has_outside_timers:
            return False
        return not any(
            isinstance(pending, PendingTimer)
            or (isinstance(pending, PendingStep) and self._in_vain[state.id, n] <= IN_VAIN_MAX // CIRCLE_BASES)
            or state.deadline is not None
            for state in simulation.unfinished
            for n, pending in state.open.items()
        )


def _moves(state: RunState) -> bool:
    """Whether a run goes on by itself, sooner or later."""
    return state.deadline is not None or any(isinstance(each, PendingStep | PendingTimer) for each in state.open.values())
