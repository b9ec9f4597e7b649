"""Asks for a signal to send to a run, or to publish."""

from __future__ import annotations

import shlex

from msgspec import Raw
from textual.app import ComposeResult
from textual.widgets import Input, Label

from wfkit.control.messages import PublishSignal, SendSignal
from wfkit_tui.backend import Backend
from wfkit_tui.dialogs.dialog import Asking
from wfkit_tui.dialogs.values import as_json


class SendDialog(Asking):
    """Sends a signal to a run; publishes it if there is none."""

    def __init__(self, backend: Backend, signal: str, run: str | None) -> None:
        title = "Publish a signal to whoever waits for it" if run is None else f"Send a signal to {run}"
        super().__init__(title, f"Enter {'publish' if run is None else 'send'}   Tab next   Esc leave")
        self._backend = backend
        self._signal = signal
        self._run = run

    def body(self) -> ComposeResult:
        yield Label("Signal:")
        yield Input(self._signal, id="signal", compact=True)
        yield Label("Payload, as JSON:")
        yield Input(id="payload", placeholder="null", compact=True)
        yield self.command_line()

    def on_mount(self) -> None:
        self.query_one("#payload" if self._signal else "#signal").focus()

    def command(self) -> str:
        signal, payload = self._written()
        words = ["wfkit", "publish" if self._run is None else "send", signal or "SIGNAL"]
        if payload is not None:
            words.append(bytes(payload).decode())
        return self._backend.command(shlex.join(words + (["--run", self._run] if self._run is not None else [])))

    async def act(self) -> str:
        signal, payload = self._written()
        if not signal:
            raise ValueError("which signal?")
        value = payload if payload is not None else Raw(b"null")
        if self._run is None:
            await self._backend.ask(PublishSignal(signal=signal, payload=value))
            return f"published {signal}"
        await self._backend.ask(SendSignal(run=self._run, signal=signal, payload=value))
        return f"sent {signal} to {self._run}"

    def _written(self) -> tuple[str, Raw | None]:
        payload = self.query_one("#payload", Input).value.strip()
        return self.query_one("#signal", Input).value.strip(), as_json(payload, "Any") if payload else None
