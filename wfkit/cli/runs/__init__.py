"""`wfkit runs`: what ran. Each question is a command of its own; without one, the runs are listed."""

from __future__ import annotations

from typing import ClassVar

from wfkit.cli.commands import LazyGroup, make_app


class Questions(LazyGroup):
    modules: ClassVar[dict[str, tuple[str, str]]] = {
        "ls": ("wfkit.cli.runs.ls", "List runs, those that started last first."),
        "get": ("wfkit.cli.runs.get", "Show one run: its status, input, state, result or error."),
        "why": ("wfkit.cli.runs.why", "Say why a run does not go on."),
        "history": ("wfkit.cli.runs.history", "Show what happened in a run."),
        "tree": ("wfkit.cli.runs.tree", "Show a run with its children and theirs."),
        "result": ("wfkit.cli.runs.result", "Print what a run returned, as JSON."),
        "state": ("wfkit.cli.runs.state", "Show what a run has told of itself."),
        "logs": ("wfkit.cli.runs.logs", "Show what a run and its steps logged."),
        "cancel": ("wfkit.cli.runs.cancel", "Ask runs to stop, with their cleanup."),
        "terminate": ("wfkit.cli.runs.terminate", "Stop runs at once, without cleanup."),
        "export": ("wfkit.cli.runs.export", "Write the history of a run as JSON lines."),
    }
    default: ClassVar[str | None] = "ls"
    elsewhere: ClassVar[dict[str, str]] = {
        "list": "ls",
        "ps": "ls",
        "show": "get",
        "describe": "get",
        "inspect": "get",
        "status": "get",
        "records": "history",
        "events": "history",
        "timeline": "history",
        "output": "result",
        "stop": "cancel",
        "kill": "terminate",
    }


app = make_app(cls=Questions, subcommand_metavar="[ls] [FILTER]... | COMMAND ID")


@app.callback()
def runs() -> None:
    """See what ran: list runs, ask about one, stop some.

    Without a command the runs are listed: `wfkit runs status:failed` is `wfkit runs ls status:failed`. ID is a run's id,
    the beginning of it, @last (started last, children left out) or @failed (failed last).
    """
