"""A report on a terminal that is narrower than its lines."""

from __future__ import annotations

import pytest

from wfkit.cli.wrapping import wrapped


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short  and  as it is", "short  and  as it is"),
        (
            "  10:00:00  #1 charge(7) called   -> bank.charge  EFFECT 1",
            "  10:00:00  #1 charge(7) called\n            -> bank.charge  EFFECT 1",
        ),
        (
            "  03-02 10:00:00  worker restarted, replayed 1 of 1 entries",
            "  03-02 10:00:00  worker restarted,\n                  replayed 1 of 1\n                  entries",
        ),
        (
            "WF063  order: charge happened twice        shop.py:31 charge()",
            "WF063  order: charge happened twice\n       shop.py:31 charge()",
        ),
        (
            "  why: the key is made inside of the step, by uuid4()",
            "  why: the key is made inside of the\n       step, by uuid4()",
        ),
        (
            "order: 9 points | 1 fault: 60 of 60 | random: not run",
            "order: 9 points | 1 fault: 60 of 60 |\n       random: not run",
        ),
        (
            "  fix: a/very/long/path/that/is/longer/than/all/of/it.py",
            "  fix: a/very/long/path/that/is/longer/than/all/of/it.py",
        ),
        (
            "  replay: wfkit verify --replay .wfkit/failures/order.json",
            "  replay: wfkit verify --replay .wfkit/failures/order.json",
        ),
    ],
    ids=["short", "effect", "days", "code", "why", "coverage", "path", "replay"],
)
def test_a_line_goes_on_below_its_beginning(line: str, expected: str) -> None:
    """Between columns first, then between words; what is to be copied is left to the terminal."""
    assert wrapped(line, 40) == expected


def test_no_word_is_lost() -> None:
    """However narrow it is."""
    text = "WF063  a b  c\n\n  10:00:00  one two   -> three  EFFECT 1\norder: 9 points | x: y"
    for width in range(1, 60):
        assert wrapped(text, width).replace(" |", " | ").split() == text.split()
