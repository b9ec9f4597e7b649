"""Read models: of a file that no engine holds, and of a journal in use."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from msgspec import Raw

from wfkit.core.commands import AwaitSignal, CompleteRun, FailRun, Failure, RunStep, StartChild
from wfkit.core.entries import (
    KINDS,
    AttemptFailed,
    CancelRequested,
    Entry,
    Parent,
    Record,
    RunStarted,
    SignalPublished,
    SignalReceived,
    StepCompleted,
)
from wfkit.core.state import RunState, encode_state
from wfkit.errors import JournalUnusable, UnknownRun
from wfkit.journal import views
from wfkit.journal.backup import backup_file
from wfkit.journal.duckdb import DuckDBJournal, open_journal
from wfkit.journal.filters import RunFilter
from wfkit.journal.port import Row, RunRow
from wfkit.journal.values import RunValues
from wfkit.journal.views import open_file

LARGE = json.dumps("a large value " * 1000).encode()
SECOND = 1_000_000


def start(id: str, t: int, *, workflow: str = "fulfil", parent: Parent | None = None, generation: int = 1) -> RunStarted:
    return RunStarted(t=t, id=id, workflow=workflow, args=Raw(b"[1]"), seed="0", parent=parent, generation=generation)


CHARGE = RunStep(1, "charge", Raw(b'["o"]'), "k")
SHIP = RunStep(2, "ship", Raw(b"[]"), "k2")
HISTORIES: dict[int, tuple[Record, ...]] = {
    1: (
        Record(start("order-1", 1 * SECOND), (CHARGE,)),
        Record(AttemptFailed(t=2 * SECOND, n=1, attempt=1, error=Failure("E", "503"), due=3 * SECOND)),
        Record(StepCompleted(t=4 * SECOND, n=1, value=Raw(LARGE), attempt=2), (CompleteRun(Raw(b'{"paid": true}')),)),
    ),
    2: (
        Record(start("order-2", 2 * SECOND), (CHARGE,)),
        Record(CancelRequested(t=9 * SECOND), (FailRun(Failure("Declined", "card")),)),
    ),
    3: (Record(start("order-30", 3 * SECOND, workflow="audit"), (AwaitSignal(1, "approved"),)),),
    4: (
        Record(start("parent", 4 * SECOND), (StartChild(1, "child", "parent/1", Raw(b"[]")),)),
        Record(SignalReceived(t=5 * SECOND, name="approved", payload=Raw(b'{"by":"A"}'), arrived=5 * SECOND, dedupe="d")),
    ),
    5: (Record(start("parent/1", 5 * SECOND, workflow="child", parent=Parent(4, "parent", 1, True, "abandon")), (CHARGE,)),),
    6: (
        # Its argument looks like the parent of a child; its last record refers to a large value of an earlier one.
        Record(RunStarted(t=6 * SECOND, id="impostor", workflow="w", args=Raw(b'{"parent":{"run":4,"id":"x"}}'), seed="0"), ()),
        Record(StepCompleted(t=7 * SECOND, n=1, value=Raw(LARGE)), (RunStep(2, "ship", Raw(LARGE), "k2"),)),
        Record(StepCompleted(t=8 * SECOND, n=2, value=Raw(LARGE)), (CompleteRun(Raw(LARGE)),)),
    ),
    7: (Record(start("again", 1 * SECOND), (CompleteRun(Raw(b"1")),)),),
    8: (Record(start("again", 8 * SECOND, generation=2), (SHIP,)),),
}
"""Runs by number."""


def rows(run: int, records: Sequence[Record]) -> list[Row]:
    values = RunValues()
    return [
        Row(run, seq, KINDS[type(record.entry)], record.entry.t, values.encode(record)) for seq, record in enumerate(records, 1)
    ]


def fold(run: int, records: Sequence[Record]) -> RunState:
    state = RunState(run)
    for record in records:
        state.apply(record)
    return state


def run_row(state: RunState) -> RunRow:
    columns = (state.run, state.id, state.generation, state.workflow, state.status)
    return RunRow(*columns, state.started, state.updated, state.seq, state.wake_at, encode_state(state))


async def fill(journal: DuckDBJournal, projected: int) -> None:
    """Write all histories. The projection holds the runs up to number `projected`, each without its last record."""
    pairs = [(run, row) for run, records in HISTORIES.items() for row in rows(run, records)]
    last = {run: len(records) for run, records in HISTORIES.items()}
    early = [row for run, row in pairs if run <= projected and (row.seq < last[run] or last[run] == 1)]
    journal.append(early)
    if early:
        kept = {run: [row for row in early if row.run == run] for run in {row.run for row in early}}
        await journal.project([run_row(fold(run, HISTORIES[run][: len(some)])) for run, some in kept.items()])
    journal.append([row for _, row in pairs if row not in early])
    published: Entry = SignalPublished(t=9 * SECOND, name="approved", payload=Raw(b'{"by":"B"}'), receivers=2)
    journal.append(rows(0, [Record(published)]))


@pytest.fixture(scope="module", params=[0, 4, 8], ids=["nothing projected", "some projected", "all projected"])
def path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The same runs, with a projection that is old to a different degree. It is only read."""
    path = tmp_path_factory.mktemp("views") / "journal.duckdb"

    async def scenario() -> None:
        journal = await open_journal(path)
        await fill(journal, request.param)
        await journal.close()

    asyncio.run(scenario())
    return path


def ids(states: list[RunState]) -> list[str]:
    return [state.id for state in states]


def test_runs_are_listed_newest_first_as_their_last_record_leaves_them(path: Path) -> None:
    """However old the projection is."""
    with open_file(path) as connection:
        listed = views.list_runs(connection)
    assert [state.run for state in listed] == [8, 6, 5, 4, 3, 2, 7, 1]
    assert {state.run: (state.status, state.seq) for state in listed} == {
        run: (fold(run, records).status, len(records)) for run, records in HISTORIES.items()
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RunFilter(statuses=frozenset({"failed"})), ["order-2"]),
        (RunFilter(statuses=frozenset({"running", "failed"})), ["again", "parent/1", "parent", "order-30", "order-2"]),
        (RunFilter(workflow="au*"), ["order-30"]),
        (RunFilter(id="order-?"), ["order-2", "order-1"]),
        (RunFilter(id="*[!0-9]", statuses=frozenset({"completed"})), ["impostor", "again"]),
        (RunFilter(started_from=3 * SECOND, started_before=5 * SECOND), ["parent", "order-30"]),
        (RunFilter(where=lambda state: "charge" in str(state.open)), ["parent/1"]),
        (RunFilter(id="order-*", where=lambda state: state.seq > 1), ["order-2", "order-1"]),
        (RunFilter(workflow="none"), []),
    ],
)
def test_a_filter_selects_runs(path: Path, wanted: RunFilter, found: list[str]) -> None:
    """By columns, by patterns and by any predicate, alike for projected runs and for others."""
    with open_file(path) as connection:
        assert ids(views.list_runs(connection, wanted)) == found
        assert ids(views.list_runs(connection, wanted, limit=1)) == found[:1]


@pytest.mark.parametrize("sort", ["started", "updated", "id", "workflow", "status", "wake_at"])
@pytest.mark.parametrize("descending", [True, False])
def test_sorting_does_not_depend_on_the_projection(path: Path, sort: views.Sort, descending: bool) -> None:
    """Runs without a value come last in both directions; the run number settles ties; a limit takes the first ones."""
    states = [fold(run, records) for run, records in HISTORIES.items()]
    states.sort(key=lambda state: state.run, reverse=descending)
    with_value = [state for state in states if getattr(state, sort) is not None]
    with_value.sort(key=lambda state: getattr(state, sort), reverse=descending)
    expected = [state.run for state in [*with_value, *(state for state in states if getattr(state, sort) is None)]]
    with open_file(path) as connection:
        listed = views.list_runs(connection, sort=sort, descending=descending)
        limited = views.list_runs(connection, sort=sort, descending=descending, limit=3)
    assert [state.run for state in listed] == expected
    assert [state.run for state in limited] == expected[:3]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("order-1", 1),
        ("order-3", 3),
        ("order-30", 3),
        ("parent", 4),
        ("parent/", 5),
        ("again", 8),
        ("@last", 8),
        ("@failed", 2),
    ],
)
def test_a_run_is_found_by_id_prefix_or_place(path: Path, name: str, run: int) -> None:
    """An exact id wins over longer ones; of several generations the newest is meant; the state is whole."""
    with open_file(path) as connection:
        assert encode_state(views.get_run(connection, name)) == encode_state(fold(run, HISTORIES[run]))


def test_the_last_run_is_one_that_no_other_run_started(tmp_path: Path) -> None:
    """However many children came after it: whoever asks means the run that he has started."""
    parent = Parent(1, "parent", 1, True, "abandon")
    histories = {1: start("parent", 1)} | {run: start(f"parent/{run}", run, parent=parent) for run in range(2, 200)}

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        journal.append([row for run, entry in histories.items() for row in rows(run, [Record(entry)])])
        await journal.close()

    asyncio.run(scenario())
    with open_file(tmp_path / "journal.duckdb") as connection:
        assert views.get_run(connection, "@last").id == "parent"


def test_a_state_is_shown_with_its_large_values(path: Path) -> None:
    """Also where they lie in records before the projection."""
    with open_file(path) as connection:
        assert views.result(connection, views.get_run(connection, "impostor").run) == Raw(LARGE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("order", "'order' matches several runs: order-1, order-2, order-30"),
        ("ordre-2", "no run 'ordre-2'; did you mean order-2"),
        ("zzz", "no run 'zzz'$"),
        ("@lst", "no run '@lst': there are @last and @failed"),
        ("Parent", "no run 'Parent'; did you mean parent"),
    ],
)
def test_a_name_that_fits_no_run_or_several_says_what_comes_near(path: Path, name: str, message: str) -> None:
    """So that the next attempt succeeds."""
    with open_file(path) as connection, pytest.raises(UnknownRun, match=message):
        views.get_run(connection, name)


def test_an_empty_journal_has_no_last_run(tmp_path: Path) -> None:
    """Nor a failed one."""

    async def scenario() -> None:
        await (await open_journal(tmp_path / "journal.duckdb")).close()

    asyncio.run(scenario())
    with open_file(tmp_path / "journal.duckdb") as connection:
        assert views.list_runs(connection) == []
        for name in ("@last", "@failed", "a"):
            with pytest.raises(UnknownRun):
                views.get_run(connection, name)


def test_a_history_is_shown_with_all_values(path: Path) -> None:
    """Record by record, as it was written."""
    with open_file(path) as connection:
        for run, records in HISTORIES.items():
            assert views.history(connection, run) == list(records)
        assert views.history(connection, 99) == []


def test_children_are_found_by_their_parent(path: Path) -> None:
    """By what their first record says, not by text that looks like it."""
    with open_file(path) as connection:
        assert [state.run for state in views.children(connection, 4)] == [5]
        assert views.children(connection, 1) == []


def test_a_result_is_what_the_workflow_returned(path: Path) -> None:
    """And None while there is none."""
    with open_file(path) as connection:
        assert views.result(connection, 1) == Raw(b'{"paid": true}')
        assert views.result(connection, 2) is None
        assert views.result(connection, 3) is None


def test_store_info_counts_what_is_there(path: Path) -> None:
    """Rows, runs by status, sizes and openings."""
    with open_file(path) as connection:
        info = views.store_info(connection, path)
    assert info.rows == sum(len(records) for records in HISTORIES.values()) + 1
    assert info.runs == {"completed": 3, "failed": 1, "running": 4}
    assert info.file_bytes == path.stat().st_size
    assert (info.format, info.epoch) == (1, 1)


def test_a_journal_in_use_answers_the_same_questions(tmp_path: Path) -> None:
    """Through its own reader, while it is open."""

    async def scenario() -> None:
        journal = await open_journal(tmp_path / "journal.duckdb")
        await fill(journal, 4)
        await journal.history(0)
        assert ids(await journal.read(views.list_runs, RunFilter(workflow="audit"))) == ["order-30"]
        assert (await journal.read(views.get_run, "@last")).id == "again"
        assert (await journal.read(views.store_info, journal.path)).runs["failed"] == 1
        with pytest.raises(UnknownRun):
            await journal.read(views.get_run, "nobody")
        await journal.close()

    asyncio.run(scenario())


def test_a_journal_that_is_not_there_is_an_error_and_stays_away(tmp_path: Path) -> None:
    """Reading creates nothing."""
    path = tmp_path / "journal.duckdb"
    with pytest.raises(JournalUnusable, match="there is no journal"), open_file(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_reading_a_crashed_journal_changes_nothing(tmp_path: Path) -> None:
    """The log is replayed in the reader's memory alone."""

    async def crash() -> dict[Path, bytes]:
        journal = await open_journal(tmp_path / "running" / "journal.duckdb")
        await fill(journal, 4)
        await journal.history(0)
        files = {
            tmp_path / name: (journal.path.parent / name).read_bytes() for name in ("journal.duckdb", "journal.duckdb.wal")
        }
        await journal.close()
        return files

    files = asyncio.run(crash())
    for path, content in files.items():
        path.write_bytes(content)
    with open_file(tmp_path / "journal.duckdb") as connection:
        assert len(views.list_runs(connection)) == len(HISTORIES)
    assert {path: path.read_bytes() for path in files} == files


# -- the views for SQL -----------------------------------------------------------------------------------------------


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with open_file(path) as connection:
        return connection.execute(query).fetchall()


def test_sql_sees_histories_as_json(path: Path) -> None:
    """Entries and commands by path; large values are null."""
    assert ask(path, "SELECT seq, kind, entry->>'$.error.message' FROM v.history WHERE id = 'order-1' ORDER BY seq") == [
        (1, "RunStarted", None),
        (2, "AttemptFailed", "503"),
        (3, "StepCompleted", None),
    ]
    assert ask(path, "SELECT commands->>'$[0].value.paid' FROM v.history WHERE id = 'order-1' AND seq = 3") == [("true",)]


def test_sql_sees_steps(path: Path) -> None:
    """One row a step call, with its outcome and the attempt that brought it."""
    steps = ask(path, "SELECT id, n, step, status, attempt, epoch(ended)::INT FROM v.steps WHERE id LIKE 'order-%' ORDER BY id")
    assert steps == [("order-1", 1, "charge", "completed", 2, 4), ("order-2", 1, "charge", "pending", None, None)]
    assert ask(path, "SELECT args->>'$[0]' FROM v.steps WHERE id = 'order-1'") == [("o",)]


def test_sql_sees_attempts(path: Path) -> None:
    """Failed ones with the next due time, and the one that ended the step."""
    attempts = ask(path, "SELECT attempt, event, epoch(next_due)::INT FROM v.attempts WHERE id = 'order-1' ORDER BY attempt")
    assert attempts == [(1, "failed", 3), (2, "completed", None)]


def test_sql_sees_signals(path: Path) -> None:
    """Those sent to a run and those published."""
    signals = ask(path, "SELECT id, signal, payload->>'$.by', published, dedupe, receivers FROM v.signals ORDER BY t")
    assert signals == [("parent", "approved", "A", False, "d", None), (None, "approved", "B", True, None, 2)]


def test_sql_sees_projected_runs(path: Path) -> None:
    """The projection as a table; it may be behind the history."""
    projected = ask(path, "SELECT count(*) FROM main.runs")[0][0]
    found = ask(path, "SELECT id, generation, workflow, epoch(started)::INT, state->>'$.id' FROM v.runs WHERE run = 3")
    assert found == ([("order-30", 1, "audit", 3, "order-30")] if projected else [])


def test_json_needs_no_extension_from_elsewhere() -> None:
    """It is linked into DuckDB itself."""
    with duckdb.connect() as connection:
        query = "SELECT install_mode FROM duckdb_extensions() WHERE extension_name = 'json' AND loaded"
        assert connection.execute(query).fetchall() == [("STATICALLY_LINKED",)]


def test_a_file_that_no_engine_holds_can_be_backed_up(path: Path, tmp_path: Path) -> None:
    """The copy answers like the original."""
    assert backup_file(path, tmp_path / "copy.duckdb") == tmp_path / "copy.duckdb"
    with open_file(path) as connection:
        expected = views.list_runs(connection)
    with open_file(tmp_path / "copy.duckdb") as connection:
        assert [encode_state(state) for state in views.list_runs(connection)] == [encode_state(state) for state in expected]
    assert not (path.parent / "exports").exists()
