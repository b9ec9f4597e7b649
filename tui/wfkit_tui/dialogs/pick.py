"""Asks which workflow is meant."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import OptionList

from wfkit.control.messages import WorkflowFacts
from wfkit.control.shapes import spell
from wfkit_tui.dialogs.dialog import Dialog


class PickDialog(Dialog[WorkflowFacts]):
    """A list of workflows."""

    def __init__(self, workflows: Sequence[WorkflowFacts]) -> None:
        super().__init__("Start which workflow?", "Enter choose   Esc close")
        self._workflows = workflows

    def body(self) -> ComposeResult:
        yield OptionList(*(f"{one.name}({spell(one.parameters)})" for one in self._workflows), markup=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._workflows[event.option_index])
