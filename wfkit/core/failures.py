"""Exceptions as data, and back. Nothing is pickled, and nothing is imported by name."""

from __future__ import annotations

import base64
import builtins
import contextlib
import typing
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from wfkit.core.codec import codec
from wfkit.core.commands import Failure, Json
from wfkit.core.entries import Blocked
from wfkit.core.loop import is_internal, is_library
from wfkit.errors import (
    CodecError,
    PayloadTooLarge,
    StepCancelled,
    StepError,
    StepTimeout,
    WfkitError,
    WorkerDied,
    restored,
)

MESSAGE_CHARS_MAX = 8_192
"""A longer message is cut: some libraries put a whole response body into it."""

_OWN = {cls.__name__: cls for cls in (StepTimeout, StepCancelled, WorkerDied)}
_UNRECORDABLE = {cls.__name__: cls for cls in (CodecError, PayloadTooLarge)}
"""How a step fails whose result cannot be recorded: the workflow catches it by the class that it knows from here."""
_any = codec(Any)


def failure_of(exc: BaseException) -> Failure:
    """Return an exception as data: its type by name, its message, its arguments and attributes if they are JSON."""
    if isinstance(exc, StepError) and type(exc) in (StepError, *_OWN.values()):
        return Failure(exc.type, exc.message, data=_json(exc.data), line=_line(exc))
    message = _text(exc)
    if len(message) > MESSAGE_CHARS_MAX:
        message = message[:MESSAGE_CHARS_MAX] + "..."
    # What OSError shows of its file names stands in no argument, but in those that it is pickled with.
    args = OSError.__reduce__(exc)[1] if isinstance(exc, OSError) else exc.args
    attributes = {name: value for name, value in getattr(exc, "__dict__", {}).items() if not name.startswith("_")}
    return Failure(type(exc).__name__, message, _json(list(args)), _json_of_each(attributes), _line(exc), _bases(exc))


def _bases(exc: BaseException) -> tuple[str, ...]:
    if type(exc).__module__ == "builtins":
        return ()
    _, *bases = type_names(exc)
    return tuple(bases[: bases.index("Exception")]) if "Exception" in bases else ()


def _text(exc: BaseException) -> str:
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # a class of the user's, with a `__str__` that fails
        text = f"a {type(exc).__name__} whose text cannot be made"
    return text.encode(errors="backslashreplace").decode()  # half a surrogate pair has no JSON form


def _json_of_each(attributes: dict[str, Any]) -> Json:
    """Return those attributes that have a JSON form; an error of a HTTP client, say, also holds its whole response."""
    travel = {name: data for name, value in attributes.items() if (data := _json(value)) is not UNSET}
    return _json(travel) if travel else UNSET


def _json(value: Any) -> Json:
    try:
        data = _any.encode(value)
    except (CodecError, PayloadTooLarge):
        return UNSET
    return data if len(bytes(data)) <= MESSAGE_CHARS_MAX else UNSET


def _line(exc: BaseException) -> str | None:
    """Return the innermost line of the user's code that the exception passed, or of a library if it passed no other."""
    line = library = None
    step = exc.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not is_internal(code):
            at = f"{code.co_filename}:{step.tb_lineno} in {code.co_name}"
            line, library = (line, at) if is_library(code) else (at, library)
        step = step.tb_next
    return line or library


def rebuild(failure: Failure, declared: tuple[type[BaseException], ...] = ()) -> BaseException:
    """Make an exception of a failure: the declared or builtin class of that name, or the nearest declared base of it.

    Any other failure becomes a `StepError`.

    The class's `__init__` is not called, since its signature is unknown: the object is made by `__new__`, its `args` and
    attributes are set from data. `args` are plain JSON values; so are attributes, unless the class has hints for them.
    """
    if failure.type in _UNRECORDABLE:
        return _UNRECORDABLE[failure.type](failure.message)
    own = _OWN.get(failure.type)
    if own is not None:
        error = own.__new__(own)
        StepError.__init__(error, failure.type, failure.message)
        return error
    by_name = {cls.__name__: cls for cls in reversed(declared)}
    cls = by_name.get(failure.type) or _builtin(failure.type) or next(filter(None, map(by_name.get, failure.bases)), None)
    if cls is None:
        data = failure.args if failure.data is UNSET else failure.data
        return StepError(failure.type, failure.message, None if data is UNSET else msgspec.json.decode(data))
    args = _arguments(cls, failure)
    made = _make(cls, args)
    hints = _hints(cls)
    attributes = msgspec.json.decode(failure.data, type=dict[str, Raw]) if failure.data is not UNSET else {}
    for name, data in attributes.items():
        # A read-only property is left out: its value follows from the others. A frozen dataclass is set all the same.
        with contextlib.suppress(AttributeError, TypeError):
            object.__setattr__(made, name, _value(data, hints.get(name, Any)))
    return made


def blocking_error(blocked: Blocked) -> WfkitError:
    """Return the error that blocked a run, with the help that was made for it."""
    data = msgspec.json.decode(blocked.cause.data) if blocked.cause.data is not UNSET else {}
    return restored(blocked.code, blocked.cause.message, data.get("help"))


def _arguments(cls: type[BaseException], failure: Failure) -> tuple[Any, ...]:
    if failure.args is UNSET:
        return (failure.message,)
    args = tuple(msgspec.json.decode(failure.args))
    if issubclass(cls, UnicodeDecodeError) and len(args) == 5:
        with contextlib.suppress(ValueError, TypeError):
            return (args[0], base64.b64decode(args[1]), *args[2:])
    return args


def _make(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception without the user's `__init__`. That of its builtin base fills the fields that are no attributes."""
    base: Any = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    try:
        made: BaseException = cls.__new__(cls, *args)
    except Exception:  # noqa: BLE001  # a `__new__` of the user's, or a builtin one that wants other arguments
        made = base.__new__(cls)
    with contextlib.suppress(TypeError, ValueError):
        base.__init__(made, *args)
    return made


def _hints(cls: type[BaseException]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001  # a hint that does not resolve costs its type, not the error
        return {}


def _value(data: Raw, hint: Any) -> Any:
    try:
        return codec(hint).decode(data)
    except CodecError:
        return msgspec.json.decode(data)


_NOT_REBUILT = (GeneratorExit, KeyboardInterrupt, SystemExit, StopIteration, StopAsyncIteration, BaseExceptionGroup)


def _builtin(name: str) -> type[BaseException] | None:
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, _NOT_REBUILT):
        return cls
    return None


def type_names(exc: BaseException) -> tuple[str, ...]:
    """Return the names of an exception's class and of its bases, for a policy that names non-retryable types."""
    return tuple(cls.__name__ for cls in type(exc).__mro__ if issubclass(cls, BaseException))
