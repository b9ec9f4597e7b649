"""Exceptions as data, and back. Nothing is pickled, and nothing is imported by name."""

from __future__ import annotations

import builtins
from typing import Any

import msgspec
from msgspec import UNSET

from wfkit.core.codec import codec
from wfkit.core.commands import Failure, Json
from wfkit.core.loop import is_internal
from wfkit.errors import CodecError, PayloadTooLarge, StepCancelled, StepError, StepTimeout, WorkerDied

MESSAGE_CHARS_MAX = 8_192
"""A longer message is cut: some libraries put a whole response body into it."""

_OWN = {cls.__name__: cls for cls in (StepTimeout, StepCancelled, WorkerDied)}
_any = codec(Any)


def failure_of(exc: BaseException) -> Failure:
    """Return an exception as data: its type by name, its message, its arguments and attributes if they are JSON."""
    if isinstance(exc, StepError) and type(exc) is StepError:
        return Failure(exc.type, exc.message, data=_json(exc.data), line=_line(exc))
    message = str(exc)
    if len(message) > MESSAGE_CHARS_MAX:
        message = message[:MESSAGE_CHARS_MAX] + "..."
    attributes = {name: value for name, value in getattr(exc, "__dict__", {}).items() if not name.startswith("_")}
    return Failure(type(exc).__name__, message, _json(list(exc.args)), _json(attributes) if attributes else UNSET, _line(exc))


def _json(value: Any) -> Json:
    try:
        data = _any.encode(value)
    except (CodecError, PayloadTooLarge):
        return UNSET
    return data if len(bytes(data)) <= MESSAGE_CHARS_MAX else UNSET


def _line(exc: BaseException) -> str | None:
    """Return the innermost line of the user's code that the exception passed."""
    line = None
    step = exc.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not is_internal(code):
            line = f"{code.co_filename}:{step.tb_lineno} in {code.co_name}"
        step = step.tb_next
    return line


def rebuild(failure: Failure, declared: tuple[type[BaseException], ...] = ()) -> BaseException:
    """Make an exception of a failure: the declared or builtin class of that name, otherwise a `StepError`.

    The class's `__init__` is not called, since its signature is unknown: the object is made by `__new__`, its `args` and
    attributes are set from data. They are plain JSON values.
    """
    own = _OWN.get(failure.type)
    if own is not None:
        error = own.__new__(own)
        StepError.__init__(error, failure.type, failure.message)
        return error
    cls = next((cls for cls in declared if cls.__name__ == failure.type), None) or _builtin(failure.type)
    if cls is None:
        data = failure.args if failure.data is UNSET else failure.data
        return StepError(failure.type, failure.message, None if data is UNSET else msgspec.json.decode(data))
    args = tuple(msgspec.json.decode(failure.args)) if failure.args is not UNSET else (failure.message,)
    try:
        made = cls.__new__(cls, *args)
    except TypeError:
        made = cls.__new__(cls)
    made.args = args
    attributes = msgspec.json.decode(failure.data) if failure.data is not UNSET else {}
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            try:
                setattr(made, name, value)
            except (AttributeError, TypeError):  # a read-only property: its value follows from the others
                continue
    return made


_NOT_REBUILT = (GeneratorExit, KeyboardInterrupt, SystemExit, StopIteration, StopAsyncIteration, BaseExceptionGroup)


def _builtin(name: str) -> type[BaseException] | None:
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, _NOT_REBUILT):
        return cls
    return None


def type_names(exc: BaseException) -> tuple[str, ...]:
    """Return the names of an exception's class and of its bases, for a policy that names non-retryable types."""
    return tuple(cls.__name__ for cls in type(exc).__mro__ if issubclass(cls, BaseException))
