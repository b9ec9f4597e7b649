"""The process with another hash seed: it replays histories, and executes schedules, for the process that started it.

It reads requests from its standard input and answers each on its standard output, until the input ends. For every
campaign it forks: the user's code is loaded in a process of its own, whose modules are fresh, and which may print, exit,
hang or die without harm to anything but its own answer. Libraries that one campaign has loaded, the next finds loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, BinaryIO, NoReturn, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wfkit import guard
from wfkit.api.definitions import Workflow
from wfkit.core.loop import is_internal_file
from wfkit.core.machine import activations
from wfkit.core.records import decode_record
from wfkit.sim import ambient, real_io
from wfkit.sim.carried import Carried
from wfkit.sim.deeds import Deed, deeds
from wfkit.sim.disagreements import Disagreement, disagreements
from wfkit.sim.elsewhere import anywhere
from wfkit.sim.installed import is_library_file
from wfkit.sim.sources import EnoughLoaded, Source, found
from wfkit.sim.subject import replaced_globals

_is_replaying = False


def refuse_campaigns() -> None:
    """Called by every campaign as it begins.

    Raises:
        EnoughLoaded: this is a replaying process. A script that verifies as it is loaded would start others, without end.
    """
    if _is_replaying:
        raise EnoughLoaded


class Load(Struct, frozen=True, tag=True):
    """A campaign begins: load its code."""

    campaign: int
    path: tuple[str, ...]
    """What `sys.path` is."""
    environment: dict[str, str]
    sources: dict[str, Source]
    """Its workflows, by name."""
    start: int
    """When its schedules begin, microseconds UTC."""
    limit_seconds: float
    """How long this may take, and then the replays of each history."""


class Replay(Struct, frozen=True, tag=True):
    """Replay a history as a whole: its beginnings, and other moments, show no more than where they are replayed already."""

    campaign: int
    workflow: str
    records: tuple[bytes, ...]
    world: Source | None = None
    """What makes the world that stands in for globals which the workflow's code names."""
    io: bool = False
    """Whether it may reach for the real world."""


class Execute(Struct, frozen=True, tag=True):
    """Execute the schedule without faults."""

    campaign: int
    subject: Carried
    seed: int


class End(Struct, frozen=True, tag=True):
    """A campaign is over; its process ends."""

    campaign: int


Request: TypeAlias = Load | Replay | Execute | End


class Answer(Struct, frozen=True):
    replayed: bool = False
    found: tuple[Disagreement, ...] = ()
    deeds: tuple[Deed, ...] | None = None
    """What was done outside; None if no schedule was executed."""
    not_run: str = ""
    """Why it could not be done."""
    libraries: tuple[str, ...] = ()
    """The modules, not of the user, that were loaded for it."""


_request = msgspec.json.Decoder(Request)
_own_request = msgspec.json.Decoder(Load | Replay | Execute)
_answer = msgspec.json.Decoder(Answer)


def ask(pipe_to: BinaryIO, pipe_from: BinaryIO, request: Request) -> Answer:
    """Send a request to a replaying process, and await its answer.

    Raises:
        EOFError: the process is dead.
        OSError: the same.
    """
    _write(pipe_to, msgspec.json.encode(request))
    return _answer.decode(_read(pipe_from))


def _write(stream: BinaryIO, body: bytes) -> None:
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(4)
    body = stream.read(int.from_bytes(head, "big"))
    if len(head) < 4 or len(body) < int.from_bytes(head, "big"):
        raise EOFError
    return body


# -- the process that forks ---------------------------------------------------------------------------------------------------


class _Fork:
    """The process of one campaign, seen from the one that forked it.

    Args:
        inherited: file descriptors that are none of its business.
    """

    def __init__(self, inherited: list[int]) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for descriptor in (ours.fileno(), *inherited):
                    os.close(descriptor)
                _replay_for(theirs.makefile("rb"), theirs.makefile("wb"))
            finally:
                os._exit(1)
        theirs.close()
        self.socket = ours
        self.ended = False
        self._answers, self._requests = ours.makefile("rb"), ours.makefile("wb")

    def ask(self, request: Load | Replay | Execute) -> Answer:
        if self.ended:
            return Answer()
        try:
            return ask(self._requests, self._answers, request)
        except (EOFError, OSError):
            self.ended = True
            _, status = os.waitpid(self.pid, 0)
            return Answer(not_run=_why_ended(status))

    def close(self) -> None:
        for each in (self._requests, self._answers, self.socket):
            with contextlib.suppress(OSError):
                each.close()
        if not self.ended:
            os.waitpid(self.pid, 0)


def _why_ended(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"the code ended its process with status {os.waitstatus_to_exitcode(status)}"
    if os.WTERMSIG(status) == signal.SIGALRM:
        return "it took too long"
    return f"its process was killed by signal {os.WTERMSIG(status)}"


def main() -> None:
    """Serve until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this: the input ends when that does
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    guard.install()
    forks: dict[int, _Fork] = {}
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = _request.decode(_read(requests))
            if isinstance(request, Load):
                own = [requests.fileno(), answers.fileno()]
                forks[request.campaign] = _Fork([*own, *(fork.socket.fileno() for fork in forks.values())])
            if isinstance(request, End):
                forks.pop(request.campaign).close()
                answer = Answer()
            else:
                answer = forks[request.campaign].ask(request)
            _write(answers, msgspec.json.encode(replace(answer, libraries=())))
            for name in answer.libraries:
                with contextlib.suppress(Exception):  # then the next campaign loads it by itself
                    importlib.import_module(name)
    for fork in forks.values():
        fork.close()


# -- the process of a campaign ------------------------------------------------------------------------------------------------


def _replay_for(requests: BinaryIO, answers: BinaryIO) -> NoReturn:
    global _is_replaying  # noqa: PLW0603  # it is the whole process
    _is_replaying = True
    workflows: dict[str, Workflow[..., Any]] = {}
    worlds: dict[Source, Any] = {}
    start, limit_seconds = 0, 0.0
    for_good = contextlib.ExitStack()  # never left: this process does nothing else
    while True:
        try:
            request = _own_request.decode(_read(requests))
        except EOFError:
            os._exit(0)
        if isinstance(request, Load):
            start, limit_seconds = request.start, request.limit_seconds
        known = set(sys.modules)
        signal.setitimer(signal.ITIMER_REAL, limit_seconds)  # its signal ends this process, also if nobody else is left
        if isinstance(request, Load):
            answer = _load(request, workflows)
            for_good.enter_context(ambient.installed(inspect.unwrap(each.fn).__globals__ for each in workflows.values()))
        elif isinstance(request, Execute):
            answer = _execute(request)
        else:
            answer = _replay(request, workflows.get(request.workflow), worlds, start)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, msgspec.json.encode(replace(answer, libraries=_libraries_beyond(known))))


def _libraries_beyond(known: set[str]) -> tuple[str, ...]:
    """Return the modules that were loaded since, but for the user's; none if a thread runs, which no fork would have."""
    if threading.active_count() > 1:
        return ()
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name not in known}
    return tuple(name for name, file in files.items() if file is not None and (is_library_file(file) or is_internal_file(file)))


def _replay(request: Replay, code: Workflow[..., Any] | None, worlds: dict[Source, Any], start: int) -> Answer:
    if code is None:  # it did not load, as was told then
        return Answer()
    history = [decode_record(body) for body in request.records]
    refused = contextlib.nullcontext() if request.io else real_io.refused()
    with contextlib.ExitStack() as stack:
        try:
            world = _world(request.world, worlds) if request.world is not None else None
            stack.enter_context(replaced_globals(world))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # making it runs the user's code
            return Answer(not_run=f"the world of {code.name} is not made there: {type(exc).__name__}: {exc}".splitlines()[0])
        for each in (anywhere([inspect.unwrap(code.fn).__globals__]), refused, real_io.unlogged()):
            stack.enter_context(each)
        apart = disagreements(code, activations(history), len(history), start, beginnings=False, moments=False)
    return Answer(replayed=True, found=tuple(apart))


def _world(source: Source, worlds: dict[Source, Any]) -> Any:
    """Return a world, which is made once."""
    if source not in worlds:
        worlds[source] = found(source)()
    return worlds[source]


def _execute(request: Execute) -> Answer:
    from wfkit.sim.simulation import Simulation  # half of what there is to load, and most campaigns execute nothing here

    try:
        recording = Simulation(request.subject.unpacked(), seed=request.seed).run()
    except (Exception, SystemExit, EnoughLoaded) as exc:  # noqa: BLE001  # whatever the user's code does there
        return Answer(not_run=f"the schedule is not executed there: {type(exc).__name__}: {exc}".splitlines()[0])
    return Answer(deeds=tuple(deeds(recording)))


def _load(request: Load, workflows: dict[str, Workflow[..., Any]]) -> Answer:
    """Load what can be loaded."""
    sys.path[:] = request.path
    os.environ.clear()
    os.environ |= request.environment
    time.tzset()
    failed = {}
    for name, source in request.sources.items():
        try:
            workflows[name] = found(source)
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # loading runs the user's code
            failed[source.module] = f"{source.module} does not load by itself: {type(exc).__name__}: {exc}".splitlines()[0]
    return Answer(not_run="; ".join(failed.values()))
