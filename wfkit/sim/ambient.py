"""The clock and the chance that code outside of workflows sees in a simulation.

What reads a clock or draws by chance, in `time`, `datetime`, `random`, `os`, `uuid` and `tempfile`, is replaced while a
simulation is under way, and acts only for code that belongs to one; every other thread keeps the real ones. Workflow code has
a clock and a chance of its own: the guard sees to that before these are asked, except where it is lifted, and where it does
not see.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
import timeit
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, date, datetime
from random import Random
from types import CoroutineType, FrameType
from typing import Any, Protocol

from wfkit import guard
from wfkit.core.loop import active_loops, is_internal, location, running, user_frame
from wfkit.guard.scope import PASSED_THROUGH
from wfkit.sim.installed import is_library, is_users_module


class Ambience(Protocol):
    """Where time and chance come from."""

    def wall(self) -> int:
        """Return the wall clock, microseconds UTC."""
        ...

    def since(self) -> int:
        """Return microseconds since the schedule began."""
        ...

    def computed(self) -> int:
        """Return microseconds of computing: a millisecond more at each look, so that whoever waits for more comes to an end."""
        ...

    def slept(self, seconds: float) -> None: ...
    def chance(self) -> Random: ...
    def saw(self, what: str, line: str, *, through: str) -> None:
        """User code read the clock, or chance, or started a thread: by itself, or through a library's module."""
        ...

    def asked(self, service: str, what: str, line: str) -> None:
        """Workflow code itself asked a service for something."""
        ...

    def unawaited(self, coroutine: CoroutineType[Any, Any, Any], line: str) -> None:
        """The user's code has made a coroutine, and it is dropped before anybody has awaited it: what it says is not done."""
        ...

    def connection(self, factory: Any) -> Any:
        """Return what connections to SQLite are made by, given by what the user's code would make them."""
        ...

    def end_with(self, error: BaseException) -> None:
        """Workflow code reached for the real world: whatever it makes of the error, nothing can come of it."""
        ...


ambience: ContextVar[Ambience | None] = ContextVar("wfkit_ambience", default=None)


class _OfThread(threading.local):
    workflows: Ambience | None = None
    """What workflow code of this thread is given where the guard is lifted: it runs in a context of its own, an empty one."""


_of_thread = _OfThread()


@contextmanager
def within(here: Ambience) -> Iterator[None]:
    """Let what runs in this thread and its context, workflow code included, have its time and chance from `here`."""
    token, before = ambience.set(here), _of_thread.workflows
    _of_thread.workflows = here
    try:
        yield
    finally:
        _of_thread.workflows = before
        ambience.reset(token)


def of_workflow() -> Ambience | None:
    """Return what workflow code that runs in this thread just now is given where the guard does not act; None elsewhere."""
    return _of_thread.workflows if active_loops and running() is not None else None


_CLOCKS: dict[str, Callable[[Ambience], int]] = {
    "time": lambda here: here.wall(),
    **dict.fromkeys(("monotonic", "perf_counter"), lambda here: here.since()),
    **dict.fromkeys(("process_time", "thread_time"), lambda here: here.computed()),
}
"""Clocks of `time`, and what they show, in microseconds. Each of them has a twin that counts nanoseconds."""
_OF_MOMENTS: dict[str, int] = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""What of `time` takes a moment, and reads the clock where it is left out: which argument it is."""
TODAYS = ("datetime.today()", "datetime.date.today()")
"""What depends on the time zone of the machine. In workflow code that is all it depends on: the guard controls the clock."""
_BEFORE_1970 = 0x01B21DD213814000
"""What a UUID counts more than the clock does, in steps of 100 ns: its time begins in 1582."""


@contextmanager
def installed(namespaces: Iterable[dict[str, Any]] = ()) -> Iterator[None]:
    """Put the functions in place for as long as the block runs; nested blocks change nothing.

    Names that user modules bound to the real functions long ago, as by `from time import time`, are bound anew.

    Args:
        namespaces: globals of modules that are to be looked through as well, wherever they come from.
    """
    if getattr(time.time, "__wfkit_simulated__", False):
        yield
        return
    guard.install()
    with suppress(OSError):
        tempfile.gettempdir()  # which draws by chance when it is asked first
    saved: list[tuple[Any, str, Any]] = []
    made: dict[int, Any] = {}

    def put(owner: Any, name: str, make: Any) -> None:
        real = vars(owner)[name]
        stand_in = make(real)
        if not isinstance(real, property):
            stand_in.__wfkit_simulated__ = True
        made[id(real)] = stand_in
        saved.append((owner, name, real))
        setattr(owner, name, stand_in)

    for name, read in _CLOCKS.items():
        put(time, name, lambda real, name=name, read=read: _clock(real, f"time.{name}()", read, _seconds))
        put(time, f"{name}_ns", lambda real, name=name, read=read: _clock(real, f"time.{name}_ns()", read, _nanoseconds))
    for name, position in _OF_MOMENTS.items():
        put(time, name, lambda real, name=name, position=position: _of_moment(real, f"time.{name}()", position))
    if hasattr(time, "clock_gettime"):
        put(time, "clock_gettime", lambda real: _clock_gettime(real, _seconds))
        put(time, "clock_gettime_ns", lambda real: _clock_gettime(real, _nanoseconds))
    put(time, "sleep", _sleep)
    put(os, "urandom", _urandom)
    put(random, "_urandom", _urandom)
    for owner in (random, type(random._inst)):  # whose bound methods the functions of `random` are
        for name in ("random", "getrandbits"):  # all others draw through these, and through `gauss_next`
            put(owner, name, lambda real, name=name, of=owner: _drawn(real, name, is_method=of is not random))
    put(type(random._inst), "gauss_next", _gauss_next)
    put(random.Random, "seed", _seed)
    put(tempfile, "_get_candidate_names", _candidate_names)
    if uuid._generate_time_safe is not None:  # type: ignore[attr-defined]  # what `uuid1` asks where the system knows better
        put(uuid, "_generate_time_safe", _generate_time_safe)
    put(threading.Thread, "start", _started)
    for owner in (sqlite3, sqlite3.dbapi2):
        put(owner, "connect", _connect)
    if hasattr(warnings, "_warn_unawaited_coroutine"):  # what Python calls to warn of one, wherever such warnings go
        put(warnings, "_warn_unawaited_coroutine", _unawaited)
    found = [site for namespace in namespaces for site in _bound_in(namespace, frozenset(made))]
    sites = [*_bound(len(sys.modules), frozenset(made)), *found]
    rebound = [(namespace, name, value) for namespace, name in sites if id(value := namespace.get(name)) in made]
    for namespace, name, value in rebound:
        namespace[name] = made[id(value)]
    dates = {name: vars(datetime)[name] for name in ("now", "utcnow")}
    today = vars(date)["today"]
    _set_methods(datetime, now=classmethod(_now(dates["now"])), utcnow=classmethod(_utcnow(dates["utcnow"])))
    _set_methods(date, today=classmethod(_today(today)))
    try:
        yield
    finally:
        _set_methods(date, today=today)
        _set_methods(datetime, **dates)
        for namespace, name, value in rebound:
            namespace[name] = value
        for owner, name, real in reversed(saved):
            setattr(owner, name, real)


@functools.lru_cache(maxsize=4)
def _bound(_modules: int, reals: frozenset[int]) -> list[tuple[dict[str, Any], str]]:
    """Return where user modules have bound names to these functions. It is looked for again when modules were loaded."""
    users = [vars(module) for name, module in list(sys.modules.items()) if is_users_module(name)]
    return [site for namespace in (*users, timeit.__dict__) for site in _bound_in(namespace, reals)]


def _bound_in(namespace: dict[str, Any], reals: frozenset[int]) -> list[tuple[dict[str, Any], str]]:
    return [(namespace, name) for name, value in list(namespace.items()) if id(value) in reals]


def _here(*, guarded: bool = False) -> Ambience | None:
    """Return where time and chance come from; None outside of simulations.

    Args:
        guarded: the real function is one that the guard sees under whatever name: in workflow code its answer counts.
    """
    if active_loops and (loop := running()) is not None:
        return None if guarded and not loop.unsafe else _of_thread.workflows
    return ambience.get()


_Unit = Callable[[int], float]


def _seconds(microseconds: int) -> float:
    return microseconds / 1e6


def _nanoseconds(microseconds: int) -> int:
    return microseconds * 1000


def _clock(real: Any, what: str, read: Callable[[Ambience], int], unit: _Unit) -> Any:
    def clock() -> Any:
        here = _here()
        if here is None:
            return real()
        tell(here, what)
        return unit(read(here))

    return clock


def _clock_gettime(real: Any, unit: _Unit) -> Any:
    def clock_gettime(clock: int, /) -> Any:
        here = _here()
        if here is None:
            return real(clock)
        tell(here, "time.clock_gettime()")
        return unit(here.wall() if clock == time.CLOCK_REALTIME else here.since())

    return clock_gettime


def _of_moment(real: Any, what: str, position: int) -> Any:
    takes_fields = what in ("time.asctime()", "time.strftime()")

    def of_moment(*args: Any) -> Any:
        here = _here()
        if here is None or len(args) > position:
            return real(*args)
        tell(here, what)
        now = here.wall() / 1e6
        return real(*args, time.localtime(now) if takes_fields else now)

    return of_moment


def _set_methods(cls: type[date], **methods: Any) -> None:
    """Replace methods of a class of `datetime`, whoever holds it under whatever name. Only its own dictionary allows that."""
    [own] = gc.get_referents(cls.__dict__)
    own.update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


def _now(real: Any) -> Any:
    def now(cls: type[datetime], tz: Any = None) -> datetime:
        here = _here()
        if here is None:
            return real.__get__(None, cls)(tz)  # type: ignore[no-any-return]  # datetime
        tell(here, "datetime.now()")
        return cls.fromtimestamp(here.wall() / 1e6, tz)

    return now


def _today(real: Any) -> Any:
    def today(cls: type[date]) -> date:
        here = _here()
        if here is not None:
            tell(here, "datetime.today()" if issubclass(cls, datetime) else "datetime.date.today()")
        return real.__get__(None, cls)()  # type: ignore[no-any-return]  # it asks `time.time`, and the zone of the machine

    return today


def _utcnow(real: Any) -> Any:
    def utcnow(cls: type[datetime]) -> datetime:
        here = _here()
        if here is None:
            return real.__get__(None, cls)()  # type: ignore[no-any-return]  # datetime
        tell(here, "datetime.utcnow()")
        return cls.fromtimestamp(here.wall() / 1e6, UTC).replace(tzinfo=None)

    return utcnow


def _sleep(real: Any) -> Any:
    def sleep(seconds: float, /) -> None:
        here = _here()
        if here is None:
            real(seconds)
        else:
            here.slept(seconds)

    return sleep


def _urandom(real: Any) -> Any:
    is_guarded = hasattr(real, "__wfkit_guard__")

    def urandom(size: int, /) -> bytes:
        here = _here(guarded=is_guarded)
        if here is None:
            return real(size)  # type: ignore[no-any-return]  # bytes
        tell(here, "os.urandom()")
        return here.chance().randbytes(size)

    return urandom


def _drawn(real: Any, name: str, *, is_method: bool) -> Any:
    def drawn(*args: Any) -> Any:
        here = _here(guarded=is_method)
        if here is None:
            return real(*args)
        tell(here, f"random.{name}()")
        return getattr(here.chance(), name)(*args[is_method:])

    return drawn


def _gauss_next(real: property) -> property:
    def read(self: Any) -> Any:
        here = _here(guarded=True)
        return real.__get__(self) if here is None else here.chance().gauss_next  # type: ignore[attr-defined]  # not in typeshed

    def write(self: Any, value: float | None) -> None:
        here = _here(guarded=True)
        if here is None:
            real.__set__(self, value)
        else:
            here.chance().gauss_next = value  # type: ignore[attr-defined]  # as above

    return property(read, write)


def _seed(real: Any) -> Any:
    def seed(self: Random, a: Any = None, version: int = 2) -> None:
        if a is None and (here := _here(guarded=True)) is not None:
            tell(here, "random.Random()")
            a = here.chance().getrandbits(128)
        real(self, a, version)

    return seed


def _candidate_names(real: Any) -> Any:
    def candidate_names() -> Iterator[str]:
        return real() if _here() is None else tempfile._RandomNameSequence()  # type: ignore[attr-defined, no-any-return]  # no other way

    return candidate_names


def _generate_time_safe(real: Any) -> Any:
    def generate_time_safe() -> tuple[bytes, int | None]:
        here = _here(guarded=True)
        if here is None:
            return real()  # type: ignore[no-any-return]  # as this function
        tell(here, "uuid.uuid1()")
        since_1582 = here.wall() * 10 + _BEFORE_1970
        low, middle, high = since_1582 & 0xFFFFFFFF, since_1582 >> 32 & 0xFFFF, since_1582 >> 48
        chance = here.chance().getrandbits(62)  # what tells two of one moment apart
        made = uuid.UUID(fields=(low, middle, high, chance >> 56, chance >> 48 & 0xFF, chance & 0xFFFFFFFFFFFF), version=1)
        return made.bytes, None

    return generate_time_safe


STARTS_THREAD = "threading.Thread.start()"


def _started(real: Any) -> Any:
    def start(self: threading.Thread) -> None:
        here = _here(guarded=True)
        if here is not None:
            tell(here, STARTS_THREAD)
        real(self)

    return start


_FACTORY = 5
"""Which argument of `sqlite3.connect` is its factory."""


def _connect(real: Any) -> Any:
    def connect(*args: Any, **options: Any) -> Any:
        here = _here(guarded=True)
        if here is not None and len(args) <= _FACTORY:
            options["factory"] = here.connection(options.get("factory", sqlite3.Connection))
        return real(*args, **options)

    return connect


def _unawaited(real: Any) -> Any:
    def unawaited(coroutine: CoroutineType[Any, Any, Any]) -> None:
        here = _here()
        if here is None:
            real(coroutine)
            return
        frame = user_frame(sys._getframe(1))
        here.unawaited(coroutine, location(frame) if frame is not None else "")

    return unawaited


_DRAWING = ("random", "secrets", "tempfile", "uuid")
"""Modules whose own function is told, rather than what it calls."""


def tell(here: Ambience, what: str) -> None:
    """Tell which line of the user's read the clock or chance; library frames between are passed over.

    Called by what stands in for the function that was read.
    """
    frame: FrameType | None = sys._getframe(2)
    told, library, through = what, "", ""
    while frame is not None:
        module, code = str(frame.f_globals.get("__name__")), frame.f_code
        if module.partition(".")[0] in PASSED_THROUGH:
            return  # such as logging: it decides nothing
        if module.startswith("wfkit.") and not module.startswith("wfkit.guard."):
            break  # wfkit's own code reads it, or has called what does
        if module in _DRAWING:
            told = f"{module}.{'Random' if code.co_name == '__init__' else code.co_name}()"
        elif not is_library(code):
            if not is_internal(code):
                here.saw(told, location(frame), through=through)
                return
        elif not is_internal(code):
            library, through = library or location(frame), module
        frame = frame.f_back
    if library:
        here.saw(told, library, through="")  # the step is a library's
