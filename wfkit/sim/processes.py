"""Processes that execute schedules beside the one that searches.

They are forked from it, so they have all that it has in memory: workflows of a function, worlds, lambdas. They say nothing,
write nothing, and end with it, or when it wants no more of them. It hands each of them a few jobs ahead and takes the answers
in the order of the jobs, so what comes of a search does not depend on how many there are, or on which one is faster.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

AHEAD = 8
"""Jobs that each process has before it, so that it need not wait for the next one."""
ANSWER_SECONDS = 60.0
"""How long a job may take; a schedule that computes or waits for long is cut short long before."""

How = TypeVar("How")
Job = TypeVar("Job")
Answer = TypeVar("Answer")


class Gone(NamedTuple):
    """There is no answer to a job."""

    why: str


class ProcessesGone(Exception):  # no error of a user: the message says what was not run
    """None of the processes is left."""


class _Process(Generic[How, Job, Answer]):
    """One of them, as it is seen by the one that searches."""

    def __init__(self, pid: int, connection: Connection[Any, Any]) -> None:
        self._pid = pid
        self._connection = connection
        self.asked = 0
        """Jobs that it has not answered yet."""
        self.gone: Gone | None = None

    def ask(self, how: How, job: Job) -> None:
        self.asked += 1
        with suppress(OSError):  # it is gone: that is seen where its answer is awaited
            self._connection.send((how, job))

    def answer(self) -> Answer | Gone:
        """Wait for the answer to the oldest of its jobs."""
        self.asked -= 1
        if self.gone is not None:
            return self.gone
        try:
            if self._connection.poll(ANSWER_SECONDS):
                return self._connection.recv()  # type: ignore[no-any-return]  # it sends nothing but answers
            self.end()
            self.gone = Gone(f"since a process did not answer within {ANSWER_SECONDS:g} s")
        except (EOFError, OSError):
            self.gone = Gone(f"since a process was ended by {_name(self.end())}")
        return self.gone

    def end(self) -> int:
        """End it at once, and return the number of the signal that has ended it; 0 if it has ended by itself."""
        if self._connection.closed:
            return 0
        self._connection.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        try:
            status = os.waitpid(self._pid, 0)[1]
        except ChildProcessError:  # somebody else takes the statuses of all children
            return 0
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def close(self) -> None:
        """Let go of it, in another process that has inherited it."""
        self._connection.close()


class Processes(Generic[How, Job, Answer]):
    """Some processes, which are forked when there is something to do.

    Args:
        number: how many.
        do: does a job in one of them; how, goes with the job. Both, and the answer, can be pickled.
    """

    def __init__(self, number: int, do: Callable[[How, Job], Answer]) -> None:
        self._number = number
        self._do = do
        self._all: list[_Process[How, Job, Answer]] = []

    def answers(self, how: How, jobs: Iterable[Job]) -> Generator[tuple[Job, Answer | Gone], None, None]:
        """Yield jobs with their answers, in order. Jobs are taken one by one, a few ahead.

        Raises:
            ProcessesGone: there is nobody left to do them.
        """
        if not self._all:
            self._fork()
        rest = iter(jobs)
        asked: deque[tuple[Job, _Process[How, Job, Answer]]] = deque()
        try:
            while True:
                while process := min(self._free(), key=lambda one: one.asked, default=None):
                    job = next(rest, None)
                    if job is None:
                        break
                    process.ask(how, job)
                    asked.append((job, process))
                if not asked:
                    if all(process.gone for process in self._all) and next(rest, None) is not None:
                        raise ProcessesGone(self._all[-1].gone.why if self._all[-1].gone else "")
                    return
                job, process = asked.popleft()
                yield job, process.answer()
        finally:
            if asked:  # nobody will take these answers: the next jobs are for others
                self.end()

    def _free(self) -> list[_Process[How, Job, Answer]]:
        return [process for process in self._all if process.gone is None and process.asked < AHEAD]

    def end(self) -> None:
        """End all of them at once."""
        while self._all:
            self._all.pop().end()

    def _fork(self) -> None:
        for _ in range(self._number):
            ours, theirs = Pipe()
            try:
                with warnings.catch_warnings():
                    # It warns of other threads, which are not in the child, and of whatever they hold: nothing here needs them.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    pid = os.fork()
            except OSError as error:
                ours.close()
                theirs.close()
                if not self._all:
                    raise ProcessesGone(f"since no process can be started: {error}") from None
                return
            if not pid:
                ours.close()
                for process in self._all:
                    process.close()
                _serve(theirs, self._do)
            theirs.close()
            self._all.append(_Process(pid, ours))


def _serve(connection: Connection[Any, Any], do: Callable[[Any, Any], Any]) -> NoReturn:
    """Do jobs in a forked process, until nobody wants its answers any more. It leaves without any last words."""
    try:
        signal.set_wakeup_fd(-1)  # that of the loop it was forked from
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        while True:
            connection.send(do(*connection.recv()))
    except BaseException:  # noqa: BLE001  # the pipe has ended, or Ctrl-C was pressed; who waits for an answer sees that it is gone
        os._exit(0)


def _name(number: int) -> str:
    return signal.Signals(number).name if number else "itself"
