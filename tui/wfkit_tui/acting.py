"""What changes runs: each asks first, and shows the command that does the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Raw

from wfkit.control.messages import GetChaos, GetHistory, ListRuns, ListWorkflows, WorkflowFacts
from wfkit.core.entries import RunStarted, SignalReceived
from wfkit.core.state import PendingWait, RunState
from wfkit.errors import WfkitError
from wfkit_tui.dialogs.chaos import ChaosDialog
from wfkit_tui.dialogs.pick import PickDialog
from wfkit_tui.dialogs.send import SendDialog
from wfkit_tui.dialogs.start import StartDialog
from wfkit_tui.dialogs.stop import StopDialog

if TYPE_CHECKING:
    from wfkit_tui.screens.frame import Frame

ACTIONS = frozenset({"start", "send", "publish", "cancel", "terminate"})
"""Actions of keys that an engine is needed for."""


def stop(
    screen: Frame, verb: Literal["cancel", "terminate"], runs: Sequence[RunState], then: Callable[[], None] = lambda: None
) -> None:
    """Ask whether to stop runs, those that have not ended; `then` is called if that was done."""
    going = list(dict.fromkeys(run.id for run in runs if not run.finished))
    if going:
        screen.app.push_screen(StopDialog(screen.backend, verb, going), lambda done: then() if done else None)
    else:
        screen.notify("it has ended already" if len(runs) == 1 else "they have ended already", severity="warning")


def send(screen: Frame, run: RunState, signal: str = "") -> None:
    """Ask what to send to a run; by itself, or by the name that the user is at, it is a signal that the run waits for."""
    if run.finished:
        screen.notify("it has ended already", severity="warning")
    else:
        screen.run_worker(_send(screen, signal, run))


def publish(screen: Frame, signal: str) -> None:
    """Ask what to publish."""
    screen.run_worker(_send(screen, signal, None))


async def _send(screen: Frame, signal: str, run: RunState | None) -> None:
    try:
        workflows = (await screen.backend.ask(ListWorkflows())).workflows
    except WfkitError as error:
        screen.notify(str(error), severity="error", markup=False)
        return
    meant = workflows if run is None else [each for each in workflows if each.name == run.workflow]
    types = {one.name: one.type for workflow in meant for one in workflow.signals}
    if run is not None and not signal:
        signal = next((each.name for each in run.open.values() if isinstance(each, PendingWait)), "")
    screen.app.push_screen(SendDialog(screen.backend, signal, run, types))


def start(screen: Frame) -> None:
    """Ask which workflow to start, and with what."""
    screen.run_worker(_start(screen))


async def _start(screen: Frame) -> None:
    try:
        workflows = (await screen.backend.ask(ListWorkflows())).workflows
        if not workflows:
            screen.notify("the engine runs no workflow", severity="warning")
            return
        facts: WorkflowFacts | None = workflows[0]
        if len(workflows) > 1:
            facts = await screen.app.push_screen_wait(PickDialog(workflows))
        if facts is not None:
            screen.app.push_screen(StartDialog(screen.backend, facts, await _last_input(screen, facts.name)))
    except WfkitError as error:
        screen.notify(str(error), severity="error", markup=False)


def chaos(screen: Frame) -> None:
    """Ask which fault is to strike."""
    screen.run_worker(_chaos(screen))


async def _chaos(screen: Frame) -> None:
    try:
        facts = await screen.backend.ask(GetChaos())
        run = screen.run_at()
        if run and not await _has_signal(screen, run):
            run = ""
        screen.app.push_screen(ChaosDialog(screen.backend, facts, run))
    except WfkitError as error:
        screen.notify(str(error), severity="error", markup=False)


async def _has_signal(screen: Frame, run: str) -> bool:
    """Whether a run has got a signal that may come again."""
    records = (await screen.backend.ask(GetHistory(run=run))).records
    return any(isinstance(record.entry, SignalReceived) and record.entry.dedupe is not None for record in records)


async def _last_input(screen: Frame, workflow: str) -> Raw | None:
    """Return the arguments of the run of a workflow that was started last, as a JSON array."""
    last = (await screen.backend.ask(ListRuns(filter=("wf:" + workflow,), limit=1))).runs
    if not last:
        return None
    entry = (await screen.backend.ask(GetHistory(run=last[0].id))).records[0].entry
    return entry.args if isinstance(entry, RunStarted) else None
