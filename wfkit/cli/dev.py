"""`wfkit dev`: an engine that follows the code as it is edited."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from wfkit.cli.colours import Colour, is_terminal, paint
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, Store
from wfkit.cli.output import note

if TYPE_CHECKING:
    from wfkit.dev.supervisor import News, Supervisor

app = make_app()

Screen: TypeAlias = Callable[[Path, "asyncio.Queue[News]"], Coroutine[Any, Any, None]]
"""Shows an engine, by its journal, and what its supervisor has to tell; returns when the user leaves."""

_COLOURS: dict[str, Colour] = {
    "started": "green",
    "reloaded": "green",
    "goes on": "green",
    "refused": "red",
    "blocked": "yellow",
    "died": "red",
}


@app.command(cls=PlainCommand)
def dev(
    app: Annotated[
        str,
        typer.Argument(metavar="APP", help="file.py or package.module; otherwise the only one here.", show_default=False),
    ] = "",
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep the journal in a temporary folder, and delete it at the end.")
    ] = False,
    no_tui: Annotated[bool, typer.Option("--no-tui", help="Print lines, also on a terminal.")] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Run an app's workflows while you edit them, until Ctrl-C.

    Saving a Python file loads the code anew, and tries it on the runs in flight: those that go on with it do, others are
    blocked, and told with the difference. Code that does not load changes nothing: what ran before keeps running. The code
    has a process of its own, which is started again when it dies.

    What the code prints is printed; what there is to say beside that goes to stderr. Other commands reach the engine as
    they reach that of `wfkit serve`.
    """
    from wfkit.engine.apps import code_folder, find_app

    if ephemeral and store != DEFAULT_STORE:
        raise UsageError("--ephemeral keeps the journal in a folder of its own", "leave out --store, or --ephemeral")
    if not app:
        app = find_app()
        note(f"found {app}")
    folder = code_folder(app)
    with _temporary_store() if ephemeral else contextlib.nullcontext(store) as journal:
        asyncio.run(_dev(app, folder, journal, None if no_tui else _find_screen()))


@contextlib.contextmanager
def _temporary_store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wfkit-dev-") as name:
        note(f"the journal is deleted at the end; for other commands: export WFKIT_ENGINE={name}")
        yield Path(name) / DEFAULT_STORE


def _find_screen() -> Screen | None:
    """Return the screen, if stdout is a terminal and it is installed."""
    if not is_terminal(sys.stdout):
        return None
    try:
        screen: Screen | None = getattr(import_module("wfkit_tui"), "show_dev", None)
    except ImportError:
        return None
    return screen


async def _dev(app: str, folder: Path, store: Path, screen: Screen | None) -> None:
    from wfkit.dev.supervisor import Supervisor

    news: asyncio.Queue[News] = asyncio.Queue()
    supervisor = Supervisor(app, folder, store, _print if screen is None else news.put_nowait)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    if screen is None:
        note(f"code in {folder} is loaded anew when it is saved; Ctrl-C stops")
        await supervisor.run()
        note("stopped")
    else:
        await _beside_screen(supervisor, screen(store, news))


async def _beside_screen(supervisor: Supervisor, showing: Coroutine[Any, Any, None]) -> None:
    """Supervise until the screen is left; leave it when that ends first."""
    shown = asyncio.ensure_future(showing)
    shown.add_done_callback(lambda _: supervisor.stop())
    try:
        await supervisor.run()
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
    if not shown.cancelled():
        shown.result()


def _print(news: News) -> None:
    if news.kind == "stdout":
        print(news.text, flush=True)
    elif news.kind == "stderr":
        note(news.text)
    else:
        first, *rest = news.text.split("\n")
        colour = _COLOURS.get(news.kind)
        note("\n".join([first if colour is None else paint(first, colour, stream=sys.stderr), *rest]))
