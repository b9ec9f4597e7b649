"""Asks for a command: the engine that runs, or, to read when none does, the journal file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from wfkit.control.address import named_socket
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine, Request
from wfkit.errors import EngineUnreachable

A = TypeVar("A")


def ask(request: Request[A], store: Path, engine: Path | None) -> A:
    """Return the answer to a request that only reads.

    Args:
        request: what is asked.
        store: the journal; the engine beside it is asked, if one runs there and holds it.
        engine: the engine to ask instead, whatever its journal is.

    Raises:
        EngineUnreachable: `engine` does not run, or only an engine can answer.
        WfkitError: why there is no answer.
    """
    if engine is not None or engine_beside(store).is_socket():
        try:
            client = reach(store, engine)
            return client.ask(request)
        except EngineUnreachable:
            if engine is not None:
                raise
    from wfkit.control.files import answer

    return answer(store, request)


def is_live(store: Path, engine: Path | None) -> bool:
    """Whether an engine answers that would be asked."""
    try:
        client = reach(store, engine)
        client.ask(GetEngine())
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
