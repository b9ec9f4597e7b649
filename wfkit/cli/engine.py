"""Asks for a command: the engine that runs, or, to read when none does, the journal file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wfkit.cli.options import with_store
from wfkit.cli.output import keep_time_of, note, with_near_paths
from wfkit.control.address import named_socket
from wfkit.control.client import REPLACED, SECONDS_MAX, EngineClient, engine_beside
from wfkit.control.messages import AwaitEnd, BackUp, GetEngine, Request, Sql
from wfkit.control.patience import LOOK_SECONDS, Patience, holder
from wfkit.errors import EngineClosed, EngineUnreachable, JournalLocked
from wfkit.journal.folder import FOLDER

A = TypeVar("A")


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
    patience = Patience([store.parent], store)
    while True:
        try:
            return _ask(request, store)
        except JournalLocked as error:
            if not patience.lasts(error):
                raise
            time.sleep(LOOK_SECONDS)


def _ask(request: Request[A], store: Path) -> A:
    if engine_beside(store).is_socket():
        try:
            return _answer(request, store, None)
        except (EngineUnreachable, EngineClosed) as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
    from wfkit.control.files import answer

    return answer(store, request)


def act(request: Request[A], store: Path, engine: Path | None) -> A:
    """Return the answer of a running engine to a request that may change something.

    If it does not answer, but another one is about to take its place, that one is asked. What was asked may have been done
    by then: a request that must not be done twice says by an id what it is about, see `patience.new_id`.

    Raises:
        EngineUnreachable: none runs, or the one that runs answers no commands.
        WfkitError: why there is no answer.
    """
    patience = Patience([store.parent], store) if engine is None else Patience([engine, engine / FOLDER, engine.parent], None)
    while True:
        try:
            return _answer(request, store, engine)
        except (EngineUnreachable, EngineClosed) as error:
            if not patience.lasts(error):
                if engine is None and not isinstance(error.__cause__, TimeoutError):
                    _refuse_better(store)
                raise
            time.sleep(LOOK_SECONDS)


def _answer(request: Request[A], store: Path, engine: Path | None) -> A:
    client = reach(store, engine, silent=_Silence(request))
    answer = client.ask(request)
    keep_time_of(client.ahead)
    return answer


class _Silence:
    """Tells on stderr, once in a command, why it has to wait."""

    told = False

    def __init__(self, request: Request[Any]) -> None:
        self._takes_long = isinstance(request, AwaitEnd | BackUp | Sql)

    def __call__(self, why: str) -> None:
        if _Silence.told or (self._takes_long and not why):
            return
        _Silence.told = True
        told = f"the engine does not answer: {with_near_paths(why)}" if why else "the engine does not answer"
        note(f"{told}; waiting up to {SECONDS_MAX:g} s" + (f"\n  help  {REPLACED}" if why else ""))


def _refuse_better(store: Path) -> None:
    """Raise what tells more than that there is no answer: who holds the journal, or that nobody does."""
    held = holder(store)
    if held is not None:
        raise EngineUnreachable(
            f"{held}, which answers no commands", help="it was opened with control=False, or told why when it started"
        )
    if not engine_beside(store).is_socket():
        raise EngineUnreachable(f"no engine runs on {store}", help=with_store("start one: wfkit serve APP", store))


def is_live(store: Path, engine: Path | None) -> bool:
    """Whether an engine answers that would be asked."""
    try:
        _answer(GetEngine(), store, engine)
    except EngineUnreachable:
        return False
    return True


def reach(store: Path, engine: Path | None, silent: Callable[[str], None] | None = None) -> EngineClient:
    """Return a client of the engine that is meant. Whether it runs shows when it is asked.

    Raises:
        EngineUnreachable: `engine` does not run.
    """
    if engine is not None:
        return EngineClient(named_socket(engine), silent=silent)
    return EngineClient(engine_beside(store), store, silent)
