"""Commands beside an engine that runs: they ask it, and what they tell is what they tell of the file."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SECONDS_MAX, Answer, Wfkit, call_here, call_in, environment
from wfkit.cli.sql import EXAMPLES


@contextmanager
def serving(folder: Path, *arguments: str, stop: int = signal.SIGTERM) -> Iterator[subprocess.Popen[str]]:
    """Run `wfkit serve` in a folder until it is told to stop, which it does cleanly."""
    child = subprocess.Popen(
        [sys.executable, "-m", "wfkit", "serve", "app.py", *arguments],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    try:
        line = child.stderr.readline()
        assert line.startswith("serving app.py on "), line + child.stderr.read()
        yield child
        if child.poll() is None:
            child.send_signal(stop)
            rest = child.communicate(timeout=SECONDS_MAX)[1]
            assert (child.returncode, "Traceback" in rest) == (0, False), rest
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Wfkit]:
    """Calls `wfkit` beside an engine that runs."""
    with serving(folder):
        yield call_here(folder, monkeypatch, capsys)


ORDER = '{"id": "7", "amount": "9"}'


def test_a_run_is_started_signalled_and_has_a_result(served: Wfkit) -> None:
    """By commands alone."""
    assert served("start", "pack", ORDER, "--id", "pack-7").out == "pack-7\n"
    assert served("start", "pack", ORDER, "--id", "pack-7").out == "pack-7\n"
    waits = served("signals", "--waits").rows
    assert [row[1:] for row in waits] == [["order.packed", "pack-7", "pack", '{"order_id":"7"}']]
    sent = served("send", "order.packed", '{"order_id": "7"}', "--run", "pack", "--dedupe", "scan-1")
    assert (sent.status, sent.out, sent.err) == (0, "", "sent order.packed to pack-7\n")
    assert served("runs", "result", "pack-7").json == "{'order_id': '7'}"
    assert [row[1:] for row in served("signals").rows] == [["order.packed", "pack-7", '{"order_id": "7"}', "scan-1"]]


def test_start_waits_for_the_end_if_told_to(served: Wfkit) -> None:
    """Its exit status is the run's."""
    done = served("start", "pay", ORDER, "--wait")
    assert (done.status, done.json) == (0, "ch-7")
    failed = served("start", "pay", '{"id": "8", "amount": "9", "card": "declined"}', "--wait")
    assert (failed.status, failed.out) == (1, "")
    assert "card 4242 is declined" in failed.err
    assert served("start", "pay", ORDER, "--wait", "--json").json["run"]["status"] == "completed"


def test_published_signals_are_told_with_their_takers(served: Wfkit) -> None:
    """Also if there was none."""
    assert served("publish", "news", "1").status == 0
    assert served("signals", "news").rows[0][1:4] == ["news", "nobody took it", "1"]
    assert served("signals", "other").err == "no signal other yet\n"


def test_runs_are_stopped_by_id_and_by_filter(served: Wfkit) -> None:
    """Nobody is stopped unless that is sure."""
    for number in range(4):
        served("start", "nap", '"2 days"', "--id", f"nap-{number}")
    assert served("runs", "cancel", "nap-0", "--reason", "enough").out == "nap-0\n"
    nothing = served("runs", "cancel", "--filter", "wf:nap id:other", "--yes")
    assert (nothing.out, nothing.err) == ("", "no unfinished runs match: wf:nap id:other\n")
    looked = served("runs", "cancel", "--filter", "wf:nap", "--dry-run")
    assert ([row[0] for row in looked.rows], looked.err) == (["nap-3", "nap-2", "nap-1"], "3 runs would be asked to cancel\n")
    unsure = served("runs", "terminate", "--filter", "wf:nap")
    assert (unsure.status, unsure.out) == (2, "")
    assert served("runs", "terminate", "--filter", "wf:nap", "--yes", "--rate", "100").out == "nap-3\nnap-2\nnap-1\n"
    assert served("runs", "-q", "status:terminated").out == "nap-3\nnap-2\nnap-1\n"
    assert served("runs", "get", "nap-0", "--json").json["run"]["error"]["message"] == "enough"
    again = served("runs", "cancel", "nap-0")
    assert (again.status, "WF015" in again.err) == (1, True)
    assert served("runs", "cancel", "nap-0", "nap-1").err == "2 had ended already\n"
    for wrong in ([], ["nap-0", "--filter", "wf:nap"]):
        assert served("runs", "cancel", *wrong).status == 2


def test_an_engine_tells_logs_state_timers_and_code(served: Wfkit) -> None:
    """What is in its memory alone, and what is not."""
    served("start", "pay", ORDER, "--id", "pay-7", "--wait")
    served("start", "nap", '"2 days"', "--id", "nap-1")
    assert [row[1:] for row in served("runs", "logs", "pay-7", "--follow").rows] == [["INFO", "", "paying for 7"]]
    assert served("runs", "state", "pay-7").rows == [["progress", '"reserved"']]
    assert served("runs", "state", "pay-7", "progress").json == "reserved"
    assert served("runs", "state", "pay-7", "other").status == 3
    assert [row[1:4] for row in served("timers").rows] == [["nap-1", "nap", "timer of 2d"]]
    code = {row[1]: row for row in served("code").rows if row[0] == "workflow"}
    assert [code[name][3:5] for name in ("nap", "pay")] == [["1", "0"], ["0", "0"]]
    assert served("code", "--json").json["app"] == "app.py"


def test_runs_are_grouped(served: Wfkit) -> None:
    """By what they have in common."""
    for number in range(3):
        served("start", "parcel", ORDER, "--id", f"parcel-{number}")
    served("start", "pay", '{"id": "8", "amount": "9", "card": "declined"}', "--wait")
    by = {what: served("runs", "--group-by", what).rows for what in ("error", "step", "workflow")}
    assert by["error"][0][:3] == ["3", "ConnectionError: 503 Service Unavailable", "3 retrying"]
    assert by["step"] == [["3", "ship", "3 retrying", by["step"][0][3]]]
    assert [row[:3] for row in by["workflow"]] == [["3", "parcel", "3 retrying"], ["1", "pay", "1 failed"]]
    assert served("runs", "--group-by", "workflow", "--json", "wf:pay").json["groups"][0]["statuses"] == {"failed": 1}


def test_a_history_is_followed_to_its_end(served: Wfkit, folder: Path) -> None:
    """Record by record, as they come."""
    served("start", "pack", ORDER, "--id", "pack-7")
    command = [sys.executable, "-m", "wfkit", "runs", "history", "pack-7", "--follow", "--ndjson"]
    child = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["entry"]["kind"] == "RunStarted"
    served("send", "order.packed", '{"order_id": "7"}', "--run", "pack-7")
    rest = child.communicate(timeout=SECONDS_MAX)[0]
    assert (child.returncode, json.loads(rest)["entry"]["kind"]) == (0, "SignalReceived")


def test_runs_are_watched(served: Wfkit, folder: Path) -> None:
    """A pipe gets each run again when it has changed."""
    served("start", "pack", ORDER, "--id", "pack-7")
    command = [sys.executable, "-m", "wfkit", "runs", "--watch", "--ndjson"]
    child = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["status"] == "running"
    served("send", "order.packed", '{"order_id": "7"}', "--run", "pack-7")
    assert json.loads(child.stdout.readline())["status"] == "completed"
    child.send_signal(signal.SIGINT)
    assert (child.communicate(timeout=SECONDS_MAX)[0], child.returncode) == ("", 130)


READING = [
    ["runs", "--json"],
    ["runs", "ls", "status:completed", "--sort", "workflow", "--ndjson"],
    ["runs", "--group-by", "workflow", "--json"],
    ["runs", "get", "pay-7", "--json"],
    ["runs", "why", "pack-7", "--json"],
    ["runs", "history", "pay-7", "--json"],
    ["runs", "history", "pay-7", "--view", "all", "--json"],
    ["runs", "tree", "pay-7", "--json"],
    ["runs", "result", "pay-7"],
    ["runs", "state", "pay-7"],
    ["runs", "export", "pay-7"],
    ["runs", "get", "nobody"],
    ["signals", "--json"],
    ["timers", "--json"],
    ["sql", "SELECT id, status FROM runs ORDER BY id"],
    ["sql", "DROP TABLE entries"],
]


def test_a_command_tells_the_same_of_an_engine_and_of_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no command that reads needs to be told which of them there is."""
    call = call_here(folder, monkeypatch, capsys)
    with serving(folder):
        call("start", "pay", ORDER, "--id", "pay-7", "--wait")
        call("start", "pack", ORDER, "--id", "pack-7")
        call("publish", "news", "1")
        of_engine = [call(*command) for command in READING]
    of_file = [call(*command) for command in READING]
    for command, one, other in zip(READING, of_engine, of_file, strict=True):
        assert comparable(one) == comparable(other), command


def comparable(answer: Answer) -> Any:
    """An answer without what depends on the moment: how long it is until something."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name != "at"}
        return [strip(inner) for inner in value] if isinstance(value, list) else value

    try:
        return answer.status, [strip(json.loads(answer.out))], answer.err
    except ValueError:
        return answer.status, answer.out, answer.err


def test_an_engine_is_named(served: Wfkit, folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    """By an option or by the environment, from any folder."""
    served("start", "nap", '"2 days"', "--id", "nap-1")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert served("runs", "-q").status == 4
    for path in (folder, folder / ".wfkit", folder / ".wfkit" / "engine.sock"):
        assert served("runs", "-q", "--engine", str(path)).out == "nap-1\n"
    monkeypatch.setenv("WFKIT_ENGINE", str(folder))
    assert served("runs", "-q").out == "nap-1\n"
    assert served("start", "nap", '"2 days"', "--id", "nap-2").out == "nap-2\n"


def test_another_journal_of_the_folder_is_read_as_a_file(served: Wfkit, folder: Path) -> None:
    """The engine holds one of them."""
    assert served("run", "app.py:batch", "2", "--id", "other", "--store", ".wfkit/other.duckdb").status == 0
    served("start", "nap", '"2 days"', "--id", "nap-1")
    assert served("runs", "-q", "--store", ".wfkit/other.duckdb").out == "other\n"
    assert served("runs", "-q").out == "nap-1\n"
    wrong = served("start", "nap", '"2 days"', "--store", ".wfkit/other.duckdb")
    assert (wrong.status, "WF058" in wrong.err) == (4, True)


def test_a_run_of_one_command_is_reached_by_another(folder: Path, wfkit: Wfkit) -> None:
    """Or it could never get the signal that it waits for."""
    command = [sys.executable, "-m", "wfkit", "run", "app.py:pack", ORDER, "--id", "pack-7"]
    child = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + SECONDS_MAX
    while wfkit("runs", "-q").out != "pack-7\n" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "No engine" not in wfkit("runs", "why", "pack-7").out
    assert wfkit("send", "order.packed", '{"order_id": "7"}', "--run", "pack-7").status == 0
    out, err = child.communicate(timeout=SECONDS_MAX)
    assert (child.returncode, json.loads(out), err) == (0, "{'order_id': '7'}", "")


def test_without_an_engine_what_changes_a_run_says_so(wfkit: Wfkit) -> None:
    """And how to start one."""
    for command in (["start", "nap", '"1 day"'], ["send", "x", "--run", "y"], ["publish", "x"], ["runs", "cancel", "x"]):
        answer = wfkit(*command)
        assert (answer.status, answer.out) == (4, "")
        assert answer.err == "error[WF058]: no engine runs on .wfkit/journal.duckdb\n  help  start one: wfkit serve APP\n"


def test_without_an_engine_chaos_names_the_one_that_takes_faults(wfkit: Wfkit) -> None:
    """That of `wfkit serve` refuses them."""
    answer = wfkit("chaos", "kill")
    assert (answer.status, answer.out) == (4, "")
    assert answer.err.endswith("\n  help  start one: wfkit dev APP\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_cleanly(folder: Path, number: int) -> None:
    """On both signals; and nothing is left of its socket."""
    with serving(folder, stop=number):
        assert (folder / ".wfkit" / "engine.sock").is_socket()
    assert sorted(path.name for path in (folder / ".wfkit").iterdir()) == [
        ".gitignore",
        "journal.duckdb",
        "journal.duckdb.lock",
    ]


def test_a_killed_engine_leaves_nothing_that_is_in_the_way(folder: Path, wfkit: Wfkit) -> None:
    """Its socket is replaced by the next; until then the file is read."""
    with serving(folder) as child:
        assert wfkit("start", "nap", '"2 days"', "--id", "nap-1").status == 0
        child.kill()
        child.wait()
        assert (folder / ".wfkit" / "engine.sock").is_socket()
        assert wfkit("runs", "-q").out == "nap-1\n"
        assert wfkit("start", "nap", '"2 days"').status == 4
    with serving(folder):
        assert wfkit("start", "nap", '"2 days"', "--id", "nap-2").out == "nap-2\n"


def test_runs_of_no_workflow_here_are_told_at_the_start(folder: Path, wfkit: Wfkit) -> None:
    """They look as if they waited, and nothing would ever move them."""
    with serving(folder):
        for number in range(2):
            wfkit("start", "nap", '"2 days"', "--id", f"nap-{number}")
        wfkit("start", "pack", ORDER)
    app = folder / "app.py"
    app.write_text(app.read_text().replace("async def nap(", "async def doze(").replace("child(nap,", "child(doze,"))
    with serving(folder) as child:
        assert child.stderr is not None
        told = child.stderr.readline()
    assert told.endswith("unfinished runs whose workflow the code does not define, so that they do not go on: 2 of nap\n")


def test_one_folder_has_one_engine(served: Wfkit) -> None:
    """Of this journal or of another one."""
    same = served("serve", "app.py")
    assert (same.status, "WF051" in same.err) == (4, True)
    other = served("serve", "app.py", "--store", ".wfkit/other.duckdb")
    assert (other.status, "WF059" in other.err) == (4, True)


def test_a_run_is_started_and_signalled_by_curl(served: Wfkit, folder: Path) -> None:
    """As a webhook would."""

    def curl(path: str, body: str) -> Any:
        command = ["curl", "-sS", "--unix-socket", ".wfkit/engine.sock", f"http://wfkit/v1/{path}", "-d", body]
        return json.loads(subprocess.check_output(command, cwd=folder, timeout=SECONDS_MAX))

    assert curl("runs/start", '{"workflow": "pack", "id": "pack-7", "input": {"id": "7", "amount": "9"}}') == {"run": "pack-7"}
    assert curl("signals/send", '{"run": "pack-7", "signal": "order.packed", "payload": {"order_id": "7"}}') == {}
    assert curl("runs/end", '{"run": "pack-7"}')["status"] == "completed"
    assert curl("runs/start", '{"workflow": "pakc"}')["error"]["code"] == "WF013"


def test_workflows_are_those_of_the_engine_that_runs(served: Wfkit, folder: Path) -> None:
    """As long as no app is named; and both are told in the same way."""
    (folder / "other.py").write_text("from wfkit import workflow\n\n\n@workflow\nasync def other() -> None: ...\n")
    mine = served("workflows")
    assert {"pay", "nap"} < {row[0] for row in mine.rows}
    assert mine.rows == served("workflows", "app.py").rows
    assert [row[0] for row in served("workflows", "other.py").rows] == ["other"]
    assert [row[0] for row in served("workflows", "--engine", ".wfkit").rows] == [row[0] for row in mine.rows]
    both = served("workflows", "app.py", "--engine", ".wfkit")
    assert (both.status, "not both" in both.err) == (2, True)


def test_waiting_for_a_run_has_an_end(served: Wfkit) -> None:
    """The exit status tells that the time was over, and the run goes on; one that ends in time is told as ever."""
    late = served("start", "nap", '"2 days"', "--id", "sleeper", "--wait", "--timeout", "200ms")
    assert (late.status, late.out) == (6, "")
    assert late.err.startswith("error: run sleeper is waiting after 200ms, and goes on\n  help  ")
    assert served("runs", "get", "sleeper", "--json").json["run"]["status"] == "running"
    told = served("start", "nap", '"2 days"', "--id", "sleeper", "--wait", "--timeout", "0s", "--json")
    assert (told.status, told.json["run"]["status"], told.json["result"]) == (6, "running", None)
    ended = served("start", "nap", '"1ms"', "--wait", "--timeout", "1m")
    assert (ended.status, ended.out) == (0, '"rested"\n')
    for wrong in (["--timeout", "2s"], ["--wait", "--timeout", "soon"]):
        refused = served("start", "nap", '"1ms"', *wrong)
        assert (refused.status, "error: --timeout" in refused.err) == (2, True)


@pytest.mark.parametrize("query", [query for _, query in EXAMPLES], ids=[title for title, _ in EXAMPLES])
def test_every_query_in_the_help_works(filled: Wfkit, query: str) -> None:
    """On a journal with runs of every kind."""
    answer = filled("sql", query, "--json")
    assert (answer.status, answer.err) == (0, "")
    assert answer.json["columns"]


def test_the_help_of_sql_has_ten_queries(filled: Wfkit) -> None:
    """As they are, on lines of their own."""
    told = filled("sql", "--help").out
    assert len(EXAMPLES) == 10
    assert all(query.split(" FROM ")[0] in told for _, query in EXAMPLES)


def test_sql_is_told_in_every_form(filled: Wfkit, folder: Path) -> None:
    """From a file too."""
    query = "SELECT 1 AS x, 'a\tb' AS y, NULL AS z UNION ALL SELECT 2, 'c', 4.5 ORDER BY x"
    assert filled("sql", query).rows == [["1", "a\\tb", ""], ["2", "c", "4.5"]]
    assert filled("sql", query, "--ndjson").lines == [{"x": 1, "y": "a\tb", "z": None}, {"x": 2, "y": "c", "z": 4.5}]
    limited = filled("sql", query, "-n", "1")
    assert (len(limited.rows), limited.err) == (1, "there are more than 1 row: --limit N shows them\n")
    (folder / "q.sql").write_text(query, encoding="utf-8")
    assert filled("sql", f"@{folder}/q.sql").rows == filled("sql", query).rows
    assert filled("sql", "@nowhere.sql").status == 2


def test_commands_that_ask_an_engine_load_no_database(folder: Path) -> None:
    """Their start must be quick: neither DuckDB nor a web server."""
    from tests.cli.test_help import loaded

    with serving(folder):
        for command in (["runs", "-q"], ["start", "nap", '"2 days"'], ["publish", "x"], ["sql", "SELECT 1"]):
            found = loaded(folder, *command)
            assert "msgspec" in found
            assert found.isdisjoint({"duckdb", "rich", "starlette", "uvicorn", "anyio"}), command


@pytest.mark.parametrize(("term", "drawn_anew"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_watches_is_drawn_anew(folder: Path, term: str, drawn_anew: bool) -> None:
    """The whole list, in place; one that cannot do that gets what changes, line after line."""
    with serving(folder):
        call_in(folder)("start", "nap", '"2 days"', "--id", "napper")
        main, side = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "wfkit", "runs", "--watch"], cwd=folder, env=environment(TERM=term), stdout=side, stdin=side
        )
        os.close(side)
        deadline = time.monotonic() + SECONDS_MAX
        seen = b""
        while (b"napper" not in seen or (drawn_anew and seen.count(CLEAR) < 2)) and time.monotonic() < deadline:
            seen += os.read(main, 1024)
        child.send_signal(signal.SIGINT)
        assert child.wait(SECONDS_MAX) == 130
        os.close(main)
    assert b"napper" in seen
    assert (seen.count(CLEAR) >= 2) == drawn_anew


CLEAR = b"\x1b[H\x1b[2J"
