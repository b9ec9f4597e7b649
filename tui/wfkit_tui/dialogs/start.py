"""A form for a workflow's parameters, to start a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec
from msgspec import Raw
from textual.app import ComposeResult
from textual.widgets import Input, Label, Static

from wfkit.control.messages import StartRun, WorkflowFacts
from wfkit.control.shapes import spell
from wfkit_tui.backend import Backend
from wfkit_tui.dialogs.dialog import Asking
from wfkit_tui.dialogs.values import as_json, as_written


class StartDialog(Asking):
    """Starts a run.

    Args:
        backend: asks the engine.
        workflow: what is started.
        last: the arguments of its last run, as a JSON array: the fields begin with them.
    """

    DEFAULT_CSS = "StartDialog .hint { text-style: dim; padding: 0 1; }"

    def __init__(self, backend: Backend, workflow: WorkflowFacts, last: Raw | None) -> None:
        super().__init__(f"Start {workflow.name}", "Enter start   Tab next   Esc close")
        self._backend = backend
        self._workflow = workflow
        self._last: Sequence[Raw] = () if last is None else msgspec.json.decode(last, type=list[Raw])

    def body(self) -> ComposeResult:
        for place, parameter in enumerate(self._workflow.parameters):
            yield Label(f"{parameter.name}: {parameter.type}" + ("" if parameter.required else ", optional"), markup=False)
            value = as_written(self._last[place], parameter.type) if place < len(self._last) else ""
            yield Input(value, id=f"value-{place}", classes="value", compact=True)
        for one in self._workflow.types:
            yield Static(f"{one.name}: {spell(one.fields)}", classes="hint", markup=False)
        yield Label("id of the run, optional:")
        yield Input(id="run-id", compact=True)
        yield self.command_line()

    def on_mount(self) -> None:
        self.query(Input).first().focus()

    def command(self) -> str:
        given, id = self._written()
        words = ["wfkit", "start", self._workflow.name]
        if given is not None:
            words.append(bytes(given).decode())
        return self._backend.command(shlex.join(words + (["--id", id] if id else [])))

    async def act(self) -> str:
        given, id = self._written()
        request = StartRun(workflow=self._workflow.name, input=msgspec.UNSET if given is None else given, id=id or None)
        return f"started {(await self._backend.ask(request)).run}"

    def _written(self) -> tuple[Raw | None, str]:
        """Return INPUT and id. The value of an only parameter is INPUT itself, several are an object."""
        values = {}
        for place, parameter in enumerate(self._workflow.parameters):
            text = self.query_one(f"#value-{place}", Input).value.strip()
            if text:
                values[parameter.name] = as_json(text, parameter.type)
            elif parameter.required:
                raise ValueError(f"{parameter.name} is missing")
        id = self.query_one("#run-id", Input).value.strip()
        if not values:
            return None, id
        if len(self._workflow.parameters) == 1:
            return next(iter(values.values())), id
        return Raw(msgspec.json.encode(values)), id
