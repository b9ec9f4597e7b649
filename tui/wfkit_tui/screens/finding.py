"""A screen with a line in which one writes what is looked for."""

from __future__ import annotations

from textual.widgets import Input

from wfkit_tui import keys
from wfkit_tui.screens.frame import Frame
from wfkit_tui.widgets.field import FilterField
from wfkit_tui.widgets.listing import Listing


class FindingFrame(Frame):
    """Shows only what contains the words that are written. Enter leaves the line, Escape takes the words back."""

    BINDINGS = keys.FINDING
    PLACEHOLDER = "words that a row contains"

    @property
    def sought(self) -> str:
        return self._field.value.strip() if self.is_mounted else ""

    @property
    def _field(self) -> Input:
        return self.query_one("#find", Input)

    def field(self) -> FilterField:
        """Return the line; part of the body."""
        return FilterField(self.PLACEHOLDER, id="find")

    def find(self, text: str) -> None:
        """Show only what contains these words."""
        for listing in self.query(Listing):
            listing.find(text)

    def action_filter(self) -> None:
        self._field.add_class("-shown")
        self.set_focus(self._field)

    def action_unfilter(self) -> None:
        """Take the words back; a zoomed pane, and a screen that was opened from another one and shows all, is left."""
        if self.maximized is not None or not self._field.has_class("-shown"):
            self.action_back()
        else:
            self.action_leave_line()

    def action_leave_line(self) -> None:
        """Take the words back, and leave their line."""
        self._field.value = ""
        self._leave_field()

    def action_sort(self) -> None:
        """Sort the list that has the focus, or the first one, in the next way."""
        focused = self.focused
        listing = focused if isinstance(focused, Listing) else self.query(Listing).first()
        listing.sort_otherwise()
        self.draw_frame()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.find(self.sought)
        self.draw_frame()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._leave_field()

    def _leave_field(self) -> None:
        self._field.set_class(bool(self.sought), "-shown")
        self.set_focus(next(widget for widget in self.focus_chain if widget is not self._field))
