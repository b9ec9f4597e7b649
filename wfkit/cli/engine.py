"""Asks for a command: the engine that runs, or, to read when none does, the journal file."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TypeVar

from wfkit.control.address import named_socket
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine, Request
from wfkit.errors import EngineUnreachable, JournalLocked

A = TypeVar("A")

STARTING_SECONDS = 2.0
"""So long after it has taken the journal an engine may need until it answers."""
LOOK_SECONDS = 0.05


def ask(request: Request[A], store: Path, engine: Path | None) -> A:
    """Return the answer to a request that only reads.

    Args:
        request: what is asked.
        store: the journal; the engine beside it is asked, if one runs there and holds it.
        engine: the engine to ask instead, whatever its journal is.

    Raises:
        EngineUnreachable: `engine` does not run, or only an engine can answer.
        JournalLocked: a program holds the journal that does not answer.
        WfkitError: why there is no answer.
    """
    if engine is not None:
        return reach(store, engine).ask(request)
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return _ask(request, store)
        except JournalLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)


def _ask(request: Request[A], store: Path) -> A:
    if engine_beside(store).is_socket():
        with contextlib.suppress(EngineUnreachable):
            return reach(store, None).ask(request)
    from wfkit.control.files import answer

    return answer(store, request)


def is_live(store: Path, engine: Path | None) -> bool:
    """Whether an engine answers that would be asked."""
    try:
        reach(store, engine).ask(GetEngine())
    except EngineUnreachable:
        return False
    return True


def reach(store: Path, engine: Path | None) -> EngineClient:
    """Return a client of the engine that is meant, for requests that change something. Whether it runs shows at the first.

    Raises:
        EngineUnreachable: `engine` does not run.
    """
    if engine is not None:
        return EngineClient(named_socket(engine))
    return EngineClient(engine_beside(store), store)
