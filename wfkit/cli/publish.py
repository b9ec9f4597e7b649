"""`wfkit publish`: a signal to whoever waits for it."""

from __future__ import annotations

from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import act, new_id
from wfkit.cli.inputs import read_input
from wfkit.cli.options import DEFAULT_STORE, Dedupe, Engine, Payload, SignalName, Store
from wfkit.cli.output import note
from wfkit.control.messages import PublishSignal

app = make_app()


@app.command(cls=PlainCommand)
def publish(
    signal: SignalName,
    payload: Payload = "null",
    dedupe: Dedupe = None,
    store: Store = DEFAULT_STORE,
    engine: Engine = None,
) -> None:
    """Publish a signal on the engine that is running. It is durable when the command ends.

    Every run gets it that waits for it or has subscribed, and workflows with `on=` are started by it.
    """
    value = read_input(payload)
    act(PublishSignal(signal=signal, payload=value, dedupe=dedupe or new_id()), store, engine)
    note(f"published {signal}; who took it: wfkit signals {signal}")
