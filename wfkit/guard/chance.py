"""The chance of workflow code: values of the run's own generator."""

from __future__ import annotations

import os
import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

from wfkit.core.loop import active_loops
from wfkit.guard.scope import guarded, refuse
from wfkit.guard.stand_in import Make, replace, shadow


def install() -> None:
    random._inst.__class__ = _SharedRandom  # whose bound methods are the functions of `random`
    for name in ("random", "getrandbits", "getstate", "setstate"):  # all others draw through the first two
        shadow(random, name, _drawn(name))
    replace(random.Random, "seed", _seeded)
    shadow(os, "urandom", _entropy)
    replace(random, "_urandom", _entropy)  # what SystemRandom calls, and through it all of `secrets`


def _drawn(name: str) -> Make:
    def make(real: Callable[..., Any]) -> Callable[..., Any]:
        def drawn(*args: Any) -> Any:
            loop = guarded()
            return real(*args) if loop is None else getattr(loop.random, name)(*args)

        return drawn

    return make


def _seeded(real: Callable[..., None]) -> Callable[..., None]:
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and active_loops and (loop := guarded()) is not None:
            a = loop.random.getrandbits(128)
        real(self, a, version)

    return seed


def _entropy(real: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def entropy(size: int, /) -> bytes:
        if active_loops and (loop := guarded()) is not None:
            caller = sys._getframe(1)
            # `uuid4` asks for its bytes by name when it is called, so this reaches every `from uuid import uuid4`, too.
            if caller.f_globals is uuid.__dict__ and caller.f_code.co_name == "uuid4":
                return loop.random.getrandbits(8 * size).to_bytes(size, "big")
            refuse(f"os.urandom({size})", help="use rng() or uuid4(), which replay alike; make secrets in a step")
        return real(size)

    return entropy


class _SharedRandom(random.Random):
    """The class of the generator behind the functions of `random`.

    All of them draw through `random` or `getrandbits`, and `gauss` keeps its second value in `gauss_next`: with these three
    they draw from the run, also where a function was bound to another name long ago.
    """

    def random(self) -> float:
        if active_loops and (loop := guarded()) is not None:
            return loop.random.random()
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        if active_loops and (loop := guarded()) is not None:
            return loop.random.getrandbits(k)
        return super().getrandbits(k)

    @property
    def gauss_next(self) -> float | None:
        if active_loops and (loop := guarded()) is not None:
            return loop.random.gauss_next  # type: ignore[attr-defined, no-any-return]  # not in typeshed
        return self.__dict__["gauss_next"]  # type: ignore[no-any-return]  # set by `seed` when the object was made

    @gauss_next.setter
    def gauss_next(self, value: float | None) -> None:
        if active_loops and (loop := guarded()) is not None:
            loop.random.gauss_next = value  # type: ignore[attr-defined]  # not in typeshed
        else:
            self.__dict__["gauss_next"] = value

    def __reduce__(self) -> Any:
        return random.Random, (), self.getstate()
