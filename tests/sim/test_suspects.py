"""Why a text is another one in another process: what is seen in it counts for more than what the code names."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from wfkit.sim.suspects import suspect

BOOT = "boot-4711"
SMALL = 7


def nothing() -> str:
    return "a"


def by_hash() -> str:
    return f"{hash('a')}"


def by_process() -> str:
    return f"{os.getpid()}"


def by_address() -> str:
    return f"{id('a')}"


def by_set() -> str:
    return ",".join({*"abc"})


def by_constant_set() -> str:
    return ",".join(each for each in {"a", "b"})  # noqa: PLC0208  # this is the point


def only_looks_up() -> bool:
    return BOOT in {"a", "b"}


def by_hash_and_set() -> str:
    return f"{hash('a')}" + by_set()


def by_boot() -> str:
    return f"{BOOT} {SMALL} {by_hash()}"


@pytest.mark.parametrize(
    ("fn", "here", "there", "why"),
    [
        (nothing, "a", "b", None),
        (nothing, "<Parcel at 0x7f33aa10>", "<Parcel at 0x7f33bb20>", "the text of an object shows its address"),
        (by_hash, "1", "2", "it uses hash()"),
        (by_process, "1", "2", "it uses os.getpid()"),
        (by_address, "1", "2", "it uses id()"),
        (by_set, "a,b,c", "b,c,a", "the order of a set"),
        (by_constant_set, "a,b", "b,a", "the order of a set"),
        (only_looks_up, "a", "b", None),
        (by_hash_and_set, "1", "2", "it uses hash()"),
        (by_hash_and_set, "a,b,c", "b,c,a", "the order of a set"),
        (by_boot, "boot-4711 7", "boot-1234 7", "BOOT is made anew in every process"),
        (by_boot, "7", "8", "it uses hash()"),
    ],
)
def test_a_suspect(fn: Callable[..., object], here: str, there: str, why: str | None) -> None:
    """The text of a global, an address, an order; or else what the code, and what it calls, is made of."""
    found = suspect(fn, here, there)
    assert (found.why[: len(why)] if found is not None and why is not None else found) == why
