"""Sagas: steps with their compensations, undone in reverse when the block is left by an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, TypeVarTuple, Unpack, cast

from msgspec import UNSET, Raw

from wfkit.api.attempt import attempt
from wfkit.api.definitions import Step, course
from wfkit.core.commands import FailSaga, RegisterUndo, ReleaseUndos
from wfkit.core.failures import failure_of
from wfkit.core.loop import Evicted
from wfkit.core.machine import Machine, StepCall, StepFuture, current, is_programming_error
from wfkit.errors import DefinitionError, WorkflowLoopError

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


_ENDS_THE_PROCESS = (GeneratorExit, Evicted, SystemExit, KeyboardInterrupt)
"""What leaves a block because the run leaves memory, or stops as a programming error: nothing is compensated."""


_innermost: ContextVar[Saga | None] = ContextVar("wfkit_saga", default=None)
"""The saga in whose block code runs, also in tasks that were begun there."""


class _Registered(NamedTuple):
    step: Step[..., Any]
    args: Raw
    call: StepCall | None


class Saga:
    """The open saga of a block; made by `saga()`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._outer = course.get()
        self._around: Saga | None = None
        self._kept_within: list[int] = []
        """The steps whose undos sagas within this one have released."""
        self._first = 0
        self._registered: list[_Registered] = []
        self._steps: list[StepFuture] = []
        self._leaving = False
        self._closed = False
        self._pivoted = False

    async def __aenter__(self) -> Self:
        self._first = self._machine.number + 1
        self._around = _innermost.get()
        _innermost.set(self)
        return self

    async def __aexit__(self, _type: object, exc: BaseException | None, _traceback: object) -> None:
        course.set(self._outer)
        _innermost.set(self._around)
        if exc is None:
            self._release_undos()
        elif is_programming_error(exc):
            self._machine.block(exc)
        elif not isinstance(exc, _ENDS_THE_PROCESS) and not self._pivoted:
            self._machine.emit(FailSaga(self._first, tuple(self._kept_within)))
            await self._unwind()
        self._closed = True

    async def do(
        self, step: Callable[[Unpack[Ts]], Awaitable[R]], *args: Unpack[Ts], undo: Callable[[Unpack[Ts]], Awaitable[object]]
    ) -> R:
        """Run a step whose compensation is registered first, with the same arguments.

        So a step that took effect and lost its answer is undone too; `undo` must accept that there may be nothing to undo.

        Raises:
            asyncio.CancelledError: the saga is being undone and takes no new steps.
        """
        forward, back = _step(step, "do"), _step(undo, "undo=")
        self._must_be_open()
        if self._leaving:
            raise asyncio.CancelledError("the saga is being undone")
        machine = self._machine
        encoded = forward.signature.encode(args, {})
        if self._pivoted:
            return cast("R", await forward.schedule(machine, encoded, way="forward"))  # whichever task passed the pivot
        undo_args = back.signature.encode(args, {})
        machine.emit(RegisterUndo(forward.name, back.name, undo_args, of=machine.number + 1))
        future = forward.schedule(machine, encoded, joined=True)
        self._registered.append(_Registered(back, undo_args, future.call))
        self._steps.append(future)
        return cast("R", await future)

    def undo(self, comp: Callable[[Unpack[Ts]], Awaitable[object]], *args: Unpack[Ts]) -> None:
        """Register a compensation by hand."""
        self._must_be_open()
        back = _step(comp, "undo")
        if self._pivoted:
            return
        undo_args = back.signature.encode(args, {})
        self._machine.emit(RegisterUndo("", back.name, undo_args))
        self._registered.append(_Registered(back, undo_args, None))

    def pivot(self) -> None:
        """Pass the point of no return: from here to the end of the block, failures are retried without end, not undone."""
        self._pivoted = True
        self._release_undos()
        course.set("forward")

    def _release_undos(self) -> None:
        if self._registered:
            names = tuple(undo.step.name for undo in self._registered)
            of = tuple(undo.call.n if undo.call is not None else None for undo in self._registered)
            self._machine.emit(ReleaseUndos(names, of))
            self._registered.clear()
            around = self._around
            while around is not None:
                around._kept_within += [n for n in of if n is not None]
                around = around._around

    def _must_be_open(self) -> None:
        if self._closed:
            raise DefinitionError(
                "the saga's block has ended, so nothing can be undone by it any more", help="await in the block"
            )

    async def _unwind(self) -> None:
        """Cancel this saga's steps and await their end, then run the compensations. A cancel meanwhile is put off."""
        self._leaving = True
        for future in self._steps:
            future.cancel()
        task = self._machine.loop.create_task(self._compensate(), name="saga")
        here = asyncio.current_task()
        assert here is not None
        put_off = 0
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                here.uncancel()
                put_off += 1
        for _ in range(put_off):
            here.cancel()
        task.result()

    async def _compensate(self) -> None:
        in_flight = [future for future in self._steps if not future.done()]
        if in_flight:
            await asyncio.wait(in_flight)
        course.set("back")
        # A task of the block that still runs may register what it did by hand, so the list may grow meanwhile.
        while self._registered:
            back, args, call = self._registered.pop()
            if call is not None:
                call.undone = True
            try:
                await back.schedule(self._machine, args, undoes=call.reference() if call is not None else None)
            except Exception as exc:  # noqa: BLE001  # one that fails for good does not stop the others
                failure = failure_of(exc)
                told = f"{back.name}: {failure.type}: {failure.message}"
                self._machine.saga_failures = (*self._machine.saga_failures, told)


def saga() -> Saga:
    """Open a saga: `async with saga() as s: await s.do(charge, order, undo=refund)`.

    An exception that leaves the block first runs the registered compensations, in reverse order; then it goes on.
    A programming error compensates nothing: the run is blocked and goes on once the code is mended.
    """
    return Saga(current())


def _step(step: Any, what: str) -> Step[..., Any]:
    if not isinstance(step, Step):
        raise DefinitionError(f"saga: {what} takes a @step, got {step!r}")
    return step


@dataclass(frozen=True, slots=True)
class Undone(Generic[R]):
    """The step call that a compensation undoes.

    `outcome` is `unknown` if the call's answer was lost: it may have taken effect. `result` is None unless `completed`.
    """

    idempotency_key: str
    outcome: Literal["completed", "failed", "unknown"]
    result: R | None


def undoes(step: Step[..., R]) -> Undone[R]:
    """In a compensation: return the call of `step` that it undoes.

    Raises:
        WorkflowLoopError: the step that runs undoes no call of `step`.
    """
    now = attempt.get()
    of = now.undoes if now is not None else None
    if of is None or of.step != step.name:
        raise WorkflowLoopError(
            f"this step does not undo a call of {step.name!r}",
            help="register it: s.do(step, ..., undo=this), or declare it: @step(undoes=step)",
        )
    result = None if of.result is UNSET else step.signature.result.decode(of.result)
    return Undone(of.key, of.outcome, result)
