"""Keeps a worker running on the newest code that loads.

One loop takes one thing after the other: the worker's death, a changed file, the wish to stop. What new code needs before it
takes over (it is loaded, and histories are replayed on it) is given up as soon as something else happens; the taking over
itself is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from watchfiles import PythonFilter, awatch

from wfkit.control.messages import Strike
from wfkit.control.waiting import unless
from wfkit.dev.channel import (
    GiveHistories,
    Happened,
    Histories,
    Inject,
    KillMe,
    Load,
    Loaded,
    Note,
    Open,
    Problem,
    Refused,
    Replay,
    Replayed,
    Serving,
    Stop,
    error_of,
)
from wfkit.dev.chaos import Profile, Session
from wfkit.dev.child import Child, ChildEnded
from wfkit.errors import AppError

Kind: TypeAlias = Literal["stdout", "stderr", "started", "reloaded", "refused", "blocked", "goes on", "died", "chaos", "note"]

DEBOUNCE_MS = 50
"""An editor that saves writes, renames and sets times: that is one change."""
ANSWER_SECONDS = 2.0
"""A worker that has not begun to give histories by then is stuck in the user's code."""
READ_SECONDS = 30.0
"""How long reading 200 histories may take; sorting those of 100,000 runs takes some seconds before the first of them."""
REPLAY_SECONDS = 10.0
"""How long replaying one message of histories may take: 200 runs of 1,000 entries take 2 s."""
LET_GO_SECONDS = 6.0
"""How long a worker may take to end: 2 s each for requests and for steps in flight, and for the journal."""
SLOW_SECONDS = 3.0
"""Loading that takes longer is told of, since it may never end."""
PAUSE_SECONDS_MAX = 5.0
"""Between the deaths of two workers that died soon after their start; it doubles from 0.1 s."""
_WELL_SECONDS = 10.0
"""A worker that lived this long did not die of its start."""
_STRIKE_LOOK_SECONDS = 0.05
"""How often it is looked whether there is a worker again to be struck."""
_TOLD_MAX = 3
"""So many runs are told with the whole difference; the others are counted."""


class News(NamedTuple):
    """Something to tell whoever watches; `stdout` and `stderr` are lines that user code printed."""

    kind: Kind
    text: str


class Unfit(Exception):
    """New code cannot take over."""


class _Spare(NamedTuple):
    """The next worker and its checker, which have imported all but the app."""

    worker: Child
    checker: Child


class Supervisor:
    """Runs an app until it is told to stop.

    Args:
        app: as for `wfkit serve`.
        folder: where code is that it may import. A change of any Python file in it reloads.
        store: the journal.
        tell: is told what happens.
        profile: the faults that strike the worker by themselves; others strike when somebody asks the engine for it.
        jumps: the clock may go forward, since the journal does not outlive `run`.
    """

    def __init__(
        self,
        app: str,
        folder: Path,
        store: Path,
        tell: Callable[[News], None],
        profile: Profile | None = None,
        *,
        jumps: bool = False,
    ) -> None:
        self._app = app
        self._folder = folder
        self._store = str(store)
        self._tell = tell
        self._worker: Child | None = None
        self._spare: _Spare | None = None
        self._woken = asyncio.Event()
        """Something is to be done: one of the two below, or the worker has ended."""
        self._stopping = False
        self._hurrying = asyncio.Event()
        self._wanted_since: float | None = None
        """Since when a worker is wanted that runs the code as it is now."""
        self._served = False
        self._since = 0.0
        self._pause_seconds = 0.0
        self._problems: dict[str, str] = {}
        """What was told of runs that do not go on."""
        self._numbers = itertools.count(1)
        self._chaos = Session(profile, jumps, lambda text: self._tell(News("chaos", text)))

    def stop(self) -> None:
        """Let `run` return. What steps are in flight may end within 2 s; asked a second time, nothing is waited for."""
        if self._stopping:
            self._hurrying.set()
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Keep a worker running until `stop`.

        Raises:
            JournalLocked, JournalUnusable, JournalCorrupt, ...: the journal cannot be opened at all.
        """
        beside = [asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._strike_as_planned())]
        try:
            self._want_worker()
            while not self._stopping:
                await self._woken.wait()
                self._woken.clear()
                await self._next()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._let_go()
            if self._spare is not None:
                await _close(self._spare)

    async def _next(self) -> None:
        if self._worker is not None and self._worker.ended.done():
            worker, self._worker = self._worker, None
            await worker.close()
            if not self._chaos.killed:
                await self._pause(worker.ended.result())
            self._want_worker()
        elif self._wanted_since is not None and not self._stopping:
            since, self._wanted_since = self._wanted_since, None
            await self._replace_worker(since)

    def _want_worker(self) -> None:
        self._wanted_since = time.monotonic()
        self._woken.set()

    async def _watch(self) -> None:
        changes = awatch(self._folder, watch_filter=PythonFilter(), debounce=DEBOUNCE_MS, step=DEBOUNCE_MS)
        try:
            async for changed in changes:
                for _, path in changed:
                    _forget_compiled(path)
                self._want_worker()
        except (OSError, RuntimeError) as error:  # as of a system that watches no more files
            self._tell(News("refused", f"files in {self._folder} cannot be watched, so nothing is reloaded: {error}"))

    # -- one worker after the other ------------------------------------------------------------------------------------

    async def _pause(self, how: str) -> None:
        """Tell of a worker's death, and wait a little, or until there is something else to do."""
        lived = time.monotonic() - self._since
        self._pause_seconds = 0.1 if lived > _WELL_SECONDS else min(max(2 * self._pause_seconds, 0.1), PAUSE_SECONDS_MAX)
        self._tell(News("died", f"the worker {how}; starting another one in {self._pause_seconds:g} s"))
        await unless(self._woken, asyncio.sleep(self._pause_seconds))

    async def _replace_worker(self, since: float) -> None:
        """Let a worker take over that runs the code as it is now, unless it cannot, or something else happens first.

        Whatever else happens, a worker will be wanted again after it.
        """
        kind: Kind = "started" if self._worker is None else "reloaded"
        spare = self._spare = self._spare or await self._start_spare()
        try:
            prepared = await unless(self._woken, self._prepare(spare))
        except Unfit as unfit:
            running = "the code before keeps running" if self._worker is not None else "nothing runs until that is fixed"
            self._tell(News("refused", f"{unfit}\n  {running}"))
            prepared = None
        finally:
            self._spare = None
            await spare.checker.close()
        if prepared is None:
            await spare.worker.close()
            self._spare = await self._start_spare()
            return
        loaded, problems = prepared
        try:
            await self._open(spare.worker, kind, loaded, problems, since)
        finally:
            if self._worker is not spare.worker:
                await spare.worker.close()
        self._spare = await self._start_spare()

    async def _prepare(self, spare: _Spare) -> tuple[Loaded, list[Problem]]:
        """Load the app, and find the runs that do not go on with it.

        Raises:
            Unfit: it cannot be loaded, or replaying ends its process or does not end.
        """
        slow = asyncio.get_running_loop().call_later(
            SLOW_SECONDS, self._tell, News("note", f"{self._app} takes long to import: more than {SLOW_SECONDS:g} s")
        )
        try:
            loaded, _ = await asyncio.gather(_load(spare.worker), _load(spare.checker))
        finally:
            slow.cancel()
        problems: list[Problem] = []
        async with contextlib.aclosing(self._histories(spare.worker)) as histories:
            async for given in histories:
                problems += await _replay(spare.checker, given)
        return loaded, problems

    async def _histories(self, spare: Child) -> AsyncGenerator[Histories, None]:
        """Yield the histories of the runs in flight: from the worker, or, if there is none or it is stuck, from the file."""
        if self._worker is not None:
            try:
                async for given in self._given_by(self._worker):
                    yield given
            except (TimeoutError, ChildEnded):
                if not self._chaos.killed:
                    self._tell(News("note", "the worker does not answer; it is ended"))
                stuck, self._worker = self._worker, None
                await stuck.close()
            else:
                return
        try:
            async for given in self._given_by(spare):
                yield given
        except (TimeoutError, ChildEnded):
            raise Unfit("the journal cannot be read in time") from None

    async def _given_by(self, source: Child) -> AsyncGenerator[Histories, None]:
        order = GiveHistories(self._store, next(self._numbers))
        await source.order(order)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                given = await source.histories(order)
            while given.more:
                yield given
                async with asyncio.timeout(READ_SECONDS):
                    given = await source.histories(order)
            yield given
        finally:
            source.forget_histories()

    async def _open(self, worker: Child, kind: Kind, loaded: Loaded, problems: Sequence[Problem], since: float) -> None:
        """Let the worker before go, and another one open the journal."""
        await self._let_go()
        self._worker, self._since = worker, time.monotonic()
        worker.ended.add_done_callback(lambda _: self._woken.set() if self._worker is worker else None)
        diverged = tuple(problem.run for problem in problems)
        killed = self._chaos.take_kill()
        try:
            # What is due is taken up at once, and that is the user's code: it may end the process, or never end itself.
            answer = await unless(
                self._woken, worker.ask(Open(self._store, diverged, self._chaos.facts(), killed=killed is not None))
            )
        except ChildEnded:
            return
        if isinstance(answer, Refused):
            self._worker = None
            self._chaos.give_back(killed)
            self._refused(answer)
        elif isinstance(answer, Serving):
            self._served = True
            if answer.notice is not None:
                self._tell(News("note", answer.notice))
            took = f"{(time.monotonic() - since) * 1e3:.0f} ms"
            names = ", ".join(loaded.workflows)
            runs = f"{self._app} runs ({names}) on {answer.socket}, after {took}"
            fate = _fate(answer.unfinished - len(problems), len(problems))
            self._tell(News(kind, runs if kind == "started" else f"{self._app} reloaded in {took}{fate}"))
            if killed is not None:
                self._chaos.note_recovery(killed, answer.unfinished, answer.again)
                worker.tell(Note(self._chaos.facts()))
            self._tell_problems(problems)

    def _refused(self, answer: Refused) -> None:
        """Tell that the journal cannot be opened, and try again; at the very start, leave that to the user."""
        error = error_of(answer)
        if not self._served:
            raise error
        self._tell(News("refused", f"{error.render()}\n  it is tried again in {PAUSE_SECONDS_MAX:g} s"))
        asyncio.get_running_loop().call_later(PAUSE_SECONDS_MAX, self._want_worker)

    def _tell_problems(self, problems: Sequence[Problem]) -> None:
        """Tell which runs do not go on, with the difference where that is new, and which do again."""
        found = {problem.run: problem.told for problem in problems}
        mended = [run for run in self._problems if run not in found]
        known = [run for run, told in found.items() if self._problems.get(run) == told]
        new = [problem for problem in problems if problem.run not in known]
        self._problems = found
        same: dict[tuple[str, str], list[str]] = defaultdict(list)  # of a workflow that is gone, each run tells the same
        for problem in new:
            same[problem.workflow, problem.told].append(problem.run)
        shown = list(same.items())[:_TOLD_MAX]
        for (workflow, told), runs in shown:
            which = f"run {runs[0]} of {workflow} is" if len(runs) == 1 else f"{len(runs):,} runs of {workflow} are"
            self._tell(News("blocked", f"{which} blocked\n{told}"))
        left = len(new) - sum(len(runs) for _, runs in shown)
        if left:
            more = f"{left:,} more runs are blocked\n  help  list them: wfkit runs status:blocked"
            self._tell(News("blocked", more))
        if known:
            self._tell(News("blocked", f"still blocked for the same reason: {_listed(known)}"))
        if mended:
            self._tell(News("goes on", f"no longer blocked: {_listed(mended)}"))

    async def _let_go(self) -> None:
        """End the worker in good order, or, if that takes too long, at once."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with contextlib.suppress(ChildEnded):
            await worker.order(Stop())
        hurrying = asyncio.ensure_future(self._hurrying.wait())
        await asyncio.wait([worker.ended, hurrying], timeout=LET_GO_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not worker.ended.done():
            self._tell(News("note", "the worker did not end in time; it is killed"))
        await worker.close()

    async def _start_spare(self) -> _Spare:
        return _Spare(
            await Child.start(
                "wfkit.dev.worker", self._app, lambda name, line: self._tell(News(_stream(name), line)), self._heard
            ),
            await Child.start("wfkit.dev.checker", self._app, lambda _name, _line: None),
        )

    # -- chaos ---------------------------------------------------------------------------------------------------------

    async def _strike_as_planned(self) -> None:
        if self._chaos.profile is None:
            return
        for wait, strike in self._chaos.profile.planned():
            await asyncio.sleep(wait)
            while self._target() is None:  # noqa: ASYNC110  # one fault at most waits for the next worker
                await asyncio.sleep(_STRIKE_LOOK_SECONDS)
            self._strike(strike)

    def _target(self) -> Child | None:
        """Return the worker, if it serves and may be struck."""
        worker = self._worker
        return worker if worker is not None and worker.serves and not (worker.ended.done() or self._chaos.killed) else None

    def _strike(self, strike: Strike) -> None:
        worker = self._target()
        if worker is None:
            return
        if strike.fault == "kill":
            worker.kill()
            self._chaos.note_kill(worker.pid)
        else:
            worker.tell(Inject(strike))

    def _heard(self, report: Happened | KillMe) -> None:
        match report:
            case KillMe():
                self._strike(Strike(fault="kill"))
            case Happened(fault=None):
                self._chaos.note_in_vain(report.text)
            case Happened():
                self._chaos.ahead = self._chaos.ahead if report.ahead is None else report.ahead
                self._chaos.note(report.fault, report.text)
                if self._worker is not None:
                    self._worker.tell(Note(self._chaos.facts()))


def _forget_compiled(source: str) -> None:
    """Delete what was compiled of a file: it passes for current if it was of the same size, and saved in the same second."""
    with contextlib.suppress(OSError):
        Path(cache_from_source(source)).unlink()


def _stream(name: str) -> Kind:
    return "stdout" if name == "stdout" else "stderr"


def _listed(runs: Sequence[str]) -> str:
    return ", ".join(runs[:10]) + (f" and {len(runs) - 10:,} more" if len(runs) > 10 else "")


def _fate(go_on: int, blocked: int) -> str:
    """Return what becomes of the runs in flight, to be put behind a sentence."""
    told = [f"{go_on:,} {'run goes' if go_on == 1 else 'runs go'} on with it"] if go_on else []
    told += [f"{blocked:,} {'is' if blocked == 1 else 'are'} blocked"] if blocked else []
    return f": {', '.join(told)}" if told else ""


async def _close(spare: _Spare) -> None:
    await spare.checker.close()
    await spare.worker.close()


async def _load(child: Child) -> Loaded:
    try:
        answer = await child.ask(Load())
    except ChildEnded:
        raise Unfit(f"importing the app ended its process: it {await child.ended}") from None
    if isinstance(answer, Refused):
        error = error_of(answer)
        if isinstance(error, AppError):
            error.help = ""  # what it needs is plain, and no command is to be given again
        raise Unfit(error.render())
    assert isinstance(answer, Loaded)
    return answer


async def _replay(checker: Child, given: Histories) -> tuple[Problem, ...]:
    names = f"one of {_listed([history.id for history in given.histories])}"
    try:
        async with asyncio.timeout(REPLAY_SECONDS):
            answer = await checker.ask(Replay(given.histories))
    except TimeoutError:
        raise Unfit(f"replaying {names} takes over {REPLAY_SECONDS:g} s: is there a loop that does not end?") from None
    except ChildEnded:
        raise Unfit(f"replaying {names} ended the process: it {await checker.ended}") from None
    assert isinstance(answer, Replayed)
    return answer.problems
