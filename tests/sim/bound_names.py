"""Names that a module of a user's has bound to the functions themselves, before any simulation was under way."""

from __future__ import annotations

from random import choice, gauss
from time import time, time_ns
from timeit import default_timer


def stamp() -> float:
    return time() + time_ns() + default_timer()


def pick(names: list[str]) -> str:
    return choice(names)


def noise() -> float:
    return gauss(0, 1)
