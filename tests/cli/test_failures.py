"""What goes wrong around a command: bugs of ours, closed streams, full disks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Wfkit, environment
from tests.cli.test_output import on_terminal
from wfkit.cli.failures import STATUSES
from wfkit.errors import InternalError, NonDeterminismError, UnknownRun, by_code


def in_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    program = f"'{sys.executable}' -m wfkit"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("wfkit", program, 1)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_that_goes_away_is_no_error(filled_folder: Path) -> None:
    """`| head` closes the pipe; the status is that of a program that SIGPIPE has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        command = [sys.executable, "-m", "wfkit", "runs"]
        done = subprocess.run(command, cwd=filled_folder, env=environment(), stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_output_that_cannot_be_written_is_told(filled_folder: Path) -> None:
    """A full disk under the redirection is not a bug of ours."""
    done = in_shell(filled_folder, "wfkit runs > /dev/full")
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_not_missed(filled_folder: Path, closed: str) -> None:
    """As started by some daemons."""
    assert in_shell(filled_folder, f"wfkit runs why pack-7 {closed}").returncode == 0


BROKEN = """
import sys
import wfkit.cli.version
def version(name): raise RuntimeError("an invariant is broken")
wfkit.cli.version.version = version
from wfkit.cli.main import main
sys.argv = ["wfkit", "version", *sys.argv[1:]]
sys.exit(main())
"""


def call_broken(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BROKEN, *arguments]
    return subprocess.run(command, env=environment(TMPDIR=str(tmp_path)), capture_output=True, text=True, check=False)


def test_a_bug_of_ours_writes_a_report(tmp_path: Path) -> None:
    """Exit status 70, a short message, and a file with all that its authors need."""
    done = call_broken(tmp_path)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr.startswith("error[WF090]: a bug in wfkit: RuntimeError: an invariant is broken\n")
    assert len(done.stderr.splitlines()) <= 6
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("wfkit-bug-*.txt")
    assert f"report   {report}" in done.stderr
    written = report.read_text(encoding="utf-8")
    assert "Traceback" in written
    assert "RuntimeError: an invariant is broken" in written
    assert "command: ['wfkit', 'version']" in written


def test_debug_shows_our_own_traceback(tmp_path: Path) -> None:
    """Wherever it stands on the command line."""
    assert "Traceback" in call_broken(tmp_path, "--debug").stderr


def test_debug_shows_the_traceback_of_an_ordinary_error_too(filled: Wfkit) -> None:
    """Without it there is none."""
    assert "Traceback" not in filled("runs", "get", "nobody").err
    answer = filled("runs", "get", "nobody", "--debug")
    assert (answer.status, "Traceback" in answer.err) == (3, True)


def test_every_error_has_one_exit_status() -> None:
    """What is not listed is `the answer is no`; ours is 70, a divergence 5, not found 3."""
    assert set(STATUSES) <= set(by_code().values())
    assert set(STATUSES.values()) == {2, 3, 4, 5, 70}
    assert (STATUSES[InternalError], STATUSES[NonDeterminismError], STATUSES[UnknownRun]) == (70, 5, 3)


@pytest.mark.parametrize("name", ["WF021", "wf021", "021", "21", "[WF021]", "NonDeterminismError"])
def test_an_error_is_explained_by_code_or_name(quick: Wfkit, name: str) -> None:
    """As it was printed, or as somebody remembers it."""
    answer = quick("explain", name)
    assert answer.status == 0
    assert answer.out.startswith("WF021 NonDeterminismError\n\nHistory and code disagree")
    assert "\nhelp  guard the change" in answer.out


def test_all_errors_can_be_listed(quick: Wfkit) -> None:
    """With code, name and meaning."""
    assert [row[0] for row in quick("explain").rows] == sorted(by_code())
    assert quick("explain", "WF021", "--json").json["name"] == "NonDeterminismError"


def test_an_unknown_code_is_not_found(quick: Wfkit) -> None:
    """Exit status 3; a name has a nearest one, a number has none."""
    for name, told in (("WF099", "there is no error 'WF099'\n"), ("UnknownRnu", "'UnknownRnu'; did you mean UnknownRun?")):
        answer = quick("explain", name)
        assert (answer.status, told in answer.err) == (3, True), answer.err


def test_workflows_are_listed_with_parameters_and_place(quick: Wfkit, folder: Path) -> None:
    """Of the app that is named, or of the only one here."""
    rows = {row[0]: row for row in quick("workflows").rows}
    assert rows["two"][1] == 'order: Order, count: int = 3, note: str = "none"'
    assert rows["two"][4].startswith("app.py:")
    assert [row[0] for row in quick("workflows", "app.py").rows] == sorted(rows)
    (two,) = (found for found in quick("workflows", "--json").json["workflows"] if found["name"] == "two")
    assert two["parameters"][1] == {"name": "count", "type": "int", "required": False, "default": 3}
    (folder / "second.py").write_text("from wfkit import workflow\n\n@workflow\nasync def w() -> None: ...\n", encoding="utf-8")
    answer = quick("workflows")
    assert (answer.status, "several files define workflows: app.py, second.py" in answer.err) == (2, True)


def test_workflows_are_listed_with_the_fields_of_their_parameters(quick: Wfkit, folder: Path) -> None:
    """Behind the row in a pipe, as data by --json, and below the table on a terminal."""
    fields = 'id: str, amount: Decimal, card: str = "visa"'
    assert {row[0]: row[5] for row in quick("workflows").rows}["pay"] == f"Order is {{{fields}}}"
    (pay,) = (found for found in quick("workflows", "--json").json["workflows"] if found["name"] == "pay")
    assert [kind["name"] for kind in pay["types"]] == ["Order"]
    assert pay["types"][0]["fields"][2] == {"name": "card", "type": "str", "required": False, "default": "visa"}
    assert f"\nOrder  {fields}\n" in on_terminal(folder, "workflows", columns=160, env={"NO_COLOR": "1"})
