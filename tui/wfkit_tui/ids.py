"""Ids as lists show them: of those that an engine made up, only as much as tells them apart, as git does it."""

from __future__ import annotations

import re
from collections.abc import Iterable

LENGTH_MIN = 8
_MADE_UP = re.compile(r"[0-9a-f]{20}(?=/|$)")
"""What `new_id` returns, alone or at the head of a child's id."""


def shown(id: str, length: int = LENGTH_MIN) -> str:
    """Return an id with so many characters of what an engine made up."""
    found = _MADE_UP.match(id)
    return id if found is None else id[:length] + id[found.end() :]


def length_of(ids: Iterable[str]) -> int:
    """Return how many characters tell these ids apart."""
    made_up = {found[0] for id in ids if (found := _MADE_UP.match(id))}
    length = LENGTH_MIN
    while len({id[:length] for id in made_up}) < len(made_up):
        length += 1
    return length
