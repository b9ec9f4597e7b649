"""Which lines of the user's workflows and steps ran in a campaign: a line that never ran is one of which nothing is known."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import CodeType, FrameType, FunctionType
from typing import Any

from wfkit.core.names import nested, own_functions
from wfkit.sim.simulation import registry_of
from wfkit.sim.subject import Subject

SHOWN_MAX = 8
"""Stretches of lines that are named one by one."""


class Lines:
    """The lines of functions, and which of them have run."""

    def __init__(self, functions: list[tuple[str, FunctionType]]) -> None:
        self._of: dict[CodeType, set[int]] = {}
        self._owner: dict[CodeType, str] = {}
        for owner, function in functions:
            for code in nested(function.__code__):
                self._of.setdefault(code, _lines_of(code))
                self._owner.setdefault(code, owner)
        self._left = {code: set(lines) for code, lines in self._of.items()}

    def coverage(self) -> dict[str, Any]:
        """Return the keys of a campaign's coverage that are about lines."""
        total = sum(map(len, self._of.values()))
        missing = self.missing()
        more = [f"{len(missing) - SHOWN_MAX} more"] if len(missing) > SHOWN_MAX else []
        return {
            "lines_run": total - sum(map(len, self._left.values())),
            "lines_total": total,
            "lines_missing": missing[:SHOWN_MAX] + more,
        }

    def missing(self) -> list[str]:
        """Return what never ran, such as `order.py:88-90, compensation of ship`."""
        told = []
        for code, left in self._left.items():
            for first, last in _stretches(sorted(left), sorted(self._of[code])):
                span = f"{first}-{last}" if last > first else f"{first}"
                told.append(f"{shown_path(code.co_filename)}:{span}, {self._owner[code]}")
        return told

    def ran(self, code: CodeType, line: int) -> None:
        self._left[code].discard(line)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what runs in the block. Before Python 3.12 it then runs three times as long, so not every schedule should."""
        if sys.version_info >= (3, 12) or not any(self._left.values()):
            yield
        else:
            with _traced(self):
                yield


@contextmanager
def watched(subject: Subject) -> Iterator[Lines]:
    """Note which lines of a subject's workflows and steps run; before Python 3.12 only in blocks of `noted`."""
    lines = Lines(_functions_of(subject))
    with _monitored(lines) if sys.version_info >= (3, 12) else nullcontext():
        yield lines


def shown_path(path: str) -> str:
    """Return a path as people in the working directory would write it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


@contextmanager
def _traced(lines: Lines) -> Iterator[None]:
    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            lines.ran(frame.f_code, frame.f_lineno)
        return local

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code in lines._left else None

    before = sys.gettrace()
    if before is not None:  # a debugger, or another measurement: it was there first
        yield
        return
    sys.settrace(enter)
    threading.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]  # as documented


@contextmanager
def _monitored(lines: Lines) -> Iterator[None]:
    monitoring: Any = sys.monitoring
    tool = next((id for id in range(6) if monitoring.get_tool(id) is None), None)
    if tool is None:
        yield
        return

    def ran(code: CodeType, line: int) -> Any:
        lines.ran(code, line)
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "wfkit")
    monitoring.register_callback(tool, monitoring.events.LINE, ran)
    for code in lines._left:
        monitoring.set_local_events(tool, code, monitoring.events.LINE)
    try:
        yield
    finally:
        for code in lines._left:
            monitoring.set_local_events(tool, code, 0)
        monitoring.free_tool_id(tool)


def _functions_of(subject: Subject) -> list[tuple[str, FunctionType]]:
    registry = registry_of(subject, None)
    undoes = {undo.name: step.name for step in registry.steps.values() for undo in [getattr(step, "undo", None)] if undo}
    owners: list[tuple[str, Callable[..., Any]]] = [(f"workflow {name}", each.fn) for name, each in registry.workflows.items()]
    for name, step in registry.steps.items():
        owners.append((f"compensation of {undoes[name]}" if name in undoes else f"step {name}", step.fn))
    return [(owner, function) for owner, fn in owners for function in own_functions(fn)]


def _lines_of(code: CodeType) -> set[int]:
    """Return the lines of code but for that of its head, on which nothing of it runs."""
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return lines - {code.co_firstlineno} or lines


def _stretches(left: list[int], all: list[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last line of what is left, with nothing between that ran."""
    ran = set(all) - set(left)
    while left:
        first = last = left.pop(0)
        while left and not any(line in ran for line in range(last + 1, left[0])):
            last = left.pop(0)
        yield first, last
