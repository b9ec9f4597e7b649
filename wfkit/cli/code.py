"""`wfkit code`: what an engine runs, and on which versions of the code its runs began."""

from __future__ import annotations

from typing import Any, NamedTuple

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Store
from wfkit.cli.output import Column, near_place, note, show_json, show_table
from wfkit.control.messages import CodeFacts, GetCode

app = make_app()


class Row(NamedTuple):
    """A version of a workflow's source; or a step."""

    kind: str
    name: str
    version: str
    runs: int
    blocked: int
    where: str


@app.command(cls=PlainCommand)
def code(as_json: Json = False, store: Store = DEFAULT_STORE, engine: Engine = None) -> None:
    """Show what code an engine runs, and how many unfinished runs began on which version of a workflow.

    Without an engine only the runs' versions are known. `wfkit workflows` shows what can be started. In a pipe: kind, name,
    version (a hash of the source, empty for a step), unfinished runs, blocked runs, file:line.
    """
    found = ask(GetCode(), store, engine)
    if as_json:
        show_json("code", _members(found))
        return
    show_table(rows_of(found), TABLE)
    for version in found.versions:
        for run in version.blocked:
            if run.blocked is not None:
                cause = run.blocked.cause.message.split("\n")[0]
                note(f"blocked: {run.id} [{run.blocked.code}] {cause}")


def rows_of(found: CodeFacts) -> list[Row]:
    rows = []
    versions = {(version.workflow, version.code): version for version in found.versions}
    for workflow in found.workflows:
        now = versions.pop((workflow.name, workflow.code), None)
        runs, blocked = (now.runs, len(now.blocked)) if now is not None else (0, 0)
        rows.append(Row("workflow", workflow.name, workflow.code, runs, blocked, workflow.where))
    label = "older code" if found.workflows else "workflow"
    rows += [
        Row(label, version.workflow, version.code, version.runs, len(version.blocked), "") for version in versions.values()
    ]
    rows.sort(key=lambda row: (row.name, row.kind != "workflow"))
    return rows + [Row("step", step.name, "", 0, 0, step.where) for step in found.steps]


def _members(found: CodeFacts) -> dict[str, Any]:
    return {
        "app": found.app,
        "workflows": [{"name": one.name, "code": one.code, "where": one.where} for one in found.workflows],
        "steps": [{"name": one.name, "where": one.where, "undoes": one.undoes} for one in found.steps],
        "versions": [
            {"workflow": one.workflow, "code": one.code, "runs": one.runs, "blocked": [run.id for run in one.blocked]}
            for one in found.versions
        ],
    }


TABLE: list[Column[Row]] = [
    Column("WHAT", lambda row: row.kind),
    Column("NAME", lambda row: row.name),
    Column("VERSION", lambda row: row.version, rank=1),
    Column("RUNS", lambda row: str(row.runs or ""), lambda row: str(row.runs), right=True),
    Column("BLOCKED", lambda row: str(row.blocked or ""), lambda row: str(row.blocked), right=True),
    Column("WHERE", lambda row: near_place(row.where), cut=True, tail=True, rank=2),
]
