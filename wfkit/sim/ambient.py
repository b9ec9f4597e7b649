"""The clock and the chance that code outside of workflows sees in a simulation.

The functions of `time`, `os.urandom`, `random` and `datetime` are replaced while a simulation is under way, and act only for
code that belongs to one; every other thread keeps the real ones. Workflow code has a clock and a chance of its own: the guard
sees to that before these are asked, except where it is lifted, and where it does not see.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from random import Random
from types import FrameType
from typing import Any, Protocol

from wfkit.core.loop import active_loops, is_internal, location, running


class Ambience(Protocol):
    """Where time and chance come from."""

    def wall(self) -> int:
        """Return the wall clock, microseconds UTC."""
        ...

    def since(self) -> int:
        """Return microseconds since the schedule began."""
        ...

    def slept(self, seconds: float) -> None: ...
    def chance(self) -> Random: ...
    def saw(self, what: str, line: str) -> None:
        """User code read the clock, or chance."""
        ...

    def asked(self, service: str, what: str, line: str) -> None:
        """Workflow code itself asked a service for something."""
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


_DRAWN = """
    random randint randrange choice choices shuffle sample uniform triangular betavariate expovariate gammavariate gauss
    lognormvariate normalvariate vonmisesvariate paretovariate weibullvariate getrandbits randbytes
"""


@contextmanager
def installed(namespaces: Iterable[dict[str, Any]] = ()) -> Iterator[None]:
    """Put the functions in place for as long as the block runs; nested blocks change nothing.

    Args:
        namespaces: globals of modules, in which names that were bound to the real functions long ago are bound anew.
    """
    if getattr(time.time, "__wfkit_simulated__", False):
        yield
        return
    saved: list[tuple[Any, str, Any]] = []
    made: dict[int, Any] = {}

    def put(owner: Any, name: str, make: Any) -> None:
        real = vars(owner)[name]
        stand_in = make(real)
        stand_in.__wfkit_simulated__ = True
        made[id(real)] = stand_in
        saved.append((owner, name, real))
        setattr(owner, name, stand_in)

    put(time, "time", lambda real: _clock(real, "time.time()", lambda here: here.wall() / 1e6))
    put(time, "time_ns", lambda real: _clock(real, "time.time_ns()", lambda here: here.wall() * 1000))
    for name in ("monotonic", "perf_counter"):
        put(time, name, lambda real: _clock(real, "", lambda here: here.since() / 1e6))
        put(time, f"{name}_ns", lambda real: _clock(real, "", lambda here: here.since() * 1000))
    put(time, "sleep", _sleep)
    put(os, "urandom", _urandom)
    put(random, "_urandom", _urandom)
    for name in _DRAWN.split():
        put(random, name, lambda real, name=name: _drawn(real, name))
    rebound = [(namespace, name, value) for namespace in namespaces for name, value in namespace.items() if id(value) in made]
    for namespace, name, value in rebound:
        namespace[name] = made[id(value)]
    dates = {name: vars(datetime)[name] for name in ("now", "utcnow")}
    _set_dates(now=classmethod(_now(dates["now"])), utcnow=classmethod(_utcnow(dates["utcnow"])))
    try:
        yield
    finally:
        _set_dates(**dates)
        for namespace, name, value in rebound:
            namespace[name] = value
        for owner, name, real in reversed(saved):
            setattr(owner, name, real)


def _here(*, guarded: bool = False) -> Ambience | None:
    """Return where time and chance come from; None outside of simulations.

    Args:
        guarded: the real function is one that the guard sees under whatever name: in workflow code its answer counts.
    """
    if active_loops and (loop := running()) is not None:
        return None if guarded and not loop.unsafe else _of_thread.workflows
    return ambience.get()


def _clock(real: Any, what: str, read: Any) -> Any:
    def clock() -> Any:
        here = _here()
        if here is None:
            return real()
        if what:
            tell(here, what)
        return read(here)

    return clock


def _set_dates(**methods: Any) -> None:
    """Replace methods of `datetime`, whoever holds it under whatever name. It lets nobody do so but by its own dictionary."""
    [own] = gc.get_referents(datetime.__dict__)
    own.update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


def _now(real: Any) -> Any:
    def now(cls: type[datetime], tz: Any = None) -> datetime:
        here = _here()
        if here is None:
            return real.__get__(None, cls)(tz)  # type: ignore[no-any-return]  # datetime
        tell(here, "datetime.now()")
        return cls.fromtimestamp(here.wall() / 1e6, tz)

    return now


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
    guarded = hasattr(real, "__wfkit_guard__")

    def urandom(size: int, /) -> bytes:
        here = _here(guarded=guarded)
        if here is None:
            return real(size)  # type: ignore[no-any-return]  # bytes
        tell(here, "chance")
        return here.chance().randbytes(size)

    return urandom


def _drawn(real: Any, name: str) -> Any:
    guarded = name not in ("random", "getrandbits")

    def drawn(*args: Any, **kwargs: Any) -> Any:
        here = _here(guarded=guarded)
        if here is None:
            return real(*args, **kwargs)
        tell(here, f"random.{name}()")
        return getattr(here.chance(), name)(*args, **kwargs)

    return drawn


def tell(here: Ambience, what: str) -> None:
    """Tell which line of the user's read the clock or chance; library frames between are passed over.

    Called by what stands in for the function that was read.
    """
    frame: FrameType | None = sys._getframe(2)
    told = what
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.startswith("wfkit.") and not module.startswith("wfkit.guard."):
            return  # wfkit's own code reads it
        if module == "uuid":
            told = f"uuid.{frame.f_code.co_name}()"
        elif module == "secrets":
            told = f"secrets.{frame.f_code.co_name}()"
        elif module != "random" and not is_internal(frame.f_code):
            here.saw("os.urandom()" if told == "chance" else told, location(frame))
            return
        frame = frame.f_back
