"""What became durable, in a line of words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from wfkit.cli.runs.records import one_line
from wfkit.cli.statuses import LOOKS, word
from wfkit.control.messages import FeedEvent
from wfkit.core.commands import (
    CancelRun,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    FailSaga,
    Failure,
    RegisterUndo,
    ReleaseUndos,
    RunStep,
    SetState,
    StartChild,
    StopAwaiting,
)
from wfkit.core.compare import describe
from wfkit.core.entries import (
    Activated,
    ActivationStarted,
    AttemptFailed,
    AttemptStarted,
    Blocked,
    CancelRequested,
    ChildEnded,
    Entry,
    RunStarted,
    RunTerminated,
    SignalPublished,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    Unblocked,
)
from wfkit.core.state import PendingChild, PendingStep, RunState
from wfkit.replay.explain import error_text, spell
from wfkit_tui import ids
from wfkit_tui.drawing import Line, Piece, clock_time

_UNTOLD = (CancelTimer, FailSaga, RegisterUndo, ReleaseUndos, SetState, StopAwaiting)
"""Commands that nothing follows from by itself."""


class Happenings:
    """The latest of what became durable.

    Args:
        lines_max: so many lines are kept.
    """

    def __init__(self, lines_max: int) -> None:
        self.lines: deque[Line] = deque(maxlen=lines_max)
        self._lines_max = lines_max
        self._names: dict[tuple[int, int], str] = {}
        """Of the steps and children that were seen to begin, by the numbers of their run and command."""

    def add(self, events: Sequence[FeedEvent], known: Callable[[int], RunState | None]) -> None:
        """Take over events.

        Args:
            events: in their order.
            known: returns a run as it was before them, by its number.
        """
        untold = len(events) - self._lines_max
        for place, event in enumerate(events):
            name = self._name(event, known)
            for command in event.commands or ():
                if isinstance(command, RunStep | StartChild):
                    self._names[event.run, command.n] = command.name if isinstance(command, RunStep) else command.id
            if place >= untold and (line := _line(event, name)):
                self.lines.append(line)

    def _name(self, event: FeedEvent, known: Callable[[int], RunState | None]) -> str:
        """Return the name of what an entry is about; it is forgotten where the entry ends it."""
        n = getattr(event.entry, "n", None)
        if n is None:
            return ""
        over = isinstance(event.entry, StepCompleted | StepFailed | ChildEnded)
        name = self._names.pop((event.run, n), "") if over else self._names.get((event.run, n), "")
        state = known(event.run)
        pending = state.open.get(n) if state is not None and not name else None
        if isinstance(pending, PendingStep):
            return pending.command.name
        return pending.id if isinstance(pending, PendingChild) else name or f"#{n}"


def _line(event: FeedEvent, name: str) -> Line:
    """Return what happened as a line; empty if it concerns only the engine."""
    words, status = _entry(event.entry, name)
    caused = list(_caused(event.commands or ()))
    if not words and not caused:
        return ()
    return [
        Piece(f" {clock_time(event.entry.t)}  ", "dim"),
        Piece(f"{ids.shown(event.id) if event.id else 'published'}  ", "bold"),
        Piece(words, LOOKS[status].colour if status else ""),
        *caused,
    ]


def _entry(entry: Entry, name: str) -> tuple[str, str]:
    """Return words, and the status whose colour they have."""
    match entry:
        case RunStarted():
            return f"{entry.workflow} started" + (f", generation {entry.generation}" if entry.generation > 1 else ""), ""
        case AttemptStarted():
            return f"{name} attempt {entry.attempt} started", ""
        case AttemptFailed():
            wait = spell(max(entry.due - entry.t, 0))
            return f"✗ {name} attempt {entry.attempt}: {_first_line(entry.error)}, again in {wait}", "retrying"
        case StepCompleted():
            return f"✓ {name} {_short(entry.value)}", "completed"
        case StepFailed():
            return f"✗ {name} failed: {_first_line(entry.error)}", "failed"
        case TimerFired():
            return "timer fired", ""
        case SignalReceived():
            return f"signal {entry.name} {_short(entry.payload)}", ""
        case SignalPublished():
            return f"signal {entry.name} {_short(entry.payload)} for {entry.receivers:,}", ""
        case ChildEnded():
            return f"child {name} {word(entry.status)}", entry.status
        case CancelRequested():
            return "cancel requested" + (f": {entry.reason}" if entry.reason else ""), "cancelled"
        case Blocked():
            first = entry.cause.message.partition("\n")[0]
            return f"▲ blocked: {first}", "blocked"
        case Unblocked():
            return "no longer blocked", "completed"
        case RunTerminated():
            return "■ terminated" + (f": {entry.reason}" if entry.reason else ""), "terminated"
        case Activated() | ActivationStarted():
            return "", ""


def _caused(commands: tuple[Command, ...]) -> Iterator[Piece]:
    """Yield how the run ended, or what it asks for next."""
    asked = []
    for command in commands:
        match command:
            case CompleteRun():
                yield Piece("  ✓ completed", "bold green")
            case FailRun():
                yield Piece(f"  ✗ failed: {_first_line(command.error)}", "bold red")
            case CancelRun():
                yield Piece("  ⊘ cancelled", "bold yellow")
            case _ if not isinstance(command, _UNTOLD):
                kind, what = describe(command)
                asked.append(what if kind == "step" else f"{kind} {what}")
            case _:
                pass
    if asked:
        more = f" and {len(asked) - 3:,} more" if len(asked) > 3 else ""
        yield Piece(f"  → {', '.join(asked[:3])}{more}", "dim")


def _first_line(error: Failure | None) -> str:
    return error_text(error).partition("\n")[0]


def _short(value: msgspec.Raw) -> str:
    text = one_line(value)
    return "" if text == "null" else text
