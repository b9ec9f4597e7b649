"""What the control API refuses, and says so: too much, what reaches for files, what it does not understand."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.control.conftest import Standing, served
from wfkit.control import messages as m
from wfkit.control.client import EngineClient
from wfkit.control.files import answer
from wfkit.errors import BadRequest, EngineClosed, EngineUnreachable, SqlRefused

DEEP = b'{"signal": "deep", "payload": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"


class Connection(http.client.HTTPConnection):
    """A client that is not ours."""

    def __init__(self, path: Path) -> None:
        super().__init__("wfkit", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def call(at: Standing, method: str, target: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = Connection(at.socket)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_body_of_five_mebibytes_is_refused(standing: Standing) -> None:
    """With an answer that reaches whoever still sends."""
    status, told = call(standing, "POST", "/v1/signals/publish", b" " * (5 * 2**20))
    assert (status, told["error"]["code"]) == (413, "WF026")
    assert "4,194,304" in told["error"]["message"]


def test_a_body_in_pieces_is_refused_as_well(standing: Standing) -> None:
    """It does not say beforehand how long it is."""
    connection = Connection(standing.socket)
    connection.request("POST", "/v1/signals/publish", iter([b" " * 2**20] * 5), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "told"),
    [
        ("GET", "/", b"", 404, "/v1/"),
        ("GET", "/v1/nothing", b"", 400, "there is no request 'nothing'"),
        ("GET", "/v2/runs", b"", 404, "/v1/"),
        ("DELETE", "/v1/runs", b"", 405, "DELETE"),
        ("GET", "/v1/runs/start?workflow=pay", b"", 400, "changes something"),
        ("POST", "/v1/runs/start", b"{", 400, "runs/start"),
        ("POST", "/v1/runs/start", b"[]", 400, "object"),
        ("POST", "/v1/runs/start", b'{"workflow": 1}', 400, "$.workflow"),
        ("POST", "/v1/runs", b'{"limitt": 1}', 400, "limitt"),
        ("POST", "/v1/runs", b'{"limit": 0}', 400, "$.limit"),
        ("GET", "/v1/runs?limit=x", b"", 400, "$.limit"),
        ("GET", "/v1/runs?filter=status:broken", b"", 400, "broken"),
        ("POST", "/v1/runs", b"\xff\xfe", 400, "runs"),
        (
            "POST",
            "/v1/signals/send",
            b'{"run": "a", "signal": "b", "payload": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
            400,
            "",
        ),
        ("GET", "/v1/feed?pos=x", b"", 400, "position"),
    ],
)
def test_what_is_not_understood_is_told(
    standing: Standing, method: str, target: str, body: bytes, status: int, told: str
) -> None:
    """In the same form as every refusal."""
    found, answered = call(standing, method, target, body)
    assert found == status
    assert told in answered["error"]["message"] + answered["error"]["help"]
    assert answered["error"]["code"].startswith("WF01")


def test_a_question_may_come_as_an_address(standing: Standing) -> None:
    """For people with curl."""
    assert call(standing, "GET", "/v1/runs?limit=3&sort=id")[0] == 200
    assert call(standing, "GET", "/v1/sql?query=select%2042%20as%20x")[1]["rows"] == [[42]]


WRITING = [
    "INSERT INTO main.runs VALUES (1)",
    "CREATE TABLE x(a INT)",
    "DROP TABLE entries",
    "UPDATE meta SET value = '9'",
    "DELETE FROM entries",
    "SELECT 1; DROP TABLE entries",
    "CHECKPOINT",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM force_checkpoint()",
    "FROM query('SELECT * FROM checkpoint()')",
    "ATTACH '/tmp/x.duckdb'",
    "SET threads = 4",
    "PRAGMA database_list",
    "CALL checkpoint()",
    "SELECT 1) AS q; DROP TABLE entries; SELECT * FROM (SELECT 1",
    "SELECT 1 /*",
    "EXPLAIN ANALYZE SELECT 1",
]
READING = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'https://example.com/x.parquet'",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "SELECT (SELECT count(*) FROM glob('/etc/*'))",
    "WITH x AS (FROM read_text('/etc/passwd')) SELECT * FROM x",
    "SELECT * FROM runs WHERE id IN (SELECT content FROM read_text('/etc/passwd'))",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "INSTALL httpfs",
    "LOAD '/tmp/x.so'",
    "",
    "-- nothing",
    "nonsense",
]


@pytest.mark.parametrize("query", WRITING + READING)
def test_sql_that_does_more_than_select_is_refused(standing: Standing, query: str) -> None:
    """It neither writes nor reads a file, nor opens an address; and the journal goes on as before."""
    client = EngineClient(standing.socket)
    before = client.ask(m.GetStore())
    with pytest.raises(SqlRefused):
        client.ask(m.Sql(query=query))
    assert client.ask(m.GetStore()).records == before.records
    client.ask(m.PublishSignal(signal="alive"))


@pytest.mark.parametrize("query", WRITING + READING)
def test_sql_on_a_file_is_as_safe(journal_file: Path, query: str) -> None:
    """The same without an engine."""
    before = journal_file.read_bytes()
    with pytest.raises(SqlRefused):
        answer(journal_file, m.Sql(query=query))
    assert journal_file.read_bytes() == before


@pytest.fixture(scope="module")
def journal_file(standing: Standing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that no engine holds."""
    path = tmp_path_factory.mktemp("file") / "journal.duckdb"
    client = EngineClient(standing.socket)
    client.ask(m.BackUp(file=str(path)))
    return path


def test_a_folder_that_backups_may_use_is_closed_to_queries(standing: Standing) -> None:
    """DuckDB itself would let them in."""
    exports = standing.journal.parent / "exports"
    exports.mkdir()
    (exports / "secret").write_text("secret")
    client = EngineClient(standing.socket)
    for query in (f"FROM read_text('{exports}/secret')", f"FROM '{exports}/secret'", f'FROM "{exports}/secret"'):
        with pytest.raises(SqlRefused):
            client.ask(m.Sql(query=query))


def test_a_query_that_takes_long_is_stopped_and_holds_up_nobody(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are answered meanwhile, for they have another connection."""
    monkeypatch.setattr("wfkit.control.sql.SECONDS_MAX", 0.3)
    client = EngineClient(standing.socket)
    with pytest.raises(SqlRefused, match=r"over 0\.3 s"):
        client.ask(m.Sql(query=SLOW))
    client = EngineClient(standing.socket)
    assert client.ask(m.Sql(query="SELECT 1 AS one")).columns == ["one"]


SLOW = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 1"


def test_a_query_that_takes_long_does_not_keep_the_engine_from_closing(tmp_path: Path) -> None:
    """It is interrupted, and whoever asked is told."""

    async def story() -> float:
        async with served(tmp_path) as at:
            slow = asyncio.create_task(at.client.ask(m.Sql(query=SLOW)))
            await asyncio.sleep(0.3)
            began = time.monotonic()
        with pytest.raises((EngineUnreachable, EngineClosed)):
            await slow
        return time.monotonic() - began

    assert asyncio.run(story()) < 5


@pytest.mark.parametrize(
    "name",
    [
        "../journal.duckdb",
        "reports/../../secret.txt",
        "reports/../journal.duckdb",
        "journal.duckdb",
        "/etc/passwd",
        "reports/out",
        "reports/folder",
        "reports",
        "",
        ".",
        "reports/\0",
        "reports/" + "x" * 5_000,
        "failures/nothing.json",
    ],
)
def test_a_report_lies_in_a_folder_of_reports(standing: Standing, name: str) -> None:
    """Neither dots nor links lead out of it."""
    folder = standing.journal.parent
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "reports" / "folder").mkdir(parents=True, exist_ok=True)
    out = folder / "reports" / "out"
    out.unlink(missing_ok=True)
    out.symlink_to(folder.parent / "secret.txt")
    client = EngineClient(standing.socket)
    assert "reports/out" not in [report.name for report in client.ask(m.ListReports()).reports]
    with pytest.raises(BadRequest):
        client.ask(m.GetReport(name=name))


def test_reports_are_listed_and_read(standing: Standing) -> None:
    """By the names that the list gives."""
    folder = standing.journal.parent / "failures"
    folder.mkdir(exist_ok=True)
    (folder / "order-5c1e.json").write_text('{"a": "ü"}', encoding="utf-8")
    client = EngineClient(standing.socket)
    (found,) = [report for report in client.ask(m.ListReports()).reports if report.name.startswith("failures")]
    assert (found.name, found.bytes) == ("failures/order-5c1e.json", 11)
    assert client.ask(m.GetReport(name=found.name)).text == '{"a": "ü"}'


def test_a_backup_goes_nowhere_but_to_a_new_file(standing: Standing, tmp_path: Path) -> None:
    """Named by its whole path, since the engine runs in a folder of its own."""
    (tmp_path / "there").touch()
    client = EngineClient(standing.socket)
    for file in ("copy.duckdb", str(tmp_path / "there"), str(tmp_path / "none" / "x"), f"{tmp_path}/\0"):
        with pytest.raises(Exception, match=r"whole path|exists|no folder"):
            client.ask(m.BackUp(file=file))
