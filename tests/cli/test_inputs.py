"""INPUT: how a JSON value is matched to the parameters of a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from wfkit.api.definitions import Workflow, workflow
from wfkit.control.inputs import arguments
from wfkit.errors import CodecError


@dataclass
class Order:
    id: int
    note: str = ""


@dataclass
class Note:
    text: str = ""


@workflow
async def none() -> None: ...


@workflow
async def one(order: Order) -> None: ...


@workflow
async def number(count: int) -> None: ...


@workflow
async def table(data: dict[str, int]) -> None: ...


@workflow
async def listing(items: list[int]) -> None: ...


@workflow
async def several(order: Order, /, count: int = 3, *, note: str = "none") -> None: ...


@workflow
async def pair(first: int, second: int) -> None: ...


@workflow
async def listing_of_orders(orders: list[Order]) -> None: ...


@workflow
async def noted(note: Note) -> None: ...


@workflow
async def anything(value: Any) -> None: ...


O7 = {"id": 7}  # what is a default need not be written


@pytest.mark.parametrize(
    ("target", "given", "args"),
    [
        (none, None, []),
        (none, "{}", []),
        (none, "[]", []),
        (one, '{"id": 7}', [O7]),
        (one, '{"order": {"id": 7}}', [O7]),
        (one, '[{"id": 7}]', [O7]),
        (number, "5", [5]),
        (number, "[5]", [5]),
        (number, '{"count": 5}', [5]),
        (table, '{"data": 1}', [{"data": 1}]),
        (table, '{"data": {"a": 1}}', [{"a": 1}]),
        (listing, "[1, 2]", [[1, 2]]),
        (listing, "[[1, 2]]", [[1, 2]]),
        (listing, "[1]", [[1]]),
        (listing, '{"items": [1]}', [[1]]),
        (several, '{"order": {"id": 7}}', [O7, 3, "none"]),
        (several, '{"note": "x", "order": {"id": 7}}', [O7, 3, "x"]),
        (several, '[{"id": 7}, 4]', [O7, 4, "none"]),
        (several, '[{"id": 7}, 4, "y"]', [O7, 4, "y"]),
        (noted, '{"note": {"text": "x"}}', [{"text": "x"}]),
        (anything, "null", [None]),
        (anything, '{"value": 1}', [{"value": 1}]),
    ],
    ids=str,
)
def test_input_becomes_arguments(target: Workflow[..., Any], given: str | None, args: list[Any]) -> None:
    """An object is the only parameter or parameters by name, an array is in order, a scalar the only parameter."""
    assert msgspec.json.decode(arguments(target, None if given is None else Raw(given.encode()))) == args


@pytest.mark.parametrize(
    ("target", "given", "says"),
    [
        (none, "5", "none() does not take a single value"),
        (none, "[5]", "none() takes 0 values, INPUT has 1"),
        (one, "{}", "missing required field `id`"),
        (one, '{"id": "x"}', "expected `int`, got `str` - at `$.id`"),
        (one, '{"order": {"id": "x"}}', "expected `int`, got `str` - at `$.id`"),
        (one, "5", "expected `object`, got `int`"),
        (number, '{"cuont": 5}', "number(count: int) has no parameter 'cuont'; did you mean 'count'?"),
        (number, "[5, 6]", "got `array`"),
        (several, None, 'several(order: Order, count: int = 3, note: str = "none"): order is missing'),
        (several, '{"count": 5}', ": order is missing"),
        (pair, None, "pair(first: int, second: int): first and second are missing"),
        (one, '{"id": 7, "nte": "x"}', "Order has no field 'nte'; did you mean 'note'?"),
        (one, '{"order": {"id": 7, "nte": "x"}}', "Order has no field 'nte'; did you mean 'note'?"),
        (listing_of_orders, '[{"id": 7}, {"id": 8, "colour": 1}]', "Order has no field 'colour' - at `$[1]`"),
        (several, '{"order": {"id": 7}, "count": "x"}', "parameter 'count' of several("),
        (several, '[{"id": 7}, 4, "y", 1]', "takes 3 values, INPUT has 4"),
        (several, "5", "does not take a single value"),
    ],
    ids=str,
)
def test_input_that_does_not_fit_is_told_by_parameter_path_and_type(
    target: Workflow[..., Any], given: str | None, says: str
) -> None:
    """So that one sees at once which value to mend."""
    with pytest.raises(CodecError) as refused:
        arguments(target, None if given is None else Raw(given.encode()))
    assert says in str(refused.value)
    assert "(for int)" not in str(refused.value)  # which the message says already


@pytest.mark.parametrize(
    ("target", "given", "help"),
    [
        (one, '{"id": "x"}', 'give order as JSON; Order is {id: int, note: str = ""}'),
        (pair, None, 'give {"first": ..., "second": ...}'),
        (none, "5", "give no INPUT: it takes no parameters"),
    ],
)
def test_what_is_wanted_is_shown_with_its_fields(target: Workflow[..., Any], given: str | None, help: str) -> None:
    """Not how a shell takes it: a form, or a program, may have given it."""
    with pytest.raises(CodecError) as refused:
        arguments(target, None if given is None else Raw(given.encode()))
    assert refused.value.help == help
