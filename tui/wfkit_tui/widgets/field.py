"""The line in which one writes what is looked for."""

from __future__ import annotations

from textual.widgets import Input

from wfkit_tui import keys


class FilterField(Input):
    """Enter applies what is written, Escape leaves it."""

    BINDINGS = keys.LINE

    def __init__(self, placeholder: str, *, id: str) -> None:
        super().__init__(id=id, placeholder=placeholder, compact=True)
