"""What a supervisor and its child processes say to each other, over a socket that only they have.

The supervisor orders, the child reports; each message is JSON behind its length. When the socket ends, the supervisor is
gone, and the child ends as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import BinaryIO, TypeAlias

import msgspec
from msgspec import Raw, Struct

from wfkit.control.messages import ChaosFacts, Fault, Strike
from wfkit.errors import WfkitError, restored

HEAD_BYTES = 4
_GRACE_SECONDS = 3.0
"""How long a child may need to end in good order once its supervisor is gone."""


class Load(Struct, frozen=True, tag=True):
    """Import the app. Answered by `Loaded` or `Refused`."""


class GiveHistories(Struct, frozen=True, tag=True):
    """Give the histories of all unfinished runs. Answered by any number of `Histories`."""

    store: str
    number: int
    """Of this order: an answer to an earlier one, which came too late, is not taken for one to this."""


class Replay(Struct, frozen=True, tag=True):
    """Replay histories on the app as it was loaded. Answered by `Replayed`."""

    histories: tuple[History, ...]


class Open(Struct, frozen=True, tag=True):
    """Open the journal and serve, until told to stop. Answered by `Serving` or `Refused`."""

    store: str
    diverged: tuple[str, ...]
    """Runs that are known not to go on with this code: they are to be blocked at once, and whoever asks knows why."""
    chaos: ChaosFacts
    killed: bool
    """The worker before was killed by chaos, and not by any step."""


class Inject(Struct, frozen=True, tag=True):
    """Inject a fault. What comes of it is `Happened`."""

    strike: Strike


class Note(Struct, frozen=True, tag=True):
    """Take notice of what chaos did, and show it to whoever asks."""

    chaos: ChaosFacts


class Stop(Struct, frozen=True, tag=True):
    """End in good order. Answered by nothing but that."""


class Loaded(Struct, frozen=True, tag=True):
    workflows: tuple[str, ...]


class Refused(Struct, frozen=True, tag=True):
    """A `WfkitError`, by its parts."""

    code: str
    message: str
    help: str


class History(Struct, frozen=True):
    """The history of one unfinished run."""

    id: str
    workflow: str
    bodies: tuple[Raw, ...]
    """As they are stored."""


class Histories(Struct, frozen=True, tag=True):
    number: int
    histories: tuple[History, ...]
    more: bool


class Problem(Struct, frozen=True):
    """Why a run does not go on."""

    run: str
    workflow: str
    told: str
    """As an error is printed, with its help."""


class Replayed(Struct, frozen=True, tag=True):
    problems: tuple[Problem, ...]


class Serving(Struct, frozen=True, tag=True):
    socket: str
    notice: str | None
    """What was mended when the journal was opened."""
    unfinished: int
    """How many runs it has taken up."""
    again: int
    """How many steps run again, since the worker was killed under them."""


class Happened(Struct, frozen=True, tag=True):
    """Chaos did something in this worker. Said of its own accord, or after `Inject`."""

    fault: Fault | None
    """None: what was planned could not be done."""
    text: str
    ahead: int | None = None
    """After `jump`: how far the clock has gone forward by now, in microseconds."""


class KillMe(Struct, frozen=True, tag=True):
    """Somebody has asked the worker that it be killed."""


Order: TypeAlias = Load | GiveHistories | Replay | Open | Inject | Note | Stop
Answer: TypeAlias = Loaded | Refused | Histories | Replayed | Serving
"""What follows an order."""
Report: TypeAlias = Answer | Happened | KillMe

encode = msgspec.json.Encoder().encode
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
decode_report = _reports.decode


def framed(message: Order | Report) -> bytes:
    """Return a message as it is sent."""
    body = encode(message)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


def refusal(error: WfkitError) -> Refused:
    return Refused(error.code, str(error), error.help)


def error_of(refused: Refused) -> WfkitError:
    """Return the error that a child was refused with."""
    return restored(refused.code, refused.message, refused.help)


class Supervisor:
    """The supervisor, as its child sees it. A thread listens, so that the child ends with it whatever its code does.

    Args:
        descriptor: of the socket, inherited.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._orders: SimpleQueue[Order] = SimpleQueue()
        threading.Thread(target=self._listen, name="wfkit-orders", daemon=True).start()

    def report(self, message: Report) -> None:
        """Tell it something. If it is gone, nobody needs to know."""
        with contextlib.suppress(OSError):
            self._socket.sendall(framed(message))

    def order(self) -> Order:
        """Wait for the next order, and return it."""
        return self._orders.get()

    def orders(self) -> asyncio.Queue[Order]:
        """Return a queue into which orders come from now on, for the running event loop."""
        arrived: asyncio.Queue[Order] = asyncio.Queue()
        arguments = (asyncio.get_running_loop(), arrived.put_nowait)
        threading.Thread(target=self._forward, args=arguments, name="wfkit-forward", daemon=True).start()
        return arrived

    def _forward(self, loop: asyncio.AbstractEventLoop, put: Callable[[Order], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended without being told to
            while True:
                loop.call_soon_threadsafe(put, self._orders.get())

    def _listen(self) -> None:
        stream = self._socket.makefile("rb")
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._orders.put(_orders.decode(_read(stream)))
        self._orders.put(Stop())
        time.sleep(_GRACE_SECONDS)
        os._exit(1)


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(HEAD_BYTES)
    body = stream.read(int.from_bytes(head, "big"))
    if len(head) < HEAD_BYTES or len(body) < int.from_bytes(head, "big"):
        raise EOFError
    return body


def begin_child() -> tuple[Supervisor, str]:
    """Return the supervisor of this process and the app, and make the process look as one of the command `wfkit dev` does."""
    descriptor, app = sys.argv[1:]
    sys.argv = ["wfkit", "dev", app]
    return Supervisor(int(descriptor)), app
