"""The screens beside `wfkit dev`: code that is saved, code that does not load, and a process that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

import pytest
from msgspec import Raw

from tests.cli import app as defined
from tests.dev.developing import APP
from tests.tui.conftest import SMALL, Seen, engine_on, looking
from wfkit.control.messages import ChaosFacts, StartRun, Strike
from wfkit.dev.supervisor import News, Supervisor
from wfkit.errors import EngineUnreachable
from wfkit_tui import backend
from wfkit_tui.supervision import Supervision

BLOCKING = APP.replace("    charged = await", "    await ship('nothing')\n    charged = await")
DEADLY = APP.replace("    return", "    import os\n    print('the wires are crossed')\n    os._exit(3)\n    return", 1)


@pytest.fixture(autouse=True)
def _in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a developer is: so what is told names `app.py` alone."""
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def beside_dev(
    folder: Path, size: tuple[int, int] = SMALL, *, app: str = APP, jumps: bool = False
) -> AsyncIterator[Seen]:
    """Show the screens beside a supervisor that runs `app.py`."""
    file, journal = folder / "app.py", folder / ".wfkit" / "journal.duckdb"
    file.write_text(app, encoding="utf-8")
    news: SimpleQueue[News] = SimpleQueue()
    supervisor = Supervisor(str(file), folder, journal, news.put, jumps=jumps)
    supervising = asyncio.ensure_future(supervisor.run())
    try:
        async with looking(journal, size, supervision=Supervision(news)) as seen:
            await seen.until("● live")
            yield seen
    finally:
        supervisor.stop()
        await supervising


def save(folder: Path, code: str) -> None:
    """Save as editors do: another file takes the place of the old one."""
    written = folder / "app.py~"
    written.write_text(code, encoding="utf-8")
    written.replace(folder / "app.py")


def test_code_that_does_not_load_is_told_until_it_is_mended(tmp_path: Path) -> None:
    """What ran before goes on, and can be looked at; the header counts what has run."""

    async def test() -> None:
        async with beside_dev(tmp_path) as seen:
            await seen.until("app.py v1")
            save(tmp_path, APP + "\ndef broken(:\n")
            line = APP.count("\n") + 2
            await seen.until(f"▲ app.py:{line} SyntaxError: invalid syntax; still running v1")
            assert "● live" in seen.lines[0]
            await seen.press("6")
            await seen.until("refused  error[WF014]")
            await seen.press("1")
            save(tmp_path, APP.replace("v1", "v2"))
            await seen.until("app.py v2")
            assert "still running" not in seen.text
            await seen.until("app.py reloaded in")

    asyncio.run(test())


def test_quit_is_asked_first_since_the_engine_ends_with_the_screens(journal: Path) -> None:
    """While runs are unfinished; of an engine that goes on nothing is asked."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
            for supervision, asks in ((Supervision(SimpleQueue()), True), (None, False)):
                async with looking(journal, supervision=supervision) as seen:
                    await seen.until("◷ 1 waiting")
                    await seen.press("q")
                    assert seen.app.is_running is asks
                    if asks:
                        await seen.until("1 unfinished run goes on at the next start")
                        await seen.press("escape", "ctrl+c")
                        await seen.until("Quit, and stop the engine?")
                        await seen.press("ctrl+c")
                        assert not seen.app.is_running

    asyncio.run(test())


def test_quit_counts_the_unfinished_runs_anew(journal: Path) -> None:
    """What was counted last may have ended since: then nothing is asked."""

    async def test() -> None:
        async with engine_on(journal), looking(journal, supervision=Supervision(SimpleQueue())) as seen:
            await seen.until("No runs yet")
            seen.app.unfinished = 1
            await seen.press("q")
            assert not seen.app.is_running

    asyncio.run(test())


def test_quit_says_that_an_ephemeral_journal_is_deleted(journal: Path) -> None:
    """Its unfinished runs go on at no next start."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
            async with looking(journal, supervision=Supervision(SimpleQueue())) as seen:
                await seen.until("◷ 1 waiting")
                seen.app.chaos = ChaosFacts(profile="", jumps=True, ahead=0, strikes=0, struck=[])
                await seen.press("q")
                await seen.until("1 unfinished run is deleted: the journal is ephemeral")

    asyncio.run(test())


def test_a_save_tells_which_runs_go_on_and_a_blocked_one_shows_why(tmp_path: Path) -> None:
    """What was recorded stands beside what the code requests now."""

    async def test() -> None:
        async with beside_dev(tmp_path) as seen:
            await seen.app.backend.ask(StartRun(workflow="purchase", input=Raw(b'"o-1"'), id="o-1"))
            await seen.until("◷ waiting")
            save(tmp_path, APP.replace("v1", "v2"))
            await seen.until("1 run goes on with it")
            save(tmp_path, BLOCKING)
            await seen.until("1 is blocked")
            await seen.until("▲ blocked")
            await seen.press("enter")
            await seen.until("recorded")
            (titles,) = [line for line in seen.lines if "recorded" in line and "│" in line]
            assert "requested" in titles.split("│")[1]
            (sides,) = [line for line in seen.lines if "step  charge" in line and "│" in line]
            assert "step  ship" in sides.split("│")[1]
            assert any("app.py" in line and "│" in line for line in seen.lines)
            save(tmp_path, APP)
            await seen.until("◷ waiting")
            await seen.until(lambda: "recorded" not in seen.text)

    asyncio.run(test())


def test_an_engine_that_computes_without_end_is_told(tmp_path: Path) -> None:
    """With the line, as soon as it owes an answer for some seconds; a save replaces it."""

    async def test() -> None:
        async with beside_dev(tmp_path, (160, 45)) as seen:
            save(tmp_path, APP.replace("    charged = await", "    while True:\n        pass\n    charged = await"))
            await seen.until("app.py v2")
            asked = asyncio.ensure_future(seen.app.backend.ask(StartRun(workflow="purchase", input=Raw(b'"o-1"'), id="o-1")))
            await seen.until("● silent")
            await seen.until("✗ no answer for ")
            await seen.until("has been computing for")
            save(tmp_path, APP)
            await seen.until("● live  app.py v3")
            assert "no answer" not in seen.text
            with suppress(EngineUnreachable):
                await asked

    asyncio.run(test())


def test_the_next_worker_is_found_as_soon_as_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor tells of it."""

    async def test() -> None:
        async with beside_dev(tmp_path) as seen:
            monkeypatch.setattr(backend, "LOOK_SECONDS", 1_000.0)
            await seen.app.backend.ask(Strike(fault="kill"))
            await seen.until("○ no worker")
            await seen.until("● live")

    asyncio.run(test())


def test_a_process_that_dies_is_told_with_what_it_said_last(tmp_path: Path) -> None:
    """The runs can be looked at meanwhile; what it printed is among the logs, also those from before one looked there."""

    async def test() -> None:
        async with beside_dev(tmp_path) as seen:
            save(tmp_path, DEADLY)
            await seen.until("app.py v2")
            with suppress(EngineUnreachable):  # it may die before it answers
                await seen.app.backend.ask(StartRun(workflow="purchase", input=Raw(b'"o-2"'), id="o-2"))
            await seen.until("✗ the worker ended with status 3; starting another one")
            await seen.until("○ no worker")
            await seen.until("> o-2")
            save(tmp_path, APP)
            await seen.until("● live")
            await seen.until("✓ charge")
            await seen.press("6")
            await seen.until("stdout   the wires are crossed")
            await seen.until("died     the worker ended with status 3")

    asyncio.run(test())
