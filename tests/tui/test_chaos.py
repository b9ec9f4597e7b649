"""The menu that strikes an engine of `wfkit dev`, on a real one in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Raw
from textual.widgets import Static

from tests.cli import app as defined
from tests.dev.developing import Developer, developing
from tests.tui.conftest import LARGE, SMALL, Seen, engine_on, looking
from tests.tui.test_developing import beside_dev
from wfkit.control.client import EngineClient
from wfkit.control.messages import SendSignal, StartRun, Strike

APP = """
from wfkit import Signal, sleep, step, wait_signal, workflow

packed = Signal("packed", str)


@workflow
async def nap(length: str) -> str:
    await sleep(length)
    return "rested"


@workflow
async def parcel() -> list[str]:
    return [await wait_signal(packed), await wait_signal(packed)]
"""


class Dev:
    """`wfkit dev` beside the screens."""

    def __init__(self, developer: Developer, journal: Path) -> None:
        self.developer = developer
        self.journal = journal
        self.ask = EngineClient(journal.with_name("engine.sock")).ask

    def start(self, workflow: str, id: str, value: str = "") -> None:
        self.ask(StartRun(workflow=workflow, id=id, input=Raw(f'["{value}"]'.encode()) if value else Raw(b"[]")))


@contextmanager
def dev(folder: Path, *arguments: str) -> Iterator[Dev]:
    """Run `wfkit dev`; with `--ephemeral` its journal is elsewhere."""
    with developing(folder, "--no-tui", *arguments, app=APP) as developer:
        home = folder
        if "--ephemeral" in arguments:
            home = Path(developer.err.wait_for("export WFKIT_ENGINE=").partition("=")[2])
        yield Dev(developer, home / ".wfkit" / "journal.duckdb")


def hints(seen: Seen) -> list[str]:
    """The command lines that the menu shows."""
    return [str(line.render()).strip() for line in seen.app.screen.query(".hint").results(Static)]


async def open_menu(seen: Seen) -> None:
    await seen.press("exclamation_mark")
    await seen.until("Chaos: inject a fault")


def test_the_menu_kills_the_worker_and_the_feed_tells_of_recovery(tmp_path: Path) -> None:
    """Two keys, and none by itself; the strike is counted in the header."""

    async def test() -> None:
        with dev(tmp_path, "--ephemeral") as engine:
            engine.start("nap", "napper", "2 days")
            async with looking(engine.journal, SMALL) as seen:
                await seen.until("> napper")
                await seen.until(lambda: seen.app.chaos is not None)
                await seen.press("k", "h", "d", "j")
                await open_menu(seen)
                store = f" --store {engine.journal}"
                assert hints(seen) == [f"$ wfkit chaos {fault}{store}" for fault in ("kill", "delay", "dup", "jump")]
                assert "0 faults so far; none are automatic: that is wfkit dev --chaos rough" in seen.text
                await seen.press("k")
                await seen.until("chaos  ⚡ killed the worker, process ")
                await seen.until("chaos  ⚡ recovered ")
                assert "1 run goes on" in seen.text
                assert "⚡ 1" in seen.lines[0]
                assert "Chaos: inject" not in seen.text

    asyncio.run(test())


def test_the_menu_puts_the_clock_forward_and_the_screens_go_with_it(tmp_path: Path) -> None:
    """A sleep of an hour ends; what is told of time is by the engine's clock."""

    async def test() -> None:
        with dev(tmp_path, "--ephemeral") as engine:
            engine.start("nap", "short", "1h")
            async with looking(engine.journal, LARGE) as seen:
                await seen.until("> short")
                await open_menu(seen)
                await seen.press("j")
                await seen.until("✓ completed")
                await seen.until("⚡ 1 fault   clock +1h")
                engine.start("nap", "long", "1h30m")
                await seen.until("in 1h29m")
                await seen.press("6")
                await seen.until("wfkit.chaos  ⚡ the clock went forward by 1h")
                (logged_at,) = [line.split()[0] for line in seen.lines if "wfkit.chaos" in line]
                ahead = time.localtime(time.time() + 3600)
                assert logged_at[:2] in (f"{ahead.tm_hour:02}", f"{(ahead.tm_hour - 1) % 24:02}" if ahead.tm_min == 0 else "")
                logged = [line for line in engine.developer.err.all if "chaos" in line]
                assert logged == ["⚡ chaos: the clock went forward by 1h; it is 1h ahead"]

    asyncio.run(test())


def test_the_menu_delivers_the_last_signal_of_the_selected_run_again(tmp_path: Path) -> None:
    """Of the newest one that has a dedupe id, if the selected run has none."""

    async def test() -> None:
        with dev(tmp_path, "--ephemeral") as engine:
            engine.start("parcel", "one")
            engine.ask(SendSignal(run="one", signal="packed", payload=Raw(b'"box"'), dedupe="scan-1"))
            engine.start("parcel", "two")
            async with looking(engine.journal, LARGE) as seen:
                await seen.until("> two")
                await open_menu(seen)
                assert "d  Deliver the last signal that has a dedupe id again" in seen.text
                await seen.press("escape")
                await seen.until(lambda: "inject a fault" not in seen.text)
                await seen.press("down")
                await seen.until("> one")
                await open_menu(seen)
                assert hints(seen)[2] == f"$ wfkit chaos dup --run one --store {engine.journal}"
                await seen.press("d")
                await seen.until("packed (scan-1) sent to one again: ignored, its id is known")

    asyncio.run(test())


def test_what_cannot_be_is_told_in_the_menu(tmp_path: Path) -> None:
    """The clock of a journal that is kept; the menu says so before, and why after."""

    async def test() -> None:
        with dev(tmp_path, "--chaos", "kill:1h@7") as engine:
            async with looking(engine.journal, SMALL) as seen:
                await seen.until("No runs yet")
                await open_menu(seen)
                assert "(Jump: the clock can only be moved with wfkit dev --ephemeral)" in seen.text
                assert "0 faults so far; automatic: kill:1h@7" in seen.text
                await seen.press("j")
                await seen.until("the clock can only be moved where the journal is deleted")
                await seen.press("d")
                await seen.until("none of the last 50 signals has a dedupe id")
                await seen.press("escape")
                await seen.until(lambda: "inject a fault" not in seen.text)

    asyncio.run(test())


def test_strikes_of_others_are_told_and_counted(tmp_path: Path) -> None:
    """The screens need not have asked for them."""

    async def test() -> None:
        with dev(tmp_path, "--ephemeral") as engine:
            async with looking(engine.journal, SMALL) as seen:
                await seen.until("No runs yet")
                await seen.until(lambda: seen.app.chaos is not None)
                engine.ask(Strike(fault="jump"))
                await seen.until("chaos  ⚡ the clock went forward by 1h; it is 1h ahead")
                engine.ask(Strike(fault="kill"))
                await seen.until("⚡ recovered ")
                engine.ask(Strike(fault="jump"))
                await seen.until("⚡ 3 +2h")

    asyncio.run(test())


def test_an_engine_that_serves_for_real_has_no_menu(journal: Path) -> None:
    """Nor does the help name its key."""

    async def test() -> None:
        async with engine_on(journal) as engine, looking(journal, LARGE) as seen:
            await engine.start(defined.nap, "2 days", id="napper")
            await seen.until("> napper")
            assert not any(one.binding.action == "chaos" and one.enabled for one in seen.app.screen.active_bindings.values())
            await seen.press("exclamation_mark")
            await seen.press("question_mark")
            await seen.until("Esc close")
            assert "Chaos" not in seen.text

    asyncio.run(test())


def test_the_logs_beside_wfkit_dev_tell_every_strike_once(tmp_path: Path) -> None:
    """Though the processes that logged them are gone; and the times are those of the engine's clock."""

    async def test() -> None:
        async with beside_dev(tmp_path, LARGE, app=APP, jumps=True) as seen:
            for number, fault in enumerate(("j", "k", "k"), 1):
                await seen.until("● live")
                await open_menu(seen)
                await seen.press(fault)
                await seen.until(f"⚡ {number} fault")
            await seen.press("6")
            await seen.until(lambda: seen.text.count("chaos: recovered") == 2)
            await seen.until("● live")
            await seen.pilot.pause(1)
            assert seen.text.count("⚡ chaos: killed the worker, process ") == 2
            assert seen.text.count("chaos: the clock went forward") == 1, "besides the note about what was asked for"
            assert "wfkit.chaos" not in seen.text

    asyncio.run(test())
