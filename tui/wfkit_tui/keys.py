"""Every key of every screen. A screen has the actions that are named here; the footer and the help are made from these."""

from __future__ import annotations

from typing import TypeAlias

from textual.binding import Binding, BindingType

Keys: TypeAlias = list[BindingType]


def _hidden(key: str, action: str, description: str) -> Binding:
    """Return a key that the help shows, and the footer has no room for."""
    return Binding(key, action, description, show=False, key_display="Esc" if key == "escape" else None)


SCREENS = [
    ("1", "runs", "Runs"),
    ("2", "signals", "Signals"),
    ("3", "timers", "Timers"),
    ("4", "code", "Code"),
    ("5", "simulations", "Simulations"),
    ("6", "logs", "Logs"),
]
"""Key, name and title of each screen that a digit leads to."""

EVERYWHERE: Keys = [
    *(_hidden(key, f"go('{name}')", title) for key, name, title in SCREENS),
    Binding("question_mark", "help", "Help", key_display="?"),
    Binding("q", "quit", "Quit"),
    _hidden("ctrl+c,ctrl+q", "quit", "Quit"),
    Binding("exclamation_mark", "chaos", "Chaos: inject a fault", key_display="!", show=False),
    _hidden("ctrl+p,colon", "command_palette", "Palette"),
]

FRAME: Keys = [
    _hidden("y", "copy_value", "Copy the value"),
    _hidden("Y", "copy_command", "Copy the equivalent command"),
    _hidden("z", "zoom", "Zoom the pane, and back"),
    _hidden("tab", "app.focus_next", "To the next pane"),
    _hidden("shift+tab", "app.focus_previous", "To the pane before"),
]
"""Of every screen that is no dialog."""

BACK: Keys = [Binding("escape", "back", "Back", key_display="Esc")]

DIALOG: Keys = [
    *BACK,
    _hidden("down", "app.focus_next", "To the next field"),
    _hidden("up", "app.focus_previous", "To the field before"),
]

LINE: Keys = [
    Binding("enter", "submit", "Apply", key_display="Enter"),
    Binding("escape", "screen.leave_line", "Leave", key_display="Esc"),
]
"""Of the line in which one writes what is looked for."""

MOVES: Keys = [
    _hidden("down,j", "move(1)", "Down"),
    _hidden("up,k", "move(-1)", "Up"),
    _hidden("pagedown,ctrl+d", "page(1)", "A page down"),
    _hidden("pageup,ctrl+u", "page(-1)", "A page up"),
    _hidden("home,g", "first", "To the top"),
    _hidden("end,G", "last", "To the bottom"),
]
"""Of every list and page."""

TABLE: Keys = [*MOVES, Binding("enter", "open", "Open", key_display="Enter")]

FILTER = Binding("slash", "filter", "Filter", key_display="/", priority=True)
"""It comes before all that is typed right behind it: that belongs into the line, and would be keys of the list."""

FINDING: Keys = [
    FILTER,
    _hidden("o", "sort", "Sort in another way"),
    _hidden("escape", "unfilter", "Take the filter off, then back"),
]
"""Of a screen whose rows are all at hand."""

RUNS: Keys = [
    FILTER,
    Binding("s", "start", "Start"),
    Binding("e", "send", "Send"),
    Binding("c", "cancel", "Cancel"),
    _hidden("X", "terminate", "Terminate"),
    _hidden("o", "sort", "Sort by the next column"),
    _hidden("F", "follow", "Follow: keep the newest run selected"),
    _hidden("space", "mark", "Mark for cancel and terminate"),
    _hidden("escape", "unmark", "Take the marks off, then the filter"),
]

DETAIL: Keys = [
    _hidden("escape", "back", "Back"),
    Binding("v", "view", "View"),
    Binding("left_square_bracket", "failure(-1)", "Failures", key_display="[ ]"),
    _hidden("right_square_bracket", "failure(1)", "Next failure"),
    Binding("e", "send", "Send"),
    Binding("c", "cancel", "Cancel"),
    _hidden("X", "terminate", "Terminate"),
    Binding("L", "logs", "Logs"),
    _hidden("F", "follow", "To the end, where new entries come"),
]

SIGNALS: Keys = [Binding("e", "send", "Send"), Binding("P", "publish", "Publish")]

REPORT: Keys = [
    *BACK,
    Binding("n", "finding(1)", "Next finding"),
    _hidden("N", "finding(-1)", "Previous finding"),
]

QUIT: Keys = [Binding("enter", "leave", "Quit", key_display="Enter"), _hidden("q,ctrl+c", "leave", "Quit")]

CHAOS: Keys = [
    Binding("k", "strike('kill')", "Kill the worker"),
    Binding("h", "strike('delay')", "Hold the next result of a step"),
    Binding("d", "strike('dup')", "Deliver a signal again"),
    Binding("j", "strike('jump')", "Move the clock forward"),
]

LOGS: Keys = [Binding("F", "follow", "Follow")]
