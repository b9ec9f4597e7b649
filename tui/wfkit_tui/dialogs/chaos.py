"""Asks which fault is to strike the engine of `wfkit dev`, now."""

from __future__ import annotations

import shlex
from typing import cast

from textual.app import ComposeResult
from textual.widgets import Static

from wfkit.control.messages import ChaosFacts, Fault, Strike
from wfkit.errors import WfkitError
from wfkit.replay.explain import spell
from wfkit_tui import keys
from wfkit_tui.backend import Backend
from wfkit_tui.dialogs.dialog import Dialog
from wfkit_tui.drawing import counted

_LATEST = 3
"""So many of the latest strikes are shown."""


class ChaosDialog(Dialog[None]):
    """A key for each fault, and the command that does the same.

    Args:
        backend: asks the engine.
        facts: what has struck so far.
        run: whose last signal is delivered again; empty for the last signal of all.
    """

    BINDINGS = keys.CHAOS
    DEFAULT_CSS = """
    ChaosDialog .hint { text-style: dim; padding-left: 3; }
    ChaosDialog #so-far { margin-top: 1; }
    """

    def __init__(self, backend: Backend, facts: ChaosFacts, run: str) -> None:
        super().__init__("Chaos: inject a fault, and watch the engine recover", "k h d j inject   Esc close")
        self._backend = backend
        self._facts = facts
        self._run = run
        self._works = False

    def body(self) -> ComposeResult:
        whose = f"the last signal of {self._run}" if self._run else "the last signal that has a dedupe id"
        told: dict[Fault, str] = {
            "kill": "k  Kill the worker: another one takes over, steps in flight run again",
            "delay": "h  Hold the next result of a step back for 3s",
            "dup": f"d  Deliver {whose} again: it counts once",
            "jump": "j  Jump: move the clock 1h forward, so timers fire",
        }
        if not self._facts.jumps:
            told["jump"] = "j  (Jump: the clock can only be moved with wfkit dev --ephemeral)"
        for fault, text in told.items():
            yield Static(text, classes="label", markup=False)
            yield Static(f"$ {self._command(fault)}", classes="hint", markup=False)
        yield Static(self._so_far(), id="so-far", markup=False)

    def action_strike(self, fault: str) -> None:
        """Inject a fault; the dialog stays if that cannot be."""
        if not self._works:
            self._works = True
            self.run_worker(self._strike(self._request(cast("Fault", fault))))

    async def _strike(self, request: Strike) -> None:
        try:
            told = await self._backend.ask(request)
        except WfkitError as error:
            self.problem(f"{error}\n{error.help}")
        else:
            self.dismiss(None)
            self.app.notify(f"⚡ {told.text}", markup=False, timeout=4)
        finally:
            self._works = False

    def _request(self, fault: Fault) -> Strike:
        return Strike(fault=fault, run=self._run if fault == "dup" else "")

    def _command(self, fault: Fault) -> str:
        request = self._request(fault)
        whose = ["--run", request.run] if request.run else []
        return self._backend.command(shlex.join(["wfkit", "chaos", fault, *whose]))

    def _so_far(self) -> str:
        facts = self._facts
        itself = f"automatic: {facts.profile}" if facts.profile else "none are automatic: that is wfkit dev --chaos rough"
        ahead = f"; the clock is {spell(facts.ahead)} ahead" if facts.ahead else ""
        count = f"{counted(facts.strikes, 'fault')} so far"
        return "\n".join([f"{count}; {itself}{ahead}", *(f"⚡ {struck.text}" for struck in facts.struck[-_LATEST:])])
