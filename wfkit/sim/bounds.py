"""Ends a schedule that does not end by itself: code that computes for ever, eats memory, or waits for a lock.

A thread looks at the schedules under way, and raises `Killed` in the code that runs; what that makes of it does not
matter, since the simulation is over. A schedule takes a few milliseconds, so nearly none is ever looked at.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from wfkit.core.loop import frame_of, location, user_frame
from wfkit.errors import SimulationBounds
from wfkit.sim.loop import Killed
from wfkit.sim.strand import having_turns

CPU_SECONDS_MAX = 10.0
"""Computing that one schedule may take. An ordinary one takes milliseconds."""
STUCK_SECONDS_MAX = 3.0
"""Computing between two points of a schedule: user code that goes round in circles comes to none. Imports are exempt."""
MEMORY_BYTES_MAX = 2 << 30
"""How much the process may grow during one schedule."""
BLOCKED_SECONDS_MAX = 8.0
"""How long nothing at all may be computed: a real lock that nobody releases, a real sleep."""
WAITING_FACTOR = 5
"""So many times as long may code wait while other threads of the process compute: they may be what it waits for."""
LOOK_SECONDS = 0.2
IDLE_LOOKS_MAX = 10
"""How often nothing is found to look at before the thread ends."""
_TASKS = Path("/proc/self/task")
_SIGNAL = signal.SIGURG
"""Wakes the main thread from a lock. Nobody notices it who does not wait for it, and no shell lets it be ignored."""
_ABOUT_LOCKS = "what a library locks outlives a simulated crash, whose step never releases it: make it a @resource"

_watches: list[_Watch] = []
_lock = threading.Lock()
_thread: threading.Thread | None = None
_exiting = threading.Event()


class ComputesForEver(SimulationBounds):
    """Code of the schedule goes round in circles, without awaiting anything that takes time."""


class _Excess(NamedTuple):
    """What is wrong with a schedule."""

    told: str
    help: str = "bound it, or look for a loop that never ends"
    error: type[SimulationBounds] = SimulationBounds


class _Thread(NamedTuple):
    """A thread at a look; where the system tells nothing of threads, the process."""

    waits: bool
    """For something other than its turn on a busy machine."""
    cpu_seconds: float


class _Watch:
    """A schedule under way."""

    def __init__(self, end_with: Callable[[BaseException], None], points: Callable[[], int]) -> None:
        self.thread = threading.get_ident()
        self.end_with = end_with
        self._points = points
        self.fired = False
        self.over = False
        """It is being left: nothing is to be raised in it any more."""
        self._looks = 0
        self._first_cpu = 0.0
        self._last_cpu = 0.0
        self._first_memory = 0
        self._still = 0.0
        """For how long nothing at all was computed."""
        self._waiting = 0.0
        """For how long the thread that has the turn has computed nothing."""
        self._seen = (0, 0.0)
        self._here = (0, 0)
        """The thread that had the turn, and how many points had been passed, when the schedule was last seen to go on."""
        self._cpu_here = 0.0

    def look(self) -> _Excess | None:
        """Return what is wrong; None while all is well."""
        cpu, memory = time.process_time(), _memory()
        self._looks += 1
        if self._looks == 1:
            self._first_cpu, self._first_memory = cpu, memory
        thread = _seen(self.running)
        seen, self._seen = self._seen, (self.running, thread.cpu_seconds)
        waits = thread.waits and seen == self._seen
        self._waiting = self._waiting + LOOK_SECONDS if waits else 0.0
        self._still = self._still + LOOK_SECONDS if waits and cpu - self._last_cpu < LOOK_SECONDS / 20 else 0.0
        self._last_cpu = cpu
        here = (self.running, self._points())
        if here != self._here or _is_within(self.running, "importlib._bootstrap"):
            self._here, self._cpu_here = here, thread.cpu_seconds
        if thread.cpu_seconds - self._cpu_here > STUCK_SECONDS_MAX:
            return _Excess(f"has been computing for {STUCK_SECONDS_MAX:g} s, and came no further", error=ComputesForEver)
        if cpu - self._first_cpu > CPU_SECONDS_MAX:
            return _Excess(f"has been computing for {CPU_SECONDS_MAX:g} s", error=ComputesForEver)
        if memory - self._first_memory > MEMORY_BYTES_MAX:
            return _Excess(f"has taken {MEMORY_BYTES_MAX >> 30} GiB of memory")
        for waited, longest in ((self._still, BLOCKED_SECONDS_MAX), (self._waiting, WAITING_FACTOR * BLOCKED_SECONDS_MAX)):
            if waited > longest and not _is_within(self.running, "bdb", "pdb"):
                return _Excess(f"has been waiting for {longest:g} s of real time, for a lock or a real answer", _ABOUT_LOCKS)
        return None

    @property
    def running(self) -> int:
        """The thread that has the turn."""
        strand = having_turns.get(self.thread)
        return strand.thread if strand is not None else self.thread

    def kill(self, excess: _Excess) -> None:
        """End the schedule: raise in the code that runs, time and again as long as it does not let go."""
        if not self.fired:
            self.fired = True
            frame = user_frame(frame_of(self.running))
            where = f", at {location(frame)}" if frame is not None else ""
            self.end_with(excess.error(f"a schedule {excess.told}{where}", help=excess.help))
        elif (strand := having_turns.get(self.thread)) is not None and self._waiting:
            strand.give_up()  # it is not to be reached
            return
        if self._waiting and self.running == threading.main_thread().ident:
            signal.pthread_kill(self.running, _SIGNAL)  # only a signal wakes it from a lock
        else:
            _raise_in(self.running)

    def strike(self, *_signal: object) -> None:
        """Called in the main thread when it was woken."""
        if self.fired and not self.over:
            raise Killed


@contextmanager
def watched(end_with: Callable[[BaseException], None], points: Callable[[], int]) -> Iterator[None]:
    """End the block if it takes too much.

    Args:
        end_with: given the `SimulationBounds` just before the block is made to end.
        points: says how many points the schedule has passed.
    """
    global _thread  # noqa: PLW0603  # one thread watches for the whole process
    watch = _Watch(end_with, points)
    woken = signal.signal(_SIGNAL, watch.strike) if watch.thread == threading.main_thread().ident else None
    with _lock:
        _watches.append(watch)
        if _thread is None:
            _thread = threading.Thread(target=_look_around, name="wfkit-bounds", daemon=True)
            _thread.start()
            atexit.register(_end, _thread)
    try:
        yield
    except KeyboardInterrupt:
        if not watch.fired:
            raise
    finally:
        watch.over = True  # from here on nothing new is raised
        _leave(watch)
        if watch.thread == threading.main_thread().ident:
            signal.signal(_SIGNAL, signal.SIG_DFL if woken is None else woken)


def _leave(watch: _Watch) -> None:
    while watch in _watches:
        try:
            with _lock:
                if watch in _watches:
                    _watches.remove(watch)
        except Killed:
            continue  # raised here, of all places
    if watch.fired:
        _let_settle(watch.thread)


def _look_around() -> None:
    """Look at the schedules under way, until there was none for a while."""
    global _thread  # noqa: PLW0603  # as above
    idle = 0
    while not _exiting.wait(LOOK_SECONDS):
        with _lock:
            idle = 0 if _watches else idle + 1
            if idle > IDLE_LOOKS_MAX:
                _thread = None
                atexit.unregister(_end)
                return
            for watch in list(_watches):
                if watch.over:
                    _watches.remove(watch)  # it was struck just as it was left
                elif excess := watch.look():
                    watch.kill(excess)


def _end(thread: threading.Thread) -> None:
    """End the thread before the interpreter does, or it would keep modules from being cleared."""
    _exiting.set()
    thread.join()


def _begin_anew() -> None:
    """Called in a forked process, which has none of the other threads, nor what they would let go of."""
    global _lock, _exiting, _thread  # as above
    _lock, _exiting, _thread = threading.Lock(), threading.Event(), None
    _watches.clear()
    threading.current_thread()._native_id = threading.get_native_id()  # type: ignore[attr-defined]  # before 3.13 it is the parent's


os.register_at_fork(after_in_child=_begin_anew)


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Killed))


def _let_settle(thread: int) -> None:
    """Called in a thread: let nothing that was raised in it, or in one that has ended meanwhile, be pending any more.

    To withdraw it is not enough: CPython would remember that something is pending somewhere until that is raised, and until
    then a function that is traced, by a debugger or for its coverage, never begins (seen in 3.11).
    """
    try:
        _raise_in(thread)
        while True:
            pass
    except Killed:
        pass


def _seen(thread: int) -> _Thread:
    if not _TASKS.is_dir():
        return _Thread(waits=True, cpu_seconds=time.process_time())
    native = next((each.native_id for each in threading.enumerate() if each.ident == thread), None)
    try:
        state, *fields = (_TASKS / f"{native}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return _Thread(waits=True, cpu_seconds=0.0)  # it has just ended
    user, system = int(fields[10]), int(fields[11])
    return _Thread(waits=state == b"S", cpu_seconds=(user + system) / os.sysconf("SC_CLK_TCK"))


def _is_within(thread: int, *modules: str) -> bool:
    """Whether a thread executes functions of modules, or what these have called."""
    frame = frame_of(thread)
    while frame is not None:
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False


def _memory() -> int:
    """Return how much memory the process has: where that cannot be asked, how much it had at most."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # five times a second, in the middle of a simulation
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
