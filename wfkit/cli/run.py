"""`wfkit run`: one workflow, here and now, to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Raw

from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.cli.apps import load_workflow, user_output_on_stderr
from wfkit.cli.colours import is_terminal
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.engine import reach
from wfkit.cli.failures import DIVERGED, NO, UsageError, tell
from wfkit.cli.inputs import read_input, telling_how
from wfkit.cli.options import DEFAULT_STORE, Json, OwnStore, with_store
from wfkit.cli.output import note, now, show_json, show_value, stopping
from wfkit.cli.runs.reading import run_members
from wfkit.cli.runs.result import no_result
from wfkit.cli.statuses import shown, word
from wfkit.control.inputs import arguments
from wfkit.control.messages import GetEngine, ListWorkflows
from wfkit.control.opening import reachable
from wfkit.core.commands import CompleteRun, StartChild
from wfkit.core.entries import Blocked, Record
from wfkit.core.failures import blocking_error
from wfkit.core.state import RunState
from wfkit.engine.engine import Engine, running
from wfkit.errors import CodecError, DuplicateRun, JournalLocked, NonDeterminismError, UnknownRun, WfkitError
from wfkit.journal.duckdb import open_journal
from wfkit.replay.explain import now_at

app = make_app()

_ID_BYTES = 10  # as many as an engine gives a run without an id
_LOOK_SECONDS = 0.1
_QUIET_SECONDS = 0.3
"""What takes no longer needs no progress."""
_LINE_SECONDS = 10.0
"""How often progress is told where it cannot be shown in place."""


@app.command(cls=PlainCommand)
def run(
    target: Annotated[
        str, typer.Argument(metavar="APP:WORKFLOW", help="Such as app.py:order or shop.workflows:order.", show_default=False)
    ],
    input: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT",
            help="JSON, or @file, or - for stdin. An object is the only parameter, or parameters by name; an array is "
            "parameters in order; anything else is the only parameter.",
            show_default=False,
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The run's id, random unless given. A run that has it goes on, with its own input if INPUT is left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    store: OwnStore = DEFAULT_STORE,
) -> None:
    """Run one workflow and its children to their end, and print the result as JSON.

    The run is kept in the journal. If it is interrupted, by Ctrl-C or by anything else, the same command with --id goes on
    where it was. Other unfinished runs of the journal are left alone, unless this one attaches to them or signals them.
    """
    registry, workflow = load_workflow(target)
    given = None if input is None else read_input(input)
    run = _Call(target, workflow, registry, store, id)
    with user_output_on_stderr(), _logs_on_stderr(run):
        try:
            blocked = asyncio.run(run.to_end(given))
        except KeyboardInterrupt:
            run.tell_interruption()
            raise
    state, value = _fold(run.records)
    if as_json:
        show_json("result", {"run": run_members(state, now()), "result": value})
    elif value is not None:
        show_value(value)
    if value is not None:
        return
    if blocked is None:
        raise typer.Exit(NO) if as_json else no_result(state, store)
    if not as_json:
        tell(_blocked_error(blocked, state, target, store), debug=False)
    raise typer.Exit(DIVERGED if blocked.code == NonDeterminismError.code else NO)


def _blocked_error(blocked: Blocked, state: RunState, target: str, store: Path) -> WfkitError:
    error = blocking_error(blocked)
    go_on = with_store(f"wfkit run {target} --id {state.id}", store)
    error.help = f"{error.help or 'fix the code'}\n  blocked  nothing is lost; once it is fixed: {go_on}"
    return error


class _Call:
    """One call of the command."""

    def __init__(self, target: str, workflow: Workflow[..., Any], registry: Registry, store: Path, id: str | None) -> None:
        self._target = target
        self._workflow = workflow
        self._registry = registry
        self._store = store
        self.id = id or secrets.token_hex(_ID_BYTES)
        self._named = id is not None
        self.records: list[Record] = []
        """The run's history, as far as it went."""

    async def to_end(self, given: Raw | None) -> Blocked | None:
        """Run until the run and its children have ended. Returns why it is blocked, if that is so."""
        args = None if given is None and self._named else self._arguments(given)
        try:
            journal = await open_journal(self._store)
        except JournalLocked as error:
            error.help = self._elsewhere(given) or error.help
            raise
        async with (
            running(journal, self._registry, all_runs=False) as engine,
            reachable(engine.requests, journal, self._registry, app=self._target),
        ):
            try:
                await self._start(engine, args)
                blocked = await self._await_end(engine)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and engine.steps_in_flight:
                    note(stopping(engine.steps_in_flight))
                with suppress(WfkitError):  # what went wrong first is what counts
                    self.records = await engine.requests.history_of(self.id)
                raise
            self.records = await engine.requests.history_of(self.id)
            return blocked

    def _elsewhere(self, given: Raw | None) -> str:
        """Say how to start the run on the engine that holds the journal; nothing if none answers."""
        try:
            client = reach(self._store, None)
            known = [workflow.name for workflow in client.ask(ListWorkflows()).workflows]
            if self._workflow.name not in known:
                return f"that engine runs {client.ask(GetEngine()).app}, which has no {self._workflow.name}: stop it first"
        except WfkitError:
            return ""
        words = ["wfkit", "start", self._workflow.name, *([] if given is None else [bytes(given).decode()])]
        words += ["--id", self.id] if self._named else []
        return f"start it on the engine that runs: {with_store(shlex.join(words), self._store)}"

    def _arguments(self, given: Raw | None) -> Raw:
        with telling_how(given):
            return arguments(self._workflow, given)

    async def _start(self, engine: Engine, args: Raw | None) -> None:
        """Start the run, or go on with the one of this id."""
        await engine.take_up(self.id)
        if args is None:
            with suppress(UnknownRun):
                known, _ = _fold(await engine.requests.history_of(self.id))
                if known.workflow != self._workflow.name:
                    raise DuplicateRun(f"run id {self.id!r} is in use by workflow {known.workflow!r}")
                return
            try:
                args = self._arguments(None)
            except CodecError as error:
                told = f"there is no run {self.id!r} to go on with; to start it, give INPUT: {error}"
                raise UsageError(told, error.help) from None
        await engine.requests.start_run(self._workflow.name, args, self.id, "attach", None)

    async def _await_end(self, engine: Engine) -> Blocked | None:
        end = asyncio.ensure_future(_end_of_all(engine, self.id))
        try:
            with _progress(self.id) as tell:
                while not end.done():
                    await asyncio.wait([end], timeout=_LOOK_SECONDS)
                    if not end.done():
                        await tell(engine)
                    if await engine.requests.status_of(self.id) == "blocked":
                        blocked = await engine.requests.blocked(self.id)
                        if blocked is not None:
                            return blocked
            await end
        finally:
            end.cancel()
            await asyncio.gather(end, return_exceptions=True)
        return None

    def tell_interruption(self) -> None:
        """Say where the run stands, and how to go on."""
        if not self.records:
            note("interrupted before the run began")
            return
        state, _ = _fold(self.records)
        at = now_at(state, now())
        note(f"interrupted: run {state.id} is {word(state.detail)}" + (f" ({at})" if at else ""))
        if not state.finished:
            note(f"  go on  {with_store(f'wfkit run {self._target} --id {state.id}', self._store)}")


async def _end_of_all(engine: Engine, id: str) -> None:
    """Wait until a run has ended, and every run that it started."""
    await engine.requests.end_of(id)
    for record in await engine.requests.history_of(id):
        for command in record.commands or ():
            if isinstance(command, StartChild):
                with suppress(UnknownRun):
                    await engine.take_up(command.id)
                    await _end_of_all(engine, command.id)


def _fold(records: list[Record]) -> tuple[RunState, Raw | None]:
    """Return the state that records add up to, and the result if the run has completed."""
    state = RunState(0)
    for record in records:
        state.apply(record)
    value = next((command.value for command in records[-1].commands or () if isinstance(command, CompleteRun)), None)
    return state, value


class _Progress:
    """Tells on stderr where a run is: in place on a terminal, otherwise by a line now and then."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._in_place = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        self._due = time.monotonic() + (_QUIET_SECONDS if self._in_place else _LINE_SECONDS)
        self._drawn = False

    async def __call__(self, engine: Engine) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + (1.0 if self._in_place else _LINE_SECONDS)
        state, _ = _fold(await engine.requests.history_of(self._id))
        at = now_at(state, now())
        text = f"{shown(state.detail)}  {state.id}" + (f"  {at}" if at else "")
        if self._in_place:
            self.clear()
            sys.stderr.write(text)
            sys.stderr.flush()
            self._drawn = True
        else:
            note(text)

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._drawn = False


@contextmanager
def _progress(id: str) -> Iterator[_Progress]:
    progress = _Progress(id)
    try:
        yield progress
    finally:
        progress.clear()


@contextmanager
def _logs_on_stderr(call: _Call) -> Iterator[None]:
    """Show what workflows and steps log, and what the engine has to warn of."""
    handler = logging.StreamHandler(sys.stderr)
    # That this run is blocked is what the command ends with.
    handler.addFilter(lambda record: not record.getMessage().startswith(f"run {call.id} is blocked"))
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    runs = logging.getLogger("wfkit.run")
    level, runs.level = runs.level, logging.INFO
    try:
        yield
    finally:
        root.removeHandler(handler)
        runs.setLevel(level)
