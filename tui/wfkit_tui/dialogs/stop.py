"""Asks whether to cancel or terminate runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from textual.app import ComposeResult
from textual.widgets import Input, Label, Static

from wfkit.control.messages import CancelRun, TerminateRun
from wfkit.errors import RunEnded
from wfkit_tui.backend import Backend
from wfkit_tui.dialogs.dialog import Asking

_MEANS = {
    "cancel": "The run gets CancelledError once; its cleanup and compensations run.",
    "terminate": "It stops at once, without cleanup: what was done stays done, and no compensation runs.",
}
SHOWN_MAX = 6


class StopDialog(Asking):
    """Stops runs, one after the other."""

    def __init__(self, backend: Backend, verb: Literal["cancel", "terminate"], runs: Sequence[str]) -> None:
        what = runs[0] if len(runs) == 1 else f"{len(runs):,} runs"
        super().__init__(f"{verb.title()} {what}?", f"Enter {verb}   Esc close")
        self._backend = backend
        self._verb = verb
        self._runs = runs

    def body(self) -> ComposeResult:
        if len(self._runs) > 1:
            more = f"\n... and {len(self._runs) - SHOWN_MAX:,} more" if len(self._runs) > SHOWN_MAX else ""
            yield Static("\n".join(self._runs[:SHOWN_MAX]) + more, markup=False)
        yield Static(_MEANS[self._verb], classes="label")
        yield Label("Reason, kept in the history:", classes="label")
        yield Input(id="reason", compact=True)
        yield self.command_line()

    def command(self) -> str:
        reason = self.query_one("#reason", Input).value
        told = ["--reason", reason] if reason else []
        return self._backend.command(shlex.join(["wfkit", "runs", self._verb, *self._runs, *told]))

    async def act(self) -> str:
        reason = self.query_one("#reason", Input).value
        kind = CancelRun if self._verb == "cancel" else TerminateRun
        for run in self._runs:
            with suppress(*([RunEnded] if len(self._runs) > 1 else [])):
                await self._backend.ask(kind(run=run, reason=reason))
        what = self._runs[0] if len(self._runs) == 1 else f"{len(self._runs):,} runs"
        return f"asked {what} to cancel" if self._verb == "cancel" else f"terminated {what}"
