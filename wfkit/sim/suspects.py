"""What of some code answers otherwise in every process: told where a value has been seen to be another one there."""

from __future__ import annotations

import dis
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from wfkit.api.definitions import Step, Workflow
from wfkit.core.names import nested
from wfkit.core.reach import reached

_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{4,}")
_WORD = re.compile(r"\w+")
_TEXT_MIN = 4
"""A global is told as the cause if its text is so long: shorter ones are in many texts."""
_SETS = frozenset({"set", "frozenset", "union", "intersection", "difference", "symmetric_difference"})
_BUILT = frozenset({"BUILD_SET", "SET_ADD", "SET_UPDATE"})


class Suspect(NamedTuple):
    why: str
    fix: str
    is_seen: bool = False
    """It is seen in the text, and not only in the code."""


_NAMES = {
    "getpid": Suspect("it uses os.getpid(), the number of the process", "use what is recorded: the run's id, or an argument"),
    "hash": Suspect("it uses hash(), which for text is another number in every process", "use hashlib, or the text itself"),
    "id": Suspect("it uses id(), an address in the memory of the process", "use an id that is part of the data"),
}
ORDER = Suspect(
    "the order of a set, or of objects by their address, is another one in every process",
    "iterate over sorted(...), or over a list or dict, which keep their order",
)
_REPR = Suspect(
    "the text of an object shows its address in the memory of the process",
    "give its class a __repr__ of its data, or write what of it is meant",
    is_seen=True,
)


def suspect(fn: Callable[..., Any], here: str, *others: str, reordered: bool = False) -> Suspect | None:
    """Return what of a function's code makes a text another one in another process; None if nothing in it looks like that.

    Args:
        fn: what made the text.
        here: the text as this process made it.
        others: as others made it.
        reordered: whether what differs is the order of what was made.
    """
    if _ADDRESS.search(here):
        return _REPR
    functions = [each for each in reached(fn, (Step, Workflow)) if isinstance(each, FunctionType)]
    made = next((name for function in functions for name in _made_at_import(function, here, others)), None)
    if made is not None:
        why = f"{made} is made anew in every process, when its module is loaded"
        return Suspect(why, "let a step make it, or pass it on as an argument", is_seen=True)
    codes = [code for function in functions for code in nested(function.__code__)]
    has_sets = any(map(_uses_sets, codes))
    if has_sets and (reordered or any(is_reordered(here, other) for other in others)):
        return ORDER._replace(is_seen=True)
    named = next((_NAMES[name] for code in codes for name in code.co_names if name in _NAMES), None)
    return named or (ORDER if has_sets else None)


def is_reordered(one: str, other: str) -> bool:
    """Whether two texts are made of the same words in another order."""
    words, others = _WORD.findall(one), _WORD.findall(other)
    return words != others and sorted(words) == sorted(others)


def _made_at_import(function: FunctionType, here: str, others: tuple[str, ...]) -> Iterator[str]:
    """Yield the globals that a function names whose values are in the text of this process alone."""
    for name in dict.fromkeys(name for code in nested(function.__code__) for name in code.co_names):
        value = function.__globals__.get(name)
        text = str(value) if type(value) in (str, int, float) else ""
        if len(text) >= _TEXT_MIN and text in here and not any(text in other for other in others):
            yield name


def _uses_sets(code: CodeType) -> bool:
    """Whether code makes sets. One that is only looked up, as in `x in {1, 2}`, has no order."""
    instructions = list(dis.get_instructions(code))
    constants = (one for one, then in pairwise(instructions) if then.opname != "CONTAINS_OP" and one.opname == "LOAD_CONST")
    return (
        not _SETS.isdisjoint(code.co_names)
        or any(each.opname in _BUILT for each in instructions)
        or any(isinstance(each.argval, frozenset) for each in constants)
    )
