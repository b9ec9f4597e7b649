"""The code of a subject: its workflows and steps, and the modules that they are in."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from wfkit.api.definitions import Step, Workflow
from wfkit.api.registry import Registry
from wfkit.core.names import nested
from wfkit.core.reach import reached
from wfkit.sim.subject import Subject


def registry_of(subject: Subject, old: Workflow[..., Any] | None) -> Registry:
    """Return the code of a subject.

    Args:
        subject: what is simulated.
        old: the version of its workflow that takes the place of the new one, under the same name.
    """
    workflows = (*subject.workflows, *(instance.workflow for instance in subject.runs))
    if old is None:
        return _registry(subject.workflow, *workflows)
    return _registry(_renamed(old, subject.workflow.name), *(each for each in workflows if each.name != subject.workflow.name))


@functools.lru_cache(maxsize=64)
def _registry(*workflows: Workflow[..., Any]) -> Registry:
    """Collect the code once for all schedules: the engine only reads it."""
    return Registry(workflows)


@functools.lru_cache(maxsize=64)
def _renamed(old: Workflow[..., Any], name: str) -> Workflow[..., Any]:
    renamed = Workflow(old.fn, name=name, patches=old.patches, on=old.on)
    renamed.timeout = old.timeout
    return renamed


@functools.lru_cache(maxsize=64)
def steps_of(workflow: Workflow[..., Any]) -> tuple[Step[..., Any], ...]:
    """Return the steps that a workflow's own code can come to, without those of its children."""
    return tuple(each for each in reached(workflow.fn, (Step, Workflow)) if isinstance(each, Step))


@functools.lru_cache(maxsize=256)
def names_any(workflow: Workflow[..., Any], names: frozenset[str]) -> bool:
    """Whether a workflow's own code, steps and children apart, names one of these."""
    functions = (each for each in reached(workflow.fn, (Step, Workflow)) if isinstance(each, FunctionType))
    return any(not names.isdisjoint(code.co_names) for each in functions for code in nested(each.__code__))


def namespaces(*registries: Registry) -> Iterator[dict[str, Any]]:
    """Yield the globals of the modules in which steps and workflows are defined."""
    found: dict[int, dict[str, Any]] = {}
    for registry in registries:
        functions = [each.fn for each in registry.workflows.values()] + [each.fn for each in registry.steps.values()]
        for function in functions:
            globals = getattr(inspect.unwrap(function), "__globals__", {})
            found[id(globals)] = globals
    yield from found.values()
