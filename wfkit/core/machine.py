"""The run machine: entries in, commands out.

A `Machine` is one run's code at one point of its history. `feed` gives it the next entry and returns the commands that
the code asks for in answer; `replay` feeds a recorded history and compares. The engine, the simulator and the debugger
drive this object and no other. It acts on nothing and reads no clock.

A machine that raises out of `feed` is spent: the activation is void, and the run is rebuilt from its history.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET, Raw

from wfkit.core import compare
from wfkit.core.commands import (
    AwaitSignal,
    CancelChild,
    CancelRun,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    Json,
    RunStep,
    StartChild,
    StartTimer,
    StopAwaiting,
    Undoes,
)
from wfkit.core.entries import (
    FED,
    Activated,
    ActivationStarted,
    Blocked,
    CancelRequested,
    ChildEnded,
    Fed,
    Record,
    RunStarted,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    Unblocked,
)
from wfkit.core.failures import failure_of
from wfkit.core.keys import idempotency_key
from wfkit.core.loop import Evicted, Future, RunLoop, Task, TimerHandle, awaited_by, location, running, user_frame
from wfkit.core.matching import Arrived, SignalBuffer, Wait, Wanted
from wfkit.errors import CodecError, DefinitionError, PayloadTooLarge, ProgrammingError, StuckRun, WfkitError, WorkflowLoopError

PROGRAMMING_ERRORS = (NameError, AttributeError, TypeError, ImportError, CodecError, DefinitionError, WorkflowLoopError)
"""What only an edit of the workflow's code can mend: such an error blocks the run instead of failing it."""

_STUCK_SHOWN_MAX = 5


class Code(Protocol):
    """What a machine needs to know of a workflow's definition."""

    @property
    def name(self) -> str: ...
    @property
    def fn(self) -> Callable[..., Coroutine[Any, Any, Any]]: ...
    @property
    def patches(self) -> Sequence[str]: ...
    @property
    def code_hash(self) -> str: ...
    def decode_args(self, data: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]: ...
    def encode_result(self, value: Any) -> Raw: ...


class StepCall:
    """A step call that a compensation may have to undo: what it was, and what is known of its end."""

    __slots__ = ("args", "key", "n", "name", "outcome", "result", "undone")

    def __init__(self, n: int, name: str, args: Raw, key: str) -> None:
        self.n = n
        self.name = name
        self.args = args
        self.key = key
        self.outcome: Any = "unknown"
        self.result: Json = UNSET
        self.undone = False

    def reference(self) -> Undoes:
        return Undoes(self.name, self.key, self.outcome, self.result)


class StepFuture(Future[Any]):
    """The outcome of a step. Cancelling it cancels the step."""

    __slots__ = ("call", "decode", "definition", "machine", "n", "rebuild")

    def __init__(
        self,
        machine: Machine,
        n: int,
        definition: object,
        decode: Callable[[Raw], Any],
        rebuild: Callable[[Failure], BaseException],
        call: StepCall | None,
    ) -> None:
        super().__init__(loop=machine.loop)
        self.machine = machine
        self.n = n
        self.definition = definition
        self.decode = decode
        self.rebuild = rebuild
        self.call = call

    def cancel(self, msg: Any | None = None) -> bool:
        if not self.done():
            self.machine.cancel_step(self.n)
        return super().cancel(msg)


class JoinedStepFuture(StepFuture):
    """As `StepFuture`, but whoever cancels it still waits for the step's end: its effect must be known to be undone."""

    __slots__ = ("_cancelling",)

    def cancel(self, msg: Any | None = None) -> bool:
        if self.machine.loop.closing:
            return super(StepFuture, self).cancel(msg)
        if not self.done() and not getattr(self, "_cancelling", False):
            self._cancelling = True
            self.machine.join_step(self.n)
        return False


class ChildFuture(Future[Any]):
    """The end of an awaited child. Whoever cancels it cancels the child, and still waits for its end."""

    __slots__ = ("_cancelling", "decode", "machine", "n")

    def __init__(self, machine: Machine, n: int, decode: Callable[[ChildEnded], Any]) -> None:
        super().__init__(loop=machine.loop)
        self.machine = machine
        self.n = n
        self.decode = decode
        self._cancelling = False

    def cancel(self, msg: Any | None = None) -> bool:
        if self.machine.loop.closing:
            return super().cancel(msg)
        if not self.done() and not self._cancelling:
            self._cancelling = True
            self.machine.emit(CancelChild(self.n))
        return False


class Activation(NamedTuple):
    """One fed entry of a history and the commands recorded for it; None if it was never activated."""

    seq: int
    entry: Fed
    commands: tuple[Command, ...] | None


def activations(history: Iterable[Record]) -> list[Activation]:
    """Return the activations of a history, in order. Bookkeeping is left out; `Activated` finds its entry."""
    found: dict[int, Activation] = {}
    for seq, record in enumerate(history, start=1):
        entry = record.entry
        if isinstance(entry, FED):
            found[seq] = Activation(seq, entry, record.commands)  # type: ignore[arg-type]  # FED are the classes of Fed
        elif isinstance(entry, Activated):
            found[entry.of] = Activation(entry.of, found[entry.of].entry, record.commands)
    return list(found.values())


def told_length(history: Sequence[Record]) -> int:
    """Return the number of records, as messages tell it: without those that only say that the run is blocked."""
    length = len(history)
    while length and isinstance(history[length - 1].entry, Blocked | Unblocked | ActivationStarted):
        length -= 1
    return length


class Machine:
    """The code of one run, at one point of its history.

    Args:
        code: the workflow's definition.
        capture_sites: remember the user's line of each command, for messages; this costs 2 us a command.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_first",
        "_main",
        "calls",
        "cancel_requested",
        "code",
        "commands",
        "ended",
        "forward",
        "logs",
        "loop",
        "number",
        "pending",
        "saga_failures",
        "seq",
        "signals",
        "sites",
        "start",
        "state",
    )

    def __init__(self, code: Code, *, capture_sites: bool = False) -> None:
        self.code = code
        self.loop = RunLoop(self)  # type: ignore[abstract]  # the missing methods are set below the class
        self.start: RunStarted
        self.seq = 0
        """Number of the last entry."""
        self.number = 0
        """Number of the last command."""
        self.commands: list[Command] = []
        """The commands of the activation that is under way."""
        self.pending: dict[int, Future[Any] | TimerHandle] = {}
        """What waits for an outcome, by command number."""
        self.signals: SignalBuffer | None = None
        self.state: dict[str, Raw] | None = None
        self.calls: list[StepCall] | None = None
        """Calls of steps that have a compensation, in command order."""
        self.saga_failures: tuple[str, ...] = ()
        self.cancel_requested: CancelRequested | None = None
        self.ended = False
        self.logs: list[logging.LogRecord] = []
        """What the workflow logged in its last activation; for after the commit."""
        self.sites: dict[tuple[str, int], str] | None = {} if capture_sites else None
        self._main: Task[Any] | None = None
        self._counts: dict[str, int] = {}
        self._first = 1

    # -- driven from outside ----------------------------------------------------------------------------------------

    def feed(self, entry: Fed, seq: int) -> tuple[Command, ...]:
        """Give the run its next entry, number `seq`, and return the commands of the activation.

        Raises:
            WorkflowLoopError: the code did what a workflow may not do, or is stuck.
            ProgrammingError: the code raised an error that only an edit can mend.
            CodecError: a value does not fit its hint.
        """
        self.seq = seq
        self._first = self.number + 1
        self.commands = []
        self.logs = []
        try:
            self._activate(entry)
        except BaseException as exc:
            # What the code did is void, and nobody closes a machine that failed: its `finally` blocks end here.
            self.evict()
            if isinstance(exc, SystemExit):
                raise ProgrammingError(
                    f"the workflow called sys.exit({exc.code!r})", help="return, or raise an exception"
                ) from exc
            if isinstance(exc, WfkitError) or not isinstance(exc, Exception):
                raise
            raise _programming_error(exc) from exc
        return tuple(self.commands)

    def _activate(self, entry: Fed) -> None:
        loop = self.loop
        if entry.t > loop.now:
            loop.now = entry.t
        loop.activate(self._apply, entry)
        if loop.violation is not None:
            raise loop.violation
        if loop.unsafe:
            raise WorkflowLoopError(
                "an `unsafe` block awaits: until it ends, nothing in this run would be guarded",
                help="take the await out of the block",
            )
        main = self._main
        if main is not None and main.done():
            self._finish(main)
        elif not self.pending and main is not None:
            self._stuck(main)

    def replay(self, history: Sequence[Activation], *, length: int) -> list[compare.Difference]:
        """Feed a recorded history up to its first entry that was not activated, and compare the commands.

        Args:
            history: what `activations` returned.
            length: number of records in the whole history, for messages.

        Returns:
            Differences that do not change control flow, such as a step's arguments.

        Raises:
            NonDeterminismError: the code asks for something else than the history holds.
        """
        differences: list[compare.Difference] = []
        self.loop.inside(self._replay, history, differences)
        if differences and differences[-1].breaks:
            raise compare.divergence(self, history, differences[-1], length)
        return differences

    def _replay(self, history: Sequence[Activation], differences: list[compare.Difference]) -> None:
        for seq, entry, recorded in history:
            if recorded is None:
                return
            requested = self.feed(entry, seq)
            if requested != recorded:
                differences += compare.differences(recorded, requested, seq)
                if differences and differences[-1].breaks:
                    return

    def evict(self) -> None:
        """Drop the run's code from memory; its `finally` blocks run with every command refused."""
        self.loop.evict()
        self.pending.clear()
        self._main = None

    # -- one entry --------------------------------------------------------------------------------------------------

    def _apply(self, entry: Fed) -> None:
        match entry:
            case StepCompleted():
                self._complete_step(entry)
            case TimerFired():
                handle = self.pending.pop(entry.n, None)
                if isinstance(handle, TimerHandle):
                    self.loop.resume_timer(handle)
            case StepFailed():
                self._fail_step(entry)
            case SignalReceived():
                self.signal_buffer().deliver(Arrived(self.seq, entry.name, entry.payload, entry.arrived))
            case ChildEnded():
                self._end_child(entry)
            case RunStarted():
                self._begin(entry)
            case CancelRequested():
                self.cancel_requested = entry
                if self._main is not None:
                    self._main.cancel()

    def _begin(self, entry: RunStarted) -> None:
        self.start = entry
        self.loop.started = entry.t
        self.loop.seed = int(entry.seed, 16)
        args, kwargs = self.code.decode_args(entry.args)
        self._main = self.loop.create_task(self.code.fn(*args, **kwargs), name="main", context=contextvars.Context())

    def _complete_step(self, entry: StepCompleted) -> None:
        future = self.pending.pop(entry.n, None)
        if isinstance(future, StepFuture) and not future.done():
            if future.call is not None:
                future.call.outcome, future.call.result = "completed", entry.value
            future.set_result(future.decode(entry.value))

    def _fail_step(self, entry: StepFailed) -> None:
        future = self.pending.pop(entry.n, None)
        if isinstance(future, StepFuture) and not future.done():
            if future.call is not None and entry.error.type not in _OUTCOME_UNKNOWN:
                future.call.outcome = "failed"
            error = future.rebuild(entry.error)
            _mark(error, entry.n)
            future.set_exception(error)

    def _end_child(self, entry: ChildEnded) -> None:
        future = self.pending.pop(entry.n, None)
        if isinstance(future, ChildFuture) and not future.done():
            try:
                future.set_result(future.decode(entry))
            except CodecError:
                raise
            except Exception as exc:  # noqa: BLE001  # how a child ended is what its parent must see
                _mark(exc, entry.n)
                future.set_exception(exc)

    def _finish(self, main: Task[Any]) -> None:
        ending = self._ending(main)
        dangling = []
        for n, pending in list(self.pending.items()):
            if isinstance(pending, StepFuture):
                self.commands.append(CancelStep(n))
                dangling.append(n)
            elif isinstance(pending, ChildFuture):
                self.commands.append(CancelChild(n))
                dangling.append(n)
        self.commands.append(ending(tuple(dangling)))
        self.ended = True
        self.evict()

    def _ending(self, main: Task[Any]) -> Callable[[tuple[int, ...]], CompleteRun | FailRun | CancelRun]:
        requested, failures = self.cancel_requested, self.saga_failures
        if main.cancelled():
            if requested is None:
                error = Failure("CancelledError", "the workflow was cancelled by its own code")
                return lambda dangling: FailRun(error, failures, dangling)
            return lambda dangling: CancelRun(requested.reason, requested.timeout, failures, dangling)
        exc = main.exception()
        if exc is None:
            try:
                value = self.code.encode_result(main.result())
            except (CodecError, PayloadTooLarge) as refused:
                raise type(refused)(f"{self.code.name}() returned what cannot be recorded: {refused}") from refused
            return lambda dangling: CompleteRun(value, dangling, failures)
        if is_programming_error(exc):
            raise _programming_error(exc)
        failure = failure_of(exc)
        return lambda dangling: FailRun(failure, failures, dangling)

    def _stuck(self, main: Task[Any]) -> None:
        told = []
        for task in [main, *(task for task in self.loop.unfinished_tasks() if task is not main)][:_STUCK_SHOWN_MAX]:
            what, line = awaited_by(task)
            told.append(what + (f", at {line}" if line else "") + ("" if task is main else f" (task {task.get_name()!r})"))
        raise StuckRun(f"the run waits for what nothing durable will ever bring: {'; '.join(told)}")

    # -- what primitives ask for ------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return the number of the next command."""
        if self.loop.closing:
            raise Evicted
        self.number += 1
        return self.number

    def emit(self, command: Command) -> None:
        """Add a command to the activation."""
        if self.loop.closing:
            return
        if self.sites is not None:
            frame = user_frame(sys._getframe(1))
            if frame is not None:
                self.sites[compare.identity(command)] = location(frame)
        self.commands.append(command)

    def run_step(
        self,
        command: Callable[[int, str], RunStep],
        name: str,
        args: Raw,
        definition: object,
        decode: Callable[[Raw], Any],
        rebuild: Callable[[Failure], BaseException],
        *,
        key: str | None = None,
        undoable: bool = False,
        joined: bool = False,
    ) -> StepFuture:
        """Ask for a step and return the future of its outcome.

        Args:
            command: makes the command of its number and idempotency key.
            name: the step's name.
            args: the step's arguments.
            definition: what the executor runs, if the name alone does not tell it.
            decode: makes the result of its JSON.
            rebuild: makes an exception of a failure.
            key: an idempotency key that the user chose.
            undoable: remember the call, so that a compensation can refer to it.
            joined: whoever cancels the future waits for the step's end.
        """
        n = self.next_number()
        nth = self._counts.get(name, 0) + 1
        self._counts[name] = nth
        if key is None:
            key = idempotency_key(self.start.id, self.start.generation, name, nth)
        call = None
        if undoable:
            call = StepCall(n, name, args, key)
            if self.calls is None:
                self.calls = []
            self.calls.append(call)
        future = (JoinedStepFuture if joined else StepFuture)(self, n, definition, decode, rebuild, call)
        self.pending[n] = future
        self.emit(command(n, key))
        return future

    def cancel_step(self, n: int) -> None:
        future = self.pending.pop(n, None)
        if future is None:
            return
        if n < self._first:
            self.emit(CancelStep(n))
            return
        self._withdraw(RunStep, n)
        if isinstance(future, StepFuture) and future.call is not None and self.calls is not None:
            self.calls.remove(future.call)

    def join_step(self, n: int) -> None:
        self.emit(CancelStep(n, awaited=True))

    def start_child(self, n: int, command: StartChild, decode: Callable[[ChildEnded], Any]) -> ChildFuture | None:
        """Start a child and return the future of its end, if it is awaited."""
        self.emit(command)
        if not command.awaited:
            return None
        future = ChildFuture(self, n, decode)
        self.pending[n] = future
        return future

    def start_timer(self, handle: TimerHandle, delay: int) -> None:
        handle.number = n = self.next_number()
        self.pending[n] = handle
        self.emit(StartTimer(n, delay))

    def cancel_timer(self, handle: TimerHandle) -> None:
        n = handle.number
        if self.pending.pop(n, None) is None:
            return
        if n < self._first:
            self.emit(CancelTimer(n))
        else:
            self._withdraw(StartTimer, n)

    def _withdraw(self, kind: type[RunStep | StartTimer], n: int) -> None:
        """Take back what was asked for in this activation: it never was, as far as anybody outside is concerned."""
        if not self.loop.closing:
            self.commands[:] = [command for command in self.commands if not (isinstance(command, kind) and command.n == n)]

    def signal_buffer(self) -> SignalBuffer:
        if self.signals is None:
            self.signals = SignalBuffer()
        return self.signals

    def open_wait(self, wanted: Sequence[tuple[str, dict[str, Any] | None, Json]], deadline: int | None) -> Wait:
        """Open a wait for the first signal that is one of (name, fields, the same fields as JSON)."""
        wants = []
        for name, where, encoded in wanted:
            n = self.next_number()
            wants.append(Wanted(n, name, where))
            self.emit(AwaitSignal(n, name, encoded))
        wait = Wait(loop=self.loop, wanted=tuple(wants), deadline=deadline)
        self.pending[wants[0].n] = wait
        self.signal_buffer().register(wait)
        return wait

    def close_wait(self, wait: Wait, took: Arrived | None) -> None:
        """Close a wait that took a signal, or that is given up."""
        self.pending.pop(wait.wanted[0].n, None)
        if took is None and not self.loop.closing:
            self.signal_buffer().withdraw(wait)
        for want in wait.wanted:
            self.emit(StopAwaiting(want.n, took.seq if took is not None and took.name == want.name else None))

    def block(self, exc: BaseException) -> None:
        """Void this activation because of a programming error, even if the code goes on to handle it."""
        if self.loop.violation is None:
            self.loop.violation = _programming_error(exc)

    def set_state(self, name: str, value: Raw) -> None:
        self.state = {**(self.state or {}), name: value}

    def undoable_call(self, name: str, args: Raw) -> StepCall | None:
        """Return the last call of a step with equal arguments that is not undone yet."""
        for call in reversed(self.calls or ()):
            if call.name == name and not call.undone and call.args == args:
                return call
        return None


_OUTCOME_UNKNOWN = frozenset({"StepTimeout", "StepCancelled", "WorkerDied"})


def _mark(error: BaseException, n: int) -> None:
    """Tell an outcome's error from one of the workflow's own code. A class may forbid attributes; this one is not its own."""
    object.__setattr__(error, "__wfkit_step__", n)


def is_programming_error(exc: BaseException) -> bool:
    """Whether an exception that leaves workflow code is one that only an edit of that code can mend."""
    if isinstance(exc, BaseExceptionGroup):
        return any(is_programming_error(inner) for inner in exc.exceptions)
    return isinstance(exc, PROGRAMMING_ERRORS) and not hasattr(exc, "__wfkit_step__")


def _programming_error(exc: BaseException) -> Exception:
    if isinstance(exc, CodecError | DefinitionError | WorkflowLoopError):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        return _programming_error(next(inner for inner in exc.exceptions if is_programming_error(inner)))
    failure = failure_of(exc)
    error = ProgrammingError(f"{failure.type}: {failure.message}" + (f", at {failure.line}" if failure.line else ""))
    error.__cause__ = exc
    return error


def current() -> Machine:
    """Return the machine of the run whose code runs just now.

    Raises:
        WorkflowLoopError: called outside of workflow code.
    """
    loop = running()
    if loop is None:
        raise WorkflowLoopError("this is only possible in workflow code", help="call it from an `async def` under @workflow")
    machine = loop.timers
    assert isinstance(machine, Machine)
    return machine


def current_or_none() -> Machine | None:
    """Return the machine of the run whose code runs just now, or None outside of workflow code."""
    loop = running()
    return None if loop is None else loop.timers  # type: ignore[return-value]  # a run's loop belongs to a machine
