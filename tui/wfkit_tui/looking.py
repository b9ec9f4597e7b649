"""Reads the run that a screen shows beside its list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wfkit.control.messages import FeedEvent, GetRun, RunPage
from wfkit.errors import UnknownRun
from wfkit_tui.widgets.glance import Glance

if TYPE_CHECKING:
    from wfkit_tui.screens.frame import Frame


class Look:
    """Keeps a screen's `Glance` at the run that is selected.

    Args:
        screen: has the glance.
        run: returns the id of the run that is meant; None if there is none.
    """

    def __init__(self, screen: Frame, run: Callable[[], str | None]) -> None:
        self._screen = screen
        self._run = run
        self._page: RunPage | None = None
        self._list = screen.refresher(self._read, pause=1.0)

    def ask(self, *, hurry: bool = False) -> None:
        """Read the run again; with `hurry` at once, since another one is selected."""
        self._list.ask(hurry=hurry)

    def happened(self, events: Sequence[FeedEvent]) -> None:
        """Read it again if it is among the runs that something happened to."""
        run = self._run()
        if any(event.id == run for event in events):
            self.ask()

    def tick(self) -> None:
        """Draw what depends on the time again."""
        if self._page is not None and not self._page.run.finished:
            self._screen.query_one(Glance).repaint()

    def page_of(self, run: str) -> RunPage | None:
        """Return a run as it was read last, if that was this one."""
        return self._page if self._page is not None and self._page.run.id == run else None

    async def _read(self) -> None:
        run, glance = self._run(), self._screen.query_one(Glance)
        if not glance.display:
            return
        if run is None:
            glance.show(None)
            return
        try:
            page = await self._screen.backend.ask(GetRun(run=run))
        except UnknownRun:
            return  # it was only just started
        self._page = page
        glance.show(page)
