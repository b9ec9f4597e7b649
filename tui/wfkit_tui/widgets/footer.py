"""The keys that work now, at the bottom of a screen.

It draws them as one line: a widget for each key would be made anew whenever one of them comes or goes.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual import events
from textual.strip import Strip

from wfkit_tui.drawing import Piece, cells, strip_of
from wfkit_tui.widgets.bar import Bar

PALETTE = "ctrl+p"
_KEY = "bold magenta"


class Footer(Bar):
    """The keys of the screen and of the pane that has the focus; to the right the palette, where there is room."""

    DEFAULT_CSS = "Footer { dock: bottom; }"

    def on_mount(self) -> None:
        self._keys: list[tuple[str, str, str]] = []
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self._read())

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def render_line(self, y: int) -> Strip:
        line = [piece for _, *told in self._keys for piece in _pieces(*told)]
        palette = [Piece("▏"), Piece("^p", _KEY), Piece(" Palette ")]
        room = self.size.width - cells(line) - cells(palette)
        if room > 0:
            line += [Piece(" " * room), *palette]
        return strip_of(line, self.size.width, self.base)

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        end = 0
        for key, *told in self._keys:
            end += cells(list(_pieces(*told)))
            if event.x < end:
                self.app.simulate_key(key)
                return
        self.app.simulate_key(PALETTE)

    def _read(self) -> None:
        if not self.app.app_focus:
            return  # the terminal is left for a moment: the pane will have its focus again
        actions: dict[str, tuple[str, str, str]] = {}
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            if binding.show and enabled:
                told = binding.key, self.app.get_key_display(binding), binding.description
                actions.setdefault(binding.action, told)
        keys = list(actions.values())
        if keys != self._keys:
            self._keys = keys
            self.refresh()


def _pieces(shown: str, description: str) -> Iterator[Piece]:
    yield Piece(shown, _KEY)
    yield Piece(f" {description} ")
