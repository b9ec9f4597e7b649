"""`wfkit dev`: an engine that follows the code as it is edited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wfkit.cli.colours import Colour, is_terminal, paint
from wfkit.cli.commands import PlainCommand, make_app
from wfkit.cli.failures import UsageError
from wfkit.cli.options import DEFAULT_STORE, OwnStore
from wfkit.cli.output import note, with_near_paths
from wfkit.cli.ui import GROUP, Theme
from wfkit.control.address import succession

if TYPE_CHECKING:
    from wfkit.dev.chaos import Profile
    from wfkit.dev.supervisor import News, Supervisor

app = make_app()

Screens: TypeAlias = Callable[..., int]
"""`wfkit_tui.app.main`."""
_KEPT = 200
"""So many lines are kept while screens are shown, to be told when they are left."""

_COLOURS: dict[str, Colour] = {
    "started": "green",
    "reloaded": "green",
    "goes on": "green",
    "refused": "red",
    "blocked": "yellow",
    "died": "red",
    "chaos": "magenta",
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
    no_tui: Annotated[bool, typer.Option("--no-tui", help="Print lines instead of showing screens.")] = False,
    ascii: Annotated[bool, typer.Option("--ascii", help="Show no character that is not ASCII on the screens.")] = False,
    theme: Theme = None,
    chaos: Annotated[
        str,
        typer.Option(
            "--chaos",
            metavar="PROFILE",
            show_default=False,
            help="Strike it with faults: calm, rough or storm, or a list such as kill:20s,delay:5s,dup:10s,jump:1m; "
            "with @SEED the same ones again.",
        ),
    ] = "",
    store: OwnStore = DEFAULT_STORE,
) -> None:
    """Run an app's workflows while you edit them, until Ctrl-C.

    Saving a Python file reloads the code and replays the runs in flight on it. A run that does not fit the new code is
    blocked, and the difference is shown. Code that does not load changes nothing: what ran before keeps running. Your code
    runs in its own process. If it crashes it is restarted at once; if it hangs, at the next save.

    With --chaos that process is killed now and then, results of steps come late, signals come twice, and, if the journal
    is ephemeral, the clock jumps forward: each fault is shown, and every run goes on all the same. wfkit chaos injects one
    now.

    What the code prints goes to stdout, everything else to stderr. Other commands reach the engine as they reach that of
    `wfkit serve`.
    """
    from wfkit.engine.apps import code_folder, find_app

    if ephemeral and store != DEFAULT_STORE:
        raise UsageError("--ephemeral keeps the journal in a folder of its own", "leave out --store, or --ephemeral")
    if not app:
        app = find_app()
        note(f"found {app}")
    folder = code_folder(app)
    profile = _parse_profile(chaos, ephemeral) if chaos else None
    screens = None if no_tui else _find_screens()
    with _temporary_store() if ephemeral else contextlib.nullcontext(store) as journal, succession(journal.parent):
        supervisor = partial(_supervisor, app, folder, journal, profile, ephemeral)
        if screens is None:
            asyncio.run(_dev(supervisor, folder))
        else:
            _dev_beside(partial(screens, ascii=ascii, theme=theme or ""), supervisor, journal)


def _parse_profile(text: str, ephemeral: bool) -> Profile:
    from wfkit.dev.chaos import PROFILES, parse_profile

    profile = parse_profile(text, jumps=ephemeral)
    note(f"chaos {profile}: {profile.spelled()}; to have it again: --chaos {profile}")
    if profile.name in PROFILES and "jump" not in profile.every:
        note("the clock is not moved: that takes --ephemeral")
    return profile


def _supervisor(
    app: str, folder: Path, store: Path, profile: Profile | None, ephemeral: bool, tell: Callable[[News], None]
) -> Supervisor:
    from wfkit.dev.supervisor import Supervisor

    return Supervisor(app, folder, store, tell, profile, jumps=ephemeral)


@contextlib.contextmanager
def _temporary_store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wfkit-dev-") as name:
        note(f"the journal is deleted at the end; for other commands: export WFKIT_ENGINE={name}")
        yield Path(name) / DEFAULT_STORE


async def _dev(make: Callable[[Callable[[News], None]], Supervisor], folder: Path) -> None:
    supervisor = make(_print)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    note(f"code in {folder} is reloaded when it is saved; Ctrl-C stops")
    await supervisor.run()
    note("stopped")


# -- beside screens ------------------------------------------------------------------------------------------------------


def _find_screens() -> Screens | None:
    """Return the screens, if they are installed and this is a terminal that shows them."""
    if not all(map(is_terminal, (sys.stdin, sys.stdout, sys.stderr))) or os.environ.get("TERM") == "dumb":
        return None
    found = next(iter(entry_points(group=GROUP)), None)
    screens: Screens | None = None if found is None else found.load()
    return screens


def _dev_beside(screens: Screens, make: Callable[[Callable[[News], None]], Supervisor], store: Path) -> None:
    """Supervise in a thread until the user leaves the screens; then tell what was not told while they were shown."""
    told: deque[News] = deque(maxlen=_KEPT)
    shown: SimpleQueue[News] = SimpleQueue()
    settled = Event()  # something runs, or it is known why nothing does
    begun = Event()  # it can be stopped

    def tell(news: News) -> None:
        told.append(news)
        shown.put(news)
        if news.kind in ("started", "refused"):
            settled.set()

    async def supervise() -> None:
        supervisor = make(tell)
        running.append((asyncio.get_running_loop(), supervisor))
        begun.set()
        await supervisor.run()

    running: list[tuple[asyncio.AbstractEventLoop, Supervisor]] = []
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C, so that nothing is left behind; the screens take them over
        signal.signal(number, signal.default_int_handler)
    with ThreadPoolExecutor(1, thread_name_prefix="wfkit-dev") as threads:
        supervising = threads.submit(asyncio.run, supervise())
        supervising.add_done_callback(lambda _: begun.set())
        supervising.add_done_callback(lambda _: settled.set())
        try:
            settled.wait()
            if not supervising.done() and (status := screens(store, None, news=shown)):
                raise typer.Exit(status)
        finally:
            begun.wait()
            if not supervising.done():
                loop, supervisor = running[0]
                loop.call_soon_threadsafe(supervisor.stop)
            try:
                supervising.result()
            finally:
                for news in told:
                    _print(news)


def _print(news: News) -> None:
    if news.kind == "stdout":
        print(news.text, flush=True)
    elif news.kind == "stderr":
        note(news.text)
    else:
        first, *rest = with_near_paths(news.text).split("\n")
        colour = _COLOURS.get(news.kind)
        note("\n".join([first if colour is None else paint(first, colour, stream=sys.stderr), *rest]))
