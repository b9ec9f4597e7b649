"""Refuses real sockets and processes in a simulation, which would touch the real world in every schedule.

Python tells of both through audit events, whatever library asks for them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from wfkit.api.attempt import attempt
from wfkit.core.loop import location, user_frame
from wfkit.errors import UnsimulatedIO
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

_installed = False
_guarded = 0


@contextmanager
def refused() -> Iterator[None]:
    """Refuse real I/O of code that belongs to a simulation, for as long as the block runs.

    Raises, in that code:
        UnsimulatedIO: it names the step and the line.
    """
    global _installed, _guarded  # noqa: PLW0603  # an audit hook is one for the whole process, and stays
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _guarded += 1
    try:
        yield
    finally:
        _guarded -= 1


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _guarded and event in _REFUSED and surroundings.get() is not None:
        refuse(_REFUSED[event].format(*args))


def refuse(what: str) -> NoReturn:
    """Refuse something that the code which runs just now wants from the real world.

    Raises:
        UnsimulatedIO: always, in a simulation; which then ends with it, whatever the code makes of it.
    """
    now = attempt.get()
    frame = user_frame(sys._getframe(1))
    where = f", at {location(frame)}" if frame is not None else ""
    who = f"step {now.info.step}" if now is not None else "code outside of steps"
    error = UnsimulatedIO(f"{who} reaches for the real world: {what}{where}")
    host = surroundings.get()
    if host is not None:
        host.end_with(error)
    raise error
