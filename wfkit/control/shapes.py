"""What JSON fits a type hint: the fields of the types in it, for people; and which fields of a value no type has.

Reading a history ignores a field that the code no longer has, since code may change under runs in flight. What somebody
types just now is another matter: a field that is misspelled would be lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec import inspect as types

from wfkit.control.messages import Parameter, TypeFacts
from wfkit.core.codec import codec
from wfkit.core.commands import Json
from wfkit.errors import CodecError, PayloadTooLarge

_DEFAULT_CHARS_MAX = 30
"""A longer default is shown as `...`."""
_VALUES_MAX = 8
"""An enum of more values is shown by its name."""
_OBJECTS = (types.DataclassType, types.StructType, types.TypedDictType)
_ITEMS = (types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType, types.CollectionType)
_NAMES: dict[type[types.Type], str] = {
    types.AnyType: "Any",
    types.NoneType: "null",
    types.BoolType: "bool",
    types.IntType: "int",
    types.FloatType: "float",
    types.StrType: "str",
    types.BytesType: "bytes",
    types.ByteArrayType: "bytearray",
    types.DateTimeType: "datetime",
    types.DateType: "date",
    types.TimeType: "time",
    types.TimeDeltaType: "timedelta",
    types.DecimalType: "Decimal",
    types.UUIDType: "UUID",
    types.RawType: "Any",
}


class Unknown(NamedTuple):
    """A field of a value that its type does not have."""

    name: str
    path: str
    """Of the object that holds it, such as `$.items[0]`."""
    type: str
    known: tuple[str, ...]


def spell_type(hint: Any) -> str:
    """Return a type hint as people write it, in which an enum is the values that it allows: `list[Item]`, `"red" | "blue"`."""
    return _spelled(types.type_info(hint))


def spell(parameters: Sequence[Parameter]) -> str:
    """Return parameters or fields as they are written: `id: str, count: int = 1`."""
    return ", ".join(f"{one.name}: {one.type}" + ("" if one.required else f" = {_default(one.default)}") for one in parameters)


def spell_types(found: Sequence[TypeFacts]) -> str:
    """Return the fields of types in one line: `Order is {id: str}, Item is {...}`."""
    return ", ".join(f"{one.name} is {{{spell(one.fields)}}}" for one in found)


def types_in(hints: Sequence[Any]) -> list[TypeFacts]:
    """Return the types with named fields that stand in type hints, each before those that stand in it."""
    found: dict[Any, TypeFacts] = {}
    waiting = [types.type_info(hint) for hint in hints]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, (*_OBJECTS, types.NamedTupleType)):
            if kind.cls in found:
                continue
            found[kind.cls] = TypeFacts(kind.cls.__name__, [_field(field) for field in kind.fields])
        waiting += _inner(kind)
    return list(found.values())


def default_of(hint: Any, value: Any) -> Json:
    """Return a default as JSON; nothing if it has no such form, or is too long to be shown."""
    with contextlib.suppress(CodecError, PayloadTooLarge):
        data = codec(hint).encode(value)
        if memoryview(data).nbytes <= _DEFAULT_CHARS_MAX:
            return data
    return UNSET


def unknown_field(hint: Any, value: bytes | msgspec.Raw) -> Unknown | None:
    """Return a field of a value, which fits a type hint, that would be ignored; None if there is none."""
    return next(_unknown(types.type_info(hint), msgspec.json.decode(value), "$"), None)


def _default(value: Json) -> str:
    return "..." if value is UNSET else bytes(value).decode()


def _field(field: types.Field) -> Parameter:
    default: Json = UNSET
    if field.default is not msgspec.NODEFAULT:
        default = default_of(Any, field.default)
    elif field.default_factory in (list, dict, set, tuple, frozenset):
        default = msgspec.Raw(b"{}" if field.default_factory is dict else b"[]")
    return Parameter(field.encode_name, _spelled(field.type), field.required, default)


def _spelled(kind: types.Type) -> str:
    match kind:
        case types.Metadata():
            return _spelled(kind.type)
        case types.UnionType():
            return " | ".join(map(_spelled, kind.types))
        case types.LiteralType():
            return " | ".join(msgspec.json.encode(value).decode() for value in kind.values)
        case types.EnumType() if len(kind.cls) <= _VALUES_MAX:
            return " | ".join(msgspec.json.encode(member).decode() for member in kind.cls)
        case types.DictType():
            return _of("dict", kind.key_type, kind.value_type)
        case types.TupleType():
            return f"tuple[{', '.join(map(_spelled, kind.item_types))}]"
        case types.VarTupleType():
            return f"tuple[{_spelled(kind.item_type)}, ...]"
        case types.SetType() | types.FrozenSetType():
            return _of("set", kind.item_type)
        case types.ListType() | types.CollectionType():
            return _of("list", kind.item_type)
        case _:
            return _NAMES.get(type(kind)) or str(getattr(getattr(kind, "cls", kind), "__name__", "Any"))


def _of(name: str, *kinds: types.Type) -> str:
    """Return a container with what it holds, unless that may be anything."""
    return name if all(isinstance(kind, types.AnyType) for kind in kinds) else f"{name}[{', '.join(map(_spelled, kinds))}]"


def _inner(kind: types.Type) -> list[types.Type]:
    """Return the types that stand in a type."""
    match kind:
        case types.Metadata():
            return [kind.type]
        case types.UnionType():
            return list(kind.types)
        case types.DictType():
            return [kind.key_type, kind.value_type]
        case types.TupleType():
            return list(kind.item_types)
        case _ if isinstance(kind, _ITEMS):
            return [kind.item_type]
        case _ if isinstance(kind, (*_OBJECTS, types.NamedTupleType)):
            return [field.type for field in kind.fields]
        case _:
            return []


def _unknown(kind: types.Type, value: Any, path: str) -> Iterator[Unknown]:
    match kind:
        case types.Metadata():
            yield from _unknown(kind.type, value, path)
        case types.UnionType():
            for one in _meant(kind, value):
                yield from _unknown(one, value, path)
        case types.DictType() if isinstance(value, dict):
            for name, item in value.items():
                yield from _unknown(kind.value_type, item, f"{path}.{name}")
        case _ if isinstance(value, dict) and isinstance(kind, _OBJECTS):
            yield from _unknown_in(kind, value, path)
        case _ if isinstance(value, list):
            for index, (one, item) in enumerate(zip(_each(kind, len(value)), value, strict=False)):
                yield from _unknown(one, item, f"{path}[{index}]")


def _unknown_in(
    kind: types.DataclassType | types.StructType | types.TypedDictType, value: dict[str, Any], path: str
) -> Iterator[Unknown]:
    fields = {field.encode_name: field.type for field in kind.fields}
    for name, item in value.items():
        if name in fields:
            yield from _unknown(fields[name], item, f"{path}.{name}")
        elif name != getattr(kind, "tag_field", None):
            yield Unknown(name, path, kind.cls.__name__, tuple(fields))


def _each(kind: types.Type, count: int) -> Sequence[types.Type]:
    """Return the types of the items of an array."""
    match kind:
        case types.TupleType():
            return kind.item_types
        case types.NamedTupleType():
            return [field.type for field in kind.fields]
        case types.StructType(array_like=True):
            tag = [types.AnyType()] if kind.tag_field is not None else []
            return [*tag, *(field.type for field in kind.fields)]
        case _ if isinstance(kind, _ITEMS):
            return [kind.item_type] * count
        case _:
            return ()


def _meant(kind: types.UnionType, value: Any) -> list[types.Type]:
    """Return the member of a union that takes an object or an array: msgspec allows one of each, or Structs with tags."""
    found = [one for one in kind.types if isinstance(one, (types.DictType, *_OBJECTS)) is isinstance(value, dict)]
    tagged = [one for one in found if isinstance(one, types.StructType) and one.tag_field is not None]
    if not tagged:
        return found
    return [one for one in tagged if _tag_of(one, value) == one.tag]


def _tag_of(kind: types.StructType, value: Any) -> Any:
    if isinstance(value, dict):
        return value.get(kind.tag_field)
    return value[0] if isinstance(value, list) and value else None
