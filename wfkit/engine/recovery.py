"""Takes up the runs of a journal where the last process left them.

The projection gives the state of every unfinished run as of some moment; the rows after it are folded on top. Then every
open timer is armed, and every step that was in flight is run again with its recorded arguments, options and key. No run
is replayed for this: most only sleep.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from wfkit.core.commands import Failure
from wfkit.core.entries import AttemptFailed, StepFailed
from wfkit.core.retry import DEATHS_MAX, backoff
from wfkit.core.state import PendingStep, PendingTimer, RunState, decode_state
from wfkit.engine.runs import LiveRun, Runs
from wfkit.journal.port import Journal, Row
from wfkit.journal.values import RunValues, is_large

KILLED = "WorkerKilled"
"""Type of the failure of an attempt under which the process was killed from outside."""

log = logging.getLogger("wfkit.engine")


async def load_runs(journal: Journal, runs: Runs) -> None:
    """Bring every unfinished run of a journal into memory, and what is newer than the projection."""
    for row in await journal.unfinished():
        run = LiveRun(row.run, decode_state(row.state))
        if row.run == runs.bus.number:
            runs.bus = run
        else:
            runs.add(run)
    for number in _fold(await journal.since_projection(), runs):
        run = LiveRun(number, RunState(number))
        for record in run.read(await journal.history(number)):
            run.state.apply(record)
        runs.replace(run)
    for run in runs:
        run.over = run.state.finished  # what was read is durable


def _fold(tail: Iterable[Row], runs: Runs) -> list[int]:
    """Fold rows on top of the projection. Returns the runs whose large values lie before it, to be read in full."""
    values: dict[int, RunValues] = {}
    unreadable: dict[int, None] = {}
    for row in tail:
        runs.changed[row.run] = None
        if row.run in unreadable:
            continue
        run = runs.bus if row.run == runs.bus.number else runs.get(row.run)
        if run is None:
            run = LiveRun(row.run, RunState(row.run))
        try:
            run.state.apply(values.setdefault(row.run, RunValues()).decode(row.body))
            if is_large(row.body):
                run.values = values[row.run]
        except KeyError:
            unreadable[row.run] = None
        if row.run != runs.bus.number:
            runs.add(run)
    for read in values.values():
        read.end_reading()
    return list(unreadable)


def deaths(run: LiveRun, now: int, *, killed: bool = False) -> list[AttemptFailed | StepFailed]:
    """Return what to record of a run's steps over which the process died.

    A step that the process died under too often is held to be the cause, unless it is to be retried for ever. Deaths are
    counted from the one that makes an attempt write down that it starts: one that was only waiting for its turn is never
    blamed.

    Args:
        run: one that has not ended.
        now: the present, microseconds UTC.
        killed: something outside of the process ended it, which is no step's fault: none is counted against any.
    """
    found: list[AttemptFailed | StepFailed] = []
    t = max(run.state.updated, now)
    for n, pending in run.state.open.items():
        if not isinstance(pending, PendingStep) or pending.due is not None:
            continue
        name = pending.command.name
        if pending.cancelled:
            error = Failure("StepCancelled", f"the process died while {name}() was being cancelled")
            found.append(StepFailed(t=t, n=n, error=error, attempt=pending.attempt))
        elif pending.deaths == 0 or pending.started:
            died = pending.deaths + 1
            retry = pending.command.retry
            if killed:
                error = Failure(KILLED, f"the process was killed while {name}() ran")
                found.append(AttemptFailed(t=t, n=n, attempt=pending.attempt, error=error, due=t, died=True))
            elif died >= DEATHS_MAX and retry.max_attempts is not None:
                error = Failure("WorkerDied", f"the process died {died} times while {name}() ran")
                found.append(StepFailed(t=t, n=n, error=error, attempt=pending.attempt))
            else:
                # One that is retried without end is never given up, but it waits longer each time.
                wait = backoff(retry, died - DEATHS_MAX + 1, pending.command.key) if died >= DEATHS_MAX else 0
                error = Failure("WorkerDied", f"the process died while {name}() ran")
                found.append(AttemptFailed(t=t, n=n, attempt=pending.attempt, error=error, due=t + wait, died=True))
    return found


def wake_ups(run: LiveRun, now: int) -> list[tuple[int, int]]:
    """Return (due, n) of everything that the clock brings to a run: timers, retries, and its deadline as number 0.

    The run's own time never goes back. What is due by it is due now, though the clock of this process be hours behind: a
    step that was in flight begins anew at once.

    Args:
        run: one that has not ended.
        now: the present, microseconds UTC.
    """
    state = run.state
    found = [
        (pending.due, n)
        for n, pending in state.open.items()
        if isinstance(pending, PendingTimer | PendingStep) and pending.due is not None
    ]
    if state.deadline is not None and not state.cancelling:
        found.append((state.deadline, 0))
    behind = max(state.updated - now, 0)
    return [(due - behind if due <= state.updated else due, n) for due, n in found]
