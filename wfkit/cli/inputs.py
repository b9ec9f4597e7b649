"""INPUT of a command: JSON from the command line, a file or stdin."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec import Raw

from wfkit.cli.failures import UsageError


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


def _quoting(text: str) -> str:
    """Guess what the shell, or the habit of writing Python, has made of the text."""
    if text[:1] in ("{", "[") and '"' not in text:
        why = "JSON has double quotes inside" if "'" in text else "the shell took the quotes away"
        return f"""{why}; write single quotes around all of it: '{{"id": 7}}', or use a file: @input.json"""
    if text[:1] in ("{", "["):
        return "write it to a file: @input.json; or give it to stdin: -"
    return f"""a text keeps its double quotes: '"{text.strip('"')}"'"""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
