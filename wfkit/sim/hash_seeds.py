"""Replays histories in processes with other hash seeds, where sets of text have another order and modules are fresh.

The schedule without faults is executed there as well, to see whether its steps do the same. There is one process for each
seed. They are shared by all campaigns of this process, and end with it: their standard input ends then.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from wfkit.core.entries import BUS, RunStarted
from wfkit.core.records import encode_record
from wfkit.sim.carried import NotCarried, carry
from wfkit.sim.code import names_any, registry_of
from wfkit.sim.deeds import Deed
from wfkit.sim.faults import Plan
from wfkit.sim.findings import SEVERITIES, Violation
from wfkit.sim.recording import Recording
from wfkit.sim.replaying_process import Answer, End, Execute, Load, Replay, Request, ask
from wfkit.sim.replays import violations_of
from wfkit.sim.sources import Source, source_of
from wfkit.sim.subject import Subject

_NAMED = ("REGION", "AWS_REGION", "HOSTNAME")
ELSEWHERE: dict[int, dict[str, str]] = {
    0: {},
    1: {"TZ": "Pacific/Pago_Pago", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", **dict.fromkeys(_NAMED, "elsewhere")},
    2: {},
}
"""What is set in the environment of the process of each seed: one stands for another machine, the others for another process
of this one."""

LIMIT_SECONDS = 20.0
"""How long loading the code may take in such a process, and the replays of each history."""
_START = "import sys; sys.path[:] = sys.argv[1:]; from wfkit.sim.replaying_process import main; main()"
_GONE = Answer(not_run="its process is gone")
_LATE = Answer(not_run="there was no answer in time")
_GRACE_SECONDS = 2.0
"""How much later than a process itself whoever waits for its answer gives up."""
_campaigns = itertools.count(1)


class _Process:
    """A replaying process. Requests wait in a queue, so that nobody waits for it but who wants its answer."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._queue: SimpleQueue[tuple[Request, Future[Answer]] | None] = SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *_path()],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._thread = threading.Thread(target=self._serve, name=f"wfkit hash seed {seed}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def submit(self, request: Request) -> Future[Answer]:
        """Let a request be done after those before it. The future never has an exception."""
        answered: Future[Answer] = Future()
        if self.alive:
            self._queue.put((request, answered))
        else:
            answered.set_result(_GONE)
        return answered

    def _serve(self) -> None:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        while (job := self._queue.get()) is not None:
            request, answered = job
            try:
                answered.set_result(ask(to, back, request))  # type: ignore[arg-type]  # both are binary
            except (EOFError, OSError, ValueError):
                answered.set_result(_GONE)

    def end(self, *, at_once: bool = False) -> None:
        """End the process: by itself if it is idle, otherwise by force.

        Args:
            at_once: by force. A process that does not answer may not read either, and what is being written to it would hold
                up that its input is closed.
        """
        self._queue.put(None)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if at_once:
            self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(1)
        self._process.stdout.close()


_processes: dict[int, _Process] = {}
_owner = 0
"""The process that started them: one that is forked from it must start its own."""


def _running() -> list[_Process]:
    """Return a process for each seed, started where there is none."""
    global _owner  # noqa: PLW0603  # the processes are shared by all campaigns
    if _owner != os.getpid():
        _processes.clear()
        _owner = os.getpid()
        atexit.register(_end_all)
    for seed in ELSEWHERE:
        if seed not in _processes or not _processes[seed].alive:
            _processes[seed] = _Process(seed)
    return [_processes[seed] for seed in ELSEWHERE]


def _end_all() -> None:
    if _owner == os.getpid():
        for process in _processes.values():
            process.end()
        _processes.clear()


def _path() -> tuple[str, ...]:
    return tuple(str(Path(entry).absolute()) for entry in sys.path)


class _Fed(NamedTuple):
    """A schedule whose histories are replayed."""

    faults: Plan
    recording: Recording[Any]


class Shown(NamedTuple):
    """A violation that another process has shown, and the schedule whose history it replayed."""

    violation: Violation
    faults: Plan
    recording: Recording[Any]

    @property
    def weight(self) -> tuple[int, int]:
        """What is told of a workflow is what weighs least: the graver violation, and then the simpler schedule."""
        return SEVERITIES.index(self.violation.severity), len(self.faults)


class HashSeeds:
    """The replays of one campaign under other hash seeds.

    Args:
        limit_seconds: how long loading the code may take, the replays of each history, and the answer that is awaited last.
    """

    def __init__(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        self.seeds: tuple[int, ...] = ()
        """The hash seeds under which something was replayed; known after `collect`."""
        self.not_run: list[str] = []
        """What could not be replayed, and why; complete after `collect`."""
        self._campaign = next(_campaigns)
        self._limit_seconds = limit_seconds
        self._processes: list[_Process] = []
        self.executed: dict[int, Sequence[Deed]] = {}
        """What was done outside, by hash seed, where the schedule without faults was executed; known after `collect`."""
        self._asked: dict[_Process, list[tuple[_Fed | None, Future[Answer]]]] = {}
        """What was asked of each process, in order; where it is a replay, with the schedule whose history it is."""
        self._subject: Subject
        self._workflows: set[str] = set()
        self._known: set[bytes] = set()
        self._end: Callable[[], object] = lambda: None

    def start(self, subject: Subject) -> None:
        """Let the processes load the code of a subject. Returns at once."""
        self._subject = subject
        sources = {}
        for name, workflow in registry_of(subject, None).workflows.items():
            source = source_of(workflow)
            if source is not None and not source.code:
                sources[name] = source
            else:
                self.not_run.append(f"hash seeds: {name} is local to a function, so other processes cannot load it")
        if sources:
            self._workflows = set(sources)
            start = round(subject.start.timestamp() * 1e6)
            self._processes = _running()
            for process in self._processes:
                environment = {**os.environ, **ELSEWHERE[process.seed]}  # as it is now: processes outlive what tests change
                self._ask([process], Load(self._campaign, _path(), environment, sources, start, self._limit_seconds))
            self._end = weakref.finalize(self, _end_campaign, self._campaign, self._processes)

    def execute(self, seed: int) -> None:
        """Let processes like this one execute the schedule without faults, by this seed of chance. Returns at once."""
        alike = [process for process in self._processes if not ELSEWHERE[process.seed]]
        if not alike:
            return
        try:
            subject = carry(self._subject)
        except NotCarried as error:
            self.not_run.append(f"keys and payloads in other processes: they cannot load {error}")
        else:
            self._ask(alike, Execute(self._campaign, subject, seed))

    def feed(self, recording: Recording[Any], faults: Plan = (), only: Container[int] | None = None) -> None:
        """Let them replay the histories of a recording that they do not know yet. Returns at once.

        Args:
            recording: what came of a schedule.
            faults: those of the schedule.
            only: the runs, by number, whose histories are replayed; all unless given.
        """
        for number, history in sorted(recording.histories.items()):
            first = history[0].entry
            if number == BUS or not isinstance(first, RunStarted) or first.workflow not in self._workflows:
                continue
            if only is not None and number not in only:
                continue
            world = self._world_of(first.workflow, recording.world)
            if isinstance(world, str):
                self.not_run += [world] if world not in self.not_run else []
                continue
            records = tuple(map(encode_record, history))
            digest = blake2b(b"\n".join(records), digest_size=16).digest()
            if digest not in self._known:
                self._known.add(digest)
                io = self._subject.io == "allow"
                request = Replay(self._campaign, first.workflow, records, world, io)
                self._ask(self._processes, request, _Fed(faults, recording))

    def _world_of(self, workflow: str, world: Any) -> Source | str | None:
        """Return what makes the world that a workflow's code depends on, if it does; or why that cannot be made elsewhere."""
        replaced = frozenset(target.partition(":")[2].partition(".")[0] for target in getattr(world, "replaces", None) or {})
        if not names_any(registry_of(self._subject, None).workflow(workflow), replaced):
            return None
        source = source_of(self._subject.world)
        made_by = getattr(self._subject.world, "__qualname__", repr(self._subject.world))
        return source or f"hash seeds: {workflow} names what its world replaces, and other processes cannot load {made_by}"

    def _ask(self, processes: Iterable[_Process], request: Request, fed: _Fed | None = None) -> None:
        for process in processes:
            self._asked.setdefault(process, []).append((fed, process.submit(request)))

    def collect(self) -> list[Shown]:
        """Return what they found. A process that does not answer in time is ended, and named in `not_run`."""
        until = time.monotonic() + self._limit_seconds + _GRACE_SECONDS
        found: dict[str, Shown] = {}
        not_run: dict[str, list[int]] = {}
        for process, asked in self._asked.items():
            wait([answered for _, answered in asked], max(until - time.monotonic(), 0))
            told = [(fed, answered.result() if answered.done() else _LATE) for fed, answered in asked]
            answers = [answer for _, answer in told]
            if _LATE in answers:
                process.end(at_once=True)
            executed = next((answer.deeds for answer in answers if answer.deeds is not None), None)
            if executed is not None:
                self.executed[process.seed] = executed
            for why in dict.fromkeys(answer.not_run for answer in answers if answer.not_run):
                not_run.setdefault(why, []).append(process.seed)
            if any(answer.replayed for answer in answers):
                self.seeds += (process.seed,)
            for shown in _shown(told, f"PYTHONHASHSEED={process.seed}, in a fresh process"):
                known = found.get(shown.violation.workflow)
                if known is None or shown.weight < known.weight:
                    found[shown.violation.workflow] = shown
        for why, seeds in not_run.items():
            self.not_run.append(f"hash seed {', '.join(map(str, seeds))}: {why}")
        self._asked.clear()
        self._end()
        return list(found.values())


def _shown(told: Iterable[tuple[_Fed | None, Answer]], elsewhere: str) -> Iterator[Shown]:
    """Yield what the answers of one process come to, schedule by schedule."""
    for fed, of_one in itertools.groupby(told, lambda pair: pair[0]):
        if fed is not None:
            found = [each for _, answer in of_one for each in answer.found]
            yield from (Shown(violation, *fed) for violation in violations_of(found, elsewhere))


def _end_campaign(campaign: int, processes: list[_Process]) -> None:
    for process in processes:
        process.submit(End(campaign))
