"""INPUT of a command: JSON from the command line, a file or stdin."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Raw

from wfkit.cli.failures import UsageError
from wfkit.errors import CodecError


def read_input(text: str, name: str = "INPUT") -> Raw:
    """Return the JSON that `text`, `@file` or `-` (stdin) stands for.

    Args:
        text: the argument.
        name: what help calls it.

    Raises:
        UsageError: there is no such file, or it is no JSON.
    """
    if text == "-":
        data, source = sys.stdin.buffer.read(), "stdin"
    elif text.startswith("@"):
        path = Path(text[1:])
        try:
            data, source = path.read_bytes(), str(path)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
    else:
        data, source = text.encode(errors="surrogateescape"), name
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        wrong = str(error).removeprefix("JSON is malformed: ")
        raise UsageError(f"{source} is not JSON: {_lower(wrong)}", _quoting(text) if source == name else "") from None
    return Raw(data.strip())


@contextlib.contextmanager
def telling_how(given: Raw | None) -> Iterator[None]:
    """Add to the error of an INPUT that was left out how a command takes one; it was told what is to be given."""
    try:
        yield
    except CodecError as error:
        if given is None:
            what, semicolon, rest = error.help.partition("; ")
            error.help = f"{what}, in single quotes, or as @file, or - for stdin{semicolon}{rest}"
        raise


def _quoting(text: str) -> str:
    """Guess what the shell, or the habit of writing Python, has made of the text."""
    if text[:1] in ("{", "[") and '"' not in text and ("'" in text or _WHOLE.fullmatch(text)):
        why = "JSON has double quotes inside" if "'" in text else "the shell took the quotes away"
        return f"""{why}; write single quotes around all of it: '{{"id": 7}}', or use a file: @input.json"""
    if text[:1] in ("{", "["):
        return "a file may be easier: @input.json"
    return f"""a text keeps its double quotes: '"{text.strip('"')}"'"""


_WHOLE = re.compile(r"\{.*:.*\}|\[.*\]", re.DOTALL)
"""What was an object or an array before the shell took its quotes away."""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
