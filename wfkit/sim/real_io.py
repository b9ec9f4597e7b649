"""Keeps a simulation from the real world, which every schedule and every replay would touch: sockets, processes, logs.

Python tells of the first two through audit events, whatever library asks for them. It tells of connections to SQLite as well,
whose open transactions a crash rolls back.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, NoReturn

from wfkit.api.attempt import attempt
from wfkit.api.definitions import Step, where_defined
from wfkit.core.loop import is_internal, location
from wfkit.errors import UnsimulatedIO
from wfkit.sim.ambient import of_workflow
from wfkit.sim.installed import is_library
from wfkit.sim.services import surroundings

_REFUSED = {
    "socket.connect": "it connects to {1}",
    "socket.bind": "it listens at {1}",
    "socket.sendto": "it sends to {1}",
    "socket.getaddrinfo": "it looks up {0}",
    "socket.gethostbyname": "it looks up {0}",
    "urllib.Request": "it asks for {0}",
    "subprocess.Popen": "it starts the process {0}",
    "os.system": "it starts {0}",
    "os.posix_spawn": "it starts the process {0}",
    "os.exec": "it becomes the process {0}",
    "os.fork": "it forks",
}
"""What is refused, and how it is told from the event's arguments."""

executed: ContextVar[Step[..., Any] | None] = ContextVar("wfkit_executed", default=None)
"""The step that code belongs to."""
carrier: ContextVar[asyncio.Task[Any] | None] = ContextVar("wfkit_carrier", default=None)
"""The task of an `async def` step; clients open their sockets in tasks of their own."""

_WHAT_IS_ALLOWED = (
    'io="allow" serves blocking clients in `def` steps only, such as httpx.Client: make it a `def` step, or give a world: '
    "verify(..., world=World, resources=[replace(client, lambda w: w.bank)])"
)

_installed = False
_guarded = 0


def install() -> None:
    """Listen, from now on."""
    global _installed  # noqa: PLW0603  # an audit hook is one for the whole process, and stays
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


@contextmanager
def refused() -> Iterator[None]:
    """Refuse real I/O of code that belongs to a simulation, for as long as the block runs.

    Raises, in that code:
        UnsimulatedIO: it names the step and the line.
    """
    global _guarded  # noqa: PLW0603  # as above
    install()
    _guarded += 1
    try:
        yield
    finally:
        _guarded -= 1


@contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing: a thousand schedules would tell a thousand times what the report tells once. May be nested."""
    before = logging.root.manager.disable
    if before >= logging.CRITICAL:  # to say so again takes 20 us: every logger forgets what it knows
        yield
        return
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect/handle" and (host := surroundings.get()) is not None:
        host.connected(*args)
    if _guarded and event in _REFUSED and (surroundings.get() is not None or of_workflow() is not None):
        refuse(_REFUSED[event].format(*args))


def refuse(what: str) -> NoReturn:
    """Refuse something that the code which runs just now wants from the real world.

    Raises:
        UnsimulatedIO: always, in a simulation; which then ends with it, whatever the code makes of it.
    """
    now, here = attempt.get(), of_workflow()
    line = _line(sys._getframe(1))
    where = f", at {line}" if line else ""
    who = f"step {now.info.step}" if now is not None else "code outside of steps" if here is None else "workflow code"
    help = None if _guarded else _WHAT_IS_ALLOWED
    error = UnsimulatedIO(f"{who} reaches for the real world: {what}{where}", help=help)
    host = surroundings.get() or here
    if host is not None:
        host.end_with(error)
    raise error


def _line(frame: FrameType | None) -> str:
    """Return the user's line that asks for it, or else the one at which its step waits for a library that does."""
    while frame is not None and frame.f_code.co_qualname != "VirtualLoop.drive":  # beyond is who began the simulation
        if _is_users(frame):
            return location(frame)
        frame = frame.f_back
    step, task = executed.get(), carrier.get()
    return (_awaiting(task) if task is not None else "") or (where_defined(step.fn) if step is not None else "")


def _awaiting(task: asyncio.Task[Any]) -> str:
    """Return the innermost line of the user's at which a suspended task waits, in itself or in tasks that it waits for."""
    line = ""
    seen: list[object] = []
    waiting: Any = task
    while isinstance(waiting, asyncio.Task) and waiting not in seen:
        seen.append(waiting)
        awaited: Any = waiting.get_coro()
        while awaited is not None:
            frame = getattr(awaited, "cr_frame", None)
            if frame is not None and _is_users(frame):
                line = location(frame)
            awaited = getattr(awaited, "cr_await", None)
        waiting = getattr(waiting, "_fut_waiter", None)
    return line


def _is_users(frame: FrameType) -> bool:
    return not is_internal(frame.f_code) and not is_library(frame.f_code)
