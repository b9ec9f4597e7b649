"""Which lines of the user's workflows and steps ran in a campaign: of a line that never ran nothing is known.

For as long as a campaign lasts, each of their functions has code that notes each of its statements: it is compiled from the
function's source, with one call more for each statement. That costs less than a hundredth of a schedule, where a trace
function would make it three times as long, and it leaves debuggers and other measurements alone: a statement and its note
are on one line of one file. What a note writes to is a constant of the code, so nothing is added to the user's modules, and
a call that is still under way when the campaign has ended, as another thread's may be, goes on as if nothing had been.
"""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from wfkit.core.names import nested, own_functions
from wfkit.sim.code import registry_of
from wfkit.sim.subject import Subject

SHOWN_MAX = 8
"""Stretches of lines that are named one by one."""
_RAN = "__wfkit_ran__"
"""Stands in compiled notes for what they write to."""


class _Ran(set[int]):
    """The statements that have run. It is a constant of code, so it has to be hashable; two of them are never equal."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # a set has none

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True)
class _Statement:
    path: str
    line: int
    owner: str


class Covered(NamedTuple):
    """How many statements have run."""

    run: int
    total: int
    missing: list[str]
    """Where those are that have not, such as `order.py:88-90, compensation of ship`; of many, the first."""


class Lines:
    """The statements of functions, and which of them have run.

    What an app defines beside the workflows that a subject starts counts once one of its workflows has run.
    """

    def __init__(self, subject: Subject | None = None) -> None:
        self.ran = _Ran()
        self._subject = subject
        self._statements: dict[int, _Statement] = {}

    def add(self, function: _Noting, path: str, owner: str) -> None:
        """Add the statements of a function, but for those that somebody else owns already."""
        for number, line in function.statements:
            self._statements.setdefault(number, _Statement(path, line, owner))

    def covered(self) -> Covered:
        """Return how many statements have run, and which have not."""
        owners = self._owners()
        total = sum(statement.owner in owners for statement in self._statements.values())
        missing = self.missing()
        more = [f"{len(missing) - SHOWN_MAX} more"] if len(missing) > SHOWN_MAX else []
        return Covered(len(self.ran), total, missing[:SHOWN_MAX] + more)

    def missing(self) -> list[str]:
        """Return what never ran, such as `order.py:88-90, compensation of ship`."""
        owners = self._owners()
        stretches: list[list[_Statement]] = []
        before = -1
        for number, statement in self._statements.items():
            if number in self.ran or statement.owner not in owners:
                continue
            follows = number == before + 1 and stretches and stretches[-1][-1].owner == statement.owner
            if follows:
                stretches[-1].append(statement)
            else:
                stretches.append([statement])
            before = number
        return [_span(stretch) for stretch in sorted(stretches, key=lambda stretch: (stretch[0].path, stretch[0].line))]

    def _owners(self) -> set[str]:
        """Return the workflows and steps whose statements count."""
        if self._subject is None:
            return set()
        ran = {self._statements[number].owner for number in self.ran}
        others = [workflow for workflow in self._subject.workflows if f"workflow {workflow.name}" in ran]
        return {owner for owner, _ in _owners(replace(self._subject, workflows=others))} | ran


@contextmanager
def watched(subject: Subject) -> Iterator[Lines]:
    """Note which lines of a subject's workflows and steps run. What has no source at hand is not counted."""
    lines = Lines(subject)
    owners: dict[str, dict[FunctionType, str]] = {}
    for owner, fn in _owners(subject):
        for function in own_functions(fn):
            owners.setdefault(function.__code__.co_filename, {}).setdefault(function, owner)
    noting = {function: code for path, functions in owners.items() for function, code in _noting(path, functions, lines)}
    before = {function: function.__code__ for function in noting}
    for function, code in noting.items():
        function.__code__ = code
    try:
        yield lines
    finally:
        for function, code in before.items():
            function.__code__ = code


def shown_path(path: str) -> str:
    """Return a path as people in the working directory would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _span(stretch: list[_Statement]) -> str:
    first, last = stretch[0], stretch[-1]
    lines = f"{first.line}-{last.line}" if last.line > first.line else f"{first.line}"
    return f"{shown_path(first.path)}:{lines}, {first.owner}"


def _owners(subject: Subject) -> list[tuple[str, Callable[..., Any]]]:
    registry = registry_of(subject, None)
    owners: list[tuple[str, Callable[..., Any]]] = [(f"workflow {name}", each.fn) for name, each in registry.workflows.items()]
    for name, step in registry.steps.items():
        owners.append((f"compensation of {step.undoes.name}" if step.undoes is not None else f"step {name}", step.fn))
    return owners


def _noting(path: str, owners: dict[FunctionType, str], lines: Lines) -> Iterator[tuple[FunctionType, CodeType]]:
    """Yield functions of one file with code that notes their statements.

    The file is compiled as a whole, as it was when it was imported. Where that does not give a function's very code, the
    file was changed since, or something else has rewritten the function: then it is left as it is.
    """
    compiled = _compiled(path, "".join(linecache.getlines(path)))
    for function, owner in owners.items():
        noting = compiled.get((function.__code__.co_firstlineno, function.__code__.co_name))
        if noting is not None and noting.plain == function.__code__:
            lines.add(noting, path, owner)
            yield function, _writing_to(lines.ran, noting.code)


class _Noting(NamedTuple):
    """A function that notes its statements."""

    plain: CodeType
    """Its own code."""
    code: CodeType
    """The same with a note before each statement."""
    statements: tuple[tuple[int, int], ...]
    """What each of them notes, and its line; in order. In one process no two statements have the same number."""


_numbers = itertools.count()


@functools.lru_cache(maxsize=64)
def _compiled(path: str, text: str) -> dict[tuple[int, str], _Noting]:
    """Return the functions of a file by their first lines and names; none if it is no Python."""
    try:
        tree = ast.parse(text)
        plain = _codes(tree, path)
    except SyntaxError:
        return {}
    definitions = {_place(node): node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    statements = {place: _statements(definition) for place, definition in definitions.items()}
    numbers: dict[int, int] = {}
    for each in statements.values():
        for statement in each:
            if id(statement) not in numbers:
                numbers[id(statement)] = next(_numbers)
    for block in list(_blocks(tree)):
        block[:] = [each for statement in block for each in _with_note(statement, numbers)]
    return {
        place: _Noting(plain[place], code, tuple((numbers[id(each)], each.lineno) for each in statements[place]))
        for place, code in _codes(tree, path).items()
        if place in definitions
    }


def _codes(tree: ast.Module, path: str) -> dict[tuple[int, str], CodeType]:
    made = compile(tree, path, "exec", dont_inherit=True)
    return {(code.co_firstlineno, code.co_name): code for code in nested(made)}


def _place(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, str]:
    """Return the first line, with decorators, and the name of a definition, as its code has them."""
    return min([definition.lineno, *(each.lineno for each in definition.decorator_list)]), definition.name


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements in a tree, at any depth."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def _statements(definition: ast.AST) -> list[ast.stmt]:
    """Return the statements of a function by line; docstrings and declarations of names do nothing."""
    found = [statement for block in _blocks(definition) for statement in block if not _is_idle(statement)]
    return sorted(found, key=lambda statement: (statement.lineno, statement.col_offset))


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    return isinstance(statement, ast.Global | ast.Nonlocal)


def _with_note(statement: ast.stmt, numbers: dict[int, int]) -> list[ast.stmt]:
    number = numbers.get(id(statement))
    if number is None:
        return [statement]
    note = ast.Expr(ast.Call(ast.Attribute(ast.Constant(_RAN), "add", ast.Load()), [ast.Constant(number)], []))
    for node in ast.walk(note):
        ast.copy_location(node, statement)
    return [note, statement]


def _writing_to(ran: _Ran, code: CodeType) -> CodeType:
    """Return code whose notes, and those of the functions in it, write there."""

    def settled(constant: Any) -> Any:
        if isinstance(constant, CodeType):
            return _writing_to(ran, constant)
        return ran if isinstance(constant, str) and constant == _RAN else constant

    return code.replace(co_consts=tuple(map(settled, code.co_consts)))
