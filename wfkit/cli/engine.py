"""Asks for a command: the engine that runs, or, to read when none does, the journal file."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TypeVar

from wfkit.cli.options import with_store
from wfkit.control.address import FOLDER, has_succession, named_socket
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine, Request
from wfkit.errors import EngineClosed, EngineUnreachable, JournalLocked

A = TypeVar("A")

STARTING_SECONDS = 2.0
"""So long after it has taken the journal an engine may need until it answers."""
HAND_OVER_SECONDS = 8.0
"""So long `wfkit dev` may need from one engine to the next: 6 s for the old one to end, and the start of the new one."""
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
        return act(request, store, engine)
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
        try:
            return reach(store, None).ask(request)
        except (EngineUnreachable, EngineClosed) as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
    from wfkit.control.files import answer

    return answer(store, request)


def act(request: Request[A], store: Path, engine: Path | None) -> A:
    """Return the answer of a running engine to a request that may change something.

    If it does not answer, but another one is about to take its place, that one is asked. What was asked may have been done
    by then: a request that must not be done twice says by an id what it is about, see `new_id`.

    Raises:
        EngineUnreachable: none runs, or the one that runs answers no commands.
        WfkitError: why there is no answer.
    """
    failing_since: float | None = None
    while True:
        try:
            return reach(store, engine).ask(request)
        except (EngineUnreachable, EngineClosed) as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
            if failing_since is None:  # not before: an engine that was stuck may have been replaced while it was asked
                failing_since = time.monotonic()
            if time.monotonic() - failing_since > _patience(store, engine):
                if engine is None:
                    _refuse_better(store)
                raise
            time.sleep(LOOK_SECONDS)


def new_id() -> str:
    """Return an id for a run or a fact that has none yet."""
    return secrets.token_hex(10)  # as long as the one that an engine gives a run


def _patience(store: Path, engine: Path | None) -> float:
    """Return for how many seconds an engine that does not answer is asked again."""
    folders = [store.parent] if engine is None else [engine, engine / FOLDER, engine.parent]
    if any(map(has_succession, folders)):
        return HAND_OVER_SECONDS
    return STARTING_SECONDS if engine is None and _holder(store) is not None else 0.0


def _refuse_better(store: Path) -> None:
    """Raise what tells more than that there is no answer: who holds the journal, or that nobody does."""
    held = _holder(store)
    if held is not None:
        raise EngineUnreachable(
            f"{held}, which answers no commands", help="it was opened with control=False, or told why when it started"
        )
    if not engine_beside(store).is_socket():
        raise EngineUnreachable(f"no engine runs on {store}", help=with_store("start one: wfkit serve APP", store))


def _holder(store: Path) -> str | None:
    """Say who holds a journal, if anybody does."""
    from wfkit.journal.lock import lock_for_reading

    try:
        if store.exists():
            lock_for_reading(store).release()
    except JournalLocked as locked:
        return str(locked)
    return None


def is_live(store: Path, engine: Path | None) -> bool:
    """Whether an engine answers that would be asked."""
    try:
        reach(store, engine).ask(GetEngine())
    except EngineUnreachable:
        return False
    return True


def reach(store: Path, engine: Path | None) -> EngineClient:
    """Return a client of the engine that is meant. Whether it runs shows when it is asked.

    Raises:
        EngineUnreachable: `engine` does not run.
    """
    if engine is not None:
        return EngineClient(named_socket(engine))
    return EngineClient(engine_beside(store), store)
