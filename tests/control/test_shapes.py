"""What JSON fits a type hint: how it is spelled for people, and which fields of a value would be lost."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pytest

from wfkit.control.shapes import spell, spell_type, spell_types, types_in, unknown_field

T = TypeVar("T")
Number = NewType("Number", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


Wide = enum.Enum("Wide", [str(number) for number in range(9)])  # type: ignore[misc]  # named as it should be


@dataclass
class Item:
    name: str
    count: int = 1


@dataclass
class Order:
    id: str
    items: list[Item]
    price: decimal.Decimal
    colour: Colour = Colour.RED
    note: str | None = None
    tags: list[str] = field(default_factory=list)
    text: str = "x" * 40
    within: Order | None = None


class Cat(msgspec.Struct, tag="cat", rename="camel"):
    lives_left: int


class Dog(msgspec.Struct, tag="dog"):
    kind: Item


class Row(msgspec.Struct, array_like=True, tag=True):
    item: Item


class Keyed(TypedDict):
    item: Item
    other: NotRequired[int]


class Pair(NamedTuple):
    first: int
    second: Item


@dataclass
class Box(Generic[T]):
    content: T


@pytest.mark.parametrize(
    ("hint", "spelled"),
    [
        (int, "int"),
        (Any, "Any"),
        (Number, "int"),
        (str | None, "str | null"),
        (Annotated[int, msgspec.Meta(ge=1)], "int"),
        (decimal.Decimal, "Decimal"),
        (datetime.timedelta, "timedelta"),
        (uuid.UUID, "UUID"),
        (Path, "Path"),
        (deque[int], "deque"),
        (list[Item], "list[Item]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, str], "tuple[int, str]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (set[int], "set[int]"),
        (dict, "dict"),
        (list, "list"),
        (dict[str, Any], "dict[str, Any]"),
        (Colour, '"red" | "blue"'),
        (Wide, "Wide"),
        (Literal["a", 1], '"a" | 1'),
        (Box[int], "Box"),
    ],
    ids=str,
)
def test_a_type_is_spelled_as_people_write_it(hint: Any, spelled: str) -> None:
    """An enum is its values, as long as they are few."""
    assert sorted(spell_type(hint).split(" | ")) == sorted(spelled.split(" | "))


def test_the_fields_of_types_are_shown_with_their_defaults() -> None:
    """A type in another one is shown behind it, and once; a long default is not written out."""
    order, item = types_in([Order, list[Item]])
    assert (order.name, item.name) == ("Order", "Item")
    assert spell(order.fields) == (
        'id: str, items: list[Item], price: Decimal, colour: "red" | "blue" = "red", note: str | null = null, '
        "tags: list[str] = [], text: str = ..., within: Order | null = null"
    )
    assert spell_types([item]) == "Item is {name: str, count: int = 1}"


ITEM = {"name": "lamp", "count": 2}
WRONG = {"name": "lamp", "cont": 2}


@pytest.mark.parametrize(
    ("hint", "value", "path"),
    [
        (Item, WRONG, "$"),
        (list[Item], [ITEM, WRONG], "$[1]"),
        (tuple[int, Item], [1, WRONG], "$[1]"),
        (tuple[Item, ...], [WRONG], "$[0]"),
        (dict[str, Item], {"a": ITEM, "b": WRONG}, "$.b"),
        (Item | None, WRONG, "$"),
        (Item | list[Item], [WRONG], "$[0]"),
        (Cat | Dog, {"type": "dog", "kind": WRONG}, "$.kind"),
        (Keyed, {"item": WRONG}, "$.item"),
        (Pair, [1, WRONG], "$[1]"),
        (Row, ["Row", WRONG], "$[1]"),
        (Annotated[Item, msgspec.Meta(title="x")], WRONG, "$"),
        (Order, {"id": "o", "items": [], "price": 1, "within": {"id": "o", "items": [WRONG], "price": 1}}, "$.within.items[0]"),
    ],
    ids=str,
)
def test_a_field_that_no_type_has_is_found(hint: Any, value: Any, path: str) -> None:
    """Wherever it is: reading the value would drop it without a word."""
    msgspec.convert(value, hint)
    found = unknown_field(hint, msgspec.json.encode(value))
    assert found is not None
    assert (found.name, found.path, found.type, found.known) == ("cont", path, "Item", ("name", "count"))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Item, ITEM),
        (Any, WRONG),
        (dict[str, Any], WRONG),
        (Cat | Dog, {"type": "cat", "livesLeft": 9}),
        (Cat | Dog | None, None),
        (list[Item] | None, None),
        (Keyed, {"item": ITEM, "other": 1}),
        (Row, ["Row", ITEM]),
        (set[int], [1]),
        (deque[Item], [ITEM]),
        (msgspec.Raw, WRONG),
    ],
    ids=str,
)
def test_what_a_type_takes_is_left_alone(hint: Any, value: Any) -> None:
    """Also where it takes anything, and names that are written otherwise in JSON."""
    assert unknown_field(hint, msgspec.json.encode(value)) is None
