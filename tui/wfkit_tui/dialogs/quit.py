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
        kept: whether the journal outlives the engine, so that they go on some day.
    """

    BINDINGS = keys.QUIT

    def __init__(self, unfinished: int, *, kept: bool) -> None:
        super().__init__("Quit, and stop the engine?", "Enter quit   Esc stay")
        self._unfinished = unfinished
        self._kept = kept

    def body(self) -> ComposeResult:
        goes, is_ = ("goes", "is") if self._unfinished == 1 else ("go", "are")
        becomes = f"{goes} on at the next start of wfkit dev" if self._kept else f"{is_} deleted: the journal is ephemeral"
        yield Static(f"{counted(self._unfinished, 'unfinished run')} {becomes}.", classes="label", markup=False)

    def action_leave(self) -> None:
        self.app.exit()
