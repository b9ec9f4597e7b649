"""Ids as lists show them."""

from __future__ import annotations

import pytest

from wfkit_tui import ids

ONE, OTHER = "59ac04533ab27d7c5d1c", "59ac04534ab27d7c5d1c"


@pytest.mark.parametrize(
    ("given", "length"),
    [([], 8), (["order-1"], 8), ([ONE], 8), ([ONE, ONE + "/x"], 8), ([ONE, OTHER], 9), ([OTHER, ONE, "a"], 9)],
)
def test_made_up_ids_are_as_long_as_tells_them_apart(given: list[str], length: int) -> None:
    """Never shorter than is enough for a day's work, and only as long as those that are shown need it."""
    assert ids.length_of(given) == length
    assert len({ids.shown(id, length) for id in given}) == len(given)


def test_a_name_that_somebody_gave_is_shown_whole() -> None:
    """Of a child's id, what its parent is called may be cut."""
    assert ids.shown("order-59ac04533ab27d7c5d1c") == "order-59ac04533ab27d7c5d1c"
    assert ids.shown(f"{ONE}/parcel-3") == "59ac0453/parcel-3"
    assert ids.shown(ONE + "f") == ONE + "f"
