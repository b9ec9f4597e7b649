"""Functions in the place of others, so that nobody outside of workflow code can tell."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from wfkit.core.loop import active_loops, running

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a function of the one whose place it takes. That is still called where the guard is lifted."""

_MARK = "__wfkit_guard__"


def shadow(module: ModuleType, name: str, make: Make) -> None:
    """Let workflow code find another function in a module, while everybody else finds what is there.

    The module gets a class with a property of that name, and its namespace stays as it is. A function of ours in there would
    not pickle as a builtin one does, would bind itself to instances of a class that holds it, and would crash the tools that
    travel in time by changing builtin functions in memory.
    """
    cls = type(module)
    if not hasattr(cls, _MARK):
        cls = module.__class__ = type(cls.__name__, (cls,), {_MARK: True})
    if name not in vars(cls):
        setattr(cls, name, _in_workflows(vars(module), name, make))


def _in_workflows(namespace: dict[str, Any], name: str, make: Make) -> property:
    @functools.wraps(namespace[name])
    def real(*args: Any, **kwargs: Any) -> Any:
        return namespace[name](*args, **kwargs)

    stand_in = functools.wraps(real)(make(real))

    def read(_module: ModuleType) -> Any:
        if active_loops and running() is not None:
            return stand_in
        try:
            return namespace[name]
        except KeyError:
            raise AttributeError(name) from None

    def write(_module: ModuleType, function: object) -> None:
        namespace[name] = function

    def delete(_module: ModuleType) -> None:
        del namespace[name]

    return property(read, write, delete)


def replace(owner: Any, name: str, make: Make) -> None:
    """Replace a method of a class, or a private function of a module, by what `make` makes of it.

    Done before, it is not done again. The mark is on the function and not here: a test may have patched it meanwhile, and
    put the original back.
    """
    real = getattr(owner, name)
    if not hasattr(real, _MARK):
        made = functools.wraps(real)(make(real))
        setattr(made, _MARK, True)
        setattr(owner, name, made)
