"""`wfkit runs get`: one run on one page."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.facts import Fact, show_facts
from wfkit.cli.options import DEFAULT_STORE, Engine, Generation, Json, RunName, Store
from wfkit.cli.output import ago, moment, now, rfc3339, show_json, with_near_paths
from wfkit.cli.runs.reading import lasted, run_members
from wfkit.cli.statuses import colour, shown, word
from wfkit.control.messages import GetRun, RunPage
from wfkit.core.entries import RunStarted
from wfkit.replay.explain import error_text, now_at, spell

app = make_app()

SHOWN_MAX = 2_000
"""Characters of a value that a terminal shows."""


@app.command(cls=PlainCommand)
def get(
    run: RunName, generation: Generation = None, as_json: Json = False, store: Store = DEFAULT_STORE, engine: Engine = None
) -> None:
    """Show one run: its workflow, status, input, state, result or error."""
    found = ask(GetRun(run=run, generation=generation), store, engine)
    present = now()
    if as_json:
        show_json("run", {"run": _members(found, present)})
    else:
        show_facts(facts_of(found, present))


def _started(found: RunPage) -> RunStarted:
    entry = found.records[0].entry
    assert isinstance(entry, RunStarted)
    return entry


def _members(found: RunPage, present: int) -> dict[str, Any]:
    started = _started(found)
    return run_members(found.run, present) | {
        "input": started.args,
        "result": found.result,
        "state": found.run.state or {},
        "undo": found.run.undo or [],
        "children": [child.id for child in found.children],
        "code": started.code,
        "python": started.python,
        "patches": list(started.patches),
    }


def facts_of(found: RunPage, present: int) -> list[Fact]:
    state, started = found.run, _started(found)
    facts = [
        Fact("run", state.id),
        Fact("generation", str(state.generation) if state.generation > 1 else ""),
        Fact("workflow", state.workflow),
        Fact("status", shown(state.detail), word(state.detail), colour(state.detail)),
        Fact("now at", "" if state.finished else now_at(state, present)),
        Fact("error", error_text(state.error), colour="red"),
        _raised(state.error.line if state.error is not None else None),
        Fact("not undone", "; ".join(state.saga_failures), colour="red"),
        Fact("dangling", ", ".join(f"#{n}" for n in state.dangling)),
        Fact("started", ago(state.started, present), rfc3339(state.started)),
        Fact("took" if state.finished else "so far", spell(lasted(state, present)), f"{lasted(state, present) / 1e6:.3f}"),
        Fact(
            "times out",
            "" if state.deadline is None else f"after {spell(state.deadline - state.started)}",
            moment(state.deadline),
        ),
        _fact("input", started.args, state.id),
        *([] if found.result is UNSET else [_fact("result", found.result, state.id)]),
    ]
    facts += [_fact(f"state {name}", value, state.id) for name, value in sorted((state.state or {}).items())]
    facts += [
        Fact("undo", ", ".join(state.undo or ())),
        Fact("parent", state.parent.id if state.parent is not None else ""),
        Fact("children", ", ".join(child.id for child in found.children)),
        Fact("records", str(state.seq)),
        Fact("code", f"{started.code}, Python {started.python}"),
    ]
    return facts


def _raised(line: str | None) -> Fact:
    return Fact("raised at", with_near_paths(line or ""), line)


def _fact(label: str, value: Raw, run: str) -> Fact:
    """Return a value as a fact. People get the beginning of a large one."""
    whole = msgspec.json.format(bytes(value), indent=0).decode()
    if len(whole) <= SHOWN_MAX:
        return Fact(label, whole)
    return Fact(label, f"{whole[:SHOWN_MAX]} ... ({len(whole):,} characters, whole: wfkit runs get {run} --json)", whole)
