"""What a client asks, and what an engine answers, over a real socket; and that a file answers the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.control.conftest import Served, Standing, served
from wfkit.control import messages as m
from wfkit.control.client import EngineClient
from wfkit.control.files import answer
from wfkit.control.reads import READS
from wfkit.errors import (
    CodecError,
    DuplicateRun,
    EngineUnreachable,
    JournalLocked,
    PayloadTooLarge,
    RunEnded,
    UnknownRun,
    UnknownWorkflow,
    WfkitError,
)


async def fill(at: Served) -> None:
    """Make runs of several kinds."""
    ask = at.client.ask
    await ask(m.StartRun(workflow="pay", input=Raw(b'{"id": "7", "amount": 9}'), id="pay-7"))
    await ask(m.StartRun(workflow="family", input=Raw(b'{"id": "8", "amount": 9}'), id="family-8"))
    await ask(m.StartRun(workflow="refuse", input=Raw(b'"no"'), id="refuse-1"))
    await ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1"))
    await ask(m.StartRun(workflow="add_up", input=Raw(b"2"), id="sum-1"))
    await ask(m.SendSignal(run="sum-1", signal="fact", payload=Raw(b"1"), dedupe="one"))
    await ask(m.PublishSignal(signal="ordered", payload=Raw(b'{"id": "9", "amount": 1}')))
    for id in ("pay-7", "family-8", "refuse-1"):
        assert (await ask(m.AwaitEnd(run=id))).status is not None


READING: list[m.Request[Any]] = [
    m.ListRuns(),
    m.ListRuns(filter=("status:failed",), sort="workflow", limit=1),
    m.GroupRuns(by="error"),
    m.GroupRuns(by="step"),
    m.GroupRuns(by="workflow", filter="wf:pay"),
    m.FindRun(run="@failed"),
    m.GetRun(run="pay-7"),
    m.GetHistory(run="family-8/p", after=1),
    m.GetFamily(run="sum-1"),
    m.GetTree(run="family-8"),
    m.GetResult(run="pay-7"),
    m.GetResult(run="nap-1"),
    m.ListSignals(),
    m.ListSignals(name="fact", limit=1),
    m.ListTimers(),
    m.ListReports(),
    m.Sql(query="SELECT id, status, records FROM runs ORDER BY id"),
    m.Sql(query="SELECT step, status, value FROM steps"),
]


def test_a_file_answers_what_its_engine_answered(tmp_path: Path) -> None:
    """Each request that only reads, of the engine and then of the file that it left."""
    assert set(READS) <= {type(request) for request in READING}

    async def ask_all() -> list[Any]:
        async with served(tmp_path) as at:
            await fill(at)
            return [await at.client.ask(request) for request in READING]

    told = asyncio.run(ask_all())
    for request, from_engine in zip(READING, told, strict=True):
        from_file = answer(tmp_path / ".wfkit" / "journal.duckdb", request)
        assert msgspec.json.encode(from_file) == msgspec.json.encode(from_engine), request


def test_a_list_leaves_out_what_only_the_engine_needs(tmp_path: Path) -> None:
    """Dedupe ids may be thousands."""

    async def story() -> None:
        async with served(tmp_path) as at:
            await fill(at)
            runs = (await at.client.ask(m.ListRuns(filter="id:sum-1"))).runs
            assert [(run.id, run.dedupe) for run in runs] == [("sum-1", None)]
            assert (await at.client.ask(m.GetRun(run="sum-1"))).run.dedupe == {"one": runs[0].updated}

    asyncio.run(story())


def test_a_run_is_started_signalled_and_awaited(tmp_path: Path) -> None:
    """By two clients, one of which blocks."""

    async def story() -> None:
        async with served(tmp_path) as at:
            blocking = EngineClient(at.socket, at.journal)
            run = (await asyncio.to_thread(blocking.ask, m.StartRun(workflow="add_up", input=Raw(b"[2]")))).run
            for value in (b"1", b"2"):
                await asyncio.to_thread(blocking.ask, m.SendSignal(run=run, signal="fact", payload=Raw(value)))
            end = await at.client.ask(m.AwaitEnd(run=run))
            assert (end.status, msgspec.json.encode(end.value)) == ("completed", b"3")
            assert (await at.client.ask(m.GetStatus(run=run))).status == "completed"

    asyncio.run(story())


def test_waiting_for_an_end_is_bounded(tmp_path: Path) -> None:
    """Who wants to wait longer asks again; and whoever still waits does not keep the engine from closing."""

    async def story() -> None:
        async with served(tmp_path) as at:
            await at.client.ask(m.StartRun(workflow="nap", input=Raw(b'"1 day"'), id="nap"))
            assert (await at.client.ask(m.AwaitEnd(run="nap", seconds=0.01))).status is None
            waiting = asyncio.create_task(at.client.ask(m.AwaitEnd(run="nap")))
            await asyncio.sleep(0.1)
        assert (await asyncio.wait_for(waiting, 1)).status is None

    asyncio.run(story())


def test_state_and_logs_are_told(tmp_path: Path) -> None:
    """What a run says of itself."""

    async def story() -> None:
        async with served(tmp_path) as at:
            await fill(at)
            value = (await at.client.ask(m.GetState(run="pay-7", name="progress"))).value
            assert msgspec.json.encode(value) == b"1"
            assert (await at.client.ask(m.GetState(run="pay-7", name="other"))).value is msgspec.UNSET
            lines = (await at.client.ask(m.GetLogs(run="pay-7"))).lines
            assert [(line.text, line.step, line.level) for line in lines] == [("charging 7", "charge", "INFO")]
            assert (await at.client.ask(m.GetLogs(run="pay-7", after=lines[0].number))).lines == []

    asyncio.run(story())


def test_cancel_and_terminate_end_runs(tmp_path: Path) -> None:
    """Each with its reason in the history."""

    async def story() -> None:
        async with served(tmp_path) as at:
            for id, request in (("a", m.CancelRun(run="a", reason="enough")), ("b", m.TerminateRun(run="b", reason="now"))):
                await at.client.ask(m.StartRun(workflow="nap", input=Raw(b'"1 day"'), id=id))
                await at.client.ask(request)
            found = [await at.client.ask(m.AwaitEnd(run=id)) for id in "ab"]
            assert [(end.status, end.error and end.error.message) for end in found] == [
                ("cancelled", "enough"),
                ("terminated", "now"),
            ]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("request_", "error", "told"),
    [
        (m.StartRun(workflow="pai"), UnknownWorkflow, "did you mean 'pay'"),
        (m.StartRun(workflow="pay", input=Raw(b'{"id": 7, "amount": 9}')), CodecError, "$.id"),
        (m.StartRun(workflow="pay"), CodecError, "order"),
        (m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1", if_finished="fail"), None, ""),
        (m.StartRun(workflow="nap", input=Raw(b'"3 days"'), id="nap-1"), DuplicateRun, "other input"),
        (m.SendSignal(run="nobody", signal="fact"), UnknownRun, "nobody"),
        (m.SendSignal(run="pay-7", signal="fact"), RunEnded, "completed"),
        (m.CancelRun(run="pay-7"), RunEnded, "completed"),
        (m.GetRun(run="pay-77"), UnknownRun, "did you mean pay-7"),
        (m.SendSignal(run="nap-1", signal="fact", payload=Raw(b'"' + b"x" * 2**21 + b'"')), PayloadTooLarge, "2,097,154"),
        (m.PublishSignal(signal="fact", payload=Raw(b"0" * (5 * 2**20))), PayloadTooLarge, "4,194,304"),
    ],
)
def test_a_refusal_is_the_error_that_the_engine_raises(
    standing: Standing, request_: m.Request[Any], error: type[WfkitError] | None, told: str
) -> None:
    """With its message and its help."""
    client = EngineClient(standing.socket)
    client.ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1"))
    client.ask(m.StartRun(workflow="pay", input=Raw(b'{"id": "7", "amount": 9}'), id="pay-7"))
    assert client.ask(m.AwaitEnd(run="pay-7")).status == "completed"
    if error is None:
        client.ask(request_)
        return
    with pytest.raises(error) as refused:
        client.ask(request_)
    assert told in str(refused.value)
    assert refused.value.help


def test_an_engine_of_another_journal_does_not_answer(standing: Standing) -> None:
    """A folder may hold several journals, of which the engine has one."""
    client = EngineClient(standing.socket, standing.journal)
    assert client.ask(m.GetEngine()).journal == str(standing.journal)
    other = standing.journal.with_name("other.duckdb")
    client = EngineClient(standing.socket, other)
    with pytest.raises(EngineUnreachable, match="other"):
        client.ask(m.GetEngine())


def test_a_file_that_an_engine_holds_is_not_read(standing: Standing) -> None:
    """Its engine is to be asked."""
    with pytest.raises(JournalLocked):
        answer(standing.journal, m.ListRuns())


def test_what_only_an_engine_can_answer_a_file_refuses(tmp_path: Path) -> None:
    """Whatever changes a run, and what is only in memory."""
    requests: list[m.Request[Any]] = [m.StartRun(workflow="pay"), m.GetLogs(), m.GetEngine(), m.ListWorkflows()]
    for request in requests:
        with pytest.raises(EngineUnreachable):
            answer(tmp_path / "journal.duckdb", request)


def test_a_backup_is_a_journal(standing: Standing, tmp_path: Path) -> None:
    """Made while the engine runs."""
    client = EngineClient(standing.socket)
    client.ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1"))
    client.ask(m.BackUp(file=str(tmp_path / "copy.duckdb")))
    assert "nap-1" in [run.id for run in answer(tmp_path / "copy.duckdb", m.ListRuns()).runs]


def test_code_and_store_are_told(standing: Standing) -> None:
    """Definitions with their places, and on which versions of them runs began."""
    client = EngineClient(standing.socket)
    client.ask(m.StartRun(workflow="nap", input=Raw(b'"2 days"'), id="nap-1"))
    code = client.ask(m.GetCode())
    now = {workflow.name: workflow.code for workflow in code.workflows}
    assert [(version.workflow, version.code) for version in code.versions if version.workflow == "nap"] == [("nap", now["nap"])]
    assert [step.name for step in client.ask(m.ListSteps()).steps] == ["charge"]
    assert {workflow.name: workflow.on for workflow in client.ask(m.ListWorkflows()).workflows}["ordered"] == "ordered"
    assert client.ask(m.GetStore()).path == str(standing.journal)
