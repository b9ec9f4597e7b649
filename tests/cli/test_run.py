"""`wfkit run`: a workflow to its end, and everything that can come between."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SECONDS_MAX, Wfkit, environment
from tests.cli.test_engine import serving
from wfkit.journal.files import import_lines

ORDER = '{"id": "7", "amount": "9.90"}'


def test_the_result_is_the_only_thing_on_stdout(wfkit: Wfkit) -> None:
    """What the user's code prints and logs goes to stderr, so that a pipe gets JSON."""
    answer = wfkit("run", "app.py:pay", ORDER)
    assert (answer.status, answer.out) == (0, '"ch-7"\n')
    assert "this is printed by the user's code" in answer.err
    assert "and this by what it calls" in answer.err
    assert "INFO: paying for 7" in answer.err


def test_a_failed_run_is_told_on_stderr(wfkit: Wfkit) -> None:
    """Exit status 1, and where to look."""
    answer = wfkit("run", "app.py:pay", '{"id": "7", "amount": 1, "card": "declined"}', "--id", "order-7")
    assert (answer.status, answer.out) == (1, "")
    assert "error[WF031]: run order-7 failed with NonRetryable: card 4242 is declined\n" in answer.err
    assert "wfkit runs history order-7" in answer.err
    again = wfkit("run", "app.py:pay", "--id", "order-7", "--json")
    assert (again.status, again.json["run"]["status"], again.json["result"]) == (1, "failed", None)


def test_input_comes_from_a_file_or_stdin(wfkit: Wfkit, folder: Path) -> None:
    """For what a shell would make a mess of."""
    (folder / "order.json").write_text(ORDER, encoding="utf-8")
    assert wfkit("run", "app.py:pay", "@order.json").json == "ch-7"
    assert wfkit("run", "app.py:pay", "-", input=ORDER).json == "ch-7"


def test_another_store_is_named_in_what_to_do_next(wfkit: Wfkit, folder: Path) -> None:
    """The command that is told can be copied."""
    answer = wfkit("run", "app.py:mistaken", ORDER, "--id", "m", "--store", "other/j.duckdb")
    assert answer.status == 1
    assert "[WF029]" in answer.err
    told = wfkit("runs", "why", "m", WFKIT_STORE="other/j.duckdb").out
    assert "wfkit run app.py:mistaken --id m\n" in told
    assert "--store other/j.duckdb" in wfkit("runs", "why", "m", "--store", "other/j.duckdb").out
    assert not (folder / ".wfkit").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (
            ["app.py:pay", '{"id": "7", "amount": []}'],
            2,
            "parameter 'order' of pay(order: Order): expected `decimal`, got `array`",
        ),
        (["app.py:pay", '{"id": "7", "amount": []}'], 2, "at `$.amount`"),
        (["app.py:pay", "{id: 7}"], 2, "the shell took the quotes away"),
        (["app.py:pay", "{'id': 7}"], 2, "JSON has double quotes inside"),
        (["app.py:pay", "{id:", "7}"], 2, "put INPUT in single quotes"),
        (["app.py:nap", '"2s'], 2, """a text keeps its double quotes: '"2s"'"""),
        (["app.py:nap", "2s"], 2, """a text keeps its double quotes: '"2s"'"""),
        (["app.py:nap", '{"length": "1s",}'], 2, "a file may be easier: @input.json"),
        (["app.py:pay"], 2, "pay(order: Order): order is missing"),
        (["app.py:pay"], 2, "give order as JSON, in single quotes, or as @file, or - for stdin; Order is {id: str, "),
        (["app.py:pay", '{"id": "7"}'], 2, 'Order is {id: str, amount: Decimal, card: str = "visa"}'),
        (["app.py:pay", "@missing.json"], 2, "cannot read missing.json: No such file or directory"),
        (
            ["app.py:pay", "--id", "nobody"],
            2,
            "there is no run 'nobody' to go on with; to start it, give INPUT: pay(order: Order): order is missing",
        ),
        (["app.py:pay", ORDER, "--id", "not an id"], 2, "'not an id' is no run id"),
        (["app.py:pay", ORDER, "--id", "-x"], 2, "'-x' is no run id"),
        (["pay"], 2, "write APP:WORKFLOW"),
        (["app.py"], 2, "write app.py:batch, app.py:edited"),
        (["nope.py:pay", ORDER], 2, "there is no file nope.py\n"),
        (["app.yp:pay", ORDER], 2, "there is no module 'app.yp'"),
        (["ap.py:pay", ORDER], 2, "there is no file ap.py; did you mean app.py?"),
        (["nope.py:pay", ORDER], 2, "name a file as it is found from here"),
        (["app.py:pya", ORDER], 3, "no workflow is named 'pya'; did you mean 'pay'?"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_told_in_a_few_words(quick: Wfkit, arguments: list[str], status: int, says: str) -> None:
    """One line of cause, one of help."""
    answer = quick("run", *arguments)
    assert (answer.status, answer.out) == (status, "")
    assert says in answer.err
    assert answer.err.startswith("error")
    assert len(answer.err.splitlines()) <= 3


def test_an_app_that_does_not_import_shows_the_frames_of_its_author(wfkit: Wfkit, folder: Path) -> None:
    """And none of ours."""
    (folder / "broken.py").write_text("def load():\n    return {}['key']\n\nload()\n", encoding="utf-8")
    answer = wfkit("run", "broken.py:pay", ORDER)
    assert answer.status == 2
    assert "broken.py does not import: broken.py:2 KeyError: 'key'" in answer.err
    assert "broken.py:2 in load: return {}['key']" in answer.err
    assert "wfkit/" not in answer.err.replace("wfkit/broken", "")
    assert len(answer.err.splitlines()) <= 6


def test_an_id_in_use_attaches_to_equal_input_and_refuses_other(wfkit: Wfkit) -> None:
    """A run id names one fact."""
    assert wfkit("run", "app.py:two", '{"order": {"id": "1", "amount": 1}, "count": 5}', "--id", "t").json == "1 5 none"
    assert wfkit("run", "app.py:two", '{"count": 5, "order": {"amount": 1, "id": "1"}}', "--id", "t").json == "1 5 none"
    answer = wfkit("run", "app.py:two", '[{"id": "1", "amount": 1}, 6]', "--id", "t")
    assert (answer.status, answer.out) == (1, "")
    assert "error[WF011]: run id 't' is in use with other input" in answer.err
    assert "is in use by workflow 'two'" in wfkit("run", "app.py:pay", "--id", "t").err


def test_a_divergence_has_a_status_of_its_own(wfkit: Wfkit, folder: Path) -> None:
    """5: the history and the code disagree, and nothing is lost."""
    with started(folder, "app.py:nap", '"1h"', "--id", "n") as child:
        child.kill()
    source = (folder / "app.py").read_text(encoding="utf-8")
    (folder / "app.py").write_text(
        source.replace("    await sleep(length)", "    await sync(1)\n    await sleep(length)"), "utf-8"
    )
    answer = wfkit("run", "app.py:nap", "--id", "n")
    assert (answer.status, answer.out) == (5, "")
    assert answer.err.startswith("error[WF021]: history and code disagree\n")
    assert "requested" in answer.err
    (folder / "app.py").write_text(source, encoding="utf-8")
    assert "On the code as it is now it goes on" in wfkit("runs", "why", "n").out


# -- interrupted ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start `wfkit run` and wait until its run is durable."""
    command = [sys.executable, "-m", "wfkit", "run", *arguments]
    # Python ignores SIGINT if whoever starts it does, as some test runners do.
    program = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *command],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        log = folder / ".wfkit" / "journal.duckdb.wal"
        deadline = time.monotonic() + SECONDS_MAX
        while not (log.exists() and b'"RunStarted"' in log.read_bytes()):
            assert time.monotonic() < deadline
            assert child.poll() is None, child.communicate()
            time.sleep(0.01)
        yield child
        if child.poll() is None:
            child.kill()


def test_ctrl_c_says_where_the_run_stands_and_how_to_go_on(wfkit: Wfkit, folder: Path) -> None:
    """Exit status 130. The run stays in the journal, and the command that is told works."""
    with started(folder, "app.py:nap", '"400ms"', "--id", "napper") as child:
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=SECONDS_MAX)
    assert (child.returncode, out) == (130, "")
    assert err.startswith("interrupted: run napper is waiting (timer ")
    assert "  go on  wfkit run app.py:nap --id napper\n" in err
    assert "Traceback" not in err
    assert wfkit("run", "app.py:nap", "--id", "napper").json == "rested"


def test_a_killed_run_goes_on_where_it_was(wfkit: Wfkit, folder: Path) -> None:
    """SIGKILL is no different: what was recorded is not done again."""
    with started(folder, "app.py:nap", '"300ms"', "--id", "napper") as child:
        child.kill()
    assert wfkit("run", "app.py:nap", '"300ms"', "--id", "napper").json == "rested"
    history = import_lines(wfkit("runs", "export", "napper").out.encode().splitlines())
    entries = [type(record.entry).__name__ for record in history.records]
    assert (entries.count("RunStarted"), entries.count("TimerFired")) == (1, 1)


def test_other_unfinished_runs_are_left_alone(wfkit: Wfkit, folder: Path) -> None:
    """A command that runs one workflow does not start charging cards for others."""
    with started(folder, "app.py:nap", '"100ms"', "--id", "other") as child:
        child.kill()
    time.sleep(0.1)
    assert wfkit("run", "app.py:nap", '"200ms"', "--id", "mine").json == "rested"
    assert wfkit("runs", "status:running", "-q").out.split() == ["other"]
    assert wfkit("runs", "get", "other", "--json").json["run"]["records"] == 1


def test_children_run_to_their_end_as_well(wfkit: Wfkit, folder: Path) -> None:
    """Also those that nobody awaits."""
    source = (
        "from wfkit import sleep, start_child, workflow\n\n@workflow\nasync def child() -> None:\n    await sleep('50ms')\n"
    )
    source += "\n@workflow\nasync def parent() -> str:\n    start_child(child)\n    return 'done'\n"
    (folder / "pair.py").write_text(source, encoding="utf-8")
    assert wfkit("run", "pair.py:parent", "--id", "p").json == "done"
    assert [row[2] for row in wfkit("runs", "id:p*").rows] == ["completed", "completed"]


def test_ctrl_c_says_what_is_waited_for(folder: Path) -> None:
    """A step in flight has 2 s to end; and whatever holds its thread, nothing else is said."""
    source = (
        "import time\nfrom wfkit import step, workflow\n\n@step\ndef slow() -> None:\n    print('begun')\n    time.sleep(60)\n"
    )
    source += "\n@workflow\nasync def job() -> None:\n    await slow()\n"
    (folder / "slow.py").write_text(source, encoding="utf-8")
    with started(folder, "slow.py:job", "--id", "j") as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "begun\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=SECONDS_MAX)
    assert (child.returncode, out) == (130, "")
    assert err.splitlines() == [
        "stopping: 1 step in flight has 2 s to end",
        "interrupted: run j is running (slow)",
        "  go on  wfkit run slow.py:job --id j",
    ]


def test_a_run_that_an_engine_can_start_is_told_how(wfkit: Wfkit, folder: Path) -> None:
    """With the input and the id that were given; unless that engine runs something else."""
    (folder / "other.py").write_text("from wfkit import workflow\n\n@workflow\nasync def w(n: int) -> None: ...\n")
    with serving(folder):
        same = wfkit("run", "app.py:nap", '"1 day"', "--id", "n")
        assert (same.status, "wfkit start nap '\"1 day\"' --id n\n" in same.err) == (4, True), same.err
        other = wfkit("run", "other.py:w", "7")
        assert (other.status, "that engine runs app.py, which has no w: stop it first" in other.err) == (4, True), other.err


def test_a_journal_that_an_engine_holds_is_told_with_its_pid(wfkit: Wfkit, folder: Path) -> None:
    """Exit status 4, for whoever runs; whoever reads asks that engine."""
    with started(folder, "app.py:nap", '"1h"', "--id", "holder") as child:
        for arguments in (["run", "app.py:nap", '"1s"'], ["serve", "app.py"]):
            answer = wfkit(*arguments)
            assert (answer.status, answer.out) == (4, "")
            assert answer.err.startswith("error[WF051]: journal is in use by `")
            assert f"(pid {child.pid}): .wfkit/journal.duckdb\n" in answer.err
            assert child.poll() is None
