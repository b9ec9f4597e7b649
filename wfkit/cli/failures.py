"""What a command could not do: how it is told, in at most a few lines, and which exit status it becomes."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import traceback
from difflib import get_close_matches
from typing import Any

from wfkit import errors
from wfkit.cli.colours import is_terminal, paint
from wfkit.errors import InternalError, WfkitError

NO = 1
"""The answer is no: a run failed, an id is in use otherwise."""
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
"""No engine answers, or the journal is in use or cannot be used."""
DIVERGED = 5
WAIT_TIMED_OUT = 6
BUG = 70
"""EX_SOFTWARE of sysexits.h."""

STATUSES: dict[type[WfkitError], int] = {
    errors.FilterError: USAGE,
    errors.AppError: USAGE,
    errors.CodecError: USAGE,
    errors.PayloadTooLarge: USAGE,
    errors.DefinitionError: USAGE,
    errors.DuplicateName: USAGE,
    errors.UnknownRun: NOT_FOUND,
    errors.UnknownWorkflow: NOT_FOUND,
    errors.BadRequest: USAGE,
    errors.SqlRefused: USAGE,
    errors.FaultSyntaxError: USAGE,
    errors.ChaosProfileError: USAGE,
    errors.UnsimulatedIO: USAGE,
    errors.FailureFileError: NOT_FOUND,
    errors.EngineUnreachable: UNREACHABLE,
    errors.EngineRunning: UNREACHABLE,
    errors.EngineClosed: UNREACHABLE,
    errors.JournalLocked: UNREACHABLE,
    errors.JournalCorrupt: UNREACHABLE,
    errors.JournalFull: UNREACHABLE,
    errors.JournalTooNew: UNREACHABLE,
    errors.JournalUnusable: UNREACHABLE,
    errors.NonDeterminismError: DIVERGED,
    InternalError: BUG,
}
"""What is not listed is NO."""


class Refused(Exception):
    """The answer is no. `help` says what to do instead."""

    status = NO

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class UsageError(Refused):
    """The command line asks for something that cannot be done."""

    status = USAGE


class WaitTimedOut(Refused):
    """What was waited for has not happened in time."""

    status = WAIT_TIMED_OUT


class NotFound(Refused):
    """What the command line names does not exist."""

    status = NOT_FOUND


def tell(error: Exception, *, debug: bool) -> int:
    """Print an error on stderr, and return the exit status."""
    status, text = _judge(error)
    if status == BUG:
        text += f"\n  report   {_write_report(error)}"
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    print(paint_first_line(_fitted(text)), file=sys.stderr)
    return status


_HELP = "  help  "


def _fitted(text: str) -> str:
    """Return an error whose sentences fit the terminal, if there is one. What stands below, such as code, is left alone."""
    if not is_terminal(sys.stderr):
        return text
    from wfkit.cli.output import columns
    from wfkit.cli.wrapping import hanging  # most commands do not fail

    width, lines = columns(), text.split("\n")
    sentences = [place == 0 or line.startswith(_HELP) for place, line in enumerate(lines)]
    return "\n".join(
        hanging(line, width, len(_HELP)) if is_one else line for line, is_one in zip(lines, sentences, strict=True)
    )


def paint_first_line(text: str) -> str:
    """Return a text that begins with `error[CODE]:` with that in red, if stderr shows colours."""
    head, colon, rest = text.partition(": ")
    return paint(head + colon.rstrip(), "red", stream=sys.stderr, bold=True) + (" " if colon else "") + rest


def _judge(error: Exception) -> tuple[int, str]:
    match error:
        case WfkitError():
            from wfkit.cli.output import with_near_paths  # of all errors, only ours has paths of the user's code in it

            status = next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), NO)
            return status, with_near_paths(error.render())
        case Refused():
            return error.status, _told(str(error), error.help)
        case OSError() if error.filename is None and sys.stdout.closed is False and _is_of_stdout(error):
            return NO, _told(f"cannot write the output: {error.strerror}")
        case _:
            refused = _refused_by_typer(error)
            return refused or (
                BUG,
                _told(f"a bug in wfkit: {type(error).__name__}: {error}", "send us the report", code="WF090"),
            )


def _told(message: str, help: str = "", *, code: str = "") -> str:
    text = f"error[{code}]: {message}" if code else f"error: {message}"
    return f"{text}\n{_HELP}{help}" if help else text


def _is_of_stdout(error: OSError) -> bool:
    import errno

    return error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)


_IN_PLAIN_WORDS = (
    (re.compile(r"Value error, "), ""),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"it must be \1 or more"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"it must be \1 or less"),
    (re.compile(r"Input should be a valid integer\b.*"), "it must be a whole number"),
    (re.compile(r"Input should be a valid number\b.*"), "it must be a number"),
    (re.compile(r" \(Possible options: .*\)"), ""),
)
"""What Typer and pydantic say, and how we do."""
_NEAR = 0.75
"""How near an option must come to be named: one with other letters helps nobody."""


def _refused_by_typer(error: Exception) -> tuple[int, str] | None:
    typer = sys.modules.get("typer.exceptions")
    if typer is None or not isinstance(error, typer.TyperException):
        return None
    context: Any = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".").removeprefix("Invalid value: ")
    for pattern, words in _IN_PLAIN_WORDS:
        message = pattern.sub(words, message)
    message = message[:1].lower() + message[1:]
    path = context.command_path if context is not None else "wfkit"
    help = f"{path} --help"
    option = getattr(error, "option_name", "")
    near = get_close_matches(option, getattr(error, "possibilities", None) or (), n=1, cutoff=_NEAR)
    if near:
        message += f"; did you mean {near[0]}?"
    if option[1:2].isdecimal():
        help = f"write -- before what begins with a dash: {path} ... -- {option}"
    if path in ("wfkit run", "wfkit start", "wfkit verify") and "unexpected extra argument" in message:
        help = """put INPUT in single quotes, so that the shell leaves it whole: '{"id": 7}'"""
    if path == "wfkit" and "--store" in message:
        help = "write it after the command: wfkit runs --store PATH"
    return error.exit_code, _told(message, help)


def _write_report(error: Exception) -> str:
    """Write what its authors need to mend a bug into a new file in the folder for temporary files."""
    lines = [
        f"wfkit {_version()}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {sys.argv}",
        f"folder: {os.getcwd()}",  # noqa: PTH109  # Path.cwd() would import pathlib for a path that is only shown
        "",
        *traceback.format_exception(error),
    ]
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", errors="replace", prefix="wfkit-bug-", suffix=".txt", delete=False
        ) as file:
            file.write("\n".join(lines))
    except OSError as failure:
        return f"not written: {failure}"
    return file.name


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wfkit")
    except PackageNotFoundError:
        return "unknown"
