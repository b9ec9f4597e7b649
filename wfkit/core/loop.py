"""The asyncio surface of a run: an event loop without clock, thread or I/O, driven from outside.

Theory of operation. Every run has a loop of its own. Inside an activation the loop is the running one, so that all of
asyncio (tasks, gather, timeouts, locks, queues) works on it unchanged; its timers become durable commands. An
activation runs the ready queue until it is empty and then gives control back. What makes two executions of one
history alike:

* tasks and futures hash by a counter of their run, so sets of them iterate alike in every process;
* time is the time of the last entry, and delays are whole microseconds;
* nothing may enter the ready queue from outside the run's own activation;
* garbage collection is off during an activation, and a run leaves memory only by `evict`, which closes its coroutines
  one by one with commands refused: nobody else's `finally` block ever runs inside an activation.

This is the only module that touches asyncio's internals. It knows nothing of entries and commands.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import asyncio.tasks
import builtins
import contextlib
import contextvars
import functools
import gc
import itertools
import operator
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from random import Random
from types import CodeType, FrameType
from typing import Any, NoReturn, Protocol, TypeVar

from wfkit.errors import WorkflowLoopError

T = TypeVar("T")

_get_running_loop = asyncio._get_running_loop
_set_running_loop = asyncio._set_running_loop
_enter_task = asyncio.tasks._enter_task
_leave_task = asyncio.tasks._leave_task

_process_wide_hashes = itertools.count(1)

_SWEEP_MIN = 64
"""What is done is swept out of a list of tasks or generators at the earliest when it has so many: nearly every run has
fewer, and never pays for it."""

active_loops: list[RunLoop] = []
"""The runs whose activations are under way. Empty means at a glance that no thread runs workflow code."""


class Evicted(BaseException):
    """Raised in a run that leaves memory, where it asks for something while its coroutines are closed."""


class Timers(Protocol):
    """What the loop asks of its owner: timers that survive the process."""

    def start_timer(self, handle: TimerHandle, delay: int) -> None: ...
    def cancel_timer(self, handle: TimerHandle) -> None: ...


class Future(asyncio.Future[T]):
    """A future that hashes by a counter of its run."""

    __slots__ = ("_hash",)

    def __init__(self, *, loop: RunLoop) -> None:
        super().__init__(loop=loop)
        self._hash = loop.next_hash()

    def __hash__(self) -> int:
        return self._hash


class Task(asyncio.Task[T]):
    """A task that hashes by a counter of its run."""

    __slots__ = ("_hash",)

    def __init__(self, coro: Coroutine[Any, Any, T], *, loop: RunLoop, name: str, context: contextvars.Context | None) -> None:
        # asyncio keeps every task of the process in one weak set, whose weak references remember the hash of the
        # moment of creation. Equal counters of many runs would collide there, so that hash is unique in the process.
        self._hash = next(_process_wide_hashes)
        super().__init__(coro, loop=loop, name=name, context=context)
        self._hash = loop.next_hash()
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._hash


class Handle:
    """A callback in the ready queue."""

    __slots__ = ("args", "callback", "context")

    def __init__(self, callback: Callable[..., object] | None, args: tuple[Any, ...], context: contextvars.Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None


class TimerHandle(Handle):
    """A callback that waits for a durable timer. `number` is that of its command."""

    __slots__ = ("_when", "loop", "number")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context, loop: RunLoop, when: float
    ) -> None:
        super().__init__(callback, args, context)
        self.loop = loop
        self._when = when
        self.number = 0

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        if self.callback is not None:
            self.loop.timers.cancel_timer(self)
        super().cancel()


class RunLoop(asyncio.AbstractEventLoop):
    """The event loop of one run."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.started = 0
        """Microseconds UTC at which the run started."""
        self.now = 0
        """Microseconds UTC of the last entry."""
        self.seed = 0
        self.unsafe = 0
        """How many `unsafe` blocks the code that runs just now is in; none when an activation ends."""
        self.violation: BaseException | None = None
        """The first thing that this run may not do and did; kept here since user code may swallow the exception."""
        self.closing = False
        self._ready: deque[Handle] | None = None
        """What is to run in the activation that is under way; None outside of one. It is made for each activation: an
        empty deque takes 624 bytes, which 100,000 sleeping runs need not have each."""
        self._hashes = 0
        self._names = 0
        self._tasks: list[Task[Any]] = []
        """Strong references, oldest first; those that are done are dropped when the list has doubled."""
        self._tasks_max = _SWEEP_MIN
        self._generators: list[AsyncGenerator[Any, Any]] | None = None
        self._random: Random | None = None

    # -- driven from outside ----------------------------------------------------------------------------------------

    def activate(self, begin: Callable[..., None], *args: Any) -> None:
        """Call `begin(*args)` inside the loop, then run until nothing is ready."""
        self.inside(self._run_ready, begin, args)

    def inside(self, run: Callable[..., None], *args: Any) -> None:
        """Call `run(*args)` with this loop as the running one, whatever loop the caller runs on.

        To activate a loop many times, as a replay does, stay inside: entering and leaving takes 2 us.
        """
        host = _get_running_loop()
        if host is self:
            run(*args)
            return
        host_task = asyncio.current_task(host) if host is not None else None
        if isinstance(host, RunLoop):
            host.refuse(
                WorkflowLoopError(
                    "a workflow cannot drive another run from inside", help="start it as a child: await other(...)"
                )
            )
        if host is not None and host_task is not None:
            _leave_task(host, host_task)
        collecting = gc.isenabled()
        gc.disable()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._keep_generator, None)
        _set_running_loop(self)
        self._ready = deque()
        active_loops.append(self)
        try:
            run(*args)
        finally:
            active_loops.pop()
            self._ready = None
            _set_running_loop(host)
            sys.set_asyncgen_hooks(*hooks)
            if collecting:
                gc.enable()
            if host is not None and host_task is not None:
                _enter_task(host, host_task)

    def _run_ready(self, begin: Callable[..., None], args: tuple[Any, ...]) -> None:
        ready = self._ready
        assert ready is not None
        begin(*args)
        take = ready.popleft
        while ready:
            handle = take()
            if handle.callback is not None:
                handle.context.run(handle.callback, *handle.args)

    def evict(self) -> None:
        """Drop the run from memory: close every coroutine and generator, with commands refused and nothing else run."""
        self.closing = True
        coroutines = [task.get_coro() for task in reversed(self._tasks)]
        generators = self._generators or []
        self.inside(_close_all, coroutines, generators)
        if self._ready is not None:
            self._ready.clear()
        self._tasks.clear()
        self._generators = None

    def resume_timer(self, handle: TimerHandle) -> None:
        """Make the callback of a timer that fired ready."""
        assert self._ready is not None
        self._ready.append(handle)

    @property
    def random(self) -> Random:
        """The run's generator of random numbers. It is made on first use: it takes 2.5 kB and 10 us."""
        if self._random is None:
            self._random = Random(self.seed)
        return self._random

    def next_hash(self) -> int:
        self._hashes += 1
        return self._hashes

    def refuse(self, error: WorkflowLoopError) -> NoReturn:
        """Raise `error` in the run's code, and remember it even if that code swallows it."""
        if self.violation is None:
            self.violation = error
        raise error

    def _refuse_visitor(self, what: str) -> NoReturn:
        """Raise in code that is not this run's. The asyncio object that it touched is spoilt for this run as well."""
        frame = user_frame(sys._getframe(1))
        line = f", at {location(frame)}" if frame is not None else ""
        error = WorkflowLoopError(what + line, help="futures and locks belong to one run; use signals between runs")
        visitor = running()
        if visitor is not None and visitor.violation is None:
            visitor.violation = error
        self.refuse(error)

    # -- what asyncio asks of a loop --------------------------------------------------------------------------------

    def time(self) -> float:
        return (self.now - self.started) / 1e6

    def call_soon(  # type: ignore[override]  # a Handle of our own: asyncio's is twice as large and slow
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        if self._ready is None:
            self._refuse_visitor(
                "another run, or code outside of any run, tried to wake this run through a shared asyncio object"
            )
        handle = Handle(callback, args, context if context is not None else contextvars.copy_context())
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as call_soon
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> TimerHandle:
        return self._call_after(max(round(delay * 1e6), 0), callback, args, context)

    def call_at(  # type: ignore[override]  # as call_soon
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> TimerHandle:
        return self._call_after(max(round((when - self.time()) * 1e6), 0), callback, args, context)

    def _call_after(
        self, delay: int, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> TimerHandle:
        if self.closing:
            raise Evicted
        if self._ready is None:
            self._refuse_visitor("another run, or code outside of any run, tried to set a timer of this run")
        when = self.time() + delay / 1e6
        handle = TimerHandle(callback, args, context if context is not None else contextvars.copy_context(), self, when)
        self.timers.start_timer(handle, delay)
        return handle

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_eager_start: object,  # dropped: an eager start would change the order of commands between Python versions
    ) -> Task[T]:
        if self.closing:
            coro.close()
            raise Evicted
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        self._names += 1
        task = Task(coro, loop=self, name=name or f"task-{self._names}", context=context)
        if len(self._tasks) >= self._tasks_max:
            self._tasks = self.unfinished_tasks()
            self._tasks_max = max(_SWEEP_MIN, 2 * len(self._tasks))
        self._tasks.append(task)
        return task

    def unfinished_tasks(self) -> list[Task[Any]]:
        """Return the run's tasks that are not done, oldest first."""
        return [task for task in self._tasks if not task.done()]

    def _keep_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._generators is None:
            self._generators = []
        elif len(self._generators) % _SWEEP_MIN == 0:
            self._generators = [kept for kept in self._generators if getattr(kept, "ag_frame", None) is not None]
        self._generators.append(generator)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nothing is logged: a task's exception that nobody reads is no event outside the run."""

    default_exception_handler = call_exception_handler

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.closing

    def get_exception_handler(self) -> None:
        return None

    def get_task_factory(self) -> None:
        return None

    async def shutdown_asyncgens(self) -> None:
        return None

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked for by asyncio's own handles, which are not used here."""


_REFUSED = """
    call_soon_threadsafe run_in_executor set_default_executor getaddrinfo getnameinfo create_connection create_server
    create_datagram_endpoint create_unix_connection create_unix_server connect_accepted_socket subprocess_exec
    subprocess_shell connect_read_pipe connect_write_pipe add_reader remove_reader add_writer remove_writer sock_recv
    sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile
    sendfile start_tls add_signal_handler remove_signal_handler run_forever run_until_complete stop close set_debug
    set_task_factory set_exception_handler shutdown_default_executor
"""


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(self: RunLoop, *_args: object, **_options: object) -> NoReturn:
        self.refuse(
            WorkflowLoopError(
                f"loop.{name}() in workflow code: threads, sockets, processes and signals cannot be replayed",
                help="do this in a step",
            )
        )

    refused.__name__ = name
    return refused


for _name in _REFUSED.split():
    setattr(RunLoop, _name, _refusal(_name))
RunLoop.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # all are defined, the refused ones just above


_CLOSINGS_MAX = 100
"""How often a coroutine is told to end. One `try` that catches everything takes one more; who goes on after a hundred has
a loop around it, and never ends."""
_undying: list[object] = []
"""Coroutines that swallow every attempt to close them. They are kept, or the interpreter would try once more when it
frees them, and their code would run wherever that happens to be."""


def _close_all(coroutines: Iterable[Any], generators: Iterable[Any]) -> None:
    """Close coroutines, then generators. Their `finally` may raise, await or go on: this is a copy that nobody needs."""
    for coroutine in coroutines:
        for _ in range(_CLOSINGS_MAX):
            # `close` would leave an async generator that the coroutine is in the middle of where its `finally` awaits.
            with contextlib.suppress(BaseException):
                coroutine.throw(Evicted())
            if getattr(coroutine, "cr_frame", None) is None:
                break
        else:
            _undying.append(coroutine)
    for generator in generators:
        for _ in range(_CLOSINGS_MAX):
            closing = generator.aclose()
            with contextlib.suppress(BaseException):
                closing.send(None)
                for _ in range(_CLOSINGS_MAX):
                    closing.throw(Evicted())
            if generator.ag_frame is None:
                break
        else:
            _undying.append(generator)


@contextlib.contextmanager
def instead_of_host(loop: asyncio.AbstractEventLoop, keep: Callable[[AsyncGenerator[Any, Any]], None]) -> Generator[None]:
    """Make `loop` the running one within the block, on top of a loop that may be running in this thread already.

    Args:
        loop: not that of a run: those are entered by `RunLoop.inside`.
        keep: takes async generators as they begin; they are not finalised by the garbage collector.

    Raises:
        WorkflowLoopError: within workflow code.
    """
    host = _get_running_loop()
    if isinstance(host, RunLoop):
        host.refuse(WorkflowLoopError("a workflow cannot simulate another run", help="do it outside of workflow code"))
    task = asyncio.current_task(host) if host is not None else None
    if host is not None and task is not None:
        _leave_task(host, task)
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(keep, None)
    _set_running_loop(loop)
    try:
        yield
    finally:
        _set_running_loop(host)
        sys.set_asyncgen_hooks(*hooks)
        if host is not None and task is not None:
            _enter_task(host, task)


def is_inside_a_loop() -> bool:
    """Whether an event loop of asyncio is running in this thread."""
    return _get_running_loop() is not None


def running() -> RunLoop | None:
    """Return the loop of the run whose code runs just now; None outside of workflow code."""
    loop = _get_running_loop()
    return loop if loop.__class__ is RunLoop else None


def user_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame of the user's code at or above `frame`; None if a run's loop called by itself."""
    library = None
    while frame is not None and frame.f_code is not RunLoop.inside.__code__:  # beyond is whoever drives the run
        path = frame.f_code.co_filename
        if not is_internal_file(path):
            if not is_library_file(path):
                return frame
            library = library or frame
        frame = frame.f_back
    return library


def frame_of(thread: int) -> FrameType | None:
    """Return what a thread executes; None if it does not exist.

    Before Python 3.11.9 and 3.12.3 a garbage collection in the middle of `sys._current_frames` can freeze the whole process
    (python/cpython#106883), so there is none: in `map`, all three calls are made from C, and no other thread comes in between.
    """
    if not gc.isenabled():
        return sys._current_frames().get(thread)
    _, frames, _ = map(operator.call, (gc.disable, sys._current_frames, gc.enable))
    return frames.get(thread) if frames is not None else None


_INTERNAL = (
    __file__.rsplit("/core/", 1)[0] + "/",
    asyncio.__file__.rsplit("/", 1)[0] + "/",
    contextlib.__file__,
    "<frozen",
)
_STANDARD_LIBRARY = asyncio.__file__.rsplit("/asyncio/", 1)[0] + "/"


def is_internal(code: CodeType) -> bool:
    """Whether code belongs to wfkit, asyncio or contextlib, not to the user."""
    return is_internal_file(code.co_filename)


@functools.lru_cache(maxsize=1024)
def is_internal_file(path: str) -> bool:
    """As `is_internal`, of the code of a file."""
    return path.startswith(_INTERNAL)


def is_library(code: CodeType) -> bool:
    """Whether code belongs to the standard library or to an installed package."""
    return is_library_file(code.co_filename)


@functools.lru_cache(maxsize=1024)
def is_library_file(path: str) -> bool:
    """As `is_library`, of the code of a file, by the name of its folder."""
    return path.startswith(_STANDARD_LIBRARY) or "/site-packages/" in path or "/dist-packages/" in path


def location(frame: FrameType) -> str:
    """Return `file:line in function` of a frame."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def awaited_by(task: asyncio.Task[Any]) -> tuple[str, str | None]:
    """Say what a suspended task awaits, through the tasks that it awaits, and the line of the user's code that does.

    Returns:
        A description of the innermost awaited object, and `file:line in function` or None.
    """
    what, line = _BARE_FUTURE, None
    seen: list[object] = []
    waiting: Any = task
    while waiting is not None and waiting not in seen:
        seen.append(waiting)
        awaited: Any = waiting.get_coro() if isinstance(waiting, asyncio.Task) else None
        while awaited is not None:
            frame = (
                getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None) or getattr(awaited, "ag_frame", None)
            )
            if frame is not None and not is_internal(frame.f_code):
                what, line = _BARE_FUTURE, location(frame)
            elif frame is not None and what == _BARE_FUTURE and awaited.__qualname__[0] != "_":
                what = f"{awaited.__qualname__}()"
            awaited = (
                getattr(awaited, "cr_await", None)
                or getattr(awaited, "gi_yieldfrom", None)
                or getattr(awaited, "ag_await", None)
            )
        future = getattr(waiting, "_fut_waiter", None)
        children = [child for child in getattr(future, "_children", ()) if not child.done()]
        waiting = children[0] if children else future
    if isinstance(waiting, asyncio.Task):
        what = f"task {waiting.get_name()!r}, which waits for this one"
    return what, line


_BARE_FUTURE = "a future that nobody sets"


# -- what of asyncio looks beyond the loop -----------------------------------------------------------------


def _set_of(items: Iterable[Any] = ()) -> Any:
    """Stand in for `set` inside `asyncio.tasks`, where `as_completed` and `wait` make a set of what they were given.

    Coroutines and other awaitables hash by address, so a set of them would create the tasks in another order in every
    process. In workflow code a collection in the given order takes the place of such a set.
    """
    if running() is not None and (given := dict.fromkeys(items)):
        return given.keys()
    return builtins.set(items)


_all_tasks_of_a_loop = asyncio.all_tasks


def _all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
    """Stand in for `asyncio.all_tasks`, which walks over the tasks of the whole process in the order of a table."""
    run = loop if isinstance(loop, RunLoop) else running() if loop is None else None
    return builtins.set(run.unfinished_tasks()) if run is not None else _all_tasks_of_a_loop(loop)


def _hash_of_gather(future: Any) -> int:
    """Hash what `gather` returns as the other futures of its run: it is made by asyncio itself, not by the loop."""
    loop = future.get_loop()
    if not isinstance(loop, RunLoop):
        return object.__hash__(future)
    number: int | None = getattr(future, "_hash", None)
    if number is None:
        number = future._hash = loop.next_hash()
    return number


asyncio.tasks._GatheringFuture.__hash__ = _hash_of_gather  # type: ignore[attr-defined]  # not in typeshed
asyncio.tasks.set = _set_of  # type: ignore[attr-defined]  # a global of that module shadows the builtin there, and only there
asyncio.all_tasks = asyncio.tasks.all_tasks = _all_tasks
