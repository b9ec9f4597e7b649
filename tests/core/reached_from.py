"""A module that another one calls: see test_reach.py."""

from __future__ import annotations


class Mark:
    """What is looked for."""


marked = Mark()


def called_by_others() -> Mark:
    return _deeper()


def _deeper() -> Mark:
    return marked
