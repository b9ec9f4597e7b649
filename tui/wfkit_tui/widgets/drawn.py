"""What the widgets have in common that draw their lines themselves."""

from __future__ import annotations

from functools import cached_property

from rich.style import Style
from textual.widget import Widget


class Drawn(Widget):
    """Draws lines, each of which begins with the same style."""

    @cached_property
    def base(self) -> Style:
        """The style of the widget. Textual puts it together anew for each line, which took a quarter of a painting."""
        return self.rich_style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.__dict__.pop("base", None)
