"""An event loop whose time jumps to the next timer when nothing else is to be done.

It carries everything of one schedule: the engine's lives, one after the other, and the outside world that outlives
them. What belongs to a life carries its `Epoch` in its context. When the process dies in the simulation, its epoch does,
and from then on the loop drops every callback of that epoch: no `finally`, no `except`, no last words.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, NoReturn

from wfkit.core.loop import instead_of_host
from wfkit.sim.real_io import refuse

_LOOK_EVERY = 1_000
"""Callbacks after which it is asked whether to stop: code may go on for ever while time stands still."""

epoch: contextvars.ContextVar[Epoch | None] = contextvars.ContextVar("wfkit_epoch", default=None)
"""The life of the process that code belongs to; None for the outside world."""


class Epoch:
    """One life of the simulated process."""

    __slots__ = ("alive", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


class Killed(KeyboardInterrupt):
    """The simulated process dies here. Only this kind of exception leaves tasks and callbacks at once."""


class Handle:
    """A callback that is ready, or that waits for its time. `when` is microseconds of the loop."""

    __slots__ = ("args", "callback", "context", "due")

    def __init__(
        self, callback: Callable[..., object] | None, args: tuple[Any, ...], context: contextvars.Context, due: int
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.due = due

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.due / 1e6


class VirtualLoop(asyncio.AbstractEventLoop):
    """See the module. Driven by `drive`, also from within a running loop of another kind, in the same thread."""

    def __init__(self) -> None:
        self.now = 0
        """Microseconds since the schedule began."""
        self._queue: deque[Handle] = deque()
        self._timers: list[tuple[int, int, Handle]] = []
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[Any]] = []
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self.steps = 0
        """Callbacks that have run, as a measure of work."""
        self.complaints: list[dict[str, Any]] = []

    # -- driven from outside ----------------------------------------------------------------------------------------

    def drive(self, horizon: int, stop: Callable[[], bool]) -> None:
        """Run until nothing is left to do, or the time would pass the horizon, or `stop` says so.

        `stop` is asked whenever time is about to move, and now and then.
        """
        with self._entered():
            while True:
                self._run_ready(stop)
                due = self.next_due()
                if due is None or due > horizon or stop():
                    return
                self.now = max(self.now, due)
                while self._timers and self._timers[0][0] <= self.now:
                    self._queue.append(heapq.heappop(self._timers)[2])

    def _run_ready(self, stop: Callable[[], bool]) -> None:
        queue = self._queue
        while queue:
            handle = queue.popleft()
            callback = handle.callback
            if callback is None:
                continue
            life = handle.context.get(epoch)
            if life is not None and not life.alive:
                continue
            self.steps += 1
            if self.steps % _LOOK_EVERY == 0 and stop():
                return
            try:
                handle.context.run(callback, *handle.args)
            except Killed:
                pass
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:  # noqa: BLE001  # as every event loop does
                self.call_exception_handler({"message": "a callback failed", "exception": exc})

    def next_due(self) -> int | None:
        """Return when the next timer is due that somebody still waits for."""
        timers = self._timers
        while timers:
            due, _, handle = timers[0]
            life = handle.context.get(epoch)
            if handle.callback is not None and (life is None or life.alive):
                return due
            heapq.heappop(timers)
        return None

    @property
    def has_outside_timers(self) -> bool:
        """Whether the world outside of the process waits for a time to come."""
        return any(handle.callback is not None and handle.context.get(epoch) is None for _, _, handle in self._timers)

    def _entered(self) -> AbstractContextManager[None]:
        return instead_of_host(self, self._generators.append)

    def bury(self) -> None:
        """Drop all that is left: every coroutine is closed, and what its `finally` blocks ask of the loop is ignored."""
        with self._entered():
            for task in reversed(self._tasks):
                if not task.done():
                    task._log_destroy_pending = False  # else each of them complains
                    with suppress(BaseException):  # a dead process raises nothing
                        task.get_coro().close()
            for generator in self._generators:
                with suppress(BaseException):  # as above
                    generator.aclose().send(None)
        self._queue.clear()
        self._timers.clear()
        self._tasks.clear()
        self._generators.clear()

    # -- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now / 1e6

    def is_running(self) -> bool:
        return True

    def call_soon(  # type: ignore[override]  # a Handle of our own: asyncio's is larger and slower
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context, self.now)
        self._queue.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # threads run one at a time here

    def call_later(  # type: ignore[override]  # as call_soon
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_at_microsecond(self.now + max(round(delay * 1e6), 0), callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as call_soon
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        return self.call_at_microsecond(max(round(when * 1e6), self.now), callback, *args, context=context)

    def call_at_microsecond(
        self, due: int, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, contextvars.copy_context() if context is None else context, due)
        heapq.heappush(self._timers, (due, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None, **_eager_start: object) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]  # less typed
        """Run the function at once: virtual time stands still while a thread of the host would work."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001  # whoever awaits it gets it
            future.set_exception(exc)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    default_exception_handler = call_exception_handler

    def get_exception_handler(self) -> None:
        return None

    def get_task_factory(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    async def shutdown_asyncgens(self) -> None:
        return None

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked for by asyncio's own handles, which are not used here."""


_OUTSIDE = """
    getaddrinfo getnameinfo create_connection create_server create_datagram_endpoint create_unix_connection
    create_unix_server connect_accepted_socket subprocess_exec subprocess_shell connect_read_pipe connect_write_pipe
    add_reader remove_reader add_writer remove_writer sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into
    sock_sendall sock_sendto sock_connect sock_accept sock_sendfile sendfile start_tls
"""


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(*_args: object, **_options: object) -> NoReturn:
        refuse(f"it calls loop.{name}(), which no loop on virtual time has")

    refused.__name__ = name
    return refused


for _name in _OUTSIDE.split():
    setattr(VirtualLoop, _name, _refusal(_name))
