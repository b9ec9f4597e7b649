"""Help and start-up: what is answered at once, and what a command loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from tests.cli.conftest import Wfkit, environment
from wfkit.cli.commands import Commands, app
from wfkit.cli.main import HELP
from wfkit.cli.runs import Questions
from wfkit.errors import by_code


def real_help() -> str:
    command = get_command(app)
    return command.make_context("wfkit", ["runs"], resilient_parsing=True).get_help() + "\n"


def test_the_help_that_was_written_beforehand_is_the_real_one() -> None:
    """After a change of the commands, write it again: WFKIT_WRITE_HELP=1 pytest tests/cli/test_help.py"""
    if os.environ.get("WFKIT_WRITE_HELP"):
        HELP.write_text(real_help(), encoding="utf-8")
    assert HELP.read_text(encoding="utf-8") == real_help()


def test_help_begins_with_the_commands_that_people_look_for() -> None:
    """And each of them exists, as does the error code that is its example."""
    lines = HELP.read_text(encoding="utf-8").splitlines()
    advertised = [line.split("wfkit ", 1)[1].split() for line in lines[2:14] if "wfkit " in line]
    assert [words[0] for words in advertised] == [
        "init",
        "run",
        "run",
        "dev",
        "serve",
        "start",
        "verify",
        "runs",
        "runs",
        "workflows",
        "explain",
    ]
    assert all(words[0] in Commands.modules for words in advertised)
    assert advertised[8][1] in Questions.modules
    assert advertised[-1][1] in by_code()


def test_no_line_of_help_is_wider_than_a_terminal() -> None:
    """Help looks the same everywhere."""
    assert max(map(len, HELP.read_text(encoding="utf-8").splitlines())) <= 80


COMMANDS = [[name] for name in Commands.modules] + [["runs", name] for name in Questions.modules]
COMMANDS += [["store", name] for name in ("info", "backup", "repair")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The summary in the list of commands is not all that there is."""
    from wfkit.cli.commands import call

    assert call([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: wfkit {' '.join(command)} ")
    assert len(told.splitlines()) > 5


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_goes_to_stdout(wfkit: Wfkit, arguments: list[str]) -> None:
    """It was asked for."""
    assert wfkit(*arguments).out == HELP.read_text(encoding="utf-8")


def test_without_a_command_help_goes_to_stderr(wfkit: Wfkit) -> None:
    """It was not asked for, and a script that forgot the command must notice."""
    answer = wfkit()
    assert (answer.status, answer.out, answer.err) == (2, "", HELP.read_text(encoding="utf-8"))


def test_the_installed_program_is_the_same_as_the_module() -> None:
    """`wfkit` and `python -m wfkit`."""
    program = Path(sys.executable).with_name("wfkit")
    told = [
        subprocess.check_output([*command, "--version"], text=True) for command in ([program], [sys.executable, "-m", "wfkit"])
    ]
    assert told[0] == told[1]
    assert re.fullmatch(r"wfkit \d+\.\d+\.\d+\S*\n", told[0])


# -- what is loaded ------------------------------------------------------------------------------------------------------


PROGRAM = """
import sys
before = set(sys.modules)
from wfkit.cli.main import main
main()
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""


def loaded(folder: Path, *arguments: str) -> set[str]:
    """Return the packages beyond the standard library that a command loads, and the modules of wfkit."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return set(_packages(done.stderr.splitlines()[-1].split()))


def _packages(modules: Iterable[str]) -> Iterator[str]:
    for name in modules:
        package = name.partition(".")[0]
        if package == "wfkit":
            yield name
        elif package not in sys.stdlib_module_names and not package.startswith("_"):
            yield package


AT_ONCE = {"wfkit", "wfkit.cli", "wfkit.cli.main", "wfkit.errors"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_but_the_way_in(folder: Path, arguments: list[str]) -> None:
    """Typer brings pydantic with it, which takes longer than all the rest."""
    assert loaded(folder, *arguments) == AT_ONCE


TYPER = {"annotated_doc", "annotated_types", "pydantic", "pydantic_core", "shellingham", "typer", "typing_inspection"}
TYPER |= {"typing_extensions"}
RUNS = {"duckdb", "msgspec"}


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["version"], set()),
        (["explain", "WF021"], {"msgspec"}),
        (["runs", "--help"], set()),
        (["store", "--help"], set()),
        (["workflows", "app.py"], {"app", "msgspec"}),
        (["runs", "-q"], RUNS),
        (["runs", "history", "pay-2"], RUNS),
        (["runs", "export", "pay-2"], RUNS),
        (["runs", "why", "pay-2"], RUNS),
        (["store", "info"], RUNS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_only_what_it_needs(filled_folder: Path, arguments: list[str], allowed: set[str]) -> None:
    """Into a pipe that is never Rich; and never Textual, Hypothesis or a web server."""
    found = {name for name in loaded(filled_folder, *arguments) if not name.startswith("wfkit")}
    assert found - TYPER <= allowed


def test_a_command_loads_no_other_command(filled_folder: Path) -> None:
    """One module per command, imported when it is called."""
    found = {name for name in loaded(filled_folder, "runs", "-q") if name.startswith("wfkit.cli.")}
    shared = {"apps", "colours", "commands", "engine", "facts", "failures", "main", "options", "output", "statuses"}
    assert found - {f"wfkit.cli.{name}" for name in shared} == {"wfkit.cli.runs", "wfkit.cli.runs.ls", "wfkit.cli.runs.reading"}
