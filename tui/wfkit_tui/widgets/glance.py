"""A look at one run: its timeline, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical

from wfkit.cli.runs.get import facts_of
from wfkit.control.messages import RunPage
from wfkit_tui.drawing import fact_lines
from wfkit_tui.parts import told
from wfkit_tui.widgets.bar import Rule
from wfkit_tui.widgets.page import Page
from wfkit_tui.widgets.timeline import Timeline


class Glance(Vertical):
    """Shows a run beside a list.

    Args:
        clock: the present, microseconds UTC.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__()
        self._clock = clock

    def compose(self) -> ComposeResult:
        yield Rule(id="preview-title")
        yield Timeline(self._clock, id="preview")
        yield Rule(id="facts-title")
        yield Page(id="facts")

    def on_mount(self) -> None:
        self.query_one("#facts-title", Rule).title("about it")
        self.show(None)

    def show(self, page: RunPage | None) -> None:
        """Show a run, or that there is none."""
        title, timeline, facts = (
            self.query_one("#preview-title", Rule),
            self.query_one(Timeline),
            self.query_one("#facts", Page),
        )
        if page is None:
            title.title("no run")
            timeline.show([])
            facts.show(lambda _width: ())
            return
        title.title(f"{page.run.id} {page.run.workflow}", "Enter opens it")
        timeline.show(told(page))
        facts.show(lambda width: list(fact_lines(facts_of(page, self._clock()), width)))

    def repaint(self) -> None:
        """Draw what depends on the time again."""
        self.query_one(Timeline).repaint()
