"""`wfkit publish`: a signal to whoever waits for it."""

from __future__ import annotations

from difflib import get_close_matches

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act
from wfkit.cli.inputs import read_input
from wfkit.cli.options import DEFAULT_STORE, Dedupe, Engine, Json, Payload, SignalName, Store
from wfkit.cli.output import note, show_json
from wfkit.control.messages import ListWorkflows, PublishSignal
from wfkit.control.patience import new_id

app = make_app()


@app.command(cls=PlainCommand)
def publish(
    signal: SignalName,
    payload: Payload = "null",
    dedupe: Dedupe = None,
    as_json: Json = False,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Publish a signal on the engine that is running. It is durable when the command ends.

    Every run gets it that waits for it or has subscribed, and workflows with `on=` are started by it. A payload that no code
    could take is refused.
    """
    value = read_input(payload, "PAYLOAD")
    dedupe = new_id() if dedupe is None else dedupe
    act(PublishSignal(signal=signal, payload=value, dedupe=dedupe), store, engine)
    if as_json:
        show_json("published", {"signal": signal, "dedupe": dedupe})
    else:
        known = {one.name for workflow in act(ListWorkflows(), store, engine).workflows for one in workflow.signals}
        near = get_close_matches(signal, known - {signal}, n=1) if signal not in known else []
        meant = f" (did you mean {near[0]}?)" if near else ""
        note(f"published {signal}{meant}; who took it: wfkit signals {signal}")
