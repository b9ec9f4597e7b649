"""Serves an engine on its Unix socket: HTTP, one path for each request, and a stream of what becomes durable."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec
from msgspec import UNSET
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from wfkit import errors
from wfkit.api.registry import Registry
from wfkit.control import messages as m
from wfkit.control import reads, reports, sql
from wfkit.control.address import bound_socket
from wfkit.control.code import step_facts, versions_of, workflow_facts
from wfkit.control.inputs import arguments
from wfkit.control.logs import KeptLogs
from wfkit.control.silence import Computing, note_computing
from wfkit.control.waiting import unless
from wfkit.core.codec import PAYLOAD_BYTES_MAX
from wfkit.engine.requests import LocalRequests
from wfkit.engine.watchdog import Stuck
from wfkit.errors import BadRequest, EngineUnreachable, InternalError, PayloadTooLarge, WfkitError
from wfkit.journal.duckdb import DuckDBJournal

log = logging.getLogger("wfkit.control")

DISCARDED_BYTES_MAX = 16 * m.BODY_BYTES_MAX
"""So much of a body that is too long is read all the same: who is still sending does not hear the answer."""
CLOSING_SECONDS = 2.0
"""How long requests may take that were begun before the server closes."""
CLOSING_LOOK_SECONDS = 0.005
QUERIES_MAX = 2
"""So many SQL queries run at the same time: each may keep a thread and a core busy for 10 s."""
FEED_LOOK_SECONDS = 0.05
FEED_BATCH = 500
FEED_SILENCE_SECONDS = 15.0
"""After this a comment is sent, so that the end of a connection shows on both sides."""

STATUSES: dict[type[WfkitError], int] = {
    errors.UnknownRun: 404,
    errors.UnknownWorkflow: 404,
    errors.DuplicateRun: 409,
    errors.RunEnded: 409,
    PayloadTooLarge: 413,
    EngineUnreachable: 421,
    InternalError: 500,
    errors.EngineClosed: 503,
    errors.JournalFull: 503,
    errors.JournalCorrupt: 503,
    errors.JournalLocked: 503,
}
"""What is not listed is 400: whoever asked must ask for something else."""

_DECODERS: dict[str, msgspec.json.Decoder[m.Request[Any]]] = {
    path: msgspec.json.Decoder(request) for path, request in m.REQUESTS.items()
}


class Chaos(Protocol):
    """Injects faults into the engine."""

    def facts(self) -> m.ChaosFacts: ...
    async def strike(self, request: m.Strike) -> m.Told:
        """Inject one, and return what there is to say of it. Raises NoChaos: it cannot be."""
        ...


@contextlib.asynccontextmanager
async def serving(
    requests: LocalRequests,
    journal: DuckDBJournal,
    registry: Registry,
    logs: KeptLogs,
    *,
    app: str,
    chaos: Chaos | None = None,
) -> AsyncIterator[Path]:
    """Serve an engine on the socket beside its journal; yields where that is.

    Args:
        requests: the engine's.
        journal: the engine's.
        registry: the engine's code.
        logs: what is shown of the process's logs.
        app: where the code is from, for people.
        chaos: injects faults; None where that is refused.

    Raises:
        EngineRunning: another engine serves this folder.
        JournalUnusable: no socket can be made there.
    """
    with bound_socket(journal.path.parent) as (listener, path), _telling_silence(requests, path):
        control = Control(requests, journal, registry, app, logs, chaos)
        async with _listening(control.app(), listener):
            try:
                yield path
            finally:
                control.closing.set()


@contextlib.contextmanager
def _telling_silence(requests: LocalRequests, path: Path) -> Iterator[None]:
    """Leave beside the socket what the engine computes for too long, since it cannot answer meanwhile."""

    def tell(stuck: Stuck | None) -> None:
        since = time.time_ns() // 1000 - (0 if stuck is None else round(stuck.seconds * 1e6))
        note_computing(path, None if stuck is None else Computing(stuck.run_id, stuck.line, since))

    tell(None)  # of an engine that was killed
    requests.on_stuck = tell
    try:
        yield
    finally:
        requests.on_stuck = None
        tell(None)


@contextlib.asynccontextmanager
async def _listening(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Answer what comes to a socket. At the end no more is taken, and what was begun may end.

    `uvicorn.Server` does this for a whole process: it takes its signals, logs, and looks ten times a second whether to stop.
    """
    # Without a configuration of logs, and with the access log as it is, uvicorn's loggers are left to the program.
    config = Config(app, http=_Connection, ws="none", lifespan="off", log_config=None, server_header=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(config, state, {}), sock=listener, backlog=config.backlog)
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = time.monotonic() + CLOSING_SECONDS
        # Each leaves the set by itself, and tells nobody.
        while (state.connections or state.tasks) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(CLOSING_LOOK_SECONDS)
        for task in state.tasks:
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        for connection in list(state.connections):
            connection.transport.abort()  # a client that reads nothing: from Python 3.12 on it would be waited for
        await server.wait_closed()


class _Connection(H11Protocol):
    """Logs no requests, and to our own logger what is wrong with one."""

    def __init__(self, config: Config, state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, state, app_state)
        self.logger = log
        self.access_log = False


class Control:
    """Answers what clients ask of one engine."""

    def __init__(
        self,
        requests: LocalRequests,
        journal: DuckDBJournal,
        registry: Registry,
        app: str,
        logs: KeptLogs,
        chaos: Chaos | None,
    ) -> None:
        self._requests = requests
        self._journal = journal
        self._registry = registry
        self._app = app
        self._logs = logs
        self._chaos = chaos
        self._started = time.time_ns() // 1000
        self._queries = asyncio.Semaphore(QUERIES_MAX)
        self.closing = asyncio.Event()
        """Whoever waits for something to happen gives up now."""

    def app(self) -> Starlette:
        version = f"/v{m.VERSION}"
        return Starlette(
            routes=[
                Route(f"{version}/{m.FEED_PATH}", self._feed, methods=["GET"]),
                Route(version + "/{path:path}", self._respond, methods=["GET", "POST"]),
            ],
            exception_handlers={HTTPException: _no_route},
        )

    async def _respond(self, http: HttpRequest) -> Response:
        try:
            body = await _body(http)  # first of all: who is still sending does not hear an answer
            self._check_journal(http)
            answer = await self.answer(_parsed(http, body))
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody hears
        except WfkitError as error:
            return _refusal(error)
        except Exception as error:
            log.exception("a request failed inside: %s", http.url.path)
            return _refusal(InternalError(f"{type(error).__name__}: {error}"))
        return Response(msgspec.json.encode(answer), media_type="application/json", headers=self._clock())

    def _clock(self) -> dict[str, str]:
        ahead = 0 if self._chaos is None else self._chaos.facts().ahead
        return {m.AHEAD_HEADER: str(ahead)} if ahead else {}

    def _check_journal(self, http: HttpRequest) -> None:
        meant = http.headers.get(m.JOURNAL_HEADER)
        if meant is not None and Path(unquote(meant)) != self._journal.path.resolve():
            raise EngineUnreachable(f"the engine here holds {self._journal.path}, and not {unquote(meant)}")

    async def answer(self, request: m.Request[Any]) -> msgspec.Struct:
        """Return the answer to a request.

        Raises:
            WfkitError: why there is none.
        """
        read = reads.READS.get(type(request))
        if read is not None:
            found: msgspec.Struct = await self._journal.read_apart(read, request)
            return found
        match request:
            case m.StartRun() | m.CancelRun() | m.TerminateRun() | m.SendSignal() | m.PublishSignal():
                return await self._act(request)
            case m.GetStatus():
                return m.RunStatus(await self._requests.status_of(request.run))
            case m.GetState():
                value = await self._requests.state_of(request.run, request.name)
                return m.RunValue(UNSET if value is None else value)
            case m.GetRecords():
                return m.Records(await self._requests.history_of(request.run))
            case m.AwaitEnd():
                return await self._await_end(request)
            case m.ListWorkflows():
                return m.WorkflowList(workflow_facts(self._registry))
            case m.ListSteps():
                return m.StepList(step_facts(self._registry))
            case m.GetCode():
                runs = await self._journal.read_apart(reads.unfinished)
                return m.CodeFacts(self._app, workflow_facts(self._registry), step_facts(self._registry), versions_of(runs))
            case m.GetEngine():
                return self._facts()
            case m.GetLogs():
                return self._logs.lines(request)
            case m.GetStore():
                return await self._journal.read_apart(reads.store, self._journal.path)
            case m.BackUp():
                await self._journal.backup(_whole(request.file))
                return m.Done()
            case m.ListReports():
                return await asyncio.to_thread(reports.list_reports, self._journal.path.parent)
            case m.GetReport():
                return await asyncio.to_thread(reports.read_report, self._journal.path.parent, request.name)
            case m.Sql():
                return await self._query(request)
            case m.GetChaos() | m.Strike():
                if self._chaos is None:
                    raise errors.NoChaos("this engine serves for real: no fault is injected into it")
                return self._chaos.facts() if isinstance(request, m.GetChaos) else await self._chaos.strike(request)
            case _:
                raise InternalError(f"nothing answers {type(request).__name__}")

    async def _act(
        self, request: m.StartRun | m.CancelRun | m.TerminateRun | m.SendSignal | m.PublishSignal
    ) -> m.Started | m.Done:
        match request:
            case m.StartRun():
                workflow = self._registry.workflow(request.workflow)
                args = arguments(workflow, None if request.input is UNSET else request.input)
                send = None if request.send is None else (request.send.signal, _payload(request.send.payload))
                return m.Started(await self._requests.start_run(request.workflow, args, request.id, request.if_finished, send))
            case m.SendSignal():
                await self._requests.send_signal(request.run, request.signal, _payload(request.payload), request.dedupe)
            case m.PublishSignal():
                await self._requests.publish_signal(request.signal, _payload(request.payload), request.dedupe)
            case m.CancelRun():
                await self._requests.cancel_run(request.run, request.reason)
            case m.TerminateRun():
                await self._requests.terminate_run(request.run, request.reason)
        return m.Done()

    async def _await_end(self, request: m.AwaitEnd) -> m.RunEnd:
        end = await unless(self.closing, self._requests.end_of(request.run), request.seconds)
        if end is None:
            return m.RunEnd()
        return m.RunEnd(end.status, UNSET if end.value is None else end.value, end.error, end.saga_failures)

    async def _query(self, request: m.Sql) -> m.Table:
        async with self._queries:
            table = await unless(self.closing, self._journal.read_apart(sql.query, request))
        if table is None:
            raise errors.EngineClosed("the engine was closed while a query ran")
        return table

    def _facts(self) -> m.EngineFacts:
        trouble = self._requests.trouble
        return m.EngineFacts(
            pid=os.getpid(),
            wfkit=importlib.metadata.version("wfkit"),
            app=self._app,
            journal=str(self._journal.path.resolve()),
            epoch=self._journal.epoch,
            pos=self._journal.last_pos,
            started=self._started,
            trouble=None if trouble is None else _told(trouble),
            chaos=self._chaos is not None,
        )

    # -- the live feed -------------------------------------------------------------------------------------------------------

    async def _feed(self, http: HttpRequest) -> Response:
        try:
            self._check_journal(http)
            pos = _position(http, self._journal.last_pos)
        except WfkitError as error:
            return _refusal(error)
        return StreamingResponse(self._events(pos), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _events(self, pos: int) -> AsyncIterator[bytes]:
        yield f": from {pos}\n\n".encode()
        silent_since = time.monotonic()
        with contextlib.suppress(errors.EngineClosed):
            while not self.closing.is_set():
                if self._journal.last_pos > pos:
                    events = await self._journal.read(reads.events, pos, FEED_BATCH, self._requests.id_of)
                    yield b"".join([b"id: %d\ndata: %b\n\n" % (event.pos, msgspec.json.encode(event)) for event in events])
                    pos = events[-1].pos
                    silent_since = time.monotonic()
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(FEED_LOOK_SECONDS):
                            await self.closing.wait()
                    if time.monotonic() - silent_since > FEED_SILENCE_SECONDS:
                        yield b":\n\n"
                        silent_since = time.monotonic()


def _parsed(http: HttpRequest, body: bytes) -> m.Request[Any]:
    """Return the request that came.

    Raises:
        BadRequest: it is not understood.
    """
    path = http.path_params["path"]
    kind = m.REQUESTS.get(path)
    if kind is None:
        raise BadRequest(f"there is no request {path!r}", help=f"there are: {', '.join(sorted(m.REQUESTS))}")
    try:
        if http.method == "POST":
            return _DECODERS[path].decode(body or b"{}")
        if kind.acts:
            raise BadRequest(f"{path} changes something", help="send it by POST, as a JSON object")
        found: m.Request[Any] = msgspec.convert(dict(http.query_params), kind, strict=False)
        return found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{path}: {error}") from None


async def _body(http: HttpRequest) -> bytes:
    parts = []
    size = 0
    async for part in http.stream():
        size += len(part)
        if size <= m.BODY_BYTES_MAX:
            parts.append(part)
        elif size > DISCARDED_BYTES_MAX:
            break
    if size > m.BODY_BYTES_MAX:
        raise PayloadTooLarge(f"a request may take {m.BODY_BYTES_MAX:,} bytes; this one takes more")
    return b"".join(parts)


def _payload(payload: msgspec.Raw) -> msgspec.Raw:
    """Check what a run is to be given: that it is whole, and that it is no longer than a history takes."""
    size = memoryview(payload).nbytes
    if size > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"a value takes {size:,} bytes as JSON; at most {PAYLOAD_BYTES_MAX:,} are allowed")
    try:
        msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the payload is not JSON: {error}") from None
    return payload


def _whole(file: str) -> Path:
    path = Path(file)
    if not path.is_absolute() or "\0" in file:
        raise BadRequest(f"{file!r} is not a whole path", help="begin it with /")
    return path


def _position(http: HttpRequest, default: int) -> int:
    text = http.headers.get("last-event-id", http.query_params.get("pos", str(default)))
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest(f"{text!r} is not a position in the journal", help="give the `pos` of the last event that you have")
    return int(text)


def _refusal(error: WfkitError) -> Response:
    status = next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), 400)
    return Response(msgspec.json.encode(m.Refused(_told(error))), status, media_type="application/json")


def _told(error: WfkitError) -> m.Refusal:
    return m.Refusal(error.code, str(error), error.help)


async def _no_route(http: HttpRequest, error: Exception) -> Response:
    response = _refusal(BadRequest(f"{http.method} {http.url.path} is no request", help=f"they begin with /v{m.VERSION}/"))
    if isinstance(error, HTTPException):
        response.status_code = error.status_code
    return response
