"""Keeps the journal's projection up to date, lazily, and lets go of runs that memory need not hold."""

from __future__ import annotations

import asyncio
import logging

from wfkit.core.state import PendingStep
from wfkit.engine.runs import LiveRun, Runs
from wfkit.errors import WfkitError
from wfkit.journal.port import Journal

IDLE_SECONDS = 1.0
"""The projection is written when nothing has changed for this long: it costs a commit, and only shortens recovery."""
BUSY_SECONDS = 10.0
"""While something changes all the time it is written this often: whoever lists runs folds what is not."""
CHANGED_MAX = 5_000
"""So many changed runs are written even if the engine is busy: recovery folds what is not."""
WARM_MAX = 20_000
"""Unfinished runs whose state stays in memory, about 1 kB each. Others are read from the journal when they are due."""

log = logging.getLogger("wfkit.engine")


class Projector:
    """Writes changed runs into the projection.

    Args:
        journal: where the projection is.
        runs: the runs in memory.
        warm_max: how many unfinished runs keep their state in memory.
    """

    def __init__(self, journal: Journal, runs: Runs, warm_max: int = WARM_MAX) -> None:
        self._journal = journal
        self._runs = runs
        self._warm_max = warm_max
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._written = 0.0

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._written = loop.time()
        self._task = loop.create_task(self._work())

    async def _work(self) -> None:
        before = -1
        while True:
            await asyncio.sleep(IDLE_SECONDS)
            appended = self._runs.appended
            late = len(self._runs.changed) > CHANGED_MAX or asyncio.get_running_loop().time() - self._written >= BUSY_SECONDS
            if self._runs.changed and (appended == before or late):
                await self.write()
            before = appended

    async def write(self) -> None:
        """Bring the projection up to date, and let go of what it holds. Put off while a run is ahead of the journal.

        That the journal cannot write it is no error, since nothing is lost: the next call makes up for it.
        """
        numbers = list(self._runs.changed)
        bus = self._runs.bus
        rows = [bus.row()] if 0 in numbers else []
        runs = [run for number in numbers if (run := self._runs.get(number)) is not None]
        if any(run.unit is not None for run in (bus, *runs)):
            return
        self._runs.changed.clear()
        try:
            await self._journal.project([*rows, *(run.row() for run in runs)])
        except BaseException as error:
            self._runs.changed.update(dict.fromkeys(numbers))
            if not isinstance(error, WfkitError):
                raise
            if not self._failing:
                log.warning("[%s] the index of the runs is brought up to date later: %s", error.code, error)
            self._failing = True
            return
        self._failing = False
        self._written = asyncio.get_running_loop().time()
        for run in runs:
            if run.state.finished and self._is_spare(run):
                self._runs.drop(run)
        if len(self._runs) > self._warm_max:
            self._let_go()

    def _let_go(self) -> None:
        excess = len(self._runs) - self._warm_max
        for run in self._runs:
            if excess <= 0:
                break
            if self._is_spare(run) and not any(isinstance(pending, PendingStep) for pending in run.state.open.values()):
                self._runs.drop(run)
                excess -= 1

    def _is_spare(self, run: LiveRun) -> bool:
        return run.idle and run.number not in self._runs.changed

    async def close(self, *, write: bool) -> None:
        """Stop, and write what has changed for the last time. What was not taken up in full is left as it was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if write:
                await self.write()
