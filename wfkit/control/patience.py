"""How long an engine that does not answer is asked again.

`wfkit dev` replaces one engine by the next, and an engine that has just opened its journal needs a moment until it answers.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from wfkit.control.address import has_succession
from wfkit.errors import EngineUnreachable, JournalLocked, WfkitError

STARTING_SECONDS = 2.0
"""So long after it has taken the journal an engine may need until it answers."""
HAND_OVER_SECONDS = 8.0
"""So long `wfkit dev` may need from one engine to the next: 6 s for the old one to end, and the start of the new one."""
LOOK_SECONDS = 0.05
"""How long whoever asks again waits before."""


class Patience:
    """Says after each failure whether to ask again.

    Args:
        folders: where it is told that another engine follows.
        store: the journal, if the engine is meant that holds it.
    """

    def __init__(self, folders: Sequence[Path], store: Path | None) -> None:
        self._folders = folders
        self._store = store
        self._failing_since: float | None = None

    def lasts(self, error: WfkitError, *, repeatable: bool = True) -> bool:
        """Whether to ask again.

        Args:
            error: an `EngineUnreachable` or `EngineClosed`; or a `JournalLocked`, where a file was to be read.
            repeatable: that the request is done once however often it comes: it only reads, or says by an id what it is about.
        """
        if isinstance(error.__cause__, TimeoutError) or not (repeatable or _was_not_delivered(error)):
            return False
        if self._failing_since is None:  # not before: an engine that was stuck may have been replaced while it was asked
            self._failing_since = time.monotonic()
        return time.monotonic() - self._failing_since < self._seconds(error)

    def _seconds(self, error: WfkitError) -> float:
        if any(map(has_succession, self._folders)):
            return HAND_OVER_SECONDS
        if isinstance(error, JournalLocked) or (self._store is not None and holder(self._store) is not None):
            return STARTING_SECONDS
        return 0.0


def _was_not_delivered(error: WfkitError) -> bool:
    """Whether an engine that did not answer cannot have done what it was asked either."""
    if not isinstance(error, EngineUnreachable):
        return True
    return error.__cause__ is None or isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)


def holder(store: Path) -> str | None:
    """Say who holds a journal, if anybody does."""
    from wfkit.journal.lock import lock_for_reading

    try:
        if store.exists():
            lock_for_reading(store).release()
    except JournalLocked as locked:
        return str(locked)
    return None


def new_id() -> str:
    """Return an id for a run or a fact that has none yet, so that a request can be repeated."""
    return secrets.token_hex(10)  # as long as the one that an engine gives a run
