"""`wfkit runs tree`: a run and the runs that it started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, RunName, Store
from wfkit.cli.output import Column, note, now, show_json, show_table
from wfkit.cli.runs.reading import lasted, run_members
from wfkit.cli.statuses import colour, shown, word
from wfkit.control.messages import GetTree, RunTree
from wfkit.core.state import RunState
from wfkit.replay.explain import now_at, spell

app = make_app()


class Node(NamedTuple):
    state: RunState
    depth: int
    lead: str
    """The branches that are drawn before it."""
    children: list[Node]


@app.command(cls=PlainCommand)
def tree(run: RunName, as_json: Json = False, store: Store = DEFAULT_STORE, engine: Engine = None) -> None:
    """Show a run with its children and theirs.

    In a pipe: depth, id, workflow, status, seconds, where it is now.
    """
    top = _node(ask(GetTree(run=run), store, engine), 0, "", "")
    present = now()
    if as_json:
        show_json("tree", {"run": _members(top, present)})
        return
    show_table(list(_flat(top)), _table(present))
    if top.state.parent is not None:
        note(f"it was started by {top.state.parent.id}")


def _node(found: RunTree, depth: int, lead: str, below: str) -> Node:
    nodes = []
    for number, child in enumerate(found.children, 1):
        last = number == len(found.children)
        branch, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
        nodes.append(_node(child, depth + 1, below + branch, below + rest))
    return Node(found.run, depth, lead, nodes)


def _flat(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _flat(child)


def _members(node: Node, present: int) -> dict[str, Any]:
    return run_members(node.state, present) | {"children": [_members(child, present) for child in node.children]}


def _table(present: int) -> list[Column[Node]]:
    return [
        Column("DEPTH", lambda node: str(node.depth), only="pipe"),
        Column("RUN", lambda node: node.lead + node.state.id, lambda node: node.state.id),
        Column("WORKFLOW", lambda node: node.state.workflow, cut=True, rank=2),
        Column(
            "STATUS",
            lambda node: shown(node.state.detail),
            lambda node: word(node.state.detail),
            lambda node: colour(node.state.detail),
        ),
        Column(
            "TIME",
            lambda node: spell(lasted(node.state, present)),
            lambda node: f"{lasted(node.state, present) / 1e6:.3f}",
            right=True,
            rank=1,
        ),
        Column("NOW AT", lambda node: now_at(node.state, present), cut=True),
    ]
