"""What a function's code names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

from wfkit.core.names import closed_over, named_by, own_functions

LIMIT = object()
OTHER = object()


def code(fn: Callable[..., object]) -> FunctionType:
    assert isinstance(fn, FunctionType)
    return fn


def direct() -> object:
    return LIMIT


def indirect() -> object:
    def inner() -> list[object]:
        return [direct() for _ in range(2)]

    return inner()


def endless(n: int) -> object:
    return endless(n - 1) if n else indirect()


def by_module() -> object:
    return math.inf if json.loads("1") else math.pi


def test_a_function_names_globals() -> None:
    """Also in the functions and comprehensions within it."""
    assert list(named_by(code(direct))) == [LIMIT]
    assert direct in list(named_by(code(indirect)))


def test_what_a_function_closes_over_is_named_too() -> None:
    """By its name; what is not bound yet is left out."""

    def inner() -> tuple[object, object]:
        return bound, later

    bound = OTHER
    assert closed_over(code(inner)) == {"bound": OTHER}
    later = LIMIT
    assert closed_over(code(inner)) == {"bound": OTHER, "later": LIMIT}
    assert list(named_by(code(inner))) == [OTHER, LIMIT]


def test_members_of_modules_are_named_if_they_are_asked_for() -> None:
    """Of the classes that the caller looks for, or else a walk would lead through whole libraries."""
    assert list(named_by(code(by_module))) == []
    assert list(named_by(code(by_module), members=(float,))) == [math.inf, math.pi]
    assert list(named_by(code(by_module), members=(FunctionType,))) == [json.loads]


def test_the_functions_of_a_module_are_found_through_each_other() -> None:
    """Each once, whatever calls itself; those of other modules are none of its own."""

    def calls(what: Callable[..., Any] = json.loads) -> object:
        return what, endless(3)

    assert [fn.__name__ for fn in own_functions(calls)] == ["calls", "endless", "indirect", "direct"]
    assert list(own_functions(len)) == []
