"""Values that may differ between runs because their author says so, in a type hint."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from wfkit.sim.drawn import DRAWN, ITEM, Path

T = TypeVar("T")

_MARK = "volatile"
_AROUND = (Annotated, typing.Final, typing.Required, typing.NotRequired)

Volatile = Annotated[T, "volatile"]
"""A value that may differ between runs: `Volatile[str]` is a `str` that `verify` does not compare.

It stands in the return hint of a workflow or of a step, or in the fields of the dataclasses, Structs, TypedDicts and
containers named there:

    @dataclass
    class Receipt:
        amount: int
        printed: Volatile[str]

Of a workflow, what stands there in the result is left out of the comparison with the run without faults. Of a step, so is
whatever holds the value further on: payloads of effects, states of services, results. How often things happen is compared
all the same; but where the whole result of a step is volatile, as the answer of a language model, and came to be another
one, what follows may be something else.
"""


@functools.cache
def is_volatile(hint: Any) -> bool:
    """Whether a hint, or anything within it, is marked."""
    return _is_volatile(hint, set())


def settled(hint: Any, value: Any, drawn: list[Any] | None = None) -> Any:
    """Return a JSON value of a hint without what is volatile in it.

    Args:
        hint: the type hint that the value was encoded by.
        value: the decoded JSON.
        drawn: takes up what is left out.
    """
    if not is_volatile(hint):
        return value
    if is_marked(hint):
        if drawn is not None:
            drawn.append(value)
        return DRAWN
    hint = _bare(hint)
    of = typing.get_origin(hint) or hint
    args = typing.get_args(hint)
    if of in (typing.Union, types.UnionType):
        for arg in args if value is not None else ():
            value = settled(arg, value, drawn)  # of what does not fit the value nothing is found in it
        return value
    if isinstance(value, dict):
        fields = _fields(of, args)
        if fields is not None:
            return {key: settled(fields.get(key, Any), item, drawn) for key, item in value.items()}
        return {key: settled(args[-1], item, drawn) for key, item in value.items()} if args else value
    if isinstance(value, list):
        return [settled(item_of, item, drawn) for item_of, item in zip(_items(of, args, len(value)), value, strict=True)]
    return value


def holding(value: Any, parts: Collection[Any], path: Path = ()) -> Iterator[Path]:
    """Yield the paths at which a JSON value holds one of these parts, by itself or within a text."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from holding(item, parts, (*path, key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from holding(item, parts, (*path, ITEM))
    elif any(_is_in(part, value) for part in parts):
        yield path


def leaves(value: Any) -> Iterator[Any]:
    """Yield the texts and numbers of a JSON value; a bool, or nothing, does not tell where it comes from."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif value not in (None, "") and not isinstance(value, bool):
        yield value


def _is_in(part: Any, value: Any) -> bool:
    if isinstance(value, str):
        return re.search(rf"(?<!\w){re.escape(str(part))}(?!\w)", value) is not None
    return type(part) is type(value) and bool(part == value)


def is_marked(hint: Any) -> bool:
    return typing.get_origin(hint) is Annotated and _MARK in hint.__metadata__


def _bare(hint: Any) -> Any:
    while True:
        if typing.get_origin(hint) in _AROUND:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type Name = ...`, new in Python 3.12
            hint = hint.__value__
        else:
            return hint


def _is_volatile(hint: Any, outer: set[Any]) -> bool:
    if is_marked(hint):
        return True
    hint = _bare(hint)
    if hint in outer:
        return False
    outer.add(hint)
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return False
    within = [*args, *(_fields(typing.get_origin(hint) or hint, args) or {}).values()]
    return any(_is_volatile(each, outer) for each in within)


def _fields(cls: Any, args: tuple[Any, ...]) -> dict[str, Any] | None:
    """Return the hints of a record's fields by their names in JSON; None if the class is none."""
    if not isinstance(cls, type):
        return None
    is_struct = issubclass(cls, msgspec.Struct)
    if not (is_struct or dataclasses.is_dataclass(cls) or typing.is_typeddict(cls) or hasattr(cls, "_fields")):
        return None
    hints = typing.get_type_hints(cls, include_extras=True)
    promised = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    encoded = {field.name: field.encode_name for field in msgspec.structs.fields(cls)} if is_struct else {}
    return {encoded.get(name, name): promised.get(hint, hint) for name, hint in hints.items()}


def _items(of: Any, args: tuple[Any, ...], count: int) -> list[Any]:
    """Return the hints of a JSON array's items: those of a tuple or of an array-like record differ."""
    fields = _fields(of, args)
    if fields is None and (of is not tuple or (len(args) == 2 and args[1] is Ellipsis)):
        return [args[0] if args else Any] * count
    each = args if fields is None else fields.values()
    return [*each, *[Any] * count][:count]
