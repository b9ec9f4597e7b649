"""`wfkit runs why`: what a run waits for, or how it ended."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET

from wfkit.api.definitions import Workflow
from wfkit.cli.colours import paint
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask, is_live
from wfkit.cli.facts import Fact, lines
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, RunName, Store, with_store
from wfkit.cli.output import ago, columns, local, moment, now, on_terminal, show_json, visible, with_near_paths
from wfkit.cli.runs.reading import failure_members, lasted, run_members
from wfkit.cli.statuses import colour, shown, word
from wfkit.control.messages import GetFamily
from wfkit.core.failures import blocking_error
from wfkit.core.retry import DEATHS_MAX, SUSPECT_DEATHS
from wfkit.core.state import RunState
from wfkit.errors import WfkitError
from wfkit.replay.explain import Explanation, Reason, Unread, error_text, explain, now_at, spell, until

app = make_app()

_PIPE_COLUMNS = 10_000  # nothing is cut in a pipe


@app.command(cls=PlainCommand)
def why(
    run: RunName,
    app: Annotated[
        str,
        typer.Option(
            "--app",
            metavar="APP",
            help="Where the workflow's code is, to show its line; as in `wfkit workflows APP`.",
            show_default=False,
        ),
    ] = "",
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Say why a run does not go on: what it waits for and since when, the next retry, the last error, the line of code.

    If the app is at hand, the history is replayed on its code as it is now, without running a step.
    """
    found = ask(GetFamily(run=run), store, engine)
    state, children, top = found.run, found.children, found.top
    code, app, missing = (None, app, "") if state.finished else _code(app, state.workflow)
    told = explain(found.records, code)
    if as_json:
        show_json("why", _members(told, children, checked=code is not None))
        return
    width = columns() if on_terminal() else _PIPE_COLUMNS
    for line in _page(told, children, store, width):
        print(line)
    if code is not None and told.problem is None and state.blocked is not None:
        print("\nOn the code as it is now it goes on.")
    elif missing:
        print(f"\nThe line of code is not shown: {missing}")
    if not state.finished and not is_live(store, engine):
        print("\nNo engine holds the journal, so nothing moves now. To go on:")
        print("  " + with_store(f"wfkit run {app or 'APP'}:{top.workflow} --id {top.id}", store))


def _code(app: str, name: str) -> tuple[Workflow[..., Any] | None, str, str]:
    """Return the workflow as it is now, or None; the app; and why the workflow is not at hand."""
    from wfkit.cli.apps import load
    from wfkit.engine.apps import find_app

    found = app
    try:
        found = app or find_app(workflow=name)
        return load(found).workflow(name), found, ""
    except WfkitError as error:
        if app:
            raise
        first, *_ = str(error).split("\n")
        return None, "", f"{first}. Name the app: --app APP"


def _page(told: Explanation, children: Mapping[str, RunState], store: Path, width: int) -> Iterator[str]:
    state, present = told.state, now()
    since = (
        f"took {spell(lasted(state, present))}, ended {ago(state.updated, present)}"
        if state.finished
        else f"started {ago(state.started, present)}"
    )
    yield f"{paint(shown(state.detail), colour(state.detail), stream=sys.stdout)}  {state.id}  {state.workflow}  {since}"
    for facts in about(told, children, store, present):
        yield ""
        yield from lines([fact for fact in facts if fact.text], width)


def about(told: Explanation, children: Mapping[str, RunState], store: Path, present: int) -> Iterator[list[Fact]]:
    state = told.state
    if state.blocked is not None:
        yield _blocked_facts(told, present)
    elif told.problem is not None:
        yield _problem_facts("the code now", told.problem.code, str(told.problem), told.problem.help)
    if state.finished:
        yield _end_facts(told, store)
    if state.cancelling and not state.finished:
        yield [Fact("cancel", "was requested; its cleanup and compensations run to their end")]
    for reason in told.reasons:
        yield _reason_facts(reason, children, store, present)
    if told.unread:
        yield [Fact("not asked for", f"signal {_unread_text(signal, present)}") for signal in told.unread]


def _blocked_facts(told: Explanation, present: int) -> list[Fact]:
    state = told.state
    assert state.blocked is not None
    since = Fact("since", f"{_when(state.blocked.t, present)}, at entry {state.blocked.at}")
    if told.problem is not None and told.problem.code == state.blocked.code:
        # The same trouble, found again just now: its help is made for this code.
        return [since, *_problem_facts("blocked", told.problem.code, str(told.problem), told.problem.help)]
    error = blocking_error(state.blocked)
    facts = [since, *_problem_facts("blocked", state.blocked.code, str(error), error.help)]
    if told.problem is not None:
        facts += _problem_facts("the code now", told.problem.code, str(told.problem), told.problem.help)
    return facts


def _problem_facts(label: str, code: str, message: str, help: str) -> list[Fact]:
    first, *rest = with_near_paths(message).split("\n")
    facts = [Fact(label, f"[{code}] {first}" if code else first, colour="red")]
    facts += [Fact("", line) for line in rest]
    return [*facts, Fact("help", help)]


def _end_facts(told: Explanation, store: Path) -> list[Fact]:
    state = told.state
    if state.status == "completed":
        facts = [Fact("result", with_store(f"wfkit runs result {state.id}", store))]
    else:
        line = state.error.line if state.error is not None else None
        label = "error" if state.status == "failed" else "reason"
        facts = [Fact(label, error_text(state.error), colour="red"), *_line_facts("raised", line)]
    if told.cause is not None:
        tries = told.cause.attempts
        counted = f", after {told.cause.attempt} attempts" if told.cause.attempt > 1 else ", at its first attempt"
        facts.append(Fact("by step", told.cause.name + counted))
        facts += [Fact("", f"attempt {tried.number}  {error_text(tried.error)}") for tried in tries[:-1]]
        facts += _line_facts("in the step", tries[-1].error.line if tries else None)
    undone = [span.name for span in told.compensations if span.outcome == "completed"]
    facts.append(Fact("undone", ", ".join(undone)))
    facts += [Fact("not undone", failed, colour="red") for failed in state.saga_failures]
    facts.append(Fact("dangling", ", ".join(f"#{n}" for n in state.dangling)))
    facts.append(Fact("more", with_store(f"wfkit runs history {state.id}", store)))
    return facts


def _reason_facts(reason: Reason, children: Mapping[str, RunState], store: Path, present: int) -> list[Fact]:
    waits = Fact("since", _when(reason.since, present))
    due = [] if reason.due is None else [Fact("due", f"{until(reason.due, present)} ({local(reason.due, present)})")]
    facts: list[Fact]
    match reason.kind:
        case "step":
            facts = _step_facts(reason, waits, present)
        case "signal" | "subscription":
            verb = "signal" if reason.kind == "signal" else "published"
            where = "" if reason.where is UNSET else f" with {_json(reason.where)}"
            facts = [Fact("waits for" if verb == "signal" else "buffers", f"{verb} {reason.name}{where}"), waits]
            facts += [Fact("no match", _unread_text(signal, present)) for signal in reason.unmatched]
        case "timer":
            facts = [Fact("waits for", f"timer of {reason.name}"), waits, *due]
        case "child":
            facts = [Fact("waits for", f"child {reason.name}"), waits, *_child_facts(children.get(reason.name), store, present)]
        case "inbox":
            told = f"{'event is' if reason.name == '1' else 'events are'} waiting until the run goes on"
            facts = [Fact("inbox", f"{reason.name} {told}")]
        case "timeout":
            facts = [Fact("times out", f"after {reason.name}: it is cancelled then, and its compensations run"), *due]
    return [*facts, *_line_facts("line", reason.line)]


def _step_facts(reason: Reason, since: Fact, present: int) -> list[Fact]:
    what = "compensation" if reason.compensation else "step"
    of = f"of {reason.attempts_max}" if reason.attempts_max is not None else "of any number"
    facts = [Fact("waits for", f"{what} {reason.name}, attempt {reason.attempt} {of}"), since]
    if reason.uncounted:
        those = "1 attempt does" if reason.uncounted == 1 else f"{reason.uncounted} attempts do"
        facts.append(Fact("", f"{those} not count: the process ended before the step did"))
    if reason.deaths >= SUSPECT_DEATHS:
        end = f"after {DEATHS_MAX} deaths it fails" if reason.attempts_max is not None else "it is tried after longer waits"
        told = f"the process died {reason.deaths} times in a row while it ran. Such steps run one at a time, to find the cause"
        facts.append(Fact("suspect", f"{told}; {end}"))
    if reason.cancelled:
        facts.append(Fact("", "it is being cancelled, and its end is awaited"))
    if reason.due is not None:
        facts.append(Fact("next retry", f"{until(reason.due, present)} ({local(reason.due, present)})"))
    else:
        facts.append(Fact("in flight", "if the engine stops meanwhile, it runs again with the same idempotency key"))
    if reason.error is not None:
        facts += [Fact("last error", error_text(reason.error), colour="red"), *_line_facts("raised", reason.error.line)]
    return facts


def _child_facts(child: RunState | None, store: Path, present: int) -> list[Fact]:
    if child is None:
        return []
    at = now_at(child, present)
    return [
        Fact("it is", f"{word(child.detail)}" + (f": {at}" if at else "")),
        Fact("more", with_store(f"wfkit runs why {child.id}", store)),
    ]


def _line_facts(label: str, line: str | None) -> list[Fact]:
    """Return a place in the user's code as facts: `file:line in function`, and the source of the line."""
    if line is None:
        return []
    file, _, rest = line.rpartition(":")
    number, _, function = rest.partition(" in ")
    source = linecache.getline(file, int(number)).strip() if number.isdecimal() else ""
    path = Path(file)
    shown_path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return [Fact(label, f"{shown_path}:{number} in {function}"), Fact("", f"  {source}" if source else "")]


def _when(us: int, present: int) -> str:
    return f"{ago(us, present)} ({local(us, present)})"


def _unread_text(signal: Unread, present: int) -> str:
    differs = f": {signal.differs}" if signal.differs else ""
    return f"{signal.name} {_json(signal.payload)}, arrived {ago(signal.arrived, present)}{differs}"


def _json(value: Any) -> str:
    text = bytes(value).decode()
    return visible(text if len(text) <= _JSON_CHARS_MAX else text[:_JSON_CHARS_MAX] + "...")


_JSON_CHARS_MAX = 200


def _members(told: Explanation, children: Mapping[str, RunState], *, checked: bool) -> dict[str, Any]:
    present = now()
    return {
        "run": run_members(told.state, present),
        "reasons": [_reason_members(reason, children, present) for reason in told.reasons],
        "unread": [_unread_members(signal) for signal in told.unread],
        "cause": None
        if told.cause is None
        else {"step": told.cause.name, "attempts": told.cause.attempt, "error": failure_members(told.cause.error)},
        "code": {
            "checked": checked,
            "problem": None if told.problem is None else {"code": told.problem.code, "message": str(told.problem)},
        },
    }


def _reason_members(reason: Reason, children: Mapping[str, RunState], present: int) -> dict[str, Any]:
    child = children.get(reason.name) if reason.kind == "child" else None
    return {
        "kind": reason.kind,
        "name": reason.name,
        "n": reason.n,
        "since": moment(reason.since),
        "due": moment(reason.due),
        "attempt": reason.attempt,
        "attempts_max": reason.attempts_max,
        "uncounted": reason.uncounted,
        "deaths": reason.deaths,
        "error": failure_members(reason.error),
        "compensation": reason.compensation,
        "where": reason.where,
        "unmatched": [_unread_members(signal) for signal in reason.unmatched],
        "child": run_members(child, present) if child is not None else None,
        "line": reason.line,
    }


def _unread_members(signal: Unread) -> dict[str, Any]:
    return {
        "name": signal.name,
        "payload": signal.payload,
        "arrived": moment(signal.arrived),
        "differs": signal.differs or None,
    }
