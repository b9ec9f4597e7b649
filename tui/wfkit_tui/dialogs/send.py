"""Asks for a signal to send to a run, or to publish."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import Raw
from textual.app import ComposeResult
from textual.widgets import Input, Label

from wfkit.cli.send import sent
from wfkit.control.messages import PublishSignal, SendSignal
from wfkit.control.patience import new_id
from wfkit.core.state import RunState
from wfkit_tui.backend import Backend
from wfkit_tui.dialogs.dialog import Asking
from wfkit_tui.dialogs.values import as_json


class SendDialog(Asking):
    """Sends a signal to a run; publishes it if there is none.

    Args:
        backend: asks the engine.
        signal: the name that the form begins with.
        run: the receiver.
        types: what signals carry, by their names, as far as the code tells.
    """

    def __init__(self, backend: Backend, signal: str, run: RunState | None, types: Mapping[str, str]) -> None:
        title = "Publish a signal to whoever waits for it" if run is None else f"Send a signal to {run.id}"
        super().__init__(title, f"Enter {'publish' if run is None else 'send'}   Tab next   Esc close")
        self._backend = backend
        self._signal = signal
        self._run = run
        self._types = types

    def body(self) -> ComposeResult:
        yield Label("Signal:")
        yield Input(self._signal, id="signal", compact=True)
        yield Label("", id="payload-type", markup=False)
        yield Input(id="payload", compact=True)
        yield self.command_line()

    def on_mount(self) -> None:
        self.query_one("#payload" if self._signal else "#signal").focus()

    def show_command(self) -> None:
        """Show the command line, and what the signal carries that is named now."""
        super().show_command()
        known = self._types.get(self.query_one("#signal", Input).value.strip())
        self.query_one("#payload-type", Label).update(f"Payload: {known}" if known else "Payload, as JSON, optional:")

    def command(self) -> str:
        signal, payload = self._written()
        words = ["wfkit", "publish" if self._run is None else "send", signal or "SIGNAL"]
        if payload is not None:
            words.append(bytes(payload).decode())
        return self._backend.command(shlex.join(words + (["--run", self._run.id] if self._run is not None else [])))

    async def act(self) -> str:
        signal, payload = self._written()
        if not signal:
            raise ValueError("which signal?")
        value = payload if payload is not None else Raw(b"null")
        if self._run is None:
            await self._backend.ask(PublishSignal(signal=signal, payload=value, dedupe=new_id()))
            return f"published {signal}"
        await self._backend.ask(SendSignal(run=self._run.id, signal=signal, payload=value, dedupe=new_id()))
        return sent(self._run, signal)

    def _written(self) -> tuple[str, Raw | None]:
        signal, payload = (self.query_one(id, Input).value.strip() for id in ("#signal", "#payload"))
        known = self._types.get(signal)
        if not payload and known is not None and not {"None", "Any"} & set(known.split(" | ")):
            raise ValueError(f"payload is missing: {signal} carries {known}")
        return signal, as_json(payload, known or "Any") if payload else None
