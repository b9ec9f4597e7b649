"""`wfkit workflows`: what may be started, on the engine that runs or of an app."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wfkit.cli.apps import load
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act, is_live
from wfkit.cli.facts import Fact, show_facts
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store
from wfkit.cli.output import Column, near_place, on_terminal, show_json, show_table
from wfkit.control.code import workflow_facts
from wfkit.control.messages import ListWorkflows, Parameter, WorkflowFacts
from wfkit.control.shapes import spell, spell_types
from wfkit.core.durations import display

app = make_app()


@app.command(cls=PlainCommand)
def workflows(
    app: Annotated[
        str,
        typer.Argument(
            metavar="APP",
            help="file.py or package.module. Otherwise the engine that runs is asked; without one, the app is read that "
            "pyproject.toml names by `[tool.wfkit] app`, or the only file here that defines workflows.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """List the workflows that an engine runs, or that an app defines, with their parameters and their place in the code.

    Below the table stand the fields of the types that parameters have. In a pipe: name, parameters, signal that starts it,
    timeout, file:line, types. `wfkit code` shows the steps as well, and which runs began on which version of the code.
    """
    found = _found(app, store, engine)
    if as_json:
        show_json("workflows", {"workflows": [_members(workflow) for workflow in found]})
    else:
        show_table(found, _TABLE)
        if on_terminal():
            _show_types(found)


def _show_types(found: Sequence[WorkflowFacts]) -> None:
    known = {one.name: one for workflow in found for one in workflow.types}
    if known:
        print()
        show_facts([Fact(name, spell(one.fields)) for name, one in sorted(known.items())])


def _found(app: str, store: Path, engine: Path | None) -> list[WorkflowFacts]:
    if app and engine is None:
        return workflow_facts(load(app))
    if app:
        raise UsageError("an app or an engine, and not both", "leave out APP, or --engine")
    if engine is not None or is_live(store, engine):
        return act(ListWorkflows(), store, engine).workflows
    return workflow_facts(load())


def _members(workflow: WorkflowFacts) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "parameters": _spelled(workflow.parameters),
        "types": [{"name": one.name, "fields": _spelled(one.fields)} for one in workflow.types],
        "signals": [{"name": one.name, "type": one.type} for one in workflow.signals],
        "on": workflow.on,
        "timeout_us": workflow.timeout_us,
        "patches": workflow.patches,
        "where": workflow.where,
    }


def _spelled(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    return [{"name": one.name, "type": one.type, "required": one.required, "default": one.default} for one in parameters]


_TABLE: list[Column[WorkflowFacts]] = [
    Column("WORKFLOW", lambda workflow: workflow.name),
    Column("PARAMETERS", lambda workflow: spell(workflow.parameters), cut=True),
    Column("ON", lambda workflow: workflow.on or "", rank=1),
    Column("TIMEOUT", lambda workflow: "" if workflow.timeout_us is None else display(workflow.timeout_us), rank=2),
    Column("WHERE", lambda workflow: near_place(workflow.where), cut=True, tail=True),
    Column("TYPES", lambda workflow: spell_types(workflow.types), only="pipe"),
]
