"""`wfkit workflows`: what an app defines."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from wfkit.api.definitions import Workflow, where_defined
from wfkit.cli.apps import load
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.options import Json
from wfkit.cli.output import Column, show_json, show_table
from wfkit.core.durations import display

app = make_app()


@app.command(cls=PlainCommand)
def workflows(
    app: Annotated[
        str,
        typer.Argument(
            metavar="APP",
            help="file.py or package.module. Otherwise `[tool.wfkit] app` in pyproject.toml, or the only file here that "
            "defines workflows.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List the workflows of an app, with their parameters and their place in the code.

    In a pipe: name, parameters, signal that starts it, timeout, file:line.
    """
    found = [workflow for _, workflow in sorted(load(app).workflows.items())]
    if as_json:
        show_json("workflows", {"workflows": [_members(workflow) for workflow in found]})
    else:
        show_table(found, _TABLE)


def parameters(workflow: Workflow[..., Any]) -> str:
    """Return the parameters of a workflow as they are written, without what stands behind names."""
    told = []
    for name, hint, required in workflow.signature.parameters():
        told.append(f"{name}: {hint_text(hint)}" + ("" if required else " = ..."))
    return ", ".join(told)


def hint_text(hint: Any) -> str:
    if hint is Any:
        return "Any"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return inspect.formatannotation(hint, base_module="")


def _where(workflow: Workflow[..., Any]) -> str:
    place = where_defined(workflow.fn)
    file, _, line = place.rpartition(":")
    try:
        return f"{Path(file).relative_to(Path.cwd())}:{line}"
    except ValueError:
        return place


def _members(workflow: Workflow[..., Any]) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "parameters": [
            {"name": name, "type": hint_text(hint), "required": required}
            for name, hint, required in workflow.signature.parameters()
        ],
        "on": workflow.on.name if workflow.on is not None else None,
        "timeout_us": workflow.timeout,
        "patches": list(workflow.patches),
        "where": where_defined(workflow.fn),
    }


_TABLE: list[Column[Workflow[..., Any]]] = [
    Column("WORKFLOW", lambda workflow: workflow.name),
    Column("PARAMETERS", parameters, cut=True),
    Column("ON", lambda workflow: workflow.on.name if workflow.on is not None else "", rank=1),
    Column("TIMEOUT", lambda workflow: "" if workflow.timeout is None else display(workflow.timeout), rank=2),
    Column("WHERE", _where, cut=True),
]
