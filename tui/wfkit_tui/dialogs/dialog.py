"""What all dialogs have in common: a box, the command that does the same, and what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from wfkit.errors import WfkitError
from wfkit_tui import keys

T = TypeVar("T")


class Dialog(ModalScreen[T | None]):
    """A box over the screen. Escape leaves it, and nothing has happened."""

    BINDINGS = keys.DIALOG

    def __init__(self, title: str, hint: str) -> None:
        super().__init__()
        self._title = title
        self._hint = hint

    def body(self) -> ComposeResult:
        """Yield what is asked."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box", can_focus=False):
            yield Static(self._title, id="title", markup=False)
            yield from self.body()
            yield Static("", id="problem", markup=False)
            yield Static(self._hint, id="keys", markup=False)

    def on_mount(self) -> None:
        self.query_one("#problem").display = False

    def action_back(self) -> None:
        self.dismiss(None)

    def problem(self, text: str) -> None:
        """Tell what is wrong; the dialog stays."""
        field = self.query_one("#problem", Static)
        field.update(text)
        field.display = bool(text)


class Asking(Dialog[bool]):
    """A dialog that does something when Enter is pressed; it returns True if that was done."""

    def command(self) -> str:
        """Return the command line that does the same."""
        raise NotImplementedError

    async def act(self) -> str:
        """Do it, and return what to say of it.

        Raises:
            WfkitError: why it was not done.
            ValueError: what was written is not understood.
        """
        raise NotImplementedError

    def command_line(self) -> Static:
        """Return what shows the command; the last thing in the body."""
        return Static("", id="command", markup=False)

    def on_mount(self) -> None:
        self._works = False
        self.show_command()

    def on_input_changed(self) -> None:
        self.problem("")
        self.show_command()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not self._works:
            self._works = True
            self.run_worker(self._perform(self.act()))

    def show_command(self) -> None:
        """Show the command line as it is now, or what is missing for one."""
        try:
            text = f"$ {self.command()}"
        except ValueError as error:
            text = f"({error})"
        field = self.query_one("#command", Static)
        field.update(text)
        field.display = True

    async def _perform(self, act: Awaitable[str]) -> None:
        try:
            done = await act
        except (WfkitError, ValueError) as error:
            help = getattr(error, "help", "")
            self.problem(f"{error}" + (f"\n{help}" if help else ""))
            self.query_one("#command").display = not isinstance(error, ValueError)  # there is none: why is told once
        else:
            self.dismiss(True)
            self.app.notify(done, markup=False, timeout=3)
        finally:
            self._works = False
