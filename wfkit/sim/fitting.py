"""Whether a handler of a fake service fits a call: it takes the state by position, and the fields by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from wfkit.api.definitions import where_defined
from wfkit.errors import DefinitionError


def takes_key(handler: Callable[..., Any]) -> bool:
    """Whether a handler wants to know the idempotency key."""
    code = getattr(handler, "__code__", None)
    if code is None or hasattr(handler, "__wrapped__"):
        return "idempotency_key" in inspect.signature(handler).parameters  # takes 20 us
    return "idempotency_key" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def misfit(what: str, handler: Callable[..., Any], fields: Mapping[str, Any], error: TypeError) -> DefinitionError | None:
    """Say that a handler does not take what it was called with; None if it does, so that the error is one of its own code.

    Args:
        what: what was called.
        handler: who should have answered.
        fields: what the call has brought.
        error: what calling it has raised.
    """
    try:
        inspect.signature(handler).bind(None, **fields)
    except ValueError:  # a callable of C that tells nothing of itself
        return None
    except TypeError:
        told = str(error).rpartition("<locals>.")[2]
    else:
        return None
    return DefinitionError(
        f"the handler of {what} cannot take the call: {told}, at {where_defined(handler)}", help=_how_to_take(handler, fields)
    )


def _how_to_take(handler: Callable[..., Any], fields: Mapping[str, Any]) -> str:
    first = next(iter(inspect.signature(handler).parameters.values()), None)
    if first is not None and first.name in fields and first.kind is first.POSITIONAL_OR_KEYWORD:
        return f"the call has a field {first.name} as well; keep them apart: def {handler.__name__}({first.name}, /, ...)"
    told = f"the call has the fields {', '.join(fields)}" if fields else "the call has no fields"
    return f"{told}: let the handler take these, or the step send what the handler takes"
