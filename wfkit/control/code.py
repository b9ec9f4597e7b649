"""What code defines, and which versions of it runs began on."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from wfkit.api.definitions import Step, Workflow, where_defined
from wfkit.api.registry import Registry
from wfkit.api.signals import Signal
from wfkit.control.messages import CodeVersion, Parameter, SignalFacts, StepFacts, TypeFacts, WorkflowFacts
from wfkit.control.shapes import default_of, spell, spell_type, types_in
from wfkit.core.state import RunState


def workflow_facts(registry: Registry) -> list[WorkflowFacts]:
    """Return the workflows of a registry, by name."""
    return [_workflow(workflow, registry) for _, workflow in sorted(registry.workflows.items())]


def step_facts(registry: Registry) -> list[StepFacts]:
    """Return the steps of a registry, by name."""
    return [_step(step) for _, step in sorted(registry.steps.items())]


def versions_of(runs: Iterable[RunState]) -> list[CodeVersion]:
    """Return the unfinished ones of these runs, together with those of the same workflow and source."""
    found: dict[tuple[str, str], list[RunState]] = defaultdict(list)
    for run in runs:
        if not run.finished:
            found[run.workflow, run.code].append(run)
    return [
        CodeVersion(workflow, code, len(runs), [run for run in runs if run.blocked is not None])
        for (workflow, code), runs in sorted(found.items())
    ]


def parameters_of(workflow: Workflow[..., Any]) -> str:
    """Return the parameters of a workflow as they are written, without what stands behind names."""
    return spell(_parameters(workflow))


def types_of(workflow: Workflow[..., Any]) -> list[TypeFacts]:
    """Return the types with named fields that the parameters of a workflow have."""
    return types_in([hint for _, hint, _ in workflow.signature.parameters()])


def _workflow(workflow: Workflow[..., Any], registry: Registry) -> WorkflowFacts:
    return WorkflowFacts(
        name=workflow.name,
        parameters=_parameters(workflow),
        signals=_signals(registry.signals_of(workflow.name)),
        on=workflow.on.name if workflow.on is not None else None,
        timeout_us=workflow.timeout,
        patches=list(workflow.patches),
        where=where_defined(workflow.fn),
        code=workflow.code_hash,
        types=types_of(workflow),
    )


def _step(step: Step[..., Any]) -> StepFacts:
    undoes = step.undoes.name if step.undoes is not None else None
    return StepFacts(step.name, where_defined(step.fn), step.is_async, undoes)


def _signals(named: Mapping[str, Iterable[Signal[Any]]]) -> list[SignalFacts]:
    return [
        SignalFacts(name, " | ".join({spell_type(one.codec.hint): None for one in signals})) for name, signals in named.items()
    ]


def _parameters(workflow: Workflow[..., Any]) -> list[Parameter]:
    defaults = inspect.signature(workflow.fn).parameters
    return [
        Parameter(name, spell_type(hint), required, UNSET if required else default_of(hint, defaults[name].default))
        for name, hint, required in workflow.signature.parameters()
    ]
