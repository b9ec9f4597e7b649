"""`wfkit runs`: lists, single runs and histories, in every form."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Wfkit
from wfkit.core.entries import RunStarted
from wfkit.journal.files import import_lines, read_file

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_a_list_in_a_pipe_is_tab_separated_and_cut_nowhere(filled: Wfkit) -> None:
    """Words without signs, seconds, RFC 3339; what would break a line or a terminal is written out."""
    rows = {(row[0], row[7]): row for row in filled("runs").rows}
    id, workflow, status, seconds, tries, started, at, generation = rows["family-1/parcel-3", "1"]
    assert (id, workflow, status, tries, generation) == ("family-1/parcel-3", "parcel", "retrying", "2/5", "1")
    assert float(seconds) >= 0
    assert RFC3339.fullmatch(started)
    assert at.startswith("ship 2/5 in ")
    assert rows["mistaken-1", "1"][6].startswith("WF029 AttributeError: 'Order' object has no attribute 'name', at /")
    assert rows["pay-declined", "1"][2:7:4] == ["failed", "NonRetryable: card 4242 is declined"]
    assert rows["pack-7", "1"][6] == "signal order.packed"
    assert {("pay-1x", "1"), ("pay-1x", "2")} <= set(rows)
    assert "\x1b" not in filled("runs").out


def test_runs_ls_is_the_same_as_runs(filled: Wfkit) -> None:
    """The command is only left out."""
    assert filled("runs", "ls", "-q").out == filled("runs", "-q").out


def test_a_list_goes_on_where_the_last_page_ended(filled: Wfkit) -> None:
    """Pages put together are the list."""
    whole = filled("runs").rows
    pages = [filled("runs", "--limit", "4", "--offset", str(start)) for start in range(0, len(whole), 4)]
    assert [row[0] for page in pages for row in page.rows] == [row[0] for row in whole]
    assert "there are more than 8" in pages[1].err
    assert filled("runs", "--offset", str(len(whole))).out == ""


@pytest.mark.parametrize("generation", [1, 2])
def test_each_generation_of_a_run_is_shown(filled: Wfkit, generation: int) -> None:
    """By every command that shows one run; the newest unless told otherwise."""
    chosen = ("pay-1x", "--generation", str(generation), "--json")
    run = filled("runs", "get", *chosen).json["run"]
    assert (run["generation"], run["status"]) == (generation, "completed")
    assert filled("runs", "history", *chosen).json["run"]["started"] == run["started"]
    assert filled("runs", "result", *chosen).json["run"]["started"] == run["started"]
    exported = filled("runs", "export", "pay-1x", "--generation", str(generation)).out
    first = import_lines(exported.encode().splitlines(keepends=True)).records[0].entry
    assert isinstance(first, RunStarted)
    assert first.generation == generation
    assert (filled("runs", "get", "pay-1x", "--json").json["run"] == run) == (generation == 2)


def test_a_generation_that_is_not_there_is_not_found(filled: Wfkit) -> None:
    """Nor is one of a run that is named by its place."""
    for name in ("pay-1x", "@last"):
        answer = filled("runs", "get", name, "--generation", "3")
        assert (answer.status, "has no generation 3" in answer.err) == (3, True)
    assert filled("runs", "get", "pay-1x", "--generation", "0").status == 2


def test_quiet_prints_each_id_once_newest_first(filled: Wfkit) -> None:
    """For a shell's loop."""
    ids = filled("runs", "-q").out.splitlines()
    assert ids[0] == "edited-1"
    assert ids[-1] == "pack-7"
    assert len(ids) == len(set(ids))


def test_a_json_list_says_what_it_is_and_in_which_version(filled: Wfkit) -> None:
    """So that a script notices when it reads something else."""
    document = filled("runs", "--json").json
    assert (document["document"], document["version"], document["more"]) == ("runs", 1, False)
    (blocked,) = (run for run in document["runs"] if run["id"] == "edited-1")
    assert blocked["status"] == "blocked"
    assert blocked["blocked"]["code"] == "WF021"
    assert RFC3339.fullmatch(blocked["started"])
    assert datetime.fromisoformat(blocked["started"]).tzinfo is not None


def test_json_lines_hold_the_same_runs_one_a_line(filled: Wfkit) -> None:
    """For jq and for streams."""
    lines = filled("runs", "--ndjson", "status:failed,cancelled").lines
    assert [run["id"] for run in lines] == ["napper", "pay-declined"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["status:failed"], ["pay-declined"]),
        (["status:retrying"], ["family-1/parcel-3", "parcel-1"]),
        (["wf:p*", "status:waiting"], ["pack-7"]),
        (["step:ship", "id:parcel-*"], ["parcel-1"]),
        (["error:no attribute"], ["mistaken-1"]),
        (['status:blocked error:"history and code"'], ["edited-1"]),
        (["input.order.card:flaky"], ["pay-2"]),
        (["declined"], ["pay-declined"]),
        (["text:list"], []),
        (["tree-7"], []),
    ],
    ids=str,
)
def test_filters_find_runs(filled: Wfkit, filters: list[str], ids: list[str]) -> None:
    """One argument a term, or a whole filter in quotes."""
    assert filled("runs", "-q", *filters).out.split() == ids


def test_a_filter_that_finds_nothing_says_so_beside_the_empty_answer(filled: Wfkit) -> None:
    """An empty list is an answer, not an error."""
    answer = filled("runs", "no such text")
    assert (answer.status, answer.out, answer.err) == (0, "", "no runs match: no such text\n")


def test_a_list_that_was_cut_says_so(filled: Wfkit) -> None:
    """On stderr, since stdout is data."""
    answer = filled("runs", "--limit", "2", "--sort", "id")
    assert [row[0] for row in answer.rows] == ["batch-30", "edited-1"]
    assert "there are more than 2" in answer.err
    assert filled("runs", "--limit", "2", "--json").json["more"] is True


def test_one_run_on_one_page(filled: Wfkit) -> None:
    """Status, input, state and result, as facts in a pipe and as JSON."""
    facts = dict(filled("runs", "get", "pay-2").rows)
    assert facts["status"] == "completed"
    assert facts["input"] == '[{"id": "pay-2", "amount": "9", "card": "flaky"}]'
    assert (facts["result"], facts["state progress"]) == ('"ch-pay-2"', '"reserved"')
    assert "undo" not in facts  # its saga ended well
    run = filled("runs", "get", "family-1", "--json").json["run"]
    assert run["children"] == ["family-1/nap-1", "family-1/batch-2", "family-1/parcel-3"] or len(run["children"]) == 3
    assert (run["status"], run["detail"], run["result"]) == ("running", "waiting", None)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("batch", "batch-30"),
        ("pay-1", "pay-1"),
        ("@last", "edited-1"),
        ("@failed", "pay-declined"),
        ("family-1/p", "family-1/parcel-3"),
    ],
)
def test_a_run_is_named_by_the_beginning_of_its_id(filled: Wfkit, name: str, id: str) -> None:
    """A whole id is that run, even if another one begins with it."""
    assert filled("runs", "get", name, "--json").json["run"]["id"] == id


def test_an_ambiguous_beginning_names_the_candidates(filled: Wfkit) -> None:
    """Exit status 3: not found, or ambiguous."""
    answer = filled("runs", "get", "pay")
    assert answer.status == 3
    assert answer.err.startswith("error[WF012]: 'pay' matches several runs: pay-1, pay-1x, pay-2, pay-declined\n")


def test_an_unknown_id_names_the_nearest(filled: Wfkit) -> None:
    """Most are typos."""
    answer = filled("runs", "why", "pay-declind")
    assert answer.status == 3
    assert "no run 'pay-declind'; did you mean pay-declined" in answer.err


def test_a_result_is_json_on_stdout(filled: Wfkit) -> None:
    """The newest generation's."""
    assert filled("runs", "result", "pay-1x").json == "ch-again"


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("pay-declined", "run pay-declined failed with NonRetryable: card 4242 is declined"),
        ("napper", "run napper was cancelled: no more naps"),
        ("parcel-1", "run parcel-1 is retrying and has no result yet"),
    ],
)
def test_a_run_without_a_result_answers_no(filled: Wfkit, id: str, says: str) -> None:
    """Exit status 1, nothing on stdout, and stderr says why and where to look."""
    answer = filled("runs", "result", id)
    assert (answer.status, answer.out) == (1, "")
    assert says in answer.err
    assert f"wfkit runs {'why' if id == 'parcel-1' else 'history'} {id}" in answer.err


def test_an_export_is_a_history_file(filled: Wfkit, tmp_path: Path) -> None:
    """To stdout or into a file, the same bytes."""
    answer = filled("runs", "export", "pay-2")
    target = tmp_path / "pay-2.history.jsonl"
    assert filled("runs", "export", "pay-2", "-o", str(target)).err == f"wrote 7 records of run pay-2 to {target}\n"
    assert read_file(target) == import_lines(answer.out.encode().splitlines())
    assert read_file(target).header.run == "pay-2"


def test_an_export_to_nowhere_is_a_usage_error(filled: Wfkit) -> None:
    """With the path, and without a traceback."""
    answer = filled("runs", "export", "pay-2", "-o", "/no/such/folder/file")
    assert (answer.status, answer.err) == (2, "error: cannot write /no/such/folder/file: No such file or directory\n")


def test_a_tree_shows_depth_and_children(filled: Wfkit) -> None:
    """In the order in which they were started."""
    rows = filled("runs", "tree", "family-1").rows
    assert (rows[0][0], rows[0][1], rows[0][3]) == ("0", "family-1", "waiting")
    assert {(row[0], row[2], row[3]) for row in rows[1:]} == {
        ("1", "nap", "waiting"),
        ("1", "batch", "completed"),
        ("1", "parcel", "retrying"),
    }
    child = filled("runs", "tree", "family-1/parcel")
    assert len(child.rows) == 1
    assert child.err == "it was started by family-1\n"


def test_a_history_is_one_row_for_what_belongs_together(filled: Wfkit) -> None:
    """A step with three attempts is one row, in the timeline as in the compact view."""
    rows = filled("runs", "history", "pay-2").rows
    assert rows == filled("runs", "history", "pay-2", "--view", "compact").rows
    assert [row[:4] for row in rows] == [
        ["run", "pay", "completed", ""],
        ["step", "reserve", "completed", "1/4"],
        ["step", "charge", "completed", "3/3"],
    ]
    assert all(RFC3339.fullmatch(time) for row in rows for time in row[4:6])
    assert rows[2][6] == '"ch-pay-2"'


def test_a_history_record_by_record_shows_entries_and_their_commands(filled: Wfkit) -> None:
    """`--view all` leaves nothing out."""
    rows = filled("runs", "history", "pay-2", "--view", "all").rows
    assert [(row[0], row[2]) for row in rows[:4]] == [
        ("1", "RunStarted"),
        ("1", "register undo"),
        ("1", "step"),
        ("2", "StepCompleted"),
    ]
    assert [row[2] for row in rows].count("AttemptFailed") == 2
    assert [row[2:] for row in rows[-2:]] == [["release undos", "release, release"], ["complete", '"ch-pay-2"']]
    records = filled("runs", "history", "pay-2", "--view", "all", "--ndjson").lines
    assert [record["seq"] for record in records] == list(range(1, 8))
    assert all(RFC3339.fullmatch(record["t"]) for record in records)
    assert records[0]["commands"][-1]["name"] == "reserve"


def test_a_crowd_of_steps_is_not_folded_in_a_pipe(filled: Wfkit) -> None:
    """Nothing is left out there."""
    spans = filled("runs", "history", "batch-30", "--json").json["spans"]
    assert len(spans) == 31


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs", "whyy", "pay-1"], "there is no command 'whyy'; did you mean why?"),
        (["runs", "lst"], "there is no command 'lst'; did you mean ls?"),
        (["runs", "hstory"], "to search for the word: wfkit runs text:hstory"),
        (["runs", "list"], "did you mean ls?"),
        (["runs", "show", "pay-1"], "did you mean get?"),
        (["runs", "-n", "0"], "'--limit' / '-n': it must be 1 or more"),
        (["runs", "-n", "some"], "it must be a whole number"),
        (["runs", "get", "pay-1", "--jsn"], "no such option: --jsn; did you mean --json?"),
        (["runs", "export", "pay-1", "--json"], "no such option: --json\n"),
        (["start", "two", "-5"], "wfkit start ... -- -5"),
        (["rnus"], "there is no command 'rnus'; did you mean runs?"),
        (["runs", "status:fialed"], "no status 'fialed'; did you mean failed?"),
        (["runs", "get"], "missing argument 'ID'"),
        (["runs", "--sort", "size"], "invalid value for '--sort': 'size' is not one of"),
        (["--store", "x", "runs"], "write it after the command"),
        (["runs", "--nonsense"], "no such option: --nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_told_in_a_few_words(filled: Wfkit, arguments: list[str], says: str) -> None:
    """Exit status 2, with what to do instead."""
    answer = filled(*arguments)
    assert answer.status == 2
    assert says in answer.err
    assert answer.err.startswith("error")
    assert "\n  help  " in answer.err
    assert len(answer.err.splitlines()) == 2
