"""`wfkit signals`: signals that came, and waits for some."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from msgspec import UNSET

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import ask
from wfkit.cli.options import DEFAULT_STORE, Engine, Json, Limit, NdJson, Store
from wfkit.cli.output import Column, ago, moment, note, rfc3339, show_json, show_lines, show_table
from wfkit.control.messages import ListSignals, SignalAwaited, SignalSeen

app = make_app()


@app.command(cls=PlainCommand)
def signals(
    name: Annotated[str, typer.Argument(metavar="SIGNAL", help="Only those of this name.", show_default=False)] = "",
    waits: Annotated[bool, typer.Option("--waits", help="Show who waits for signals, not what came.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
    as_lines: NdJson = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Show signals that were sent or published, the latest first; or, with --waits, open waits and subscriptions.

    In a pipe: time, signal, run or how many runs took it, payload, dedupe id. With --waits: since, signal, run,
    workflow, where.
    """
    found = ask(ListSignals(name=name, limit=limit), store, engine)
    if as_json:
        seen = [_members(signal) for signal in found.signals]
        show_json("signals", {"signals": seen, "waits": [_wait_members(wait) for wait in found.awaited]})
    elif as_lines:
        show_lines(map(_wait_members, found.awaited) if waits else map(_members, found.signals))
    elif waits:
        show_table(found.awaited, _WAITS)
    else:
        show_table(found.signals, _SEEN)
    if not as_json and not (found.awaited if waits else found.signals):
        note(f"no run waits for {name or 'a signal'}" if waits else f"no signal {name} yet".replace("  ", " "))


def receiver(signal: SignalSeen) -> str:
    if signal.run is not None:
        return signal.run
    return "nobody took it" if not signal.receivers else f"{signal.receivers:,} runs" if signal.receivers > 1 else "1 run"


def _members(signal: SignalSeen) -> dict[str, Any]:
    return {
        "t": moment(signal.t),
        "signal": signal.name,
        "payload": signal.payload,
        "run": signal.run,
        "published": signal.published,
        "receivers": signal.receivers,
        "dedupe": signal.dedupe,
    }


def _wait_members(wait: SignalAwaited) -> dict[str, Any]:
    return {
        "since": moment(wait.since),
        "signal": wait.name,
        "run": wait.run,
        "workflow": wait.workflow,
        "where": wait.where,
        "subscription": wait.subscription,
    }


def json_text(value: Any) -> str:
    return "" if value is UNSET else bytes(value).decode()


_SEEN: list[Column[SignalSeen]] = [
    Column("AT", lambda signal: ago(signal.t), lambda signal: rfc3339(signal.t), right=True, rank=1),
    Column("SIGNAL", lambda signal: signal.name),
    Column("TO", receiver),
    Column("PAYLOAD", lambda signal: json_text(signal.payload), cut=True),
    Column("DEDUPE", lambda signal: signal.dedupe or "", cut=True, rank=2),
]

_WAITS: list[Column[SignalAwaited]] = [
    Column("SINCE", lambda wait: ago(wait.since), lambda wait: rfc3339(wait.since), right=True, rank=1),
    Column("SIGNAL", lambda wait: wait.name + (" (subscribed)" if wait.subscription else ""), lambda wait: wait.name),
    Column("RUN", lambda wait: wait.run),
    Column("WORKFLOW", lambda wait: wait.workflow, cut=True, rank=2),
    Column("WHERE", lambda wait: json_text(wait.where), cut=True),
]
