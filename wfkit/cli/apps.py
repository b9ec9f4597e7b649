"""Loads the user's app for a command, whose stdout is for data alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from wfkit.api.registry import Registry
from wfkit.engine.apps import find_app, load_app


def load(app: str = "") -> Registry:
    """Return what an app defines; the one that is meant here, if none is named.

    Raises:
        AppError, DuplicateName: see `engine.apps`.
    """
    with user_output_on_stderr():
        return load_app(app or find_app())


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
