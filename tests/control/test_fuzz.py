"""Whatever comes over the socket is answered: never by a failure inside, never by silence, and the engine goes on."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw, inspect

from tests.control.conftest import Standing
from wfkit.control import messages as m
from wfkit.control.client import EngineClient

SECONDS_MAX = 20.0
EXAMPLES = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

KNOWN = ["nap-1", "pay-1", "nap", "pay", "add_up", "fact", "ordered", "progress", "@last", "@failed", "started", "1", "0"]
HINTS = [*KNOWN, "status:failed wf:*", 'error:"', "after:10m", "input.id:7", "SELECT * FROM runs", "FROM history", "SELECT 1;"]
TEXTS = st.sampled_from(HINTS) | st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Return values that a field of this type takes, or nearly so."""
    match kind:
        case inspect.UnionType():
            return st.one_of([values(one) for one in kind.types])
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.StrType():
            return TEXTS
        case inspect.IntType():
            return st.integers(-1, 100) | st.integers()
        case inspect.FloatType():
            return st.floats(-1, 0.05)
        case inspect.VarTupleType():
            return st.lists(values(kind.item_type), max_size=3)
        case inspect.StructType():
            return fields(kind)
        case inspect.NoneType():
            return st.none()
        case _:
            return JSON


def fields(kind: inspect.StructType) -> st.SearchStrategy[dict[str, Any]]:
    known = {field.encode_name: values(field.type) for field in kind.fields}
    required = {name: known[name] for name in known if any(f.encode_name == name and f.required for f in kind.fields)}
    return st.fixed_dictionaries(required, optional={name: known[name] for name in known if name not in required})


def is_harmless(request: type[m.Request[Any]]) -> bool:
    return request is not m.BackUp  # which writes a file wherever it is told


SHAPES = {path: fields(inspect.type_info(request)) for path, request in m.REQUESTS.items() if is_harmless(request)}  # type: ignore[arg-type]
REQUESTS = st.sampled_from(sorted(SHAPES)).flatmap(lambda path: st.tuples(st.just(path), SHAPES[path]))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, Any]:
    """A request of which something is wrong."""
    path, body = draw(REQUESTS)
    names = st.sampled_from(sorted(body)) | TEXTS if body else TEXTS
    for name in draw(st.lists(names, min_size=1, max_size=2)):
        body.pop(name, None)
    return path, body | draw(st.dictionaries(names, JSON, max_size=2))


class Socket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("wfkit", timeout=SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS_MAX)
        self.sock.connect(str(self._path))


@pytest.fixture(scope="module")
def fuzzed(standing: Standing) -> Iterator[Socket]:
    """A connection to an engine that has a few runs; at the end it still works."""
    client = EngineClient(standing.socket)
    client.ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1"))
    client.ask(m.StartRun(workflow="pay", input=Raw(b'{"id": "1", "amount": 9}'), id="pay-1"))
    connection = Socket(standing.socket)
    yield connection
    connection.close()
    client.ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="after-all"))
    assert client.ask(m.GetEngine()).trouble is None


def tell(connection: Socket, method: str, target: str, body: bytes) -> None:
    """Send something, and hold that the answer is one of ours."""
    connection.request(method, target, body)
    response = connection.getresponse()
    data = response.read()
    assert response.status in {200, 400, 404, 405, 409, 413}, data
    if response.status == 200:
        request = m.REQUESTS[target.removeprefix("/v1/").partition("?")[0]]
        msgspec.json.decode(data, type=m.answer_type(request))
    else:
        assert msgspec.json.decode(data, type=m.Refused).error.code != "WF090"


@EXAMPLES
@given(REQUESTS)
def test_every_request_is_answered(fuzzed: Socket, told: tuple[str, Any]) -> None:
    """Each type, with all kinds of values."""
    path, body = told
    if path == "runs/end":
        body["seconds"] = 0.01  # otherwise it waits
    tell(fuzzed, "POST", f"/v1/{path}", json.dumps(body).encode())


@EXAMPLES
@given(damaged())
def test_every_damaged_request_is_answered(fuzzed: Socket, told: tuple[str, Any]) -> None:
    """Members are missing, unknown, or of another type."""
    path, body = told
    if path != "runs/end":  # which may ask to be kept waiting
        tell(fuzzed, "POST", f"/v1/{path}", json.dumps(body).encode())


@EXAMPLES
@given(st.sampled_from(sorted(SHAPES)), st.binary(max_size=60))
def test_every_body_is_answered(fuzzed: Socket, path: str, body: bytes) -> None:
    """Even if it is no JSON."""
    tell(fuzzed, "POST", f"/v1/{path}", body)


@EXAMPLES
@given(st.sampled_from(sorted(SHAPES)), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_every_address_is_answered(fuzzed: Socket, path: str, query: dict[str, str]) -> None:
    """The fields of a question may come as its query."""
    tell(fuzzed, "GET", f"/v1/{path}?{urlencode(query, errors='replace')}", b"")
