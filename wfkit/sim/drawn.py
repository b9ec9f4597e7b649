"""Which parts of JSON values are drawn anew in each schedule: they are known by their paths, and compared by shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias

from wfkit.sim.services import canonical

Path: TypeAlias = tuple[str, ...]
"""Keys of objects from the outside in; `[]` for an item of a list, whichever it is."""

ITEM = "[]"
DRAWN = "~"
"""What stands for a value that is drawn anew."""


def differing(one: Any, other: Any, path: Path = ()) -> set[Path]:
    """Return the paths of the smallest parts in which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {found for key in one for found in differing(one[key], other[key], (*path, key))}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return {found for a, b in zip(one, other, strict=True) for found in differing(a, b, (*path, ITEM))}
    return set() if canonical(one) == canonical(other) else {path}


def masked(value: Any, paths: Collection[Path], path: Path = ()) -> Any:
    """Return a JSON value without what is drawn anew."""
    if path in paths:
        return DRAWN
    if isinstance(value, dict):
        return {key: masked(item, paths, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, paths, (*path, ITEM)) for item in value]
    return value


def unordered(value: Any) -> Any:
    """Return a JSON value with its lists sorted: a service keeps things in the order in which they came."""
    if isinstance(value, dict):
        return {key: unordered(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(map(unordered, value), key=canonical)
    return value


def without_counts(names: Iterable[str]) -> Callable[[str], str]:
    """Return what takes the count out of answers such as `charge-2`: who comes first is no property of a workflow."""
    choices = "|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True))
    if not choices:
        return str
    pattern = re.compile(rf"\b({choices})-\d+\b")
    return lambda text: pattern.sub(r"\1-#", text)
