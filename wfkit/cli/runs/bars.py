"""Draws a history as bars over time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from wfkit.cli.colours import paint
from wfkit.cli.output import columns, visible
from wfkit.cli.statuses import can_show, colour, sign
from wfkit.replay.explain import spell
from wfkit.replay.timeline import Span

_NAME_CELLS_MAX = 32
_BAR_CELLS_MIN = 10
_WAITING = ("timer", "wait", "subscription")
_MARK_CELLS = 10
_SECOND, _MINUTE, _HOUR, _DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_STEPS = (
    *(count * 10**power for power in range(3, 6) for count in (1, 2, 5)),
    *(count * _SECOND for count in (1, 2, 5, 10, 20, 30)),
    *(count * _MINUTE for count in (1, 2, 5, 10, 20, 30)),
    *(count * _HOUR for count in (1, 2, 6, 12)),
    *(count * _DAY for count in (1, 2, 5, 10, 30, 100, 365)),
)
"""Microseconds between two marks on the axis."""
_ASCII = str.maketrans("▏▎▍▌▋▊▉█░✗·", "########.x.")
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def draw(told: Sequence[Span], present: int) -> None:
    """Print one line for each span: sign, name, bar, attempts, length."""
    from rich.cells import cell_len, set_cell_size

    began = told[0].since
    ended = max(told[0].until or present, began + 1)
    names = [("  " if span.compensation else "") + visible(name_of(span)) for span in told]
    name_cells = min(max(map(cell_len, names)), max(_NAME_CELLS_MAX, columns() // 4))
    tails = [f"{tries_of(span):>4} {length_of(span, present):>7}" for span in told]
    bar_cells = max(columns() - name_cells - 4 - max(map(len, tails)) - 1, _BAR_CELLS_MIN)
    print(paint(f"{'':{name_cells + 3}}{axis(ended - began, bar_cells)}", "dim", stream=sys.stdout))
    for span, name, tail in zip(told, names, tails, strict=True):
        shown = name if cell_len(name) <= name_cells else set_cell_size(name, name_cells - 1) + "…"
        line = bar(span, began, ended, present, bar_cells)
        if not can_show(line):
            line = line.translate(_ASCII)
        print(
            paint(sign(span.outcome), colour(span.outcome), stream=sys.stdout),
            set_cell_size(shown, name_cells),
            paint(line, colour(span.outcome), stream=sys.stdout) + " " * (bar_cells - len(line)),
            tail.rstrip(),
        )


def bar(span: Span, began: int, ended: int, present: int, cells: int) -> str:
    """Return a span as a bar between two moments, on so many cells: failed attempts are marked, and waiting is paler."""
    scale = cells / (ended - began)
    start = min((span.since - began) * scale, cells - 1)
    end = min(max((span.until or present) - began, 0) * scale, cells)
    if span.until == span.since:
        return " " * int(start) + "·"
    first = int(start)
    full, rest = divmod(max(round((end - first) * 8), 1), 8)
    fill = "░" if span.kind in _WAITING else "█"
    drawn = list(" " * first + fill * full + (_EIGHTHS[rest] if rest and fill == "█" else fill if rest else ""))
    for tried in span.attempts:
        place = min(int((tried.failed - began) * scale), len(drawn) - 1)
        drawn[place] = "✗"
        waits = tried is span.attempts[-1] and span.outcome == "retrying"
        again = len(drawn) if waits else place if tried.due is None else min(int((tried.due - began) * scale), len(drawn))
        drawn[place + 1 : again] = "░" * (again - place - 1)
    return "".join(drawn)[:cells]


def name_of(span: Span) -> str:
    match span.kind:
        case "run" | "step":
            return span.name
        case "timer":
            return f"timer {span.name}"
        case "cancel":
            return f"cancel requested: {span.name}" if span.name else "cancel requested"
        case _:
            return f"{span.kind} {span.name}"


def tries_of(span: Span) -> str:
    return f"{span.attempt}x" if span.attempt > 1 else ""


def length_of(span: Span, present: int) -> str:
    return "" if span.until == span.since else spell((span.until or present) - span.since)


def axis(length: int, cells: int) -> str:
    """Return marks of time at round numbers, for a length of microseconds on so many cells."""
    step = next((step for step in _STEPS if step * cells >= length * _MARK_CELLS), length)
    line = "0s"
    for mark in range(step, length, step):
        at, text = mark * cells // length, spell(mark)
        if at + len(text) <= cells:
            line = f"{line:<{at}}{text}"
    return line
