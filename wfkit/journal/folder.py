"""The folder that journal, socket, reports and failures are in."""

from __future__ import annotations

import contextlib
from pathlib import Path

FOLDER = ".wfkit"
"""A folder of this name is wfkit's own."""
_IGNORED = """\
# Made by wfkit. Each file in failures is a test, and may be committed.
/*
!/failures/
"""


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it. If wfkit's own is among them, version control is told to ignore most of it.

    Raises:
        OSError: it cannot be made.
    """
    own = next((one for one in (folder, *folder.parents) if one.name == FOLDER), None)
    is_new = own is not None and not own.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if own is not None and is_new:
        with contextlib.suppress(OSError):  # a service, and may fail
            (own / ".gitignore").write_text(_IGNORED, encoding="utf-8")
