"""Recorded against requested: what counts as a divergence, and how it is told.

Kind, number and name of every command must agree, in order. Arguments, durations and ids may differ: a time stamp in an
argument changes no control flow, and what was recorded is what is used. State and registered undos are only shown.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wfkit.core.commands import (
    AwaitSignal,
    CancelRun,
    Command,
    CompleteRun,
    FailRun,
    PublishSignal,
    RegisterUndo,
    RunStep,
    SendSignal,
    SetState,
    StartChild,
    StartTimer,
    StopAwaiting,
    Subscribe,
)
from wfkit.core.durations import display
from wfkit.errors import NonDeterminismError

if TYPE_CHECKING:
    from wfkit.core.machine import Activation, Machine

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_INFORMATIONAL = (SetState, RegisterUndo)


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


def divergence(
    machine: Machine, history: Sequence[Activation], position: int, found: Sequence[Difference], length: int
) -> NonDeterminismError:
    """Tell a divergence: what was recorded and what is requested, the user's line, the likely cause, what to do."""
    wrong = found[-1]
    if machine.sites is None:
        machine.evict()
        wrong_sites = _sites(machine, history[: position + 1])
    else:
        wrong_sites = machine.sites
    start = machine.start
    seq = history[position].seq
    lines = ["history and code disagree", f"  run {start.id}, entry {seq} of {length}"]
    for label, command in (("recorded", wrong.recorded), ("requested", wrong.requested)):
        kind, what = describe(command)
        site = wrong_sites.get(identity(command)) if command is not None and label == "requested" else None
        lines.append(f"    {label:<10} {kind:<7} {what:<14} {site or ''}".rstrip())
    agreed = _last_agreed(history, position, found)
    if agreed is not None:
        (kind, what), entry = describe(agreed[0]), agreed[1]
        lines.append(f"  last agreed  {kind} {what}, entry {entry}")
    lines.append(f"  likely       {_cause(machine, history[position], wrong)}")
    name = wrong.requested and name_of(wrong.requested)
    return NonDeterminismError(
        "\n".join(lines),
        help=f'guard it: if has_patch("{name or "my-change"}"): ...   or bring the old code back',
    )


def _sites(machine: Machine, history: Sequence[Activation]) -> dict[tuple[str, int], str]:
    """Replay once more with the user's lines remembered. Code that changes from one replay to the next may end early."""
    again = type(machine)(machine.code, capture_sites=True)
    try:
        for seq, entry, _ in history:
            again.feed(entry, seq)
    except Exception:  # noqa: BLE001  # the user's code may do anything; the lines known so far will do
        pass
    finally:
        again.evict()
    assert again.sites is not None
    return again.sites


def _last_agreed(history: Sequence[Activation], position: int, found: Sequence[Difference]) -> tuple[Command, int] | None:
    wrong = found[-1]
    seq, _, recorded = history[position]
    agreed = []
    for command in recorded or ():
        if command == wrong.recorded:
            break
        agreed.append(command)
    if agreed and wrong.recorded is not None:
        return agreed[-1], seq
    for seq, _, recorded in reversed(history[:position]):
        shown = [command for command in recorded or () if not isinstance(command, _INFORMATIONAL)]
        if shown:
            return shown[-1], seq
    return None


def _cause(machine: Machine, activation: Activation, wrong: Difference) -> str:
    """Name the likely cause by evidence."""
    start = machine.start
    if start.code and machine.code.code_hash and start.code != machine.code.code_hash:
        if wrong.recorded is None or isinstance(wrong.recorded, CompleteRun | FailRun | CancelRun):
            return f"the code was edited: {_phrase(wrong.requested)} is new at the end"
        return f"the code was edited: {_phrase(wrong.requested)} is new before {_phrase(wrong.recorded)}"
    recorded = Counter(name_of(command) for command in activation.commands or ())
    requested = Counter(name_of(command) for command in machine.commands)
    if len(activation.commands or ()) > 1 and recorded == requested:
        return "only the order differs: iteration over a set, or over objects by their address"
    if start.python and start.python != PYTHON:
        return f"the run was recorded on Python {start.python}, this is {PYTHON}"
    return "a branch on something that differs between executions: a set's order, the environment, a module's state, a clock"


def _phrase(command: Command | None) -> str:
    kind, what = describe(command)
    return f"`{kind} {what}`" if what else f"`{kind}`"
