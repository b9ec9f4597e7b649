"""Threads that take turns with the event loop: while one runs, everything else stands still.

So a `def` step runs in a thread of its own, as it would, and can be held up at a call for virtual hours, or for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any

from wfkit.sim.loop import Killed
from wfkit.sim.services import Pause

strand: ContextVar[Strand | None] = ContextVar("wfkit_strand", default=None)
"""The thread that runs just now, if it is one of these."""

having_turns: dict[int, Strand] = {}
"""Which of them runs while a thread with an event loop stands still, by that thread's identifier."""


class Strand:
    """A call in a thread. `resume` lets it run until it is held up, or ends."""

    def __init__(self, call: Callable[[], Any], context: Context) -> None:
        self._context = context
        self._call = call
        self._turn, self._host_turn = threading.Lock(), threading.Lock()
        for turn in (self._turn, self._host_turn):
            turn.acquire()
        self._started = False
        self._doomed = False
        self.pause: Pause | None = None
        """What it waits for; None when it has ended."""
        self.result: Any = None
        self.error: BaseException | None = None
        self.thread = 0
        """Identifier of its thread, once it has begun."""

    @property
    def is_doomed(self) -> bool:
        """Whether its process is dead."""
        return self._doomed

    def resume(self) -> None:
        """Give it its turn. Returns when it is held up or has ended."""
        host = threading.get_ident()
        having_turns[host] = self
        try:
            if self._started:
                _pass(self._turn)
            else:
                self._started = True
                self._context.run(strand.set, self)
                threading.Thread(target=self._context.run, args=(self._run,), name="wfkit-strand", daemon=True).start()
            self._host_turn.acquire()
        finally:  # `bounds` looks there for who computes or waits: of one that has ended it would never see anything
            having_turns.pop(host, None)

    def hold(self, pause: Pause) -> None:
        """Called in the thread: give the turn back until the pause is over.

        Raises:
            Killed: the process is dead, and the thread ends.
        """
        if self._doomed:
            raise Killed
        self.pause = pause
        _pass(self._host_turn)
        self._turn.acquire()
        if self._doomed:
            raise Killed

    def give_up(self) -> None:
        """Take the turn from a thread that does not return, and leave it alone for ever."""
        self.pause, self.error = None, Killed()
        _pass(self._host_turn)

    def bury(self) -> None:
        """End a thread that is held up for ever."""
        self._doomed = True
        self.resume()

    def _run(self) -> None:
        turn = self._host_turn
        try:
            self.thread = threading.get_ident()
            self.result = self._call()
        except BaseException as exc:  # noqa: BLE001  # whatever it is, it is the step's outcome
            self.error = exc
        self.pause = None
        # From the end of the call to here Python calls nothing, so no other `Killed` comes in between: the turn is not lost.
        try:  # noqa: SIM105  # `suppress` is a call
            turn.release()
        except RuntimeError:
            pass  # it was taken from this thread


def _pass(turn: threading.Lock) -> None:
    """Give a turn. Whoever was struck in the middle may have it already."""
    with suppress(RuntimeError):
        turn.release()
