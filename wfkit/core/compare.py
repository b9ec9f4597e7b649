"""Recorded against requested: what counts as a divergence, and how it is told.

Kind, number and name of every command must agree, in order. Arguments, durations and ids may differ: a time stamp in an
argument changes no control flow, and what was recorded is what is used. State and registered undos are only shown.
"""

from __future__ import annotations

import contextlib
import dis
import inspect
import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, NamedTuple

from wfkit.core.commands import (
    AwaitSignal,
    CancelRun,
    Command,
    CompleteRun,
    FailRun,
    FailSaga,
    PublishSignal,
    RegisterUndo,
    ReleaseUndos,
    RunStep,
    SendSignal,
    SetState,
    StartChild,
    StartTimer,
    StopAwaiting,
    Subscribe,
)
from wfkit.core.durations import display
from wfkit.core.names import closed_over, nested
from wfkit.errors import NonDeterminismError

if TYPE_CHECKING:
    from wfkit.core.machine import Activation, Machine

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_INFORMATIONAL = (SetState, RegisterUndo, ReleaseUndos, FailSaga)


class Difference(NamedTuple):
    """One command on which history and code do not agree. None stands for no command at all."""

    seq: int
    """Number of the entry whose activation holds it."""
    recorded: Command | None
    requested: Command | None
    breaks: bool
    """It changes control flow: the run cannot go on."""


def identity(command: Command) -> tuple[str, int]:
    """Return what names a command within its run: its kind and number."""
    return type(command).__name__, getattr(command, "n", 0)


def name_of(command: Command) -> str:
    """Return what a command is about: the step, signal or workflow, if it has one."""
    match command:
        case RunStep() | AwaitSignal() | Subscribe() | SendSignal() | PublishSignal():
            return command.name
        case StartChild():
            return command.workflow
        case StopAwaiting(took=int() as took):
            return f"took entry {took}"
        case _:
            return ""


_WORDS = {
    "RunStep": "step",
    "CancelStep": "cancel step",
    "StartTimer": "timer",
    "CancelTimer": "cancel timer",
    "AwaitSignal": "wait for",
    "Subscribe": "subscribe",
    "StopAwaiting": "stop waiting",
    "SendSignal": "send",
    "PublishSignal": "publish",
    "StartChild": "child",
    "CancelChild": "cancel child",
    "CompleteRun": "complete",
    "FailRun": "fail",
    "CancelRun": "cancel",
    "SetState": "set state",
    "RegisterUndo": "register undo",
    "ReleaseUndos": "release undos",
    "FailSaga": "fail saga",
}


def describe(command: Command | None) -> tuple[str, str]:
    """Return two words for a command: what it does and to what."""
    if command is None:
        return "nothing", ""
    what = display(command.delay) if isinstance(command, StartTimer) else name_of(command)
    if not what and hasattr(command, "n"):
        what = f"#{command.n}"
    return _WORDS[type(command).__name__], what


def differences(recorded: Sequence[Command], requested: Sequence[Command], seq: int) -> list[Difference]:
    """Compare the commands of one activation; the first difference that breaks ends the list."""
    old = [command for command in recorded if not isinstance(command, _INFORMATIONAL)]
    new = [command for command in requested if not isinstance(command, _INFORMATIONAL)]
    found: list[Difference] = []
    for index in range(max(len(old), len(new))):
        was = old[index] if index < len(old) else None
        now = new[index] if index < len(new) else None
        if was == now:
            continue
        breaks = was is None or now is None or identity(was) != identity(now) or name_of(was) != name_of(now)
        found.append(Difference(seq, was, now, breaks))
        if breaks:
            break
    return found


def divergence(machine: Machine, history: Sequence[Activation], wrong: Difference, length: int) -> NonDeterminismError:
    """Tell a divergence: what was recorded and what is requested, the user's line, the likely cause, what to do."""
    position = next(index for index, activation in enumerate(history) if activation.seq == wrong.seq)
    machine.evict()
    sites = machine.sites if machine.sites is not None else _sites(machine, history[: position + 1])
    table = [("  recorded", wrong.recorded, _only_line_naming(machine.code.fn, wrong.recorded))]
    requested_at = sites.get(identity(wrong.requested), "") if wrong.requested is not None else ""
    table.append(("  requested", wrong.requested, "  in ".join(requested_at.rsplit(" in ", 1))))
    if (agreed := _last_agreed(history, position, wrong)) is not None:
        table.append(("last agreed", agreed[0], f"entry {agreed[1]}"))
    words = [(label, *describe(command), note) for label, command, note in table]
    kinds, whats = max(len(kind) for _, kind, _, _ in words), max(12, *(len(what) for _, _, what, _ in words))
    lines = ["history and code disagree", f"  run {machine.start.id}, entry {history[position].seq} of {length}"]
    lines += [f"  {label:<11}  {kind:<{kinds}}  {what:<{whats}}  {note}".rstrip() for label, kind, what, note in words]
    lines.append(f"  {'likely':<11}  {_cause(machine, history[position:], wrong)}")
    name = wrong.requested and name_of(wrong.requested)
    return NonDeterminismError(
        "\n".join(lines),
        help=f'guard it: if has_patch("{name or "my-change"}"): ...    or restore the old code until this run has ended',
    )


def _sites(machine: Machine, history: Sequence[Activation]) -> dict[tuple[str, int], str]:
    """Replay once more with the user's lines remembered. Code that changes from one replay to the next may end early."""
    again = type(machine)(machine.code, capture_sites=True)
    try:
        with contextlib.suppress(Exception):
            for seq, entry, _ in history:
                again.feed(entry, seq)
    finally:
        again.evict()
    assert again.sites is not None
    return again.sites


def _last_agreed(history: Sequence[Activation], position: int, wrong: Difference) -> tuple[Command, int] | None:
    """Return the last command before the difference, and the number of its entry."""
    for seq, _, recorded in reversed(history[: position + 1]):
        shown = [command for command in recorded or () if not isinstance(command, _INFORMATIONAL)]
        if seq == wrong.seq and wrong.recorded in shown:
            shown = shown[: shown.index(wrong.recorded)]
        if shown:
            return shown[-1], seq
    return None


def _only_line_naming(fn: Callable[..., object], command: Command | None) -> str:
    """Return the line of a workflow that names the step, signal or child of a command, if there is exactly one."""
    name = name_of(command) if command is not None else ""
    fn = inspect.unwrap(fn)
    if not name or not isinstance(fn, FunctionType):
        return ""
    things = {**fn.__globals__, **closed_over(fn)}
    lines = {
        instruction.positions.lineno
        for code in nested(fn.__code__)
        for instruction in dis.get_instructions(code)
        if isinstance(instruction.argval, str)
        and instruction.positions is not None
        and getattr(things.get(instruction.argval), "name", None) == name
    }
    return f"{fn.__code__.co_filename}:{lines.pop()}" if len(lines) == 1 else ""


def _cause(machine: Machine, ahead: Sequence[Activation], wrong: Difference) -> str:
    """Name the likely cause by evidence. `ahead` is the history from the difference on."""
    start = machine.start
    ending = CompleteRun | FailRun | CancelRun
    known = {name_of(command) for _, _, commands in ahead for command in commands or ()} - {""}
    recorded_later = wrong.requested is not None and name_of(wrong.requested) in known
    if start.code and machine.code.code_hash and start.code != machine.code.code_hash:
        if wrong.recorded is None or (isinstance(wrong.recorded, ending) and wrong.requested is not None):
            return f"the code was edited: {_phrase(wrong.requested)} is new at the end"
        if wrong.requested is None or isinstance(wrong.requested, ending):
            return f"the code was edited: {_phrase(wrong.recorded)} is gone"
        if recorded_later:
            return f"the code was edited: {_phrase(wrong.recorded)} is gone from before {_phrase(wrong.requested)}"
        return f"the code was edited: {_phrase(wrong.requested)} is new before {_phrase(wrong.recorded)}"
    if start.python and start.python != PYTHON:
        return f"the run was recorded on Python {start.python}, this is {PYTHON}"
    if recorded_later:
        return "only the order differs: iteration over a set, or over objects by their address"
    return "a branch on something that differs between executions: a set's order, the environment, a module's state, a clock"


def _phrase(command: Command | None) -> str:
    kind, what = describe(command)
    return f"`{what if isinstance(command, RunStep | StartChild) else f'{kind} {what}'.strip()}`"
