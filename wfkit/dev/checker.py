"""The process that tries new code on the histories of runs in flight. It loads neither the database nor a server.

What the code prints is dropped: the worker that runs it afterwards prints the same.
"""

from __future__ import annotations

import os

from wfkit.api.registry import Registry
from wfkit.dev.channel import History, Load, Loaded, Problem, Replay, Replayed, begin_child, refusal
from wfkit.engine.apps import load_app
from wfkit.errors import WfkitError
from wfkit.journal.values import RunValues
from wfkit.replay.explain import why_not


def main() -> None:
    """Follow orders until there are no more."""
    supervisor, app = begin_child()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    registry = Registry([])
    while True:
        match supervisor.order():
            case Load():
                try:
                    registry = load_app(app)
                    supervisor.report(Loaded(tuple(sorted(registry.workflows))))
                except WfkitError as error:
                    supervisor.report(refusal(error))
            case Replay(histories=histories):
                found = [_problem(registry, history) for history in histories]
                supervisor.report(Replayed(tuple(problem for problem in found if problem is not None)))
            case _:
                os._exit(0)  # whatever threads the user's code has begun


def _problem(registry: Registry, history: History) -> Problem | None:
    values = RunValues()
    records = [values.decode(bytes(body)) for body in history.bodies]
    try:
        problem = why_not(records, registry.workflow(history.workflow))
    except WfkitError as error:
        problem = error
    return None if problem is None else Problem(history.id, history.workflow, problem.render())


if __name__ == "__main__":
    main()
