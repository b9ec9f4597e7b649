"""Completion: what a shell is answered, by real shells, beside a real engine, and how little that loads."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from typer import Context
from typer.main import get_command

from tests.cli.conftest import SECONDS_MAX, Wfkit, environment
from tests.cli.test_engine import serving
from tests.cli.test_help import AT_ONCE, loaded
from wfkit.cli.commands import LazyGroup, app
from wfkit.cli.completing import FILTERS, PROFILES, STATUSES, WORDS, candidates, split
from wfkit.core.state import STATUSES as ALL_STATUSES
from wfkit.dev import chaos
from wfkit.journal.filters import DETAILS, KEYS
from wfkit.journal.lock import lock_for_writing

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 5.0
"""Within this an engine is given up on, however busy the machine is: an answer that never ends would take longer."""


# -- the table that was written beforehand -------------------------------------------------------------------------------


def real_words() -> dict[str, Any]:
    """Return every command as Typer knows it."""
    return dict(_nodes(get_command(app), []))


def _nodes(command: Any, path: list[str]) -> Iterator[tuple[str, Any]]:
    context = Context(command)
    params = [param for param in command.get_params(context) if not param.hidden]
    node: dict[str, Any] = {"options": [_option(param) for param in params if param.param_type_name == "option"]}
    arguments = [_argument(param) for param in params if param.param_type_name == "argument"]
    if arguments:
        node["arguments"] = arguments
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    if names:
        children = {name: command.get_command(context, name) for name in names}
        node["commands"] = {name: _summary(child, command, name) for name, child in children.items()}
        if isinstance(command, LazyGroup) and command.default is not None:
            node["default"] = command.default
        for name, child in children.items():
            yield from _nodes(child, [*path, name])
    yield " ".join(path), node


def _summary(child: Any, group: Any, name: str) -> str:
    return str(group.modules[name][1] if isinstance(group, LazyGroup) else child.get_short_help_str(100))


def _option(param: Any) -> dict[str, Any]:
    names = sorted(param.opts, key=lambda name: not name.startswith("--"))
    return {"names": names, "help": param.help.partition("; ")[0].rstrip(".")} | ({} if param.is_flag else _value(param))


def _argument(param: Any) -> dict[str, Any]:
    return _value(param) | ({"many": True} if param.nargs != 1 else {})


def _value(param: Any) -> dict[str, Any]:
    annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    for one in (annotation, *get_args(annotation)):
        if get_origin(one) is Literal:
            return {"value": param.metavar, "choices": list(get_args(one))}
    return {"value": param.metavar}


def test_the_table_that_was_written_beforehand_is_typers_own() -> None:
    """After a change of the commands, write it again: WFKIT_WRITE_HELP=1 pytest tests/cli/test_completion.py"""
    if os.environ.get("WFKIT_WRITE_HELP"):
        WORDS.write_text(json.dumps(real_words(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(WORDS.read_text(encoding="utf-8")) == real_words()


def test_filters_are_those_of_the_journal() -> None:
    """Every key and every status."""
    assert {key.rstrip(":.") for key in FILTERS} == set(KEYS)
    assert set(PROFILES) == set(chaos.PROFILES)
    assert set(STATUSES) == {*ALL_STATUSES, *DETAILS}


# -- what may follow -----------------------------------------------------------------------------------------------------


def words(line: str) -> list[str]:
    """Return the words that a line may go on with."""
    *before, word = split(line)
    return [found.word for found in candidates(before[1:], word)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wfkit ver", ["verify", "version"]),
        ("wfkit runs ge", ["get"]),
        ("wfkit runs status:fai", ["status:failed"]),
        ("wfkit runs status:failed,wai", ["status:failed,waiting"]),
        ("wfkit runs ls --sort st", ["started", "status"]),
        ("wfkit runs --sort=wor", ["--sort=workflow"]),
        ("wfkit runs wf:x --group-by ", ["error", "step", "workflow"]),
        ("wfkit runs get --j", ["--json"]),
        ("wfkit runs get --json --j", []),
        ("wfkit runs get @l", ["@last"]),
        ("wfkit runs cancel one @f", ["@failed"]),
        ("wfkit store b", ["backup"]),
        ("wfkit completion ", ["bash", "zsh", "fish"]),
        ("wfkit chaos d", ["delay", "dup"]),
        ("wfkit dev --chaos r", ["rough"]),
        ("wfkit explain WF021", ["WF021"]),
        ("wfkit serve ap", ["app.py"]),
        ("wfkit serve pack", ["package/"]),
        ("wfkit serve package/", ["package/inner.py"]),
        ("wfkit run app", ["app.py:"]),
        ("wfkit run app.py:pa", ["app.py:pay", "app.py:pack", "app.py:parcel"]),
        ("wfkit run package/inner.py:", ["package/inner.py:plain", "package/inner.py:named.otherwise"]),
        ("wfkit run package.inner:pl", ["package.inner:plain"]),
        ("wfkit run nowhere.py:", None),
        ("wfkit start pay @in", ["@input.json"]),
        ("wfkit start pay '{\"id", []),
        ("wfkit send x --dedupe ", []),
        ("wfkit runs 'status:fai", ["status:failed"]),
        ("wfkit nonsense ", []),
        ("wfkit", []),
    ],
)
def test_a_line_goes_on_with_these_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str] | None
) -> None:
    """Without an engine."""
    monkeypatch.chdir(folder)
    for name in ("WFKIT_ENGINE", "WFKIT_STORE"):
        monkeypatch.delenv(name, raising=False)
    (folder / "input.json").write_text("{}")
    (folder / "package").mkdir()
    inner = "@workflow\nasync def plain(): ...\n\n@workflow(\n    name='named.otherwise',\n)\nasync def other(): ...\n"
    (folder / "package" / "inner.py").write_text(inner)
    if expected is None:
        with pytest.raises(FileNotFoundError):  # which is not shown
            words(line)
    else:
        assert words(line) == expected


def test_after_all_arguments_come_options(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else may follow."""
    monkeypatch.chdir(folder)
    assert words("wfkit timers ") == ["--limit", "--json", "--ndjson", "--store", "--engine", "--help"]
    assert "--wait" in words("wfkit start pay 7 ")


# -- beside an engine ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where an engine runs, with two runs."""
    from tests.cli.conftest import APP, call_in

    folder = tmp_path_factory.mktemp("serving")
    shutil.copy(APP, folder / "app.py")
    with serving(folder):
        call = call_in(folder)
        assert call("start", "pack", '{"id": "7", "amount": "9"}', "--id", "pack:7").status == 0
        assert call("start", "nap", '"2 days"', "--id", "nap-1").status == 0
        assert call("publish", "a signal's name", "1").status == 0
        yield folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wfkit runs get p", ["pack:7"]),
        ("wfkit runs get ", ["@last", "@failed", "nap-1", "pack:7"]),
        ("wfkit runs id:na", ["id:nap-1"]),
        ("wfkit runs wf:na", ["wf:nap"]),
        ("wfkit send ", ["order.packed", "a signal's name"]),
        ("wfkit send order.packed --run=p", ["--run=pack:7"]),
        ("wfkit start pa", ["pack", "parcel", "pay"]),
        ("wfkit run app.py --id na", ["nap-1"]),
    ],
)
def test_a_running_engine_is_asked(
    engine_folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    """For runs, workflows and signals."""
    monkeypatch.setattr("wfkit.cli.completing.ENGINE_SECONDS", 5.0)  # the machine may be busy
    monkeypatch.chdir(engine_folder)
    assert words(line) == expected
    monkeypatch.chdir("/")
    assert words(line) != expected
    store = engine_folder / ".wfkit" / "journal.duckdb"
    command, word = line.rsplit(" ", 1)
    if not command.endswith("run app.py --id"):
        assert words(f"{command} --store {shlex.quote(str(store))} {word}") == expected


@pytest.mark.parametrize(("line", "expected"), [("pay-", ["pay-1", "pay-1x", "pay-2", "pay-declined"]), ("nap", ["napper"])])
def test_without_an_engine_the_journal_is_asked_for_runs(
    filled_folder: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    """From a folder below as well, each id once, and while nobody writes."""
    monkeypatch.chdir(filled_folder)
    assert sorted(words(f"wfkit runs get {line}")) == expected
    (filled_folder / "below").mkdir(exist_ok=True)
    monkeypatch.chdir(filled_folder / "below")
    assert sorted(words(f"wfkit runs get {line}")) == expected
    lock = lock_for_writing(filled_folder / ".wfkit" / "journal.duckdb")
    try:
        assert words(f"wfkit runs get {line}") == []
    finally:
        lock.release()


def test_runs_that_the_projection_lacks_are_offered(folder: Path, wfkit: Wfkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that was killed has not written it."""
    with serving(folder) as child:
        assert wfkit("start", "nap", '"2 days"', "--id", "nap-1").status == 0
        child.kill()
        child.wait()
        monkeypatch.chdir(folder)
        assert words("wfkit runs get nap") == ["nap-1"]


def test_an_engine_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that answers nonsense of use."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".wfkit").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".wfkit" / "engine.sock"))
        listener.listen()
        began = time.monotonic()
        assert words("wfkit runs get ") == ["@last", "@failed"]
        assert 0.1 <= time.monotonic() - began < PATIENCE_SECONDS

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(400):
                    connection.sendall(b"x")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        listener.accept()[0].close()
        thread.start()
        began = time.monotonic()
        assert words("wfkit start ") == []
        assert time.monotonic() - began < PATIENCE_SECONDS
        thread.join()


# -- by real shells ------------------------------------------------------------------------------------------------------


def shell_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a shell in which `wfkit` is this one."""
    programs = Path(sys.executable).parent
    return environment(PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(REPOSITORY), TERM="dumb", PS1="$ ", **changes)


HARNESS = """
source <(wfkit completion bash)
COMP_WORDBREAKS=$' \\t\\n"\\'@><=;|&(:'
COMP_LINE=$1; COMP_POINT=${#COMP_LINE}
_wfkit wfkit "" "" 2>&1
printf '%s\\n' "${COMPREPLY[@]}"
"""


def by_bash(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what bash would offer."""
    return subprocess.run(
        ["bash", "--norc", "-c", HARNESS, "bash", line],
        cwd=folder,
        env=shell_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_MAX,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wfkit runs get p", ["pack:7"]),
        ("wfkit runs get pack:", ["7"]),
        ("wfkit runs get @la", ["last"]),
        ("wfkit runs status:fail", ["failed"]),
        ("wfkit run app.py:pac", ["pack"]),
        ("wfkit send a", ["a\\ signal\\'s\\ name"]),
        ("wfkit verif", ["verify"]),
        ("wfkit runs get 'unfinished", [""]),
    ],
)
def test_bash_gets_what_comes_after_the_last_of_its_breaks(engine_folder: Path, line: str, expected: list[str]) -> None:
    """It divides words at colons and the like, and puts what it gets in the place of the last part."""
    done = by_bash(line, engine_folder)
    for _ in range(3):  # on a busy machine the engine's answer may be too late
        if done.stdout.splitlines() != expected:
            done = by_bash(line, engine_folder)
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


QUIET_SECONDS = 0.3
TAB_SECONDS = 3.0
AT_ITS_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def type_into(command: list[str], steps: list[tuple[str, str]], folder: Path) -> None:
    """Type into an interactive shell; after each text wait until something is shown, and the shell waits again.

    A tab is pressed again when nothing comes, since on a busy machine the engine's answer may be too late.
    """
    main, side = pty.openpty()
    environment = shell_environment(HOME=str(folder), XDG_CONFIG_HOME=str(folder), COLUMNS="200")
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    command = [sys.executable, "-c", AT_ITS_TERMINAL, *command]
    child = subprocess.Popen(command, cwd=folder, env=environment, stdin=side, stdout=side, stderr=side)
    os.close(side)
    try:
        for text, wanted in steps:
            os.write(main, text.encode())
            shown, began, tabs = "", time.monotonic(), 1
            while wanted not in shown or select.select([main], [], [], QUIET_SECONDS)[0]:
                assert time.monotonic() < began + SECONDS_MAX, f"no {wanted!r} after {text!r} in {shown!r}"
                if select.select([main], [], [], QUIET_SECONDS)[0]:
                    shown += os.read(main, 4096).decode(errors="replace")
                elif text.endswith("\t") and time.monotonic() > began + tabs * TAB_SECONDS:
                    os.write(main, b"\t")
                    tabs += 1
    finally:
        child.kill()
        child.wait()
        os.close(main)


SHELLS: dict[str, tuple[list[str], str]] = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(wfkit completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u; eval "$(wfkit completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "wfkit completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_in_an_interactive_shell_completes(engine_folder: Path, shell: str) -> None:
    """A command, a run's id with a colon in it, an option; and what was completed runs."""
    command, script = SHELLS[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"platform: there is no {shell} on this machine")
    steps = [
        ("", ""),
        (f"{script}; echo REA''DY\n", "READY"),
        ("wfkit runs g\t", "et"),
        ("pac\t", "k:7"),
        ("--js\t", "on"),
        ("\n", '"document": "run"'),
    ]
    type_into(command, steps, engine_folder)


def test_a_completion_is_quick_to_start(engine_folder: Path) -> None:
    """It loads neither Typer nor what commands need, with or without an engine."""
    extra = {"wfkit.cli.completing", "wfkit.control", "wfkit.control.address", "wfkit.journal", "wfkit.journal.folder"}
    assert loaded(engine_folder, "--complete", "bash", "wfkit runs get p", ":") == AT_ONCE | extra
    assert loaded(engine_folder, "--complete", "zsh", "wfkit ver") == AT_ONCE | {"wfkit.cli.completing"}


def test_whatever_is_wrong_nothing_is_said(wfkit: Wfkit, folder: Path) -> None:
    """Somebody is typing: no message may come between."""
    lines = ["wfkit run nowhere.py:", "wfkit runs get '", "wfkit start \\", 'wfkit serve "\udcff', "wfkit serve nowhere/x"]
    for line in lines:
        answer = wfkit("--complete", "bash", line)
        assert (answer.status, answer.out, answer.err) in ((0, "", ""), (0, "@last\n@failed\n", "")), line
    (folder / ".wfkit").write_text("no folder")
    assert wfkit("--complete", "bash", "wfkit runs get ").out == "@last\n@failed\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(wfkit: Wfkit, shell: str) -> None:
    """And another shell is refused."""
    answer = wfkit("completion", shell)
    assert (answer.status, f"--complete {shell}" in answer.out) == (0, True)
    refused = wfkit("completion", "tcsh")
    assert (refused.status, "bash" in refused.err) == (2, True)
