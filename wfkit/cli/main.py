"""The command `wfkit`: what every call passes through, on its way in and on its way out.

`--help`, `--version` and a shell that completes a line are answered here, from what was written beforehand, before Typer is
imported: that takes as long as all the rest. What a command could not do is told here too, and becomes the exit status.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HELP = Path(__file__).with_name("help.txt")
"""What `wfkit --help` prints; a test keeps it equal to what Typer would print."""

INTERRUPTED = 130
"""As of a program that SIGINT has ended."""
NO_READER = 141
"""As of a program that SIGPIPE has ended: `wfkit runs | head` closes our output, which is no error to tell."""


def program() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    status = main()
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        # A step that was given up holds its thread. Nobody waits for it; but while it lives the interpreter cannot take apart
        # what it has loaded, of which DuckDB would complain at length.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def main() -> int:
    """Run the command line of this process, and return the exit status."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    _prepare_output()
    try:
        status = _answer([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would be written at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return NO_READER
    except Exception as error:  # noqa: BLE001  # the last one: it tells bugs as well
        from wfkit.cli.failures import tell

        return tell(error, debug=debug)
    return status


def _answer(arguments: list[str]) -> int:
    match arguments:
        case ["--help" | "-h" | "help"]:
            sys.stdout.write(HELP.read_text(encoding="utf-8"))
            return 0
        case ["--version" | "-V"]:
            from importlib.metadata import version

            print(f"wfkit {version('wfkit')}")
            return 0
        case ["--complete", shell, line, *breaks]:
            from wfkit.cli.completing import answer

            answer(shell, line, *breaks[:1])
            return 0
        case []:
            sys.stderr.write(HELP.read_text(encoding="utf-8"))
            return 2
        case _:
            from wfkit.cli.commands import call

            return call(arguments)


def _prepare_output() -> None:
    """Give the streams that are closed a place, and never fail at a character that a stream cannot show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  # lives as long as we do
        else:
            stream.reconfigure(errors="replace")
