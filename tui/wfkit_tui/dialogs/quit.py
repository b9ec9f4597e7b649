"""Asks whether to leave `wfkit dev`, whose engine ends with the screens."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from wfkit_tui import keys
from wfkit_tui.dialogs.dialog import Dialog
from wfkit_tui.drawing import counted


class QuitDialog(Dialog[None]):
    """Enter leaves; so does the key that asked.

    Args:
        unfinished: how many runs have not ended.
    """

    BINDINGS = keys.QUIT

    def __init__(self, unfinished: int) -> None:
        super().__init__("Quit, and stop the engine?", "Enter quit   Esc stay")
        self._unfinished = unfinished

    def body(self) -> ComposeResult:
        verb = "goes" if self._unfinished == 1 else "go"
        told = f"{counted(self._unfinished, 'unfinished run')} {verb} on at the next start of wfkit dev."
        yield Static(told, classes="label", markup=False)

    def action_leave(self) -> None:
        self.app.exit()
