"""Values to JSON by type hint, and back.

msgspec does the work. Around it stands what it lets through: NaN and infinity (it writes null), an instance of a
subclass of the hinted class (it would silently lose the extra fields), sets (their order depends on the process).
A codec is compiled once for each hint, at registration, so that a type that cannot travel fails there.

What travels: numbers, text, bytes, dates, UUIDs, enums, dataclasses, Structs, TypedDicts, NamedTuples, containers and
unions of these, pathlib paths, deques, and pydantic models where pydantic is installed.
"""

from __future__ import annotations

import collections
import collections.abc
import copy
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
from typing import Any, NotRequired, TypeAlias

import msgspec
from msgspec import Raw

from wfkit.errors import CodecError, PayloadTooLarge

PAYLOAD_BYTES_MAX = 2 * 1024 * 1024
"""A larger value does not belong into a history; Temporal's limit for one payload is the same 2 MiB."""
PAYLOAD_BYTES_WARN = 256 * 1024
"""A value beyond this is recorded, but its author should know: an eighth of what is allowed."""

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
    raise CodecError(f"a value of type {_name(type(value))} has no JSON form")


def _decode_other(hint: Any, value: Any) -> Any:
    if hint is object:  # whatever JSON makes, as for Any
        return value
    origin = typing.get_origin(hint) or hint
    if isinstance(origin, type):
        if issubclass(origin, pathlib.PurePath):
            return origin(value)
        if issubclass(origin, collections.deque):
            items = types.GenericAlias(list, typing.get_args(hint) or (Any,))
            return origin(msgspec.convert(value, items, dec_hook=_decode_other))
        if _is_pydantic(origin):
            # Of JSON, not of values: a strict model takes a date's text from nothing else.
            return origin.model_validate_json(msgspec.json.encode(value))  # type: ignore[attr-defined]  # no dependency
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
        self._prepare = _compile(hint)

    def encode(self, value: Any) -> Raw:
        """Return the value as JSON.

        Raises:
            CodecError: the value does not fit the hint, or holds NaN or infinity.
            PayloadTooLarge: it takes over 2 MiB.
        """
        try:
            data = _encode_any(self._prepare(value))
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
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, NotImplementedError) as exc:
            told, name = _lower(str(exc)), _name(self.hint)
            raise CodecError(told if f"`{name}`" in told else f"{told} (for {name})") from None


@functools.cache
def codec(hint: Any) -> Codec:
    """Return the codec of a type hint; compiled once."""
    return Codec(hint)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- what msgspec would let through -----------------------------------------------------------------------------------

_PLAIN = (str, int, bool, bytes, bytearray, types.NoneType)
_EXACT = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
"""Classes of which msgspec writes no subclass, or writes it as another one: a datetime is a date too."""
_SEQUENCES: dict[type, tuple[type, ...]] = {
    list: (list,),
    collections.deque: (collections.deque,),
    collections.abc.Sequence: (list, tuple, collections.deque),
    collections.abc.MutableSequence: (list, collections.deque),
    collections.abc.Collection: (list, tuple, collections.deque, set, frozenset),
}
_SETS: dict[type, tuple[type, ...]] = {
    set: (set,),
    frozenset: (frozenset,),
    collections.abc.Set: (set, frozenset),
    collections.abc.MutableSet: (set,),
}
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _bare(hint: Any) -> Any:
    """Return what a hint stands for, without annotations and under its own name."""
    while True:
        if typing.get_origin(hint) in (typing.Annotated, typing.Final):
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type Name = ...`, new in Python 3.12
            hint = hint.__value__
        else:
            return types.NoneType if hint is None else hint


def _compile(hint: Any, outer: tuple[Any, ...] = ()) -> Prepare:
    """Compile the check of a hint. A class within itself is checked by its own codec, when a value comes."""
    if hint in outer:
        return lambda value: codec(hint)._prepare(value)
    bare = _bare(hint)
    origin, args = typing.get_origin(bare), typing.get_args(bare)
    outer = (*outer, hint)
    if origin is typing.Literal:
        return _one_of(bare, args)
    if origin in (typing.Union, types.UnionType):
        return _union(bare, args, outer)
    cls = origin or bare
    if cls is Any or cls is object or isinstance(cls, typing.TypeVar):
        return _prepare_any
    if cls is float:
        return _finite
    if cls is decimal.Decimal:
        return _finite_decimal
    if cls in _PLAIN:
        return _exactly(cls)
    if cls in _SETS:
        return _sorted_set(bare, _SETS[cls], _compile(args[0], outer) if args else _prepare_any)
    if cls in _SEQUENCES:
        return _sequence(bare, _SEQUENCES[cls], _compile(args[0], outer) if args else _prepare_any)
    if cls in _MAPPINGS:
        key, item = (_compile(arg, outer) for arg in args) if args else (_prepare_any, _prepare_any)
        return _mapping(bare, key, item)
    if cls is tuple:
        if not args and bare is tuple:
            return _sequence(bare, (tuple,), _prepare_any)
        if len(args) == 2 and args[1] is Ellipsis:
            return _sequence(bare, (tuple,), _compile(args[0], outer))
        return _tuple(bare, [_compile(arg, outer) for arg in args])
    if not isinstance(cls, type):
        raise CodecError(f"values of type {_name(hint)} cannot travel as JSON")
    if typing.is_typeddict(cls):
        return _typed_dict(cls, {name: _compile(of, outer) for name, of in _fields_of(cls, args).items()})
    if dataclasses.is_dataclass(cls) or (issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct):
        return _record(cls, {name: _compile(of, outer) for name, of in _fields_of(cls, args).items()})
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _tuple(cls, [_compile(of, outer) for of in _fields_of(cls, args).values()])
    if cls in _EXACT:
        return _exactly(cls)
    if issubclass(cls, enum.Enum | pathlib.PurePath | Raw):
        return _instance(cls)
    if _is_pydantic(cls):
        return _model(cls)
    raise CodecError(f"values of type {_name(cls)} cannot travel as JSON")


def _classes(hint: Any) -> tuple[type, ...]:
    """Return the classes of the values that a hint allows, to choose one of a union."""
    bare = _bare(hint)
    origin, args = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        return tuple({type(arg): None for arg in args})
    if origin in (typing.Union, types.UnionType):
        return tuple(cls for arg in args for cls in _classes(arg))
    cls = origin or bare
    if cls is float:
        return (float, int)
    if typing.is_typeddict(cls) or cls in _MAPPINGS:
        return (Mapping,)
    return _SEQUENCES.get(cls) or _SETS.get(cls) or ((cls,) if isinstance(cls, type) else (object,))


def _fields_of(cls: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the hints of a class's fields, by the names of its attributes. `args` are those of a generic class."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError as exc:
        raise CodecError(f"a field of {_name(cls)} has a hint that cannot be resolved: {exc}") from None
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
    else:
        names = getattr(cls, "__struct_fields__", None) or getattr(cls, "_fields", None) or list(hints)
    promised = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    return {name: _filled(hints.get(name, Any), promised) for name in names}


def _filled(hint: Any, promised: dict[Any, Any]) -> Any:
    """Return a hint with the arguments of its generic class in the place of type variables."""
    if hint in promised:
        return promised[hint]
    parameters = getattr(hint, "__parameters__", ()) if promised and typing.get_origin(hint) is not None else ()
    return hint[tuple(promised.get(parameter, parameter) for parameter in parameters)] if parameters else hint


def _mismatch(value: Any, hint: Any) -> CodecError:
    return CodecError(f"a value of type {_name(type(value))} is not the {_shown(hint)} that the hint promises")


def _shown(hint: Any) -> str:
    return str(hint) if typing.get_origin(hint) is not None else _name(hint)


def _exactly(cls: type) -> Prepare:
    def check(value: Any) -> Any:
        if value.__class__ is cls:
            return value
        if cls in (str, int) and isinstance(value, cls) and not isinstance(value, bool | enum.Enum):
            return cls(value)  # text stays the same text, a number the same number
        raise _mismatch(value, cls)

    return check


def _instance(cls: type) -> Prepare:
    def check(value: Any) -> Any:
        if not isinstance(value, cls):
            raise _mismatch(value, cls)
        return value

    return check


def _one_of(hint: Any, allowed: tuple[Any, ...]) -> Prepare:
    def check(value: Any) -> Any:
        if not any(value.__class__ is one.__class__ and value == one for one in allowed):
            raise CodecError(f"{value!r} is not one of {_shown(hint)}")
        return value

    return check


def _union(hint: Any, args: tuple[Any, ...], outer: tuple[Any, ...]) -> Prepare:
    choices = [(_classes(arg), _compile(arg, outer)) for arg in args]

    def check(value: Any) -> Any:
        for classes, prepare in choices:
            if value.__class__ in classes:
                return prepare(value)
        for classes, prepare in choices:
            if isinstance(value, classes):
                return prepare(value)
        raise _mismatch(value, hint)

    return check


def _finite(value: Any) -> Any:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _mismatch(value, float)
    try:
        number = float(value)
    except OverflowError:
        raise CodecError("a whole number is too large for the float that the hint promises") from None
    if not math.isfinite(number):
        raise CodecError(f"{value} has no JSON form: NaN and infinity cannot travel")
    return number


def _finite_decimal(value: Any) -> Any:
    if value.__class__ is not decimal.Decimal:
        raise _mismatch(value, decimal.Decimal)
    if not value.is_finite():
        raise CodecError(f"{value} has no JSON form: NaN and infinity cannot travel")
    return value


def _record(cls: type, fields: dict[str, Prepare]) -> Prepare:
    put: Callable[[Any, str, Any], None] = (
        msgspec.structs.force_setattr if issubclass(cls, msgspec.Struct) else object.__setattr__
    )

    def check(value: Any) -> Any:
        if value.__class__ is not cls:
            raise _mismatch(value, cls)
        copied = None
        for name, prepare in fields.items():
            old = getattr(value, name)
            new = prepare(old)
            if new is not old:
                if copied is None:
                    copied = copy.copy(value)
                put(copied, name, new)
        return value if copied is None else copied

    return check


def _typed_dict(cls: Any, fields: dict[str, Prepare]) -> Prepare:
    # `__required_keys__` cannot see NotRequired in hints that are text.
    whole = typing.get_type_hints(cls, include_extras=True)
    required = [name for name in fields if name in cls.__required_keys__ and typing.get_origin(whole[name]) is not NotRequired]

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _mismatch(value, cls)
        for name in value:
            if name not in fields:
                raise CodecError(f"{_name(cls)} has no key {name!r}")
        for name in required:
            if name not in value:
                raise CodecError(f"{_name(cls)} lacks the key {name!r}")
        return {name: fields[name](item) for name, item in value.items()}

    return check


def _tuple(hint: Any, each: list[Prepare]) -> Prepare:
    cls = typing.get_origin(hint) or hint

    def check(value: Any) -> Any:
        if not isinstance(value, cls):
            raise _mismatch(value, hint)
        if len(value) != len(each):
            raise CodecError(f"a tuple of {len(value)} values stands where {len(each)} are promised")
        return [prepare(item) for prepare, item in zip(each, value, strict=True)]

    return check


def _sequence(hint: Any, classes: tuple[Any, ...], prepare: Prepare) -> Prepare:
    def check(value: Any) -> Any:
        if not isinstance(value, classes):
            raise _mismatch(value, hint)
        items = [prepare(item) for item in value]
        return _sort(items) if isinstance(value, set | frozenset) else items

    return check


def _mapping(hint: Any, key: Prepare, item: Prepare) -> Prepare:
    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _mismatch(value, hint)
        return {key(name): item(of) for name, of in value.items()}

    return check


def _sorted_set(hint: Any, classes: tuple[Any, ...], prepare: Prepare) -> Prepare:
    def check(value: Any) -> Any:
        if not isinstance(value, classes):
            raise _mismatch(value, hint)
        return _sort([prepare(item) for item in value])

    return check


def _sort(items: list[Any]) -> list[Any]:
    return sorted(items, key=_encode_any)


def _model(cls: Any) -> Prepare:
    """Check a pydantic model. Its own serialiser writes it; what that would hide is looked for in the plain values."""

    def check(value: Any) -> Any:
        if value.__class__ is not cls:
            raise _mismatch(value, cls)
        return _like(value.model_dump(), value.model_dump(mode="json", by_alias=True))

    return check


def _like(plain: Any, written: Any) -> Any:
    """Return what a model writes of its plain values, with sets sorted; refuse NaN, of which it makes null."""
    if isinstance(plain, float):
        _finite(plain)
    elif isinstance(plain, set | frozenset) and isinstance(written, list):
        return _sort(written)
    elif isinstance(plain, Mapping) and isinstance(written, dict) and len(plain) == len(written):
        return {name: _like(of, item) for of, (name, item) in zip(plain.values(), written.items(), strict=True)}
    elif isinstance(plain, list | tuple) and isinstance(written, list) and len(plain) == len(written):
        return [_like(of, item) for of, item in zip(plain, written, strict=True)]
    return written


def _prepare_any(value: Any) -> Any:
    """Check a value that has no hint by what it is."""
    cls = value.__class__
    if cls in _PLAIN or isinstance(value, enum.Enum):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, str | int):
        return _exactly(str if isinstance(value, str) else int)(value)
    if isinstance(value, Mapping):
        return {_prepare_any(key): _prepare_any(item) for key, item in value.items()}
    if isinstance(value, list | tuple | collections.deque):
        return [_prepare_any(item) for item in value]
    if isinstance(value, set | frozenset):
        return _sort([_prepare_any(item) for item in value])
    if isinstance(value, pathlib.PurePath | Raw):
        return value
    return codec(cls)._prepare(value)


# -- functions ---------------------------------------------------------------------------------------------------------


class Signature:
    """How the arguments and the result of one function travel: arguments as one JSON array, in positional order.

    Raises:
        CodecError: a parameter or the result has a type that cannot travel; the message names it.
    """

    __slots__ = ("_count", "_hints", "_names", "_of", "_signature", "args", "missing", "result")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._signature = inspect.signature(fn)
        hints = _hints_of(fn)
        for parameter in self._signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise CodecError(f"{_name(fn)}() takes *{parameter.name}: name every parameter, since arguments are recorded")
        self._of = f"{_name(fn)}()"
        self._names = tuple(self._signature.parameters)
        # A call with so many arguments, all by position, needs no binding.
        self._count = -1 if _keyword_only(self._signature) else len(self._names)
        self.missing = tuple(name for name in self._names if name not in hints)
        """Names of the parameters without a hint: tuples, sets and dates come back as lists and text there."""
        self._hints = tuple(hints.get(name, Any) for name in self._names)
        for name, hint in zip(self._names, self._hints, strict=True):
            _travels(f"parameter {name!r} of {self._of}", hint)
        self.args = codec(types.GenericAlias(tuple, self._hints))
        returned = hints.get("return", Any)
        _travels(f"the result of {self._of}", returned)
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
        try:
            return self.args.encode(args)
        except CodecError:
            for name, hint, value in zip(self._names, self._hints, args, strict=True):
                try:
                    codec(hint).encode(value)
                except CodecError as exc:
                    raise CodecError(f"argument {name!r} of {self._of}: {exc}") from exc.__cause__
            raise

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


def _keyword_only(signature: inspect.Signature) -> bool:
    return any(parameter.kind is parameter.KEYWORD_ONLY for parameter in signature.parameters.values())


def _travels(what: str, hint: Any) -> None:
    try:
        codec(hint)
    except CodecError as exc:
        raise CodecError(f"{what}: {exc}") from None


@functools.lru_cache(maxsize=4096)  # a lambda within a workflow is another function each time
def signature(fn: Callable[..., Any]) -> Signature:
    """Return how a function's arguments and result travel; compiled once."""
    return Signature(fn)
