"""A child process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from wfkit.dev.channel import (
    HEAD_BYTES,
    Answer,
    GiveHistories,
    Happened,
    Histories,
    KillMe,
    Order,
    Serving,
    decode_report,
    framed,
)

_PIPE_BYTES = 65_536
_END_SECONDS = 1.0
"""How long a process may take to end that says nothing any more."""
_LAST_SECONDS = 0.1
"""How long the last words of a process that has ended may take."""

Heard = Callable[[Happened | KillMe], None]


class ChildEnded(Exception):
    """The process ended, or was about to, instead of answering."""


class Child:
    """A process that follows orders, and ends when this one does. Use `start`.

    It has a session of its own: Ctrl-C at the terminal is for the supervisor, which then stops its children in good order.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: list[asyncio.Task[None]],
        heard: Heard,
    ) -> None:
        self.pid: Final = process.pid
        self.ended = asyncio.ensure_future(_end(process, output))
        self.serves = False
        """It has opened the journal."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self._heard = heard
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue(1)
        """What nobody has taken yet, and None at the end. Of histories there may be more than fit into memory."""
        self._meant = 0
        """Number of the order whose histories are wanted."""
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, module: str, app: str, print_line: Callable[[str, str], None], heard: Heard = lambda _: None) -> Child:
        """Start a module as a process.

        Args:
            module: its name.
            app: what it loads.
            print_line: is given each line that it prints, with `stdout` or `stderr`.
            heard: is told what it says of its own accord.
        """
        ours, theirs = socket.socketpair()
        read, write = zip(os.pipe(), os.pipe(), strict=True)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, str(theirs.fileno()), app),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write[0],
                stderr=write[1],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        for descriptor in write:
            os.close(descriptor)
        output = [
            asyncio.ensure_future(_lines(descriptor, name, print_line))
            for descriptor, name in zip(read, ("stdout", "stderr"), strict=True)
        ]
        return cls(process, *await asyncio.open_unix_connection(sock=ours), output, heard)

    async def order(self, order: Order) -> None:
        """Give an order.

        Raises:
            ChildEnded: nobody is there to follow it.
        """
        if isinstance(order, GiveHistories):
            self._meant = order.number
        try:
            self._writer.write(framed(order))
            await self._writer.drain()
        except OSError:
            raise ChildEnded from None

    def tell(self, order: Order) -> None:
        """Give an order to whoever may be there to follow it."""
        if not self._writer.transport.is_closing():
            self._writer.write(framed(order))

    async def report(self) -> Answer:
        """Return what the child answers next.

        Raises:
            ChildEnded: it says nothing any more.
        """
        answer = await self._answers.get()
        if answer is None:
            self._answers.put_nowait(None)  # for whoever asks next
            raise ChildEnded
        return answer

    async def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError, msgspec.MsgspecError):  # the user's code may write there, or close it
            while True:
                head = await self._reader.readexactly(HEAD_BYTES)
                report = decode_report(await self._reader.readexactly(int.from_bytes(head, "big")))
                self.serves |= isinstance(report, Serving)
                if isinstance(report, Happened | KillMe):
                    self._heard(report)
                elif not isinstance(report, Histories) or report.number == self._meant:
                    await self._answers.put(report)
        await asyncio.wait([self.ended], timeout=_END_SECONDS)
        self.kill()  # its code has closed the socket: it can neither be told to end nor say anything
        await self._answers.put(None)

    async def ask(self, order: Order) -> Answer:
        """Give an order and return what the child answers. Raises as `order` and `report` do."""
        await self.order(order)
        return await self.report()

    async def histories(self, order: GiveHistories) -> Histories:
        """Return the next of the histories that were ordered, whatever answers to earlier orders are still under way."""
        while True:
            answer = await self.report()
            if isinstance(answer, Histories) and answer.number == order.number:
                return answer

    def forget_histories(self) -> None:
        """Take no more of the histories that were ordered last: what else the child says would wait behind them."""
        self._meant = 0
        for _ in range(self._answers.qsize()):
            answer = self._answers.get_nowait()
            if not isinstance(answer, Histories):
                self._answers.put_nowait(answer)

    def kill(self) -> None:
        # Not by the process's own `kill`: that takes the status of one that has just ended, and asyncio then makes one up.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill it, if need be, and wait for its end."""
        self.kill()
        await self.ended
        await asyncio.wait([self._listening], timeout=_LAST_SECONDS)
        self._listening.cancel()
        self._writer.close()


async def _end(process: asyncio.subprocess.Process, output: list[asyncio.Task[None]]) -> str:
    """Wait for the end of a process, and return how it ended."""
    status = await process.wait()
    # What it has printed is told before its end. A process that it has started may still hold the pipes.
    await asyncio.wait(output, timeout=_LAST_SECONDS)
    for task in output:
        task.cancel()
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


async def _lines(descriptor: int, name: str, print_line: Callable[[str, str], None]) -> None:
    """Tell the lines that come out of a pipe; a last one without an end as well."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    rest = b""
    try:
        while data := await reader.read(_PIPE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                print_line(name, line.decode(errors="replace"))
    finally:
        if rest:
            print_line(name, rest.decode(errors="replace"))
        transport.close()
