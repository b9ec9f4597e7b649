"""Lets an HTTP client reach a fake service: the client's real code runs, and only the wire is replaced.

httpx is imported on use only.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from wfkit.api.attempt import attempt
from wfkit.core.names import nested, own_functions
from wfkit.errors import DefinitionError
from wfkit.sim.real_io import executed
from wfkit.sim.services import (
    FOREVER,
    SETTING,
    Calling,
    FakeService,
    Pause,
    Refusal,
    Request,
    in_thread,
    surroundings,
    with_pauses,
)
from wfkit.sim.volatile import leaves

if TYPE_CHECKING:
    import httpx

KEY_HEADER = "Idempotency-Key"
READS = {"GET", "HEAD", "OPTIONS"}

_REFUSALS = (
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.BAD_REQUEST,
)
"""By these a service says no. Others tell of something else: 404 and 409 of what is there, 401 and 429 of what to do first."""
_REFUSED = {"error": "refused"}

_VERSION = re.compile(r"v\d+(\.\d+)*")
_NUMBERED = re.compile(r"\d")


def http_transport(service: FakeService, *, key_header: str = KEY_HEADER) -> httpx.AsyncBaseTransport:
    """Return a transport for `httpx.AsyncClient(transport=...)` that brings every request to a fake service.

    An effect is called by its method and the URL's template: `@bank.on("POST /charges/{id}/refund")`. A part of the path
    that has a digit in it is an id, unless it is a version such as `v1`. A handler may name the path itself, or parts of it,
    whatever they look like: `@bank.on("POST /oauth2/token")`, `@bank.on("POST /charges/{charge}/refund")`. It gets the fields
    of the JSON body or form, those of the query, and the path's ids by these names, or else as `id`, `id2`, and so on. It
    answers with the body, which travels as JSON, or with `(status, body)`; a status from 400 on refuses, so nothing has
    happened. Without a handler the answer is `{"id": "charges-1"}`. GET, HEAD and OPTIONS are reads, for
    `@bank.on_read("GET /...")`.

    The key is what stands in the header of keys, or else in any header or field that holds the step's idempotency key. A PUT
    or DELETE that comes again with the same payload is nothing new, unless the handler changes its state once more.

    Where a schedule fails one call (`fail`), the answer is 503; where an answer is lost after the call took effect
    (`lost_ack`), a gateway answers 504 in its place. The bodies are texts. A service that is down for longer (`fail_n`,
    `outage`) is met as `httpx.ConnectError`, and one that takes too long (`slow`) as `httpx.ReadTimeout`. Where a schedule
    refuses a call for good (`fatal`), the answer is `{"error": "refused"}` with status 402, 422, 403 or 400: the first of these
    that the code of the step names, or else 422. It is so at each attempt.

    Args:
        service: the fake service.
        key_header: the header of keys.

    Raises:
        DefinitionError: httpx is not installed.
    """
    return _transports()[0](service, key_header)


def http_transport_sync(service: FakeService, *, key_header: str = KEY_HEADER) -> httpx.BaseTransport:
    """As `http_transport`, for `httpx.Client`."""
    return _transports()[1](service, key_header)


class _Refused(Refusal):
    """A handler has answered with an error, or the schedule refuses the call: the service's state is what it was."""

    def __init__(self, answer: tuple[int, Any]) -> None:
        super().__init__(f"answered {answer[0]}")
        self.answer = answer


@functools.cache
def _transports() -> tuple[
    Callable[[FakeService, str], httpx.AsyncBaseTransport], Callable[[FakeService, str], httpx.BaseTransport]
]:
    try:
        import httpx
    except ModuleNotFoundError:
        raise DefinitionError("http_transport needs httpx, which is not installed", help="pip install httpx") from None

    class AsyncTransport(httpx.AsyncBaseTransport):
        def __init__(self, service: FakeService, key_header: str) -> None:
            self._service = service
            self._key_header = key_header

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await request.aread()
            response: httpx.Response = await with_pauses(_exchange(self._service, request, self._key_header))
            return response

    class Transport(httpx.BaseTransport):
        def __init__(self, service: FakeService, key_header: str) -> None:
            self._service = service
            self._key_header = key_header

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.read()
            response: httpx.Response = in_thread(_exchange(self._service, request, self._key_header))
            return response

    return AsyncTransport, Transport


def _exchange(service: FakeService, request: httpx.Request, key_header: str) -> Calling:
    """Bring a request to the service, and its answer back."""
    name, ids = _called(service, request)
    payload = {**ids, **dict(request.url.params), **_fields(request)}
    if request.method in READS:
        try:
            answer = yield from _patiently(service.reading(name, payload), request)
        except ConnectionError as error:
            return _unanswered(error, request, HTTPStatus.SERVICE_UNAVAILABLE)
        return _response(request, (404, None) if answer is None else answer)
    handler = service.handler_of(name)
    if handler is not None and not hasattr(handler, "refuses"):
        service.on(name)(_refusing(handler))
    key = _key(request, payload, key_header)
    sets = f"{request.method} {request.url.path}" if request.method in SETTING else ""
    host = surroundings.get()

    def arrive() -> Any:
        return service.apply(name, key, payload, sets=sets)

    try:
        if host is not None:
            call = Request(arrive, service.has_done(name, key, payload, sets=sets), _refusal)
            try:
                yield from _patiently(host.reach(service, "call.before", name, call), request)
            except ConnectionError as error:
                return _unanswered(error, request, HTTPStatus.SERVICE_UNAVAILABLE)
        answer = arrive()
        if handler is None:
            answer = {"id": f"{_noun(name.partition(' ')[2])}-{answer.rpartition('-')[2]}"}
    except _Refused as refused:
        answer = refused.answer
    if host is not None:
        try:
            yield from _patiently(host.reach(service, "call.after", name), request)
        except ConnectionError as error:
            return _unanswered(error, request, HTTPStatus.GATEWAY_TIMEOUT)
    return _response(request, answer)


def _refusal() -> _Refused:
    """Return what a schedule refuses a call with: by a status that the code under way tells from others, if it names one.

    A client that looks for 402 may take any other status for a failure, and try again.
    """
    running = executed.get()
    named = _statuses_in(running.fn) if running is not None else ()
    status = next((status for status in _REFUSALS if status in named), HTTPStatus.UNPROCESSABLE_ENTITY)
    return _Refused((status.value, _REFUSED))


def _statuses_in(fn: Callable[..., Any]) -> set[int]:
    """Return the statuses that a function's code names, by their numbers or as `HTTPStatus` and `httpx.codes` call them."""
    codes = [code for each in own_functions(fn) for code in nested(each.__code__)]
    constants = {constant for code in codes for constant in code.co_consts}
    numbers = {each for one in constants for each in (one if isinstance(one, tuple | frozenset) else (one,))}
    names = {name for code in codes for name in code.co_names}
    return {status for status in _REFUSALS if status in numbers or status.name in names}


def _key(request: httpx.Request, payload: dict[str, Any], key_header: str) -> str | None:
    """Return the idempotency key of a request, wherever it stands."""
    key: str | None = request.headers.get(key_header)
    now = attempt.get()
    if key is not None or now is None:
        return key
    own = now.info.idempotency_key
    values = (*request.headers.values(), *leaves(payload))
    return next((value for value in values if isinstance(value, str) and own in value), None)


def _called(service: FakeService, request: httpx.Request) -> tuple[str, dict[str, str]]:
    """Return what a request calls, and the ids in its path: by a handler's own path or template, or else by the usual one."""
    called = f"{request.method} {request.url.path}"
    if called in service.handled:
        return called, {}
    path, ids = _template(request.url.path)
    usual = f"{request.method} {path}"
    if usual not in service.handled:
        for template in service.handled:
            if "{" in template and (own := _ids_by(template, called)) is not None:
                return template, own
    return usual, ids


def _ids_by(template: str, called: str) -> dict[str, str] | None:
    """Return the parts of a path that a template such as `POST /orders/{order}/ship` names; None if it does not fit."""
    patterns, parts = template.split("/"), called.split("/")
    names = [pattern.startswith("{") and pattern.endswith("}") for pattern in patterns]
    pairs = list(zip(patterns, parts, names, strict=False))
    if len(patterns) != len(parts) or any(pattern != part for pattern, part, is_name in pairs if not is_name):
        return None
    return {pattern[1:-1]: part for pattern, part, is_name in pairs if is_name}


def _template(path: str) -> tuple[str, dict[str, str]]:
    """Return a path with `{id}` for every id, and the ids."""
    ids: dict[str, str] = {}
    parts = path.split("/")
    for index, part in enumerate(parts):
        if _NUMBERED.search(part) and not _VERSION.fullmatch(part):
            ids[f"id{len(ids) + 1}" if ids else "id"] = part
            parts[index] = "{id}"
    return "/".join(parts), ids


def _noun(path: str) -> str:
    return next((part for part in reversed(path.split("/")) if part and part != "{id}"), "request")


def _fields(request: httpx.Request) -> dict[str, Any]:
    """Return what a request carries: the fields of its body, or the whole of it as `body`."""
    content = request.content
    if not content:
        return {}
    if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(content.decode()))
    try:
        body = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    return body if isinstance(body, dict) else {"body": body}


def _response(request: httpx.Request, answer: Any) -> httpx.Response:
    import httpx

    status, body = answer if _has_status(answer) else (200 if answer is not None else 204, answer)
    if body is None or request.method == "HEAD":
        return httpx.Response(status, request=request)
    if isinstance(body, str | bytes):
        return httpx.Response(status, content=body, request=request)
    return httpx.Response(status, json=body, request=request)


def _has_status(answer: Any) -> bool:
    return isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], int)


def _refusing(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler that raises where it answers with an error, so that the service forgets what it has done."""

    @functools.wraps(handler)
    def refusing(*args: Any, **payload: Any) -> Any:
        answer = handler(*args, **payload)
        if _has_status(answer) and answer[0] >= 400:
            raise _Refused(answer)
        return answer

    vars(refusing)["refuses"] = True
    return refusing


def _patiently(calling: Calling, request: httpx.Request) -> Calling:
    """Pass pauses on, for as long as the client would wait.

    Raises:
        httpx.ReadTimeout: it takes longer.
    """
    import httpx

    patience = request.extensions.get("timeout", {}).get("read")
    longest: Pause | None = None if patience is None else round(patience * 1e6)
    try:
        while True:
            pause = next(calling)
            if longest is not None and pause != FOREVER and pause > longest:
                yield longest
                calling.close()
                raise httpx.ReadTimeout("the answer took too long", request=request)
            yield pause
    except StopIteration as done:
        return done.value


def _unanswered(error: ConnectionError, request: httpx.Request, status: HTTPStatus) -> httpx.Response:
    """Return what a gateway answers in place of the service, if that is not down altogether."""
    import httpx

    if isinstance(error, ConnectionRefusedError):
        raise httpx.ConnectError(str(error), request=request) from error
    return _response(request, (status.value, status.phrase))
