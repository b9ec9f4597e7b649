"""What a terminal shows: tables that fit, whole ids, colours only where they are wanted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.conftest import SECONDS_MAX, call_in, environment
from wfkit.cli.facts import Fact, lines
from wfkit.cli.output import Column, cut_in_front, fit, visible
from wfkit.cli.runs.bars import axis, bar
from wfkit.cli.statuses import LOOKS
from wfkit.core.commands import Failure
from wfkit.replay.timeline import Attempt, Span

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(
    folder: Path, *arguments: str, columns: int = 80, rows: int = 24, env: dict[str, str] | None = None, until: bytes = b"\0"
) -> str:
    """Return what a command shows on a terminal of this size; up to a text, if it goes on for ever."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    sizes = ("COLUMNS", "LINES")
    kept = {name: value for name, value in environment(**{"TERM": "xterm-256color"} | (env or {})).items() if name not in sizes}
    command = [sys.executable, "-m", "wfkit", *arguments]
    with subprocess.Popen(command, cwd=folder, env=kept, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        shown, give_up = b"", time.monotonic() + SECONDS_MAX
        while until not in shown:
            if not select.select([ours], [], [], SECONDS_MAX)[0] or time.monotonic() > give_up:
                child.kill()
                pytest.fail(f"{until!r} never came: {shown[-2000:]!r}")
            try:
                part = os.read(ours, 65536)
            except OSError:  # what Linux says when the other side is closed
                break
            if not part:
                break
            shown += part
        if until in shown:
            child.kill()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 160])
def test_a_table_fits_the_terminal_and_cuts_no_id(filled_folder: Path, columns: int) -> None:
    """What does not fit is cut or left out, ids never."""
    shown = ESCAPE.sub("", on_terminal(filled_folder, "runs", columns=columns)).splitlines()
    assert all(len(line) <= columns for line in shown)
    assert shown[0].split()[:3] == ["RUN", "WORKFLOW", "STATUS"]
    assert any(line.startswith("family-1/parcel-3 ") for line in shown)
    assert any("✗ failed" in line and line.startswith("pay-declined ") for line in shown)
    assert any("↶ compensating" in line for line in shown)
    assert ("GEN" in shown[0]) is (columns == 160)


def test_an_error_fits_the_terminal(folder: Path) -> None:
    """It is broken between words, and what is left of a sentence goes on below it. A pipe gets a line for each."""
    order = '{"id": "o-1", "amount": "9"}'
    command = ("verify", "app.py:pay", order, "--faults", "crash@1:step.befor:charge")
    shown = [line.rstrip() for line in ESCAPE.sub("", on_terminal(folder, *command, columns=60)).splitlines()]
    first, *rest = shown[next(index for index, line in enumerate(shown) if line.startswith("error")) :]
    assert first == "error: '1:step.befor:charge' names no phase; did you mean"
    assert rest[:2] == ["        step.before?", "  help  phases: start.before_journal, start.journaled,"]
    assert max(map(len, rest)) <= 60


def test_colours_are_for_terminals_that_want_them(filled_folder: Path) -> None:
    """NO_COLOR and TERM=dumb are honoured; the words stay."""
    assert "\x1b[31m✗ failed" in on_terminal(filled_folder, "runs", "status:failed")
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        shown = on_terminal(filled_folder, "runs", "status:failed", env=env)
        assert "\x1b" not in shown
        assert "✗ failed" in shown


def test_colours_can_be_forced_into_a_pipe(filled_folder: Path) -> None:
    """FORCE_COLOR colours what is for people; a table in a pipe stays data."""
    environ = environment(FORCE_COLOR="1")
    command = [sys.executable, "-m", "wfkit", "runs"]
    error = subprocess.run([*command, "get", "nobody"], cwd=filled_folder, env=environ, capture_output=True, check=False).stderr
    assert error.startswith(b"\x1b[1;31merror[WF012]:\x1b[0m no run 'nobody'")
    assert b"\x1b" not in subprocess.check_output(command, cwd=filled_folder, env=environ)


def test_a_stream_without_unicode_gets_ascii_signs(filled_folder: Path) -> None:
    """Instead of an error or of question marks."""
    shown = on_terminal(filled_folder, "runs", "status:failed", env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"})
    assert "x failed" in shown
    shown = on_terminal(filled_folder, "runs", "history", "pay-2", env={"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"})
    assert "+ pay " in shown
    assert "##" in shown
    assert "?" not in shown


def test_a_timeline_draws_bars_and_folds_crowds(filled_folder: Path) -> None:
    """30 steps of a gather are one row with counts."""
    shown = on_terminal(filled_folder, "runs", "history", "batch-30", env={"NO_COLOR": "1"}).splitlines()
    assert len(shown) == 3
    assert shown[1].startswith("✓ batch ")
    assert "█" in shown[1]
    assert shown[2].startswith("✓ sync ×30: 30 completed")
    assert all(len(line) <= 80 for line in shown)


def test_a_list_that_is_watched_fits_the_terminal(filled_folder: Path) -> None:
    """The newest runs, and how many there are beside: more lines would push the first ones out of sight."""
    clear = "\x1b[H\x1b[2J"
    shown = on_terminal(filled_folder, "runs", "-w", rows=8, env={"NO_COLOR": "1"}, until=b" more" + clear.encode())
    lines = shown.split(clear)[1].splitlines()
    assert [line.split(" ")[0] for line in lines[:2]] == ["RUN", "edited-1"]
    assert (len(lines), lines[-1]) == (7, "and 11 more")
    wide = on_terminal(filled_folder, "runs", "-w", rows=100, env={"NO_COLOR": "1"}, until=clear.encode() + b"RUN")
    assert "\nand " not in wide


def test_of_a_path_the_end_is_kept() -> None:
    """It says more than its beginning."""
    column = Column("WHERE", str, cut=True, tail=True)
    assert cut_in_front("/a/long/way/app.py:41", 12, column) == "…y/app.py:41"
    assert cut_in_front("app.py:41", 12, column) == "app.py:41"


def test_a_large_value_is_shown_in_part(folder: Path) -> None:
    """On a terminal; a pipe gets all of it."""
    call = call_in(folder)
    (folder / "input.json").write_text(json.dumps({"id": "x" * 10_000, "amount": 1}))
    call("run", "app.py:pay", "@input.json", "--id", "large")
    shown = on_terminal(folder, "runs", "get", "large", env={"NO_COLOR": "1"})
    assert len(shown) < 8_000
    assert "whole: wfkit runs get large --json" in " ".join(shown.split())
    assert "x" * 10_000 in call("runs", "get", "large").out


def test_every_status_has_a_sign_of_its_own() -> None:
    """No meaning by colour alone."""
    assert len({look.sign for look in LOOKS.values()}) == len({look.plain for look in LOOKS.values()}) == len(LOOKS)


def columns_of(**flags: dict[str, object]) -> list[Column[str]]:
    return [Column(title, str, **options) for title, options in flags.items()]  # type: ignore[arg-type]  # of any kind


def test_columns_that_may_be_cut_give_way_before_others_are_left_out() -> None:
    """The widest first, down to twelve cells; then the highest rank goes."""
    table = columns_of(ID={}, NAME={"cut": True}, TEXT={"cut": True}, TIME={"rank": 1}, TRY={"rank": 2})
    natural = {"ID": 20, "NAME": 15, "TEXT": 60, "TIME": 8, "TRY": 4}
    assert fit(table, natural, 200) == natural
    assert fit(table, natural, 80) == natural | {"TEXT": 80 - 20 - 15 - 8 - 4 - 8}
    assert fit(table, natural, 60) == {"ID": 20, "NAME": 13, "TEXT": 13, "TIME": 8}
    assert fit(table, natural, 50) == {"ID": 20, "NAME": 13, "TEXT": 13}
    assert fit(table, natural, 30) == {"ID": 20, "NAME": 12, "TEXT": 12}


def test_facts_go_on_in_their_own_column() -> None:
    """A long text is wrapped between words, not cut."""
    shown = lines([Fact("a", "one two three"), Fact("label", "x"), Fact("empty", "y" * 30)], 28)
    assert shown == ["a      one two three", "label  x", "empty  " + "y" * 21, " " * 7 + "y" * 9]


def test_control_characters_are_written_out() -> None:
    """A payload must not move the cursor."""
    assert visible("a\tb\nc\x1b[31m é ✓") == r"a\tb\nc\x1b[31m é ✓"


SECOND = 1_000_000


def test_a_bar_begins_and_ends_in_proportion() -> None:
    """With eighths of a cell at its end, and marks where attempts failed."""
    span = Span("step", "charge", 10 * SECOND, 15 * SECOND, "completed")
    assert bar(span, 0, 20 * SECOND, 0, 20) == " " * 10 + "█" * 5
    assert bar(span, 0, 20 * SECOND, 0, 10) == " " * 5 + "██▌"
    span.attempts.append(Attempt(1, 12 * SECOND, Failure("E"), None))
    assert bar(span, 0, 20 * SECOND, 0, 20) == " " * 10 + "██✗██"
    span.outcome = "retrying"
    assert bar(span, 0, 20 * SECOND, 0, 20) == " " * 10 + "██✗░░"
    span = Span("step", "charge", 0, 10 * SECOND, "failed")
    span.attempts = [Attempt(1, SECOND, Failure("E"), 4 * SECOND), Attempt(2, 5 * SECOND, Failure("E"), None)]
    assert bar(span, 0, 10 * SECOND, 0, 10) == "█✗░░█✗████", "the time between two attempts is no work"
    waiting = Span("timer", "2 days", 0, None, "waiting")
    assert bar(waiting, 0, 20 * SECOND, 20 * SECOND, 10) == "░" * 10


def test_a_bar_is_never_nothing_and_never_too_long() -> None:
    """A step of a millisecond in a run of days is seen; a moment is a dot."""
    short = Span("step", "charge", 0, 1_000, "completed")
    assert bar(short, 0, 86_400 * SECOND, 0, 40) == "▏"
    late = Span("step", "charge", 20 * SECOND, 20 * SECOND + 1, "completed")
    assert len(bar(late, 0, 20 * SECOND + 1, 0, 40)) <= 40
    assert bar(Span("signal", "s", 5 * SECOND, 5 * SECOND), 0, 10 * SECOND, 0, 10) == " " * 5 + "·"


@pytest.mark.parametrize(
    ("length", "marks"),
    [(1 * SECOND, ["0s", "200ms", "400ms", "600ms", "800ms"]), (7200 * SECOND, ["0s", "20m", "40m", "1h", "1h20m", "1h40m"])],
)
def test_the_axis_has_round_marks(length: int, marks: list[str]) -> None:
    """At their places."""
    shown = axis(length, 60)
    assert shown.split() == marks
    assert shown.index(marks[1]) == 60 * (200_000 if marks[1] == "200ms" else 1200 * SECOND) // length
