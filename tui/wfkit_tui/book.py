"""The runs that the Runs screen lists: what a request returned, kept up to date by the live feed.

It asks nobody. A change that it cannot know of by itself makes it `stale`: then the runs are to be listed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from wfkit.control.messages import FeedEvent, Sort
from wfkit.core.entries import BUS, Record
from wfkit.core.state import RunState
from wfkit.journal.filters import RunFilter

Key: TypeAlias = tuple[bool, Any, int]
DESCENDING: tuple[Sort, ...] = ("started", "updated")
"""What is sorted with the latest first."""


class RunBook:
    """Runs that a filter accepts, in order.

    Args:
        wanted: which ones.
        sort: by what.
    """

    def __init__(self, wanted: RunFilter, sort: Sort) -> None:
        self._wanted = wanted
        self._sort = sort
        self._known: dict[int, RunState] = {}
        self._early: list[FeedEvent] | None = None
        self.rows: list[RunState] = []
        self.changed: set[int] = set()
        """Numbers of the listed runs that have changed since somebody emptied this."""
        self.moved = False
        """The rows are others, or in another order, since somebody set this to False."""
        self.stale = False

    def expect(self) -> None:
        """Keep events for later, since a list is on its way which may be older than they are."""
        self._early = []

    def load(self, runs: Sequence[RunState]) -> None:
        """Take over a list that was asked for after `expect`."""
        self._known = {run.run: run for run in runs}
        self.stale = False
        early, self._early = self._early or [], None
        for event in early:
            self._apply(event)
        self._arrange()

    def apply(self, events: Sequence[FeedEvent]) -> None:
        """Take over what became durable."""
        if self._early is not None:
            self._early += events
            return
        shown = {run.run for run in self.rows}
        told = {event.run for event in events if self._apply(event)}
        if not told:
            return
        listed = {run for run in told if self._lists(run)}
        self.changed |= listed & shown
        if listed - shown or (told - listed) & shown or self._sort != "started":
            self._arrange()

    def state_of(self, run: int) -> RunState | None:
        """Return a run by its number, if it is known."""
        return self._known.get(run)

    def _lists(self, run: int) -> bool:
        return run in self._known and self._wanted.accepts(self._known[run])

    def _apply(self, event: FeedEvent) -> bool:
        """Fold an event into its run; False if there is nothing to show for it."""
        if event.run == BUS:
            return False
        state = self._known.get(event.run)
        if state is None and event.seq == 1 and not self._wanted.holds:
            state = self._known[event.run] = RunState(event.run)
        if state is None:
            # A run that was not listed: it may be one that nobody has asked for, or it may fit only now.
            self.stale |= self._sort != "started" or self._wanted != RunFilter()
            return False
        if event.seq <= state.seq:
            return False
        if event.seq > state.seq + 1:
            self.stale = True
            return False
        state.apply(Record(event.entry, event.commands))
        if state.finished and not self._wanted.accepts(state):
            del self._known[event.run]
        return True

    def _arrange(self) -> None:
        accepts = self._wanted.accepts
        rows = [run for run in self._known.values() if accepts(run)]
        rows.sort(key=lambda run: run.run, reverse=self._sort in DESCENDING)
        if self._sort in DESCENDING:
            rows.sort(key=lambda run: getattr(run, self._sort), reverse=True)
        else:
            rows.sort(key=self._key)
        self.moved |= [run.run for run in rows] != [run.run for run in self.rows]
        self.rows = rows

    def _key(self, run: RunState) -> tuple[bool, Any]:
        value = getattr(run, self._sort)
        return value is None, value
