"""Where the guard acts: in the code of a run, except in what it only passes through."""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType

from wfkit.core import loop as core_loop
from wfkit.core.loop import Evicted, RunLoop, is_internal, location, running
from wfkit.errors import DeterminismViolation

IMPORTS = frozenset({"importlib"})
"""The package whose frames mean that a module is being loaded."""

PASSED_THROUGH = IMPORTS | {"bdb", "linecache", "logging", "pdb", "traceback", "zoneinfo"}
"""Packages that read files and settings for correct code, without a trace in what the code decides. Warnings read source
lines through `linecache`; a frame of `warnings` itself may be that of `@deprecated`, with any code below it."""

_LIBRARIES = ("/site-packages/", "/dist-packages/")
_STANDARD_LIBRARY = (os.__file__.removesuffix("os.py"), "<frozen ")


def guarded(lifted_in: frozenset[str] = PASSED_THROUGH) -> RunLoop | None:
    """Return the loop of the run whose code runs just now; None outside of workflow code and where the guard is lifted.

    Args:
        lifted_in: top-level packages, whose frames lift it for everything that they call.
    """
    loop = running()
    if loop is None or loop.unsafe:
        return None
    frame: FrameType | None = sys._getframe(1)
    # Only frames of this activation count. Below them lies the host, which may well be a module that is being imported.
    while frame is not None and frame.f_globals is not core_loop.__dict__:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in lifted_in:
            return None
        frame = frame.f_back
    return loop


def refuse(called: str, help: str) -> None:
    """Raise that `called` cannot be replayed, if this is workflow code; otherwise do nothing.

    Raises:
        DeterminismViolation: what was called, through which library function, and the user's line.
        Evicted: the run leaves memory, and its code is closed.
    """
    loop = guarded()
    if loop is None:
        return
    if loop.closing:
        raise Evicted
    caller, through = _caller()
    if through is not None:
        called = f"{called} through {through.f_globals.get('__name__')}.{through.f_code.co_qualname}()"
    line = f", at {location(caller)}" if caller is not None else ""
    loop.refuse(DeterminismViolation(f"{called} in workflow code cannot be replayed{line}", help=help))


def _caller() -> tuple[FrameType | None, FrameType | None]:
    """Return the innermost frame of the user's code, and the library function that it called, if any."""
    frame: FrameType | None = sys._getframe(1)
    library = None
    while frame is not None and frame.f_globals is not core_loop.__dict__:
        if not is_internal(frame.f_code):
            if not _of_library(frame.f_code):
                return frame, library
            library = frame
        frame = frame.f_back
    return library, None  # the workflow itself is installed like a library


def _of_library(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith(_STANDARD_LIBRARY) or any(folder in name for folder in _LIBRARIES)
