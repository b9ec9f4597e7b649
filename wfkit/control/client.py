"""Asks a running engine. Of the standard library alone, since the start of a command must be quick.

`EngineClient` waits for its answers; `AsyncEngineClient` is the same for an event loop, with the live feed. `connect` gives
the public `Client` on top of that one.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from wfkit.control import messages as m
from wfkit.control.address import find_socket
from wfkit.control.silence import why_silent
from wfkit.errors import EngineUnreachable, InternalError, PayloadTooLarge, WfkitError, restored

A = TypeVar("A")

REPLACED = "fix that code: wfkit dev takes it at the next save, any other engine has to be stopped"
"""What helps against code that computes without end."""

SILENT_SECONDS = 2.0
"""After this a silent engine is told of."""
KNOWN_SECONDS = 1.0
"""So much later it is known what holds it up, if that is workflow code."""
SECONDS_MAX = 60.0
"""How long an answer is waited for: longer than the longest wait that a request may ask for."""


class EngineClient:
    """Asks an engine, and waits for its answers. Each request has a connection of its own, which costs next to nothing.

    Args:
        path: the engine's socket.
        journal: the journal that is meant; an engine that holds another one does not answer.
        silent: is told once the engine has not answered for 2 s, with what it is known to do; it is waited for all the same.
    """

    def __init__(self, path: Path, journal: Path | None = None, silent: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._headers = _headers(journal)
        self._silent = silent
        self.ahead = 0
        """How far the engine's clock was moved, in microseconds, as of its last answer."""

    def ask(self, request: m.Request[A]) -> A:
        """Return the answer to a request.

        Raises:
            EngineUnreachable: no engine answers, or one of another journal. Its cause is a `TimeoutError` if one is too busy.
            WfkitError: the engine refused; the error is the one that it told.
        """
        body = _encode(request)
        try:
            with contextlib.closing(_UnixConnection(self._path)) as connection:
                connection.request("POST", _target(request), body, self._headers)
                self._watch(connection.sock)
                response = connection.getresponse()
                status, data = response.status, response.read()
                self.ahead = int(response.getheader(m.AHEAD_HEADER, "0"))
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._path, error) from error
        return _decode(request, status, data)

    def _watch(self, answers: socket.socket) -> None:
        """Tell of it if no answer comes; a little later if it is not known yet what the engine does."""
        if self._silent is None or select.select([answers], [], [], SILENT_SECONDS)[0]:
            return
        if why_silent(self._path) or not select.select([answers], [], [], KNOWN_SECONDS)[0]:
            self._silent(why_silent(self._path))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("wfkit", timeout=SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class AsyncEngineClient:
    """Asks an engine from an event loop; any number of requests at the same time, each on a connection of its own.

    Args:
        path: the engine's socket.
        journal: the journal that is meant; an engine that holds another one does not answer.
    """

    def __init__(self, path: Path, journal: Path | None = None) -> None:
        self._path = path
        self._headers = _headers(journal)

    async def ask(self, request: m.Request[A]) -> A:
        """Return the answer to a request. Raises as `EngineClient.ask` does."""
        body = _encode(request)
        async with self._exchange("POST", _target(request), body) as (status, headers, reader):
            async with asyncio.timeout(SECONDS_MAX):
                data = await _body(headers, reader)
        return _decode(request, status, data)

    async def feed(self, after: int | None = None) -> AsyncIterator[m.FeedEvent]:
        """Yield what becomes durable, in the order of the journal, until the engine ends.

        Args:
            after: the `pos` of the last event that is known: all later ones come first. None: only what is new.

        Raises:
            EngineUnreachable: no engine answers.
        """
        target = f"/v{m.VERSION}/{m.FEED_PATH}" + ("" if after is None else f"?pos={after}")
        async with self._exchange("GET", target, b"") as (status, headers, reader):
            if status != http.client.OK:
                raise _refused(await _body(headers, reader))
            async for line in reader:
                if line.startswith(b"data: "):
                    yield _decode_event(line.removeprefix(b"data: "))

    @contextlib.asynccontextmanager
    async def _exchange(
        self, method: str, target: str, body: bytes
    ) -> AsyncIterator[tuple[int, dict[str, str], asyncio.StreamReader]]:
        """Send a request as HTTP 1.0 has it, where nothing comes in chunks; yield status, headers and what follows."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        head = f"{method} {target} HTTP/1.0\r\nhost: wfkit\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=2 * m.BODY_BYTES_MAX)
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    writer.write(head.encode() + body)
                    _, status, *_ = (await reader.readuntil(b"\r\n")).split()
                    found = {}
                    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                        name, _, value = line.decode("latin-1").partition(":")
                        found[name.lower()] = value.strip()
                yield int(status), found, reader
            finally:
                writer.close()
        except (OSError, EOFError, ValueError) as error:
            raise _unreachable(self._path, error) from error


async def _body(headers: Mapping[str, str], reader: asyncio.StreamReader) -> bytes:
    length = headers.get("content-length")
    return await reader.read() if length is None else await reader.readexactly(int(length))


def engine_beside(journal: Path) -> Path:
    """Return where the socket of a journal's engine is, if that runs."""
    return find_socket(journal.parent)


def _headers(journal: Path | None) -> dict[str, str]:
    headers = {"connection": "close"}
    return headers if journal is None else headers | {m.JOURNAL_HEADER: quote(str(journal.resolve()))}


def _target(request: m.Request[Any]) -> str:
    return f"/v{m.VERSION}/{request.path}"


def _encode(request: m.Request[Any]) -> bytes:
    body = msgspec.json.encode(request)
    if len(body) > m.BODY_BYTES_MAX:
        raise PayloadTooLarge(f"a request may take {m.BODY_BYTES_MAX:,} bytes; this one takes {len(body):,}")
    return body


def _decode(request: m.Request[A], status: int, data: bytes) -> A:
    if status != http.client.OK:
        raise _refused(data)
    try:
        return msgspec.json.decode(data, type=m.answer_type(type(request)))
    except msgspec.MsgspecError as error:
        raise InternalError(f"the engine's answer to {request.path} is not understood: {error}") from None


_decode_event = msgspec.json.Decoder(m.FeedEvent).decode


def _refused(data: bytes) -> WfkitError:
    try:
        told = msgspec.json.decode(data, type=m.Refused).error
    except msgspec.MsgspecError:
        return EngineUnreachable(f"what answers is no engine: {data[:100]!r}")
    return restored(told.code, told.message, told.help)


def _unreachable(path: Path, error: Exception) -> EngineUnreachable:
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return EngineUnreachable(f"no engine runs at {path}")
    if isinstance(error, TimeoutError):
        why = why_silent(path)
        return EngineUnreachable(
            f"the engine at {path} has not answered for {SECONDS_MAX:g} s" + (f": {why}" if why else ""),
            help=REPLACED if why else "a workflow that computes without end holds up all others: see what its process logged",
        )
    told = "it ended before it answered" if isinstance(error, EOFError | ConnectionError) else str(error)
    return EngineUnreachable(f"the engine at {path} does not answer: {told or type(error).__name__}")
