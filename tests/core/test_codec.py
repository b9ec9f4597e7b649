"""Values to JSON by type hint, and back: what travels, what is refused, and with which words."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import typing
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfkit.core.codec import PAYLOAD_BYTES_MAX, Codec, codec, signature
from wfkit.errors import CodecError, PayloadTooLarge

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Point3(Point):
    z: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    ends: tuple[str, str]
    tags: frozenset[str] = frozenset()
    between: list[Line] = dataclasses.field(default_factory=list)
    kind: typing.ClassVar[str] = "line"


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Renamed(msgspec.Struct, frozen=True, rename="camel"):
    some_tags: set[str]
    due_at: datetime.datetime | None = None


class Packed(msgspec.Struct, array_like=True):
    tags: set[int]
    name: str = ""


class Cat(msgspec.Struct, tag=True):
    lives: set[int]


class Dog(msgspec.Struct, tag=True):
    name: str


class Place(NamedTuple):
    lat: float
    lon: float = 0.0


class Movie(TypedDict):
    title: str
    tags: set[str]
    year: NotRequired[int]


class Item(pydantic.BaseModel):
    name: str
    price: decimal.Decimal = decimal.Decimal(1)
    weight: float = 1.0
    tags: set[str] = set()
    parts: list[Item] = []
    due: datetime.date | None = pydantic.Field(default=None, alias="dueOn")


class SpecialItem(Item):
    extra: int = 1


class StrictItem(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    on: datetime.date
    blob: bytes


Seconds = NewType("Seconds", float)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
number = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, st.integers(-(2**53), 2**53), number)
lines = st.recursive(
    st.builds(Line, st.tuples(text, text), st.frozensets(text, max_size=3)),
    lambda inner: st.builds(Line, st.tuples(text, text), st.frozensets(text, max_size=3), st.lists(inner, max_size=2)),
    max_leaves=3,
)
zoned = st.datetimes(timezones=st.just(datetime.UTC))

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | number | text, lambda of: st.lists(of) | st.dictionaries(text, of)
)
TRAVELS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (bool, st.booleans()),
    (float, number),
    (str, text),
    (bytes, st.binary(max_size=8)),
    (None, st.none()),
    (datetime.datetime, zoned | st.datetimes()),
    (datetime.date, st.dates()),
    (datetime.time, st.times()),
    (datetime.timedelta, st.timedeltas()),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (pathlib.Path, st.builds(pathlib.Path, st.sampled_from(["a/b", "/c", "."]))),
    (list[int], st.lists(st.integers(), max_size=4)),
    (collections.deque[str], st.builds(collections.deque, st.lists(text, max_size=3))),
    (collections.abc.Sequence[int], st.lists(st.integers(), max_size=3)),
    (tuple[int, str], st.tuples(st.integers(), text)),
    (tuple[float, ...], st.lists(number, max_size=3).map(tuple)),
    (tuple[()], st.just(())),
    (set[str], st.sets(text, max_size=4)),
    (frozenset[uuid.UUID], st.frozensets(st.uuids(), max_size=4)),
    (set[tuple[int, str]], st.sets(st.tuples(st.integers(), text), max_size=3)),
    (dict[str, float], st.dictionaries(text, number, max_size=3)),
    (dict[uuid.UUID, list[datetime.date]], st.dictionaries(st.uuids(), st.lists(st.dates(), max_size=2), max_size=2)),
    (dict[int, Colour], st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.sampled_from(Colour), max_size=3)),
    (collections.abc.Mapping[str, set[int]], st.dictionaries(text, st.sets(st.integers(), max_size=3), max_size=2)),
    (Point, points),
    (Line, lines),
    (Box[int], st.builds(Box, st.integers())),
    (Renamed, st.builds(Renamed, st.sets(text, max_size=3), st.none() | zoned)),
    (Packed, st.builds(Packed, st.sets(st.integers(), max_size=3), text)),
    (Cat | Dog, st.builds(Cat, st.sets(st.integers(), max_size=3)) | st.builds(Dog, text)),
    (Place, st.builds(Place, number, number)),
    (Movie, st.fixed_dictionaries({"title": text, "tags": st.sets(text, max_size=3)}, optional={"year": st.integers()})),
    (Point | None, st.none() | points),
    (list[Point | int | str | None], st.lists(st.none() | points | st.integers() | text, max_size=4)),
    (int | float | str, st.integers() | number | text),
    (Annotated[int, "meta"], st.integers()),
    (Seconds, number),
    (StrictItem, st.builds(StrictItem, on=st.dates(), blob=text.map(str.encode))),
    (Any, jsons),
    (object, jsons),
    (dict[str, object], st.dictionaries(text, jsons, max_size=2)),
]


@pytest.mark.parametrize(("hint", "values"), TRAVELS, ids=[str(hint) for hint, _ in TRAVELS])
@given(data=st.data())
def test_a_value_comes_back_as_it_was(hint: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """For every type that travels, decoding what was encoded is the identity, down to the class."""
    value = data.draw(values)
    back = codec(hint).decode(codec(hint).encode(value))
    assert back == value
    assert type(back) is type(value)


@given(
    st.builds(
        Item,
        name=text,
        price=st.decimals(allow_nan=False, allow_infinity=False),
        tags=st.sets(text),
        dueOn=st.none() | st.dates(),
    )
)
def test_a_pydantic_model_comes_back_as_it_was(item: Item) -> None:
    """Also within another model, with a set, and with a field under an alias."""
    box = Item(name="box", parts=[item])
    assert codec(Item).decode(codec(Item).encode(box)) == box


# -- refused at definition ------------------------------------------------------------------------------------------------


class Plain:
    pass


@dataclasses.dataclass
class HoldsPlain:
    plain: Plain


class Tuples(enum.Enum):
    ONE = (1, 2)


@pytest.mark.parametrize(
    "hint",
    [
        Plain,
        list[Plain],
        dict[str, Plain],
        dict[Plain, str],
        tuple[int, Plain],
        Plain | None,
        set[Plain],
        HoldsPlain,
        Box[Plain],
        complex,
        type,
        ValueError,
        Tuples,
        range,
        collections.abc.Callable[[int], int],
        collections.abc.Iterator[int],
        collections.abc.AsyncIterator[int],
        collections.OrderedDict[str, int],
        Point | Line,
        list[str] | list[int],
        datetime.datetime | str,
    ],
    ids=str,
)
def test_a_type_that_cannot_travel_fails_at_definition(hint: Any) -> None:
    """Not at the first call, days later."""
    with pytest.raises(CodecError, match="cannot travel as JSON"):
        Codec(hint)


def test_an_unsupported_parameter_is_told_by_name() -> None:
    """So is an unsupported result."""

    def charge(amount: int, client: Plain) -> None: ...
    def fetch() -> Plain:
        raise NotImplementedError

    with pytest.raises(CodecError, match=r"parameter 'client' of .*charge\(\): values of type Plain"):
        signature(charge)
    with pytest.raises(CodecError, match=r"the result of .*fetch\(\): values of type Plain"):
        signature(fetch)


def test_a_hint_that_does_not_resolve_is_told() -> None:
    """A name imported for type checkers alone is not there at run time."""

    def charge(amount: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # this is the point

    with pytest.raises(CodecError, match=r"a hint of .*charge\(\) cannot be resolved: name 'Missing'"):
        signature(charge)


@pytest.mark.parametrize("stars", ["args", "options"])
def test_parameters_without_a_name_are_refused(stars: str) -> None:
    """What is recorded must have a place, whatever the call looks like."""

    def many(*args: int) -> None: ...
    def named(**options: int) -> None: ...

    with pytest.raises(CodecError, match=rf"\*{stars}: name every parameter"):
        signature(many if stars == "args" else named)


# -- refused at use -------------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Any, Any]] = [
    (Point, Point3(1)),
    (Point | None, Point3(1)),
    (list[Point], [Point3(1)]),
    (dict[str, Point], {"a": Point3(1)}),
    (Box[Point], Box(Point3(1))),
    (Box[list[Point]], Box([Point3(1)])),
    (Dog, Cat(set())),
    (Item, SpecialItem(name="a")),
    (datetime.date, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)),
    (int, True),
    (int, Level.LOW),
    (str, Colour.RED),
    (str, b"a"),
    (bytes, bytearray(b"a")),
    (float, "1"),
    (float, True),
    (decimal.Decimal, 1),
    (list[str], "abc"),
    (list[str], {"a", "b"}),
    (list[str], ("a",)),
    (tuple[str, ...], ["a"]),
    (tuple[str, str], ("a",)),
    (collections.abc.Sequence[str], "abc"),
    (set[int], [1]),
    (dict[str, int], [("a", 1)]),
    (Movie, {"title": "a"}),
    (Movie, {"title": "a", "tags": set(), "length": 1}),
    (Movie, [("title", "a")]),
    (Place, (1.0, 2.0)),
    (Literal["a", "b"], "c"),
    (Literal[1], True),
    (int | None, "x"),
    (None, 0),
    (uuid.UUID, "x"),
    (Colour, "red"),
    (pathlib.Path, "x"),
    (str, "\ud800"),
]


@pytest.mark.parametrize(("hint", "value"), REFUSED, ids=[f"{place}-{hint}" for place, (hint, _) in enumerate(REFUSED)])
def test_a_value_that_is_not_what_the_hint_promises_is_refused(hint: Any, value: object) -> None:
    """Nothing is converted in silence, and no field of a subclass is cut off."""
    with pytest.raises(CodecError):
        codec(hint).encode(value)


HOLDS_A_NUMBER: list[tuple[Any, Any]] = [
    (float, lambda bad: bad),
    (Seconds, lambda bad: bad),
    (Annotated[float, "meta"], lambda bad: bad),
    (float | None, lambda bad: bad),
    (int | float | str, lambda bad: bad),
    (Point, lambda bad: Point(1, bad)),
    (list[Point], lambda bad: [Point(1), Point(1, bad)]),
    (dict[str, list[float]], lambda bad: {"a": [1.0, bad]}),
    (dict[float, str], lambda bad: {bad: "a"}),
    (Place, lambda bad: Place(1.0, bad)),
    (tuple[int, float], lambda bad: (1, bad)),
    (set[float], lambda bad: {bad}),
    (Box[float], lambda bad: Box(bad)),
    (Item, lambda bad: Item(name="a", parts=[Item(name="b", weight=bad)])),
    (decimal.Decimal, lambda bad: decimal.Decimal(bad)),
    (Any, lambda bad: bad),
    (Any, lambda bad: {"a": [{"b": (bad,)}]}),
    (Any, lambda bad: Point(1, bad)),
    (Any, lambda bad: [Item(name="a", weight=bad)]),
    (list, lambda bad: [bad]),
    (dict, lambda bad: {"a": bad}),
]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("hint", "wrap"), HOLDS_A_NUMBER, ids=[f"{place}-{hint}" for place, (hint, _) in enumerate(HOLDS_A_NUMBER)]
)
def test_nan_and_infinity_are_refused_wherever_they_stand(hint: Any, wrap: Any, bad: float) -> None:
    """JSON has no word for them, and msgspec would write null."""
    with pytest.raises(CodecError, match=r"(?i)NaN and infinity cannot travel"):
        codec(hint).encode(wrap(bad))


def test_a_number_too_large_for_a_float_is_refused() -> None:
    """An int may stand for a float, as everywhere in Python, unless it is none."""
    assert codec(float).decode(codec(float).encode(3)) == 3.0
    with pytest.raises(CodecError, match="too large for the float"):
        codec(float).encode(10**400)


def test_what_contains_itself_is_refused() -> None:
    """A list within itself has no text."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CodecError, match="cannot be written as JSON"):
        codec(Any).encode(endless)


def test_subclasses_of_text_and_number_travel_as_text_and_number() -> None:
    """Nothing of the value is lost by that."""

    class Email(str):
        __slots__ = ()

    assert bytes(codec(str).encode(Email("a@b"))) == b'"a@b"'
    assert bytes(codec(Any).encode([Email("a@b")])) == b'["a@b"]'


# -- sets -----------------------------------------------------------------------------------------------------------------


@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_sets_are_written_in_one_order(items: list[str]) -> None:
    """Wherever a set stands, hinted or not: its order in memory depends on the process."""
    some = set(items)
    assert bytes(codec(set[str]).encode(some)) == b'["a","b","c","d","e"]'
    assert bytes(codec(Any).encode({"s": [some]})) == b'{"s":[["a","b","c","d","e"]]}'
    assert bytes(codec(Box[Any]).encode(Box(some))) == b'{"content":["a","b","c","d","e"]}'
    assert bytes(codec(collections.abc.Set[str]).encode(some)) == b'["a","b","c","d","e"]'
    assert bytes(codec(collections.abc.Collection[str]).encode(some)) == b'["a","b","c","d","e"]'
    assert msgspec.json.decode(codec(Item).encode(Item(name="x", tags=some)))["tags"] == ["a", "b", "c", "d", "e"]
    assert bytes(codec(Movie).encode({"title": "x", "tags": some})) == b'{"title":"x","tags":["a","b","c","d","e"]}'


def test_encoding_leaves_the_value_as_it_is() -> None:
    """Sets are sorted in a copy, also in records that are frozen or have slots."""
    line, packed, renamed = Line(("a", "b"), frozenset("cba")), Packed({2, 1}), Renamed({"b", "a"})
    codec(Line).encode(line)
    codec(Packed).encode(packed)
    codec(Renamed).encode(renamed)
    assert (line.tags, packed.tags, renamed.some_tags) == (frozenset("abc"), {1, 2}, {"a", "b"})


# -- size -----------------------------------------------------------------------------------------------------------------


def test_a_value_over_2_mib_is_refused() -> None:
    """Counted as JSON; one of exactly 2 MiB travels."""
    assert len(bytes(codec(str).encode("x" * (PAYLOAD_BYTES_MAX - 2)))) == PAYLOAD_BYTES_MAX
    with pytest.raises(PayloadTooLarge, match="takes 2,097,153 bytes as JSON; at most 2,097,152 are allowed"):
        codec(str).encode("x" * (PAYLOAD_BYTES_MAX - 1))


# -- decoding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "data", "path"),
    [
        (list[Point], b'[{"x":1},{"x":"1"}]', r"\$\[1\]\.x"),
        (Point, b'{"y":1}', "missing required field `x`"),
        (int, b"null", "expected `int`"),
        (list[int], b"[1", "truncated"),
        (Item, b"{}", "Field required"),
    ],
)
def test_text_that_does_not_fit_is_told_with_its_path(hint: Any, data: bytes, path: str) -> None:
    """Whoever wrote the input can find the place."""
    with pytest.raises(CodecError, match=path):
        codec(hint).decode(data)


def test_unknown_fields_of_a_record_are_left_out() -> None:
    """A later version of a class may have dropped a field that a history still holds."""
    assert codec(Point).decode(b'{"x":1,"gone":true}') == Point(1)


# -- functions ------------------------------------------------------------------------------------------------------------


def order(id: str, count: int = 1, *, gift: bool = False, tags: set[str] | None = None) -> Point:
    return Point(count)


def test_arguments_are_recorded_by_position_with_their_defaults() -> None:
    """However the call is written, the same arguments are the same text."""
    of = signature(order)
    expected = b'["a",1,true,null]'
    assert bytes(of.encode(("a",), {"gift": True})) == expected
    assert bytes(of.encode((), {"gift": True, "id": "a", "count": 1})) == expected
    assert bytes(of.encode(("a", 1), {"tags": None, "gift": True})) == expected


def test_recorded_arguments_become_a_call_again() -> None:
    """Keyword-only parameters are passed by keyword."""
    of = signature(order)
    args = of.decode(of.encode(("a", 2), {"tags": {"x"}}))
    assert args == ("a", 2, False, {"x"})
    assert of.call(args) == (("a", 2), {"gift": False, "tags": {"x"}})


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a", 1, 2), {}), (("a", 1, True, None), {}), (("a",), {"id": "b"}), (("a",), {"x": 1})]
)
def test_a_call_that_does_not_fit_is_a_type_error(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """As if the function itself had been called; a keyword-only parameter is none by position."""
    with pytest.raises(TypeError):
        signature(order).encode(args, kwargs)


def test_a_wrong_argument_is_told_by_name() -> None:
    """Among ten arguments, the name is what one needs."""
    with pytest.raises(CodecError, match=r"argument 'count' of order\(\): a value of type str is not the int"):
        signature(order).encode(("a", "1"), {})


def test_parameters_without_a_hint_are_known() -> None:
    """So that a warning can name them: a set or a date comes back as a list or text there."""

    def loose(a, b: int, c=None) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001  # this is the point

    of = signature(loose)
    assert of.missing == ("a", "c")
    assert of.decode(of.encode(((1, 2), 3), {})) == ([1, 2], 3, None)


def test_parameters_are_told_for_forms() -> None:
    """Name, hint, and whether there is no default."""
    assert signature(order).parameters()[:2] == [("id", str, True), ("count", int, False)]


def test_a_function_without_parameters_takes_an_empty_array() -> None:
    """Its calls are recorded like all others."""

    def nothing() -> None: ...

    assert bytes(signature(nothing).encode((), {})) == b"[]"
    assert signature(nothing).decode(b"[]") == ()
    with pytest.raises(TypeError):
        signature(nothing).encode((1,), {})
