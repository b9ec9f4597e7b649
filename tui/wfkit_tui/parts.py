"""What there is to say about a part of a run: a span of its history, or a single record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
from msgspec import UNSET

from wfkit.cli.facts import Fact
from wfkit.cli.output import near
from wfkit.cli.runs.history import CROWD
from wfkit.cli.statuses import word
from wfkit.control.messages import RunPage
from wfkit.core.commands import Json, RunStep
from wfkit.core.entries import Record, RunStarted
from wfkit.replay.explain import error_text, spell, until
from wfkit.replay.timeline import Outcome, Span, fold, spans
from wfkit_tui.drawing import Line, Piece, clock_time, counted, fact_lines, json_lines


def told(page: RunPage) -> list[Span]:
    """Return the spans of a run. The run itself has the status that it has everywhere else."""
    found = fold(spans(page.records), CROWD)
    found[0].outcome = cast("Outcome", page.run.detail)
    return found


def span_lines(records: Sequence[Record], span: Span, present: int, width: int) -> list[Line]:
    """Return the lines that tell of a span.

    Args:
        records: the history that it is of.
        span: what is told of.
        present: microseconds UTC.
        width: cells of a line.
    """
    asked = _asked(records, span)
    lines = list(fact_lines(list(_facts(records, span, asked, present)), width))
    for title, value in _values(records, span, asked):
        if value is not UNSET:
            lines += [[Piece(f" {title}", "dim")], *json_lines(value, "   ", width)]
    return lines


def record_lines(record: Record, width: int) -> Sequence[Line]:
    """Return a record as JSON, with the commands that it caused."""
    return json_lines(msgspec.Raw(msgspec.json.encode(record)), " ", width)


def _asked(records: Sequence[Record], span: Span) -> RunStep | None:
    """Return the command by which the code asked for a step."""
    commands = records[span.records[0] - 1].commands or ()
    return next((command for command in commands if isinstance(command, RunStep) and command.n == span.n), None)


def _facts(records: Sequence[Record], span: Span, asked: RunStep | None, present: int) -> Iterator[Fact]:
    began = records[0].entry.t
    if span.kind != "run":  # what it is, and how it stands, is told of the whole
        yield Fact("is", f"{span.kind}" + (f" number {span.n}" if span.n is not None else ""))
        yield Fact("status", f"{word(span.outcome)}" + (", compensation" if span.compensation else ""))
    yield Fact("began", clock_time(span.since) + (f", at +{spell(span.since - began)}" if span.kind != "run" else ""))
    if span.kind != "run":
        yield Fact("took" if span.until is not None else "so far", spell((span.until or present) - span.since))
    yield Fact("due", until(span.due, present) if span.due is not None else "")
    for tried in span.attempts:
        retry = f", next after {spell(tried.due - tried.failed)}" if tried.due is not None else ""
        at = f"+{spell(tried.failed - began)}"
        yield Fact(f"attempt {tried.number}", f"{at} {error_text(tried.error)}{retry}", colour="red")
        yield Fact("", near(tried.error.line or ""))
    if span.kind == "step" and span.until is not None and span.outcome == "completed":
        yield Fact(f"attempt {span.attempt}", f"+{spell(span.until - began)} completed", colour="green")
    if asked is not None:
        most = asked.retry.max_attempts
        yield Fact("policy", f"{counted(most, 'attempt') if most else 'any number of attempts'}, {spell(asked.timeout)} each")
        yield Fact("key", asked.key)
    if span.error is not None and not span.attempts and span.kind != "run":
        yield Fact("error", error_text(span.error), colour="red")
        yield Fact("raised", near(span.error.line or ""))
    yield Fact("entries", ", ".join(f"#{seq}" for seq in span.records))


def _values(records: Sequence[Record], span: Span, asked: RunStep | None) -> Iterator[tuple[str, Json]]:
    """Yield the title of each value, and the value; unset where there is none yet."""
    yield "where", span.where
    if asked is not None:
        yield "arguments", asked.args
    started = records[0].entry
    if span.kind == "run" and isinstance(started, RunStarted):
        yield "input", started.args
    if span.kind != "run":
        yield "payload" if span.kind in ("signal", "send", "publish", "wait") else "result", span.value
