"""Tells the keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import ActiveBinding

from wfkit_tui.dialogs.dialog import Dialog
from wfkit_tui.drawing import Line, Piece
from wfkit_tui.widgets.page import Page


class HelpDialog(Dialog[None]):
    """The keys that work on the screen from which it was called, and on the pane that had the focus."""

    def __init__(self, active: Sequence[ActiveBinding]) -> None:
        super().__init__("Keys", "Esc leave")
        self._active = active

    def body(self) -> ComposeResult:
        yield Page(id="help")

    def on_mount(self) -> None:
        page = self.query_one(Page)
        page.show(lambda _width: self._lines())
        page.focus()

    def _lines(self) -> list[Line]:
        told: dict[str, list[str]] = {}
        for active in self._active:
            if active.enabled and active.binding.description and not active.binding.system:
                told.setdefault(active.binding.description, []).append(self.app.get_key_display(active.binding))
        width = max(len(", ".join(names)) for names in told.values())
        return [[Piece(f"{', '.join(names):<{width}}  ", "bold"), Piece(what)] for what, names in told.items()]
