"""Durations as users write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfkit.core.durations import MAX, display, microseconds


@pytest.mark.parametrize(
    ("written", "us"),
    [
        ("250ms", 250_000),
        ("2s", 2_000_000),
        ("0s", 0),
        ("5 minutes", 300_000_000),
        ("1 minute", 60_000_000),
        ("2 days", 172_800_000_000),
        ("48h", 172_800_000_000),
        ("1h30m", 5_400_000_000),
        ("1h 30m", 5_400_000_000),
        ("1.5h", 5_400_000_000),
        ("1w", 604_800_000_000),
        ("3 weeks", 1_814_400_000_000),
        ("2 SEC", 2_000_000),
        (" 1d ", 86_400_000_000),
        (timedelta(milliseconds=3), 3_000),
        (1, 1_000_000),
        (0.25, 250_000),
        (0.000_000_6, 1),
    ],
)
def test_a_duration_is_microseconds(written: Any, us: int) -> None:
    """Text, seconds and timedeltas mean the same."""
    assert microseconds(written) == us


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "5",
        "s",
        "5 parsecs",
        "1h30",
        "-1s",
        "1,5h",
        "1e3s",
        "2 ss",
        "5 m inutes",
        -1,
        -0.5,
        timedelta(days=-1),
        float("nan"),
        float("inf"),
        float("-inf"),
        1e308,
        10**400,
        "9" * 400 + "s",
        "101 years",
        200 * 366 * 86_400,
        True,
        None,
        b"2s",
    ],
    ids=repr,
)
def test_anything_else_is_refused(written: Any) -> None:
    """At once, with a ValueError that shows what was written."""
    with pytest.raises(ValueError, match="duration"):
        microseconds(written)


@given(st.integers(0, MAX))
def test_a_timedelta_is_exact(us: int) -> None:
    """To the microsecond, up to a hundred years."""
    assert microseconds(timedelta(microseconds=us)) == us


@given(st.text() | st.floats() | st.integers() | st.timedeltas())
def test_nothing_but_a_value_error_is_ever_raised(written: Any) -> None:
    """And what is accepted lies within its bounds."""
    try:
        us = microseconds(written)
    except ValueError:
        return
    assert 0 <= us <= MAX


@pytest.mark.parametrize(
    ("us", "text"),
    [(0, "0ms"), (250_000, "250ms"), (2_000_000, "2s"), (2_500_000, "2.5s"), (5_400_000_000, "1h30m"), (259_200_000_000, "3d")],
)
def test_a_duration_is_shown_short(us: int, text: str) -> None:
    """As one would write it."""
    assert display(us) == text


@given(st.integers(1_000_000, MAX))
def test_what_is_shown_is_a_duration_again(us: int) -> None:
    """Its two largest units, so it is right to within a few percent."""
    assert microseconds(display(us)) == pytest.approx(us, rel=0.05)
