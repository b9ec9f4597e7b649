"""Workflows and steps as users define them. A decorator only attaches a definition; nothing is registered."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from types import FunctionType
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, TypeVarTuple, Unpack, cast, overload

import msgspec
from msgspec import UNSET, Raw

from wfkit.api.signals import Signal
from wfkit.core import failures
from wfkit.core.codec import Signature, signature
from wfkit.core.commands import DEFAULT_RETRY, DEFAULT_TIMEOUT, RetryPolicy, RunStep, StartChild, Undoes
from wfkit.core.durations import Duration, microseconds
from wfkit.core.entries import ChildEnded
from wfkit.core.keys import child_id
from wfkit.core.machine import Machine, StepFuture, current_or_none
from wfkit.core.names import own_functions
from wfkit.errors import DefinitionError, RunCancelled, RunFailed, RunTerminated, RunTimedOut, StepError, WorkflowLoopError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Call = Coroutine[Any, Any, R]


class RetryAfter(Exception):  # a step raises it to ask for something, as one raises StopIteration
    """Raised in a step: try again after this wait, instead of the policy's."""

    def __init__(self, wait: Duration) -> None:
        super().__init__(f"retry after {wait}")
        self.wait = microseconds(wait)


class NonRetryable(Exception):  # as above
    """Raised in a step: do not try again, the step has failed."""


class Retry:
    """How a failed attempt of a step is repeated.

    Args:
        max_attempts: attempts in all, the first included; None means for ever.
        initial: wait before the second attempt.
        backoff: factor by which the wait grows each time.
        max_interval: longest wait.
        jitter: fraction, from 0 to 1, by which a wait is spread in either direction; derived from the idempotency key.
        non_retryable: exception classes that end the step at once; subclasses as well.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        max_attempts: int | None = 4,
        initial: Duration = "1s",
        backoff: float = 2.0,
        max_interval: Duration = "1m",
        jitter: float = 0.0,
        non_retryable: tuple[type[Exception], ...] = (),
    ) -> None:
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"max_attempts counts the first attempt, so it is at least 1, got {max_attempts}")
        if not 1 <= backoff < math.inf:
            raise ValueError(f"backoff is a factor of at least 1, got {backoff}")
        if not 0 <= jitter <= 1:
            raise ValueError(f"jitter is a fraction from 0 to 1, got {jitter}")
        self.non_retryable = non_retryable
        policy = RetryPolicy(
            max_attempts,
            microseconds(initial),
            backoff,
            microseconds(max_interval),
            jitter,
            ("NonRetryable", *(cls.__name__ for cls in non_retryable)),
        )
        # The default is written as its own object, which is how the encoder knows that it can leave it out.
        self.policy = DEFAULT_RETRY if policy == DEFAULT_RETRY else policy


@dataclass(frozen=True, slots=True)
class Expect:
    """What verification may expect of a step, where running it twice is right.

    Args:
        read_only: it changes nothing outside.
        idempotent: doing it again with the same arguments changes nothing more, as a PUT does.
        at_least_once: why it may happen more than once; shown in the report.
    """

    read_only: bool = False
    idempotent: bool = False
    at_least_once: str = ""


ATTENTION_AFTER = 10
"""A step that is retried without end marks its run as needing attention after so many failed attempts."""

_DEFAULT_RETRY = Retry()

Way = Literal["forward", "back"]

course: ContextVar[Way | None] = ContextVar("wfkit_course", default=None)
"""Past a saga's pivot the way is forward, in its compensations it is back; both are retried without end."""


class Step(Generic[P, R]):
    """A function with side effects. In a workflow, calling it asks the engine to run it, and its result is journaled.

    Outside of a workflow, in a unit test or in another step, calling it calls the function.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        total_timeout: Duration | None = None,
        raises: tuple[type[Exception], ...] = (),
        undoes: Step[..., Any] | None = None,
        expect: Expect | None = None,
    ) -> None:
        _refuse_methods(fn, "step")
        self.fn = fn
        self.expect = expect or Expect()
        self.name = name or fn.__name__
        self.is_async = inspect.iscoroutinefunction(fn)
        self.undoes = undoes
        self.undoable = False
        self.inline = False
        """Made by `run_step`: its name leads to no definition."""
        if undoes is not None:
            undoes.undoable = True
        self._retry = retry
        self._key: str | None = None
        self._timeout = DEFAULT_TIMEOUT if timeout is None else microseconds(timeout)
        self._total_timeout = None if total_timeout is None else microseconds(total_timeout)
        self.declared = (*raises, *self.non_retryable)
        self._rebuild = functools.partial(failures.rebuild, declared=self.declared)

    @property
    def non_retryable(self) -> tuple[type[Exception], ...]:
        """Exception classes that end the step at once, but where a saga only goes forward."""
        return self._retry.non_retryable if self._retry is not None else ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        call = self._call(args, kwargs)
        call.__qualname__ = self.name  # type: ignore[attr-defined]  # so Python calls it where it warns that nobody has awaited it
        return call

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        machine = current_or_none()
        if machine is not None:
            return cast("R", await self.schedule(machine, self.signature.encode(args, kwargs)))
        result = self.fn(*args, **kwargs)
        return cast("R", await result if self.is_async else result)

    def schedule(
        self, machine: Machine, args: Raw, *, undoes: Undoes | None = None, joined: bool = False, way: Way | None = None
    ) -> StepFuture:
        """Ask for one call of the step, with encoded arguments.

        Args:
            machine: the run.
            args: a JSON array of the arguments.
            undoes: what the call compensates; found by itself for a step declared with `undoes=`.
            joined: whoever cancels the call waits for its end, and the call can be undone.
            way: that of the saga which asks; by default the one of the task that does.
        """
        way = way or course.get()
        if undoes is None and self.undoes is not None:
            call = machine.undoable_call(self.undoes.name, args)
            if call is not None:
                call.undone = True
                undoes = call.reference()

        def command(n: int, key: str) -> RunStep:
            return RunStep(
                n,
                self.name,
                args,
                key,
                self._policy(way),
                self._timeout,
                None if self._is_endless(way) else self._total_timeout,
                undoes,
                compensation=way == "back",
                inline=self.inline,
            )

        return machine.run_step(
            command,
            self.name,
            args,
            self,
            self.signature.result.decode,
            self._rebuild,
            key=self._key,
            undoable=joined or self.undoable,
            joined=joined,
        )

    def _is_endless(self, way: Way | None) -> bool:
        """Whether a call on this way is retried until it succeeds. A compensation may have a policy of its own."""
        return way == "forward" or (way == "back" and self._retry is None)

    def _policy(self, way: Way | None) -> RetryPolicy:
        policy = (self._retry or _DEFAULT_RETRY).policy
        if not self._is_endless(way):
            return policy
        attention = ATTENTION_AFTER if way == "back" else policy.max_attempts or ATTENTION_AFTER
        return msgspec.structs.replace(policy, max_attempts=None, non_retryable=(), attention_after=attention)

    def with_options(
        self,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        total_timeout: Duration | None = None,
    ) -> Step[P, R]:
        """Return the same step with other options, for one call: `await charge.with_options(timeout="5s")(order)`.

        `key` takes the place of the idempotency key. It must then be unique for what it stands for, such as
        `f"invoice/{customer}/{month}"`.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        if key is not None:
            other._key = key
        if retry is not None:
            other._retry = retry
            other.declared = (*self.declared, *retry.non_retryable)
            other._rebuild = functools.partial(failures.rebuild, declared=other.declared)
        if timeout is not None:
            other._timeout = microseconds(timeout)
        if total_timeout is not None:
            other._total_timeout = microseconds(total_timeout)
        return other

    @functools.cached_property
    def signature(self) -> Signature:
        """How the arguments and the result travel.

        Raises:
            CodecError: one of the types cannot travel.
        """
        return signature(self.fn)

    def __repr__(self) -> str:
        return f"<step {self.name} at {where_defined(self.fn)}>"


class AsyncStep(Step[P, R]):
    """A step whose function is an `async def`: it runs on the engine's event loop."""

    fn: Callable[P, Call[R]]


class SyncStep(Step[P, R]):
    """A step whose function is a plain `def`: it runs in a thread."""

    fn: Callable[P, R]


class StepDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Call[R]], /) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]  # async first
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncStep[P, R]: ...


@overload
def step(fn: Callable[P, Call[R]], /) -> AsyncStep[P, R]: ...  # type: ignore[overload-overlap]  # async first
@overload
def step(fn: Callable[P, R], /) -> SyncStep[P, R]: ...
@overload
def step(
    *,
    name: str = ...,
    retry: Retry = ...,
    timeout: Duration = ...,
    total_timeout: Duration = ...,
    raises: tuple[type[Exception], ...] = (),
    undoes: Step[..., Any] = ...,
    expect: Expect = ...,
) -> StepDecorator: ...
def step(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a step.

    Args:
        fn: `async def` runs on the engine's loop, `def` in a thread.
        name: the journaled name; the function's unless given.
        retry: how failures are retried; by default 4 attempts after 1 s, 2 s and 4 s.
        timeout: for one attempt; by default 10 minutes.
        total_timeout: for all attempts and the waits between them; by default none. It does not count where a saga
            retries without end: past its pivot, and in a compensation without a `retry=`.
        raises: exception classes that the workflow may catch as themselves, and subclasses of them as these; builtin
            ones need no declaration.
        undoes: the step that this one compensates, for undo code written by hand.
        expect: what verification may expect of the step; the engine does not look at it.

    Raises:
        DefinitionError: a method is decorated.
        ValueError: a duration or a policy is out of range.
    """
    if fn is None:
        return lambda fn: _make_step(fn, options)
    return _make_step(fn, options)


def _make_step(fn: Callable[..., Any], options: dict[str, Any]) -> Step[..., Any]:
    return (AsyncStep if inspect.iscoroutinefunction(fn) else SyncStep)(fn, **options)


_UNDECORATED_MAX = 1024
"""How many steps of undecorated functions are kept: a lambda within a workflow is another function each time."""


@overload
def run_step(name: str, fn: Callable[[Unpack[Ts]], Call[R]], /, *args: Unpack[Ts], expect: Expect | None = None) -> Call[R]: ...
@overload
def run_step(name: str, fn: Callable[[Unpack[Ts]], R], /, *args: Unpack[Ts], expect: Expect | None = None) -> Call[R]: ...
def run_step(name: str, fn: Callable[[Unpack[Ts]], Any], /, *args: Unpack[Ts], expect: Expect | None = None) -> Any:
    """Run an undecorated function as a step of this name: `await run_step("charge", api.charge, order)`.

    Args:
        name: its name in the history.
        fn: the function.
        args: its arguments.
        expect: what `verify` may see of it, as in `@step(expect=...)`.
    """
    return _undecorated(fn, name, expect)(*args)


@functools.lru_cache(_UNDECORATED_MAX)
def _undecorated(fn: Callable[..., Any], name: str, expect: Expect | None) -> Step[..., Any]:
    if not isinstance(fn, FunctionType) or _is_method(fn):
        fn = _as_function(fn)
    made = _make_step(fn, {"name": name, "expect": expect})
    made.inline = True
    return made


def _as_function(fn: Callable[..., Any]) -> Any:
    """Wrap a bound method or another callable in a function, which is what a step runs."""

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)

    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
    wrapper: Any = call_async if is_async else call
    wrapper.__signature__ = inspect.signature(fn)
    wrapper.__annotations__ = dict(getattr(fn, "__annotations__", {}))
    return wrapper


# -- workflows ---------------------------------------------------------------------------------------------------------


class Workflow(Generic[P, R]):
    """A deterministic `async def`. Calling it in another workflow runs it as a child and awaits its result."""

    def __init__(
        self,
        fn: Callable[P, Call[R]],
        *,
        name: str | None = None,
        patches: tuple[str, ...] = (),
        on: Signal[Any] | None = None,
        timeout: Duration | None = None,
    ) -> None:
        _refuse_methods(fn, "workflow")
        if not inspect.iscoroutinefunction(fn):
            raise DefinitionError(f"workflow {fn.__qualname__}() is no `async def`", help="write: async def ...")
        self.fn: Callable[P, Call[R]] = fn
        self.name = name or fn.__name__
        self.patches = patches
        self.on = on
        self.timeout = None if timeout is None else microseconds(timeout)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        call = self._call(args, kwargs)
        call.__qualname__ = self.name  # type: ignore[attr-defined]  # as that of a step
        return call

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        machine = current_or_none()
        if machine is None:
            raise WorkflowLoopError(
                f"workflow {self.name!r} was called outside of a workflow",
                help=f"run it: wfkit.run({self.name}, ...), or start it: await engine.start({self.name}, ...)",
            )
        n = machine.next_number()
        id = child_id(machine.start.id, machine.start.generation, self.name, n)
        command = StartChild(n, self.name, id, self.signature.encode(args, kwargs))
        future = machine.start_child(n, command, self.decode_end)
        assert future is not None
        return cast("R", await future)

    def decode_end(self, ended: ChildEnded) -> R:
        """Return the result of a child of this workflow, or raise how it ended."""
        if ended.status == "completed" and ended.value is not UNSET:
            return cast("R", self.signature.result.decode(ended.value))
        raise run_error(ended.status, self.name, ended.error)

    @functools.cached_property
    def signature(self) -> Signature:
        """How the arguments and the result travel.

        Raises:
            CodecError: one of the types cannot travel.
        """
        return signature(self.fn)

    def decode_args(self, data: Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.signature.call(self.signature.decode(data))

    def encode_result(self, value: Any) -> Raw:
        return self.signature.result.encode(value)

    @functools.cached_property
    def code_hash(self) -> str:
        """A hash of the source of the workflow and of the functions that it calls by name, steps apart."""
        digest = blake2b(digest_size=8)
        for source in sorted(_source(fn) for fn in own_functions(self.fn)):
            digest.update(source.encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"<workflow {self.name} at {where_defined(self.fn)}>"


def run_error(status: str, what: str, error: Any) -> RunFailed | RunCancelled | RunTerminated | RunTimedOut:
    """Return the exception that tells how a run ended that did not complete.

    Args:
        status: the run's status.
        what: its id or workflow, for the message.
        error: its `Failure`, or None.
    """
    message = error.message if error is not None else ""
    match status:
        case "cancelled":
            return RunCancelled(f"{what} was cancelled" + (f": {message}" if message else ""))
        case "terminated":
            return RunTerminated(f"{what} was terminated" + (f": {message}" if message else ""))
        case "timed_out":
            return RunTimedOut(f"{what} reached its timeout")
        case _:
            cause = failures.rebuild(error) if error is not None else None
            told = str(cause) if isinstance(cause, StepError) else f"{type(cause).__name__}: {cause}"
            failed = RunFailed(f"{what} failed with {told}", error=cause)
            failed.__cause__ = cause
            return failed


class WorkflowDecorator(Protocol):
    def __call__(self, fn: Callable[P, Call[R]], /) -> Workflow[P, R]: ...


class OnDecorator(Protocol[T]):
    def __call__(self, fn: Callable[[T], Call[R]], /) -> Workflow[[T], R]: ...


@overload
def workflow(fn: Callable[P, Call[R]], /) -> Workflow[P, R]: ...
@overload
def workflow(*, on: Signal[T], name: str = ..., patches: tuple[str, ...] = (), timeout: Duration = ...) -> OnDecorator[T]: ...
@overload
def workflow(*, name: str = ..., patches: tuple[str, ...] = (), timeout: Duration = ...) -> WorkflowDecorator: ...
def workflow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a workflow.

    Args:
        fn: an `async def` that orchestrates steps and does nothing else.
        name: the journaled name; the function's unless given.
        patches: ids that `has_patch` may ask for; a run has those that were declared when it started.
        on: start a run for each published signal of this kind, with its payload as the only argument.
        timeout: how long the run may take; then it is cancelled, its compensations run, and it ends as `timed_out`.

    Raises:
        DefinitionError: it is no `async def`, or a method.
    """
    if fn is None:
        return lambda fn: Workflow(fn, **options)
    return Workflow(fn, **options)


def where_defined(fn: Callable[..., Any]) -> str:
    """Return `file:line` of a definition."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "?"


def _is_method(fn: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(fn).parameters)
    return "." in fn.__qualname__.rpartition("<locals>.")[2] and bool(parameters) and parameters[0] in ("self", "cls")


def _refuse_methods(fn: Callable[..., Any], what: str) -> None:
    if not hasattr(fn, "__qualname__"):
        raise DefinitionError(f"@{what} takes a function, got {fn!r}")
    if _is_method(fn):
        raise DefinitionError(
            f"{what} {fn.__qualname__}() is a method; its object would not survive a crash",
            help="make it a function, and its object a @resource",
        )


def _source(fn: FunctionType) -> str:
    try:
        return inspect.getsource(fn)
    except (OSError, TypeError):
        return fn.__code__.co_code.hex()
