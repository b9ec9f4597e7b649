"""What a program outside of workflows holds: a client of an engine, and handles of runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, TypeVarTuple, Unpack, cast, overload

from msgspec import Raw

from wfkit.api.definitions import Workflow, run_error
from wfkit.api.primitives import State
from wfkit.api.signals import Signal, as_signal
from wfkit.core.codec import codec
from wfkit.core.commands import Failure
from wfkit.core.entries import Record
from wfkit.engine.payloads import warn_if_heavy
from wfkit.errors import DefinitionError, InternalError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

IfFinished = Literal["attach", "fail", "restart"]


class End(NamedTuple):
    """How a chain of generations ended."""

    status: str
    value: Raw | None
    error: Failure | None
    saga_failures: tuple[str, ...]


class Requests(Protocol):
    """What a client asks of an engine, in names and JSON: the same in this process and across a socket.

    A request that changes something is durable when it returns.
    """

    async def start_run(
        self, workflow: str, args: Raw, id: str | None, if_finished: IfFinished, send: tuple[str, Raw] | None
    ) -> str: ...
    async def send_signal(self, id: str, signal: str, payload: Raw, dedupe: str | None) -> None: ...
    async def publish_signal(self, signal: str, payload: Raw, dedupe: str | None) -> None: ...
    async def cancel_run(self, id: str, reason: str) -> None: ...
    async def terminate_run(self, id: str, reason: str) -> None: ...
    async def end_of(self, id: str) -> End: ...
    async def status_of(self, id: str) -> str: ...
    async def state_of(self, id: str, name: str) -> Raw | None: ...
    async def history_of(self, id: str) -> list[Record]: ...
    async def find_runs(self, filter: str, limit: int) -> Sequence[tuple[str, Workflow[..., Any] | None]]: ...


class Run(Generic[R]):
    """A handle of a run: of the newest generation of its chain."""

    def __init__(self, client: Client, id: str, workflow: Workflow[..., Any] | None) -> None:
        self.client = client
        self.id = id
        self._workflow = workflow

    async def result(self) -> R:
        """Wait for the end of the run and return its result.

        Raises:
            RunFailed: the workflow raised; `error` has its exception.
            RunCancelled, RunTerminated, RunTimedOut: it ended otherwise.
            UnknownRun: there is no such run.
        """
        end = await self.client.requests.end_of(self.id)
        if end.status == "completed":
            if end.value is None:
                raise InternalError(f"run {self.id} completed without a result")
            decode = codec(Any).decode if self._workflow is None else self._workflow.signature.result.decode
            return cast("R", decode(end.value))
        error = run_error(end.status, f"run {self.id}", end.error)
        if hasattr(error, "saga_failures"):
            error.saga_failures = end.saga_failures
        raise error

    @overload
    async def send(self, signal: Signal[T], payload: T, *, dedupe: str | None = None) -> None: ...
    @overload
    async def send(self, signal: str, payload: object, *, dedupe: str | None = None) -> None: ...
    async def send(self, signal: Signal[Any] | str, payload: Any, *, dedupe: str | None = None) -> None:
        """Send a signal. It is durable when this returns.

        Args:
            signal: the signal, or its name.
            payload: a value of the signal's type.
            dedupe: an id of the fact; a second signal of that id is accepted and dropped.

        Raises:
            RunEnded: the run is finished.
            UnknownRun: there is no such run.
        """
        signal = as_signal(signal)
        await self.client.requests.send_signal(self.id, signal.name, signal.codec.encode(payload), dedupe)

    async def state(self, state: State[T]) -> T:
        """Return a state of the run, as of its last commit.

        Raises:
            LookupError: it is not set and has no default.
        """
        return state.decode(await self.client.requests.state_of(self.id, state.name))

    async def status(self) -> str:
        """Return running, completed, failed, cancelled, terminated, timed_out or blocked."""
        return await self.client.requests.status_of(self.id)

    async def history(self) -> Sequence[Record]:
        """Return the records of the run, in order."""
        return await self.client.requests.history_of(self.id)

    async def cancel(self, reason: str = "") -> None:
        """Ask the workflow to stop: `CancelledError` is raised in it once, and its cleanup runs.

        Raises:
            RunEnded: the run is finished.
        """
        await self.client.requests.cancel_run(self.id, reason)

    async def terminate(self, reason: str = "") -> None:
        """Stop the run at once, without cleanup and compensations.

        Raises:
            RunEnded: the run is finished.
        """
        await self.client.requests.terminate_run(self.id, reason)

    def __repr__(self) -> str:
        return f"<run {self.id}>"


class Client:
    """Starts runs, finds them, publishes signals."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests

    async def start(
        self,
        wf: Callable[[Unpack[Ts]], Coroutine[Any, Any, R]],
        *args: Unpack[Ts],
        id: str | None = None,
        if_finished: IfFinished = "attach",
        send: tuple[Signal[Any] | str, object] | None = None,
    ) -> Run[R]:
        """Start a run. It is durable when this returns.

        Args:
            wf: a workflow.
            args: its arguments.
            id: the run's id, at most 128 of `A-Z a-z 0-9 . _ : / -`. The same start again attaches. Random unless given.
            if_finished: what a start under the id of a finished run does: attach to it, fail, or start its next generation.
            send: a signal, or its name, and its payload; to be sent in the same commit, or only to be sent if the run exists.

        Raises:
            DuplicateRun: the id is in use with another workflow or input, or by a finished run and `if_finished="fail"`.
            UnknownWorkflow: the engine does not know the workflow.
            CodecError: an argument does not fit its hint.
            PayloadTooLarge: the arguments take over 2 MiB.
        """
        if not isinstance(wf, Workflow):
            raise DefinitionError(f"start takes a @workflow, got {wf!r}")
        encoded = wf.signature.encode(args, {})
        warn_if_heavy(encoded, "the input of workflow %s", wf.name)
        message = None
        if send is not None:
            signal, payload = as_signal(send[0]), send[1]
            message = (signal.name, signal.codec.encode(payload))
        return Run(self, await self.requests.start_run(wf.name, encoded, id, if_finished, message), wf)

    def get(self, wf: Workflow[P, R], id: str) -> Run[R]:
        """Return a handle of a run by its id. Whether there is such a run shows when it is used."""
        return Run(self, id, wf)

    @overload
    async def publish(self, signal: Signal[T], payload: T, *, dedupe: str | None = None) -> None: ...
    @overload
    async def publish(self, signal: str, payload: object, *, dedupe: str | None = None) -> None: ...
    async def publish(self, signal: Signal[Any] | str, payload: Any, *, dedupe: str | None = None) -> None:
        """Publish a signal: every run that waits for it, or has subscribed, gets it; workflows with `on=` are started.

        It is durable when this returns. A `dedupe` id is remembered for 7 days.
        """
        signal = as_signal(signal)
        await self.requests.publish_signal(signal.name, signal.codec.encode(payload), dedupe)

    async def runs(self, filter: str = "", *, limit: int = 50) -> Sequence[Run[Any]]:
        """Return runs, newest first.

        Args:
            filter: as on the command line: `status:failed wf:order_* after:10m "text"`.
            limit: how many at most.

        Raises:
            FilterError: the filter is not understood.
        """
        return [Run(self, id, workflow) for id, workflow in await self.requests.find_runs(filter, limit)]
