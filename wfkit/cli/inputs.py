"""INPUT of a command: JSON from the command line, a file or stdin, matched to the parameters of a workflow."""

from __future__ import annotations

import inspect
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.cli.failures import UsageError
from wfkit.core.codec import codec
from wfkit.errors import CodecError


def read_input(text: str) -> Raw:
    """Return the JSON that `text`, `@file` or `-` (stdin) stands for.

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
        data, source = text.encode(errors="surrogateescape"), "INPUT"
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        wrong = str(error).removeprefix("JSON is malformed: ")
        raise UsageError(f"{source} is not JSON: {_lower(wrong)}", _quoting(text) if source == "INPUT" else "") from None
    return Raw(data.strip())


def _quoting(text: str) -> str:
    """Guess what the shell, or the habit of writing Python, has made of the text."""
    if text[:1] in ("{", "[") and '"' not in text:
        why = "JSON has double quotes inside" if "'" in text else "the shell took the quotes away"
        return f"""{why}; write single quotes around all of it: '{{"id": 7}}', or use a file: @input.json"""
    if text[:1] in ("{", "["):
        return "write it to a file: @input.json; or give it to stdin: -"
    return f"""a text keeps its double quotes: '"{text}"'"""


def arguments(workflow: Workflow[..., Any], given: Raw | None) -> Raw:
    """Return the arguments of a workflow as a JSON array.

    An object is the only parameter, or parameters by name; an array is parameters in order, or the only one; anything
    else is the only parameter.

    Raises:
        CodecError: a value does not fit its parameter; the message names the path and the expected type.
        UsageError: parameters are missing, unknown or too many.
    """
    parameters = {name: hint for name, hint, _ in workflow.signature.parameters()}
    if given is None:
        return _encode(workflow, {})
    value = msgspec.json.decode(given, type=dict[str, Raw] | list[Raw] | Any)
    only = next(iter(parameters)) if len(parameters) == 1 else None
    if isinstance(value, dict):
        values = _by_name(workflow, parameters, only, given)
    elif isinstance(value, list):
        values = _in_order(workflow, parameters, only, given)
    elif only is not None:
        values = {only: _decode(workflow, only, parameters[only], given)}
    else:
        raise UsageError(f"{_spell(workflow)} does not take a single value", _how(workflow))
    return _encode(workflow, values)


def _by_name(workflow: Workflow[..., Any], parameters: dict[str, Any], only: str | None, given: Raw) -> dict[str, Any]:
    by_name = msgspec.json.decode(given, type=dict[str, Raw])
    if only is not None:
        try:
            return {only: _decode(workflow, only, parameters[only], given)}
        except CodecError as error:
            wrong_kind = "got `object`" in str(error) and "$" not in str(error)
            if list(by_name) != [only] and not wrong_kind:
                raise
    for name in by_name:
        if name not in parameters:
            near = get_close_matches(name, parameters, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{_spell(workflow)} has no parameter {name!r}{hint}", _how(workflow))
    return {name: _decode(workflow, name, parameters[name], value) for name, value in by_name.items()}


def _in_order(workflow: Workflow[..., Any], parameters: dict[str, Any], only: str | None, given: Raw) -> dict[str, Any]:
    items = msgspec.json.decode(given, type=list[Raw])
    try:
        if len(items) > len(parameters):
            raise UsageError(f"{_spell(workflow)} takes {len(parameters)} values, INPUT has {len(items)}", _how(workflow))
        return {name: _decode(workflow, name, parameters[name], item) for name, item in zip(parameters, items, strict=False)}
    except (UsageError, CodecError):
        if only is None:
            raise
        return {only: _decode(workflow, only, parameters[only], given)}


def _decode(workflow: Workflow[..., Any], name: str, hint: Any, value: Raw) -> Any:
    try:
        return codec(hint).decode(value)
    except CodecError as error:
        raise CodecError(f"parameter {name!r} of {_spell(workflow)}: {error}", help=_how(workflow)) from None


def _encode(workflow: Workflow[..., Any], values: dict[str, Any]) -> Raw:
    keywords = dict(values)
    positional = tuple(
        keywords.pop(parameter.name)
        for parameter in inspect.signature(workflow.fn).parameters.values()
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in keywords
    )
    try:
        return workflow.signature.encode(positional, keywords)
    except TypeError as error:
        raise UsageError(f"{_spell(workflow)}: {error}", _how(workflow)) from None


def _spell(workflow: Workflow[..., Any]) -> str:
    from wfkit.cli.workflows import parameters

    return f"{workflow.name}({parameters(workflow)})"


def _how(workflow: Workflow[..., Any]) -> str:
    """Show INPUT in its place."""
    names = [name for name, _, _ in workflow.signature.parameters()]
    if not names:
        return "give no INPUT: it takes no parameters"
    if len(names) == 1:
        return f"give {names[0]} as JSON in single quotes, or as @file, or on stdin as -"
    shown = ", ".join(f'"{name}": ...' for name in names)
    return f"give an object with the parameters by name: '{{{shown}}}'"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
