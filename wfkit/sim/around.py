"""What steps change of the workflow around them: a replay takes their results from the journal, and executes nothing."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any

from wfkit.core.names import nested, own_functions
from wfkit.sim.cause import Cause
from wfkit.sim.disagreements import CHANGING
from wfkit.sim.recording import Recording
from wfkit.sim.story import place

_METHODS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


def changed_around(recording: Recording[Any], workflow: Callable[..., Any]) -> Cause | None:
    """Return what it means that a step changes a variable of the workflow that it is written within; None if none does.

    Args:
        recording: the schedule.
        workflow: the function of the workflow.
    """
    within = {_place(code): function for function in own_functions(workflow) for code in nested(function.__code__)}
    for step in recording.steps.values():
        code: CodeType | None = getattr(step.fn, "__code__", None)
        function = within.get(_place(code)) if code is not None else None
        if code is None or function is None:
            continue
        for variable, line in _changes(code):
            return Cause(
                f"{step.name}() changes {variable} of {function.__name__}, at {place(line)}: "
                "a replay takes the step's result from the journal, and does not execute it",
                "let the step return what it has found out, and keep that in the workflow",
            )
    return None


def _place(code: CodeType) -> tuple[str, int, str]:
    """Return where code is written: it is another object while its lines are counted."""
    return code.co_filename, code.co_firstlineno, code.co_name


def _changes(code: CodeType) -> Iterator[tuple[str, str]]:
    """Yield the variables of functions around it that code binds, or puts something into; with the line."""
    for inner in nested(code):
        instructions = list(dis.get_instructions(inner))
        for index, each in enumerate(instructions):
            if each.opname not in ("LOAD_DEREF", "STORE_DEREF") or each.argval not in code.co_freevars:
                continue
            following = instructions[index + 1 :]
            calls = following[0].opname in _METHODS and following[0].argval in CHANGING
            if each.opname == "STORE_DEREF" or calls or _is_put_into(following):
                line = each.positions.lineno if each.positions is not None else inner.co_firstlineno
                yield each.argval, f"{inner.co_filename}:{line}"


def _is_put_into(following: Sequence[dis.Instruction]) -> bool:
    """Whether what was just loaded is the container of an assignment or a `del` by key, and no part of the key or the value."""
    depth = 1
    for each in following:
        if each.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            return depth == 2
        depth += dis.stack_effect(each.opcode, each.arg, jump=False)
        if depth < 1:
            return False
    return False
