"""Drops what user code prints in a campaign: a thousand schedules would print it a thousand times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from wfkit.sim import ambient


@contextmanager
def silence() -> Iterator[None]:
    """Drop what code of simulations writes to stdout and stderr; what everybody else writes gets through."""
    with redirect_stdout(_outside_only(sys.stdout)), redirect_stderr(_outside_only(sys.stderr)):
        yield


class _OutsideOnly:
    """A stream that takes what is written outside of simulations."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if ambient.ambience.get() is not None or ambient.of_workflow() is not None:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _outside_only(stream: TextIO) -> TextIO:
    return cast("TextIO", _OutsideOnly(stream))
