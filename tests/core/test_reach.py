"""What code can come to without being run."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from tests.core import reached_from
from tests.core.reached_from import Mark, called_by_others, marked
from wfkit.core.reach import THINGS_MAX, reached


def by_name() -> object:
    return marked


def by_a_function_within() -> object:
    def inner() -> object:
        return marked

    return inner()


def by_a_function_of_another_module() -> object:
    return called_by_others()


def by_a_module() -> object:
    return reached_from.called_by_others()


def by_a_computed_name_of_a_module() -> object:
    return getattr(reached_from, "mar" + "ked")


def by_a_late_import() -> object:
    from tests.core.reached_from import marked as late

    return late


TABLE = {"a": [("b", marked)]}
KEYS = {marked: 1}
PROXY = MappingProxyType({"a": marked})


def by_a_table() -> object:
    return TABLE["a"]


def by_a_key() -> object:
    return list(KEYS)


def by_a_proxy() -> object:
    return PROXY["a"]


class Holder:
    kept = marked

    def __init__(self, held: object = None) -> None:
        self.held = held

    def method(self) -> object:
        return marked

    @classmethod
    def of_class(cls) -> object:
        return marked

    @property
    def looked_up(self) -> object:
        return marked


class Slotted:
    __slots__ = ("empty", "held")

    def __init__(self) -> None:
        self.held = marked


@dataclass(frozen=True)
class Tools:
    first: object


class Inheriting(Holder):
    pass


HOLDER, SLOTTED, TOOLS, LOOSE = Inheriting(), Slotted(), Tools(marked), SimpleNamespace(first=marked)
BOUND = Inheriting().method
PARTIAL = functools.partial(print, marked)


def by_a_class() -> object:
    return Inheriting.of_class()


def by_an_object() -> object:
    return HOLDER


def by_slots() -> object:
    return SLOTTED


def by_a_dataclass() -> object:
    return TOOLS


def by_a_namespace() -> object:
    return LOOSE


def by_a_bound_method() -> object:
    return BOUND()


def by_a_partial() -> object:
    return PARTIAL()


def by_a_default(what: object = marked) -> object:
    return what


def by_a_named_default(*, what: object = marked) -> object:
    return what


def _decorated(fn: Callable[[], object]) -> Callable[[], object]:
    return lambda: fn()


@_decorated
def by_a_closure() -> object:
    return marked


@functools.lru_cache
def _remembered() -> object:
    return marked


@contextlib.contextmanager
def _around() -> Iterator[object]:
    yield marked


def by_a_cache() -> object:
    return _remembered()


def by_the_decorator_of_a_library() -> object:
    with _around() as found:
        return found


WAYS = [thing for name, thing in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_there_are_many_ways_to_come_to_something(way: Any) -> None:
    """By its name is only one of them."""
    assert [thing for thing in reached(way, (Mark,)) if isinstance(thing, Mark)] == [marked]


class Proxy:
    """As those of web frameworks: what it stands for is found out when it is asked for anything."""

    @property  # type: ignore[misc]  # such proxies do so
    def __class__(self) -> Any:
        raise LookupError("outside of a request")


PROXY_OBJECT = Proxy()


def far() -> object:
    return json.dumps(PROXY_OBJECT), json


def test_nothing_is_called_for_it() -> None:
    """Neither properties nor what objects say of themselves."""
    assert far in list(reached(far, (Mark,)))


def test_the_code_of_libraries_is_not_read() -> None:
    """It calls nobody's steps by itself."""
    files = {thing.__code__.co_filename for thing in reached(far)}
    assert files == {__file__}


def test_each_is_found_once_also_by_several_walks() -> None:
    """An app's steps share much of what they call."""
    seen: dict[int, object] = {}
    assert marked in list(reached(by_name, (Mark,), seen))
    assert marked not in list(reached(by_a_table, (Mark,), seen))


MUCH = [[row] for row in range(2 * THINGS_MAX)]


def with_much_data() -> object:
    return MUCH, reached_from.called_by_others()


def test_much_data_keeps_nothing_from_being_found() -> None:
    """What is near comes first, and of one container not everything is looked at."""
    assert marked in list(reached(with_much_data, (Mark,)))
