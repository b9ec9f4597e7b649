"""Writes a schedule as a line of a test that executes it again: `simulate(order, "o-1", world=World, faults="crash@...")`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from msgspec import Struct

from wfkit.sim.faults import Fault
from wfkit.sim.subject import START, Declaration, Subject

_DECLARED = {"outcome": ("fault", "value"), "extra": ("fault", "reason"), "ignores": ("reason",), "residue": ("reason",)}
"""The keywords of each declaration."""


def as_a_test(subject: Subject, faults: Sequence[Fault], seed: int, *, own_input: bool) -> str:
    """Return the line. Where a name cannot be written there, `...` stands for all that `verify` was given.

    Args:
        subject: what is simulated.
        faults: at least one, with the deliveries that the schedule does without.
        seed: where chance comes from.
        own_input: whether its input is another one than that of `verify`, so that it has to be written.
    """
    schedule = [str(fault) for fault in faults]
    written = repr(schedule[0] if len(schedule) == 1 else schedule).replace("'", '"')
    options = _options(subject)
    input = [literal(value) for value in subject.args] if options is not None or own_input else []
    seeds = [f"seed={seed}"] if seed else []
    given = [subject.workflow.fn.__name__, *input, *(["..."] if options is None else options), f"faults={written}", *seeds]
    left_out = "  # ...: what else verify is given" if options is None else ""
    return f"simulate({', '.join(given)}).assert_ok(){left_out}"


def _options(subject: Subject) -> list[str] | None:
    """Return the code of a subject's options, as a test of the same module may hold it; None if one has none."""
    if subject.resources or subject.runs or subject.upgrade_from is not None or subject.start != START or callable(subject.id):
        return None
    single: Mapping[str, Callable[..., Any] | None] = {"world": subject.world, "script": subject.script}
    several = {"invariants": subject.invariants, "workflows": [workflow.fn for workflow in subject.workflows]}
    options = [f"{option}={_name(value)}" for option, value in single.items() if value is not None]
    options += [f"{option}=[{', '.join(map(_name, values))}]" for option, values in several.items() if values]
    if any("<" in written for written in (*options, *map(literal, subject.args))):
        return None
    if subject.expect:
        options.append(f"expect=[{', '.join(map(_declared, subject.expect))}]")
    if subject.until is not None:
        options.append(f"until={subject.until / 1e6:g}")
    if subject.id is not None:
        options.append(f"id={subject.id!r}")
    if subject.io != "refuse":
        options.append(f"io={subject.io!r}")
    return options


def _name(thing: Any) -> str:
    """Return by which name of its module a function or class is reached; with a `<` if by none."""
    return "<made>" if hasattr(thing, "__wrapped__") else str(getattr(thing, "__qualname__", "<none>"))


def _declared(each: Declaration) -> str:
    name = [repr(each.name)] if each.name else []
    return f"{each.what}({', '.join([*name, *(f'{key}={literal(getattr(each, key))}' for key in _DECLARED[each.what])])})"


def literal(value: object) -> str:
    """Return the code of a value, as a test may hold it."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    fields = getattr(value, "__match_args__", None) if isinstance(value, Struct) or is_dataclass(value) else None
    if fields:
        return f"{type(value).__name__}({', '.join(f'{name}={literal(getattr(value, name))}' for name in fields)})"
    return repr(value)
