"""Values to JSON by type hint, and back.

msgspec does the work. Around it stands what it lets through: NaN and infinity (it writes null), an instance of a
subclass of the hinted class (it would silently lose the extra fields), sets (their order depends on the process).
A codec is compiled once for each hint, at registration, so that a type that cannot travel fails there.

What travels: numbers, text, bytes, dates, UUIDs, enums, dataclasses, Structs, TypedDicts, NamedTuples, containers and
unions of these, pathlib paths, deques, and pydantic models where pydantic is installed.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import math
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from wfkit.errors import CodecError, PayloadTooLarge

PAYLOAD_BYTES_MAX = 2 * 1024 * 1024
"""A larger value does not belong into a history; Temporal's limit for one payload is the same 2 MiB."""
PAYLOAD_BYTES_WARN = 256 * 1024

Prepare: TypeAlias = Callable[[Any], Any]
"""Checks a value and returns what msgspec shall encode in its place. Raises CodecError."""


def _is_pydantic(cls: type) -> bool:
    pydantic = sys.modules.get("pydantic")  # a model can only come from a process that has imported it
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def _encode_other(value: Any) -> Any:
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, collections.deque):
        return list(value)
    if _is_pydantic(type(value)):
        return Raw(value.model_dump_json().encode())
    raise CodecError(f"a value of type {_name(type(value))} has no JSON form")


def _decode_other(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint) or hint
    if isinstance(origin, type):
        if issubclass(origin, pathlib.PurePath):
            return origin(value)
        if issubclass(origin, collections.deque):
            items = types.GenericAlias(list, typing.get_args(hint) or (Any,))
            return origin(msgspec.convert(value, items, dec_hook=_decode_other))
        if _is_pydantic(origin):
            return origin.model_validate(value)  # type: ignore[attr-defined]  # pydantic is no dependency
    raise NotImplementedError(f"no value of type {_name(hint)} can be made from JSON")


_encode_any = msgspec.json.Encoder(enc_hook=_encode_other).encode


def _name(hint: Any) -> str:
    return getattr(hint, "__qualname__", None) or str(hint)


class Codec:
    """Encodes and decodes values of one type hint.

    Raises:
        CodecError: at construction, if no value of the type can travel; at use, if a value does not fit the hint.
    """

    __slots__ = ("_decode", "_prepare", "hint")

    def __init__(self, hint: Any) -> None:
        self.hint = hint
        try:
            self._decode = msgspec.json.Decoder(hint, dec_hook=_decode_other).decode
        except (TypeError, ValueError, NotImplementedError) as exc:
            raise CodecError(f"values of type {_name(hint)} cannot travel as JSON: {exc}") from None
        self._prepare = _preparation(hint)

    def encode(self, value: Any) -> Raw:
        """Return the value as JSON.

        Raises:
            CodecError: the value does not fit the hint, or holds NaN or infinity.
            PayloadTooLarge: it takes over 2 MiB.
        """
        try:
            if self._prepare is not None:
                value = self._prepare(value)
            data = _encode_any(value)
        except (TypeError, ValueError, RecursionError, NotImplementedError) as exc:
            raise CodecError(f"a value of type {_name(type(value))} cannot be written as JSON: {exc}") from exc
        if len(data) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge(f"a value takes {len(data):,} bytes as JSON; at most {PAYLOAD_BYTES_MAX:,} are allowed")
        return Raw(data)

    def decode(self, data: Raw | bytes) -> Any:
        """Return the value of a JSON text.

        Raises:
            CodecError: the text does not fit the hint; the message names the path, such as `$.amount`.
        """
        try:
            return self._decode(data)
        except (msgspec.MsgspecError, ValueError, TypeError) as exc:
            raise CodecError(f"{_lower(str(exc))} (for {_name(self.hint)})") from None


@functools.cache
def codec(hint: Any) -> Codec:
    """Return the codec of a type hint; compiled once."""
    return Codec(hint)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- what msgspec would let through -----------------------------------------------------------------------------------

_PLAIN = (str, bytes, bytearray, type(None))
_TRAVELLERS = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    pathlib.PurePath,
    tuple,  # named tuples
    Raw,
)


def _preparation(hint: Any) -> Prepare | None:
    """Compile the check of a hint; None if msgspec's own suffices. Recursive types are checked as they come."""
    return _compile(hint, ())


def _compile(hint: Any, outer: tuple[Any, ...]) -> Prepare | None:
    if hint in outer:
        return lambda value: _compile(hint, ())(value)  # type: ignore[misc]  # a recursive class always has a check
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _compile(typing.get_args(hint)[0], outer)
    if hint is Any or hint is object:
        return _prepare_any
    if isinstance(hint, typing.TypeVar) or origin is typing.Literal:
        return None
    if origin in (typing.Union, types.UnionType):
        return _prepare_any if any(_compile(arg, outer) for arg in typing.get_args(hint)) else _one_of(hint)
    cls = origin or hint
    if not isinstance(cls, type):
        return None
    if cls is float or cls is complex:
        return _finite
    if cls in _PLAIN or cls in (int, bool):
        return _exactly(cls)
    if issubclass(cls, set | frozenset):
        return _sorted_set(typing.get_args(hint), outer)
    if issubclass(cls, enum.Enum):
        return _instance(cls)
    if dataclasses.is_dataclass(cls) or (issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct):
        return _record(cls, hint, outer)
    if cls in (list, tuple, collections.deque) or cls in (collections.abc.Sequence, collections.abc.Iterable):
        return _sequence(typing.get_args(hint), outer)
    if cls is dict or cls in (collections.abc.Mapping, collections.abc.MutableMapping):
        return _mapping(typing.get_args(hint), outer)
    if typing.is_typeddict(cls):
        return _prepare_any
    if cls.__module__ in ("typing", "collections.abc"):
        return _prepare_any
    if not issubclass(cls, _TRAVELLERS) and not _is_pydantic(cls):
        raise CodecError(f"values of type {_name(cls)} cannot travel as JSON")
    return _instance(cls)


def _mismatch(value: object, hint: Any) -> CodecError:
    return CodecError(f"a value of type {_name(type(value))} is not the {_name(hint)} that the hint promises")


def _exactly(cls: type) -> Prepare:
    def check(value: Any) -> Any:
        if value.__class__ is not cls:
            if (
                cls is not type(None)
                and isinstance(value, cls)
                and isinstance(value, str | int)
                and not isinstance(value, bool | enum.Enum)
            ):
                return cls(value)
            raise _mismatch(value, cls)
        return value

    return check


def _instance(cls: type) -> Prepare:
    def check(value: Any) -> Any:
        if not isinstance(value, cls):
            raise _mismatch(value, cls)
        return value

    return check


def _one_of(hint: Any) -> Prepare:
    classes = tuple(cls for arg in typing.get_args(hint) if isinstance(cls := typing.get_origin(arg) or arg, type))
    if len(classes) < len(typing.get_args(hint)):
        return _prepare_any

    def check(value: Any) -> Any:
        if not isinstance(value, classes):
            raise _mismatch(value, hint)
        return value

    return check


def _finite(value: Any) -> Any:
    if value.__class__ is not float and (not isinstance(value, float | int) or isinstance(value, bool)):
        raise _mismatch(value, float)
    if not math.isfinite(value):
        raise CodecError(f"{value} has no JSON form: NaN and infinity cannot travel")
    return value


def _record(cls: type, hint: Any, outer: tuple[Any, ...]) -> Prepare:
    try:
        hints = typing.get_type_hints(cls)
    except NameError as exc:
        raise CodecError(f"a field of {_name(cls)} has a hint that cannot be resolved: {exc}") from None
    fields = [(name, prepare) for name, of in hints.items() if (prepare := _compile(of, (*outer, hint))) is not None]
    fields = [(name, prepare) for name, prepare in fields if typing.get_origin(hints[name]) is not typing.ClassVar]

    def check(value: Any) -> Any:
        if value.__class__ is not cls:
            raise _mismatch(value, cls)
        changed = {}
        for name, prepare in fields:
            old = getattr(value, name)
            new = prepare(old)
            if new is not old:
                changed[name] = new
        if not changed:
            return value
        return {**{name: getattr(value, name) for name in hints}, **_tag_of(cls), **changed}

    return check


def _tag_of(cls: type) -> dict[str, Any]:
    config = getattr(cls, "__struct_config__", None)
    return {config.tag_field: config.tag} if config is not None and config.tag_field else {}


def _sequence(args: tuple[Any, ...], outer: tuple[Any, ...]) -> Prepare | None:
    if not args:
        return _prepare_any
    if len(args) == 2 and args[1] is not Ellipsis or len(args) > 2:
        each = [_compile(arg, outer) for arg in args]
        if not any(each):
            return None

        def check_tuple(value: Any) -> Any:
            if len(value) != len(each):
                raise CodecError(f"a tuple of {len(value)} values stands where {len(each)} are promised")
            return tuple(item if prepare is None else prepare(item) for prepare, item in zip(each, value, strict=True))

        return check_tuple
    prepare = _compile(args[0], outer)
    return None if prepare is None else lambda value: [prepare(item) for item in value]


def _mapping(args: tuple[Any, ...], outer: tuple[Any, ...]) -> Prepare | None:
    if not args:
        return _prepare_any
    prepare = _compile(args[1], outer)
    return None if prepare is None else lambda value: {key: prepare(item) for key, item in value.items()}


def _sorted_set(args: tuple[Any, ...], outer: tuple[Any, ...]) -> Prepare:
    prepare = (_compile(args[0], outer) if args else _prepare_any) or (lambda value: value)

    def check(value: Any) -> Any:
        if not isinstance(value, set | frozenset):
            raise _mismatch(value, set)
        return _sort([prepare(item) for item in value])

    return check


def _sort(items: list[Any]) -> list[Any]:
    return sorted(items, key=_encode_any)


def _prepare_any(value: Any) -> Any:
    """Check a value that has no hint, or one of a union, by what it is."""
    cls = value.__class__
    if cls in _PLAIN or cls is int or cls is bool:
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Mapping):
        return {key: _prepare_any(item) for key, item in value.items()}
    if isinstance(value, list | tuple | collections.deque):
        return [_prepare_any(item) for item in value]
    if isinstance(value, set | frozenset):
        return _sort([_prepare_any(item) for item in value])
    if dataclasses.is_dataclass(cls) or isinstance(value, msgspec.Struct):
        prepare = codec(cls)._prepare  # noqa: SLF001  # this module's own class
        return value if prepare is None else prepare(value)
    return value


# -- functions ---------------------------------------------------------------------------------------------------------


class Signature:
    """How the arguments and the result of one function travel: arguments as one JSON array, in positional order.

    Raises:
        CodecError: a parameter or the result has a type that cannot travel; the message names it.
    """

    __slots__ = ("_count", "_hints", "_names", "_required", "_signature", "args", "missing", "result")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._signature = inspect.signature(fn)
        hints = _hints_of(fn)
        for parameter in self._signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise CodecError(f"{_name(fn)}() takes *{parameter.name}: name every parameter, since arguments are recorded")
        self._names = tuple(self._signature.parameters)
        self._count = len(self._names)
        self.missing = tuple(name for name in self._names if name not in hints)
        """Names of the parameters without a hint: tuples, sets and dates come back as lists and text there."""
        self._hints = tuple(hints.get(name, Any) for name in self._names)
        for name, hint in zip(self._names, self._hints, strict=True):
            _travels(f"parameter {name!r} of {_name(fn)}()", hint)
        self.args = codec(types.GenericAlias(tuple, self._hints))
        returned = hints.get("return", Any)
        _travels(f"the result of {_name(fn)}()", returned)
        self.result = codec(returned)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Raw:
        """Return the arguments of a call as a JSON array, defaults filled in.

        Raises:
            TypeError: the call does not fit the function.
            CodecError: an argument does not fit its hint.
        """
        if kwargs or len(args) != self._count:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = tuple(bound.arguments[name] for name in self._names)
        return self.args.encode(args)

    def decode(self, data: Raw | bytes) -> tuple[Any, ...]:
        """Return the arguments of a call, in positional order."""
        return self.args.decode(data)  # type: ignore[no-any-return]  # the hint is a tuple

    def call(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Split arguments in positional order into those that are passed by position and those by keyword only."""
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for value, parameter in zip(args, self._signature.parameters.values(), strict=True):
            if parameter.kind is parameter.KEYWORD_ONLY:
                keywords[parameter.name] = value
            else:
                positional.append(value)
        return tuple(positional), keywords

    def parameters(self) -> list[tuple[str, Any, bool]]:
        """Return (name, hint, required) of each parameter, for forms and messages."""
        return [
            (name, hint, self._signature.parameters[name].default is inspect.Parameter.empty)
            for name, hint in zip(self._names, self._hints, strict=True)
        ]


def _hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except NameError as exc:
        raise CodecError(f"a hint of {_name(fn)}() cannot be resolved: {exc}", help="import the name at module level") from None


def _travels(what: str, hint: Any) -> None:
    try:
        codec(hint)
    except CodecError as exc:
        raise CodecError(f"{what}: {exc}") from None


@functools.cache
def signature(fn: Callable[..., Any]) -> Signature:
    """Return how a function's arguments and result travel; compiled once."""
    return Signature(fn)
