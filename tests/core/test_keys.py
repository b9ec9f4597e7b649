"""Names that are derived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfkit.core.keys import check_run_id, child_id, idempotency_key, triggered_id
from wfkit.errors import DefinitionError

ids = st.from_regex(r"[A-Za-z0-9._:/-]{1,128}", fullmatch=True)
names = st.from_regex(r"[a-z_]{1,200}", fullmatch=True) | st.text(min_size=1)
calls = st.tuples(ids, st.integers(1, 5), names, st.integers(1, 5))


def test_an_idempotency_key_never_changes() -> None:
    """It is in the books of payment providers: this value is for ever."""
    assert idempotency_key("order-77", 1, "charge", 1) == "e730f2aa2358a54a7ccf2e1f350b62f2"


@given(calls, calls)
def test_different_calls_have_different_keys(one: tuple[str, int, str, int], other: tuple[str, int, str, int]) -> None:
    """Run, generation, step and number of the call all count."""
    assert (idempotency_key(*one) == idempotency_key(*other)) is (one == other)


@given(ids)
def test_an_id_is_a_name_for_a_command_line_and_an_address(id: str) -> None:
    """Letters, digits and a few signs, at most 128 of them."""
    check_run_id(id)


@pytest.mark.parametrize("id", ["", "a b", "a\n", "höhe", "x" * 129, "*"])
def test_what_is_no_run_id_is_refused(id: str) -> None:
    """It says what an id is made of."""
    with pytest.raises(DefinitionError, match="is no run id") as raised:
        check_run_id(id)
    assert "1 to 128 of the characters A-Z a-z 0-9" in raised.value.help


@given(ids, st.integers(1, 3), names, st.integers(1, 99))
def test_a_derived_id_is_a_valid_run_id(run_id: str, generation: int, workflow: str, n: int) -> None:
    """However long its parent's id is and whatever its workflow is called: such a run is one like others."""
    check_run_id(child_id(run_id, generation, workflow, n))
    check_run_id(triggered_id(workflow, n))


@given(ids, names, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=2, max_size=2, unique=True))
def test_children_of_one_run_have_different_ids(run_id: str, workflow: str, calls: list[tuple[int, int]]) -> None:
    """Each generation has children of its own."""
    assert len({child_id(run_id, generation, workflow, n) for generation, n in calls}) == 2


def test_the_id_of_a_child_is_readable() -> None:
    """It shows where it comes from."""
    assert child_id("order-77", 1, "ship", 3) == "order-77/ship-3"
    assert child_id("order-77", 2, "ship", 3) == "order-77/ship-3/g2"


def test_the_id_of_a_triggered_run_names_its_signal() -> None:
    """So one signal starts one run of a workflow, however often its delivery is repeated."""
    assert triggered_id("audit", 12) == "audit/on-12"
