"""Tells the keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding
from textual.screen import Screen

from wfkit_tui import keys
from wfkit_tui.dialogs.dialog import Dialog
from wfkit_tui.drawing import Line, Piece
from wfkit_tui.widgets.page import Page


class HelpDialog(Dialog[None]):
    """The keys that work on the screen from which it was called, and on the pane that had the focus."""

    def __init__(self, active: Sequence[ActiveBinding]) -> None:
        super().__init__("Keys", "Esc close")
        self._active = active

    def body(self) -> ComposeResult:
        yield Page(id="help")

    def on_mount(self) -> None:
        page = self.query_one(Page)
        page.show(lambda _width: self._lines())
        page.focus()

    def _lines(self) -> list[Line]:
        told: dict[str, dict[str, list[str]]] = {"this screen": {}, "this pane": {}, "everywhere": {}}
        for active in self._active:
            binding = active.binding
            if active.enabled and binding.description and not binding.system and binding.action != "screen.copy_text":
                names = told[_where(active)].setdefault(binding.description, [])
                names.append(self.app.get_key_display(binding))
        width = max(len(", ".join(names)) for group in told.values() for names in group.values())
        lines: list[Line] = []
        for where, group in told.items():
            lines += [[Piece(where, "dim")]] if group else []
            lines += [[Piece(f" {', '.join(names):<{width}}  ", "bold"), Piece(what)] for what, names in group.items()]
        return lines


def _where(active: ActiveBinding) -> str:
    if isinstance(active.node, App) or active.binding.action in _OF_FRAMES:
        return "everywhere"
    return "this screen" if isinstance(active.node, Screen) else "this pane"


_OF_FRAMES = {one.action for one in keys.FRAME if isinstance(one, Binding)}
