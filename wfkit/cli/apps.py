"""Loads the user's app for a command, whose stdout is for data alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.cli.failures import UsageError
from wfkit.engine.apps import find_app, load_app

NAMED_MAX = 5
"""So many workflows of an app are named where one of them is to be chosen."""


def load(app: str = "") -> Registry:
    """Return what an app defines; the one that is meant here, if none is named.

    Raises:
        AppError, DuplicateName: see `engine.apps`.
    """
    with user_output_on_stderr():
        return load_app(app or find_app())


def load_workflow(target: str) -> tuple[Registry, Workflow[..., Any]]:
    """Return what an app defines, and the workflow that `APP:WORKFLOW` names.

    Raises:
        AppError, DuplicateName: see `engine.apps`.
        UnknownWorkflow: the app has no such workflow.
        UsageError: an app is named without a workflow.
    """
    app, colon, name = target.rpartition(":")
    if colon and app and name:
        registry = load(app)
        return registry, registry.workflow(name)
    help = "write APP:WORKFLOW, such as app.py:order"
    app = target.strip(":")
    if Path(app).is_file():
        names = [f"{app}:{one}" for one in sorted(load(app).workflows)]
        help = f"write {', '.join(names[:NAMED_MAX])}{', ...' if len(names) > NAMED_MAX else ''}"
    raise UsageError(f"{target!r} does not name a workflow of an app", help)


@contextlib.contextmanager
def user_output_on_stderr() -> Iterator[None]:
    """Send to stderr what the user's code prints, and what processes print that it starts."""
    sys.stdout.flush()
    try:
        stdout = os.dup(1)
    except OSError:  # it is closed, so nothing can get into it
        yield
        return
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
