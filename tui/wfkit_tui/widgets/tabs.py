"""The names of the screens, to be clicked."""

from __future__ import annotations

from textual import events

from wfkit_tui import keys
from wfkit_tui.drawing import cells
from wfkit_tui.widgets.bar import Bar


class Tabs(Bar):
    """A bar whose pieces are the screens, in their order."""

    async def on_click(self, event: events.Click) -> None:
        """Go to the screen whose name was clicked."""
        for place, (_, name, _) in enumerate(keys.SCREENS):
            if cells(self.left[:place]) <= event.x < cells(self.left[: place + 1]):
                await self.run_action(f"app.go('{name}')")
