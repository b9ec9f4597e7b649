"""The input of a workflow, as people write it: matched to the workflow's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.control.code import parameters_of, types_of
from wfkit.control.shapes import spell_types, unknown_field
from wfkit.core.codec import codec
from wfkit.errors import CodecError


def arguments(workflow: Workflow[..., Any], given: Raw | None) -> Raw:
    """Return the arguments of a workflow as a JSON array.

    An object is the only parameter, or parameters by name; an array is parameters in order, or the only one; anything
    else is the only parameter.

    Raises:
        CodecError: a value does not fit its parameter (the message names the path and the expected type), or parameters
            are missing, unknown or too many, or a type has no such field: it would be ignored, and be lost.
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
        raise CodecError(f"{_spell(workflow)} does not take a single value", help=_how(workflow))
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
            raise CodecError(f"{_spell(workflow)} has no parameter {name!r}{_nearest(name, parameters)}", help=_how(workflow))
    return {name: _decode(workflow, name, parameters[name], value) for name, value in by_name.items()}


def _in_order(workflow: Workflow[..., Any], parameters: dict[str, Any], only: str | None, given: Raw) -> dict[str, Any]:
    items = msgspec.json.decode(given, type=list[Raw])
    try:
        if len(items) > len(parameters):
            raise CodecError(f"{_spell(workflow)} takes {len(parameters)} values, INPUT has {len(items)}", help=_how(workflow))
        return {name: _decode(workflow, name, parameters[name], item) for name, item in zip(parameters, items, strict=False)}
    except CodecError:
        if only is None:
            raise
        return {only: _decode(workflow, only, parameters[only], given)}


def _decode(workflow: Workflow[..., Any], name: str, hint: Any, value: Raw) -> Any:
    what = f"parameter {name!r} of {_spell(workflow)}"
    try:
        decoded = codec(hint).decode(value)
    except CodecError as error:
        raise CodecError(f"{what}: {error}", help=_how(workflow)) from None
    unknown = unknown_field(hint, value)
    if unknown is not None:
        told = f"{unknown.type} has no field {unknown.name!r}{_nearest(unknown.name, unknown.known)}"
        at = f" - at `{unknown.path}`" if unknown.path != "$" else ""
        raise CodecError(f"{what}: {told}{at}", help=_how(workflow))
    return decoded


def _encode(workflow: Workflow[..., Any], values: dict[str, Any]) -> Raw:
    missing = [name for name, _, required in workflow.signature.parameters() if required and name not in values]
    if missing:
        told = f"{_and(missing)} {'are' if len(missing) > 1 else 'is'} missing"
        raise CodecError(f"{_spell(workflow)}: {told}", help=_how(workflow))
    keywords = dict(values)
    positional = tuple(
        keywords.pop(parameter.name)
        for parameter in inspect.signature(workflow.fn).parameters.values()
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in keywords
    )
    try:
        return workflow.signature.encode(positional, keywords)
    except TypeError as error:
        raise CodecError(f"{_spell(workflow)}: {error}", help=_how(workflow)) from None


def _spell(workflow: Workflow[..., Any]) -> str:
    return f"{workflow.name}({parameters_of(workflow)})"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _how(workflow: Workflow[..., Any]) -> str:
    """Show what is to be given, in JSON: parameters by name if there are several, and the fields of their types."""
    names = [name for name, _, _ in workflow.signature.parameters()]
    if not names:
        return "give no INPUT: it takes no parameters"
    shown = ", ".join(f'"{name}": ...' for name in names)
    by_name = f"give {{{shown}}}" if len(names) > 1 else f"give {names[0]} as JSON"
    return "; ".join(filter(None, [by_name, spell_types(types_of(workflow))]))
