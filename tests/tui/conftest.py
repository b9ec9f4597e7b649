"""The screens on real engines: one that stands for all tests that only look, and one of its own for each that acts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual import _wait
from textual.pilot import Pilot
from textual.widget import Widget

from tests.cli import app as defined
from wfkit.api.definitions import Workflow
from wfkit.api.registry import Registry
from wfkit.control.logs import all_logs
from wfkit.control.server import serving
from wfkit.engine.engine import Engine, running
from wfkit.journal.duckdb import open_journal
from wfkit_tui.app import WfkitApp
from wfkit_tui.backend import Backend
from wfkit_tui.widgets.table import Table

SECONDS_MAX = 30.0
"""On a busy machine: nothing takes so long that goes well."""
SMALL = (80, 24)
LARGE = (160, 45)
IDLE_S = 0.005
"""How long the app must be idle before the next key: a pilot waits three times a key. Textual has 20 ms."""
EXPECTED = {
    "undo-1": "compensating",
    "parcel-1": "retrying",
    "family-1": "waiting",
    "mistaken-1": "blocked",
    "pay-declined": "failed",
    "pay-flaky": "completed",
    "napper": "cancelled",
    "pack-7": "waiting",
    "batch-30": "completed",
}
"""Runs of the standing engine, and what each comes to."""


class Seen:
    """The app under test, with what a user does and sees."""

    def __init__(self, app: WfkitApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Type a text."""
        names = {" ": "space", "\n": "enter"}
        await self.pilot.press(*(names.get(char, char) for char in text))
        await self.pilot.pause()

    async def until(self, shows: str | Callable[[], bool]) -> None:
        """Wait until the screen shows a text, or until something holds."""
        holds = shows if callable(shows) else partial(self._shows, shows)
        give_up = asyncio.get_running_loop().time() + SECONDS_MAX
        while not holds():
            assert asyncio.get_running_loop().time() < give_up, f"never: {shows}\n{self.text}"
            await self.pilot.pause(0.02)

    def _shows(self, text: str) -> bool:
        return text in self.text

    def selected(self, id: str) -> Any:
        """The selected row of a table."""
        return self.table(id).selected

    def table(self, id: str) -> Table[Any]:
        found: Widget = self.app.screen.query_one(f"#{id}")
        assert isinstance(found, Table)
        return found


@asynccontextmanager
async def looking(journal: Path, size: tuple[int, int] = SMALL, **options: Any) -> AsyncIterator[Seen]:
    """Show the screens on a journal, or on the engine that holds it."""
    app = WfkitApp(Backend(journal), **options)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Seen(app, pilot)


@asynccontextmanager
async def engine_on(journal: Path) -> AsyncIterator[Engine]:
    """Run an engine on a journal, with its control socket."""
    opened = await open_journal(journal)
    registry = Registry([one for one in vars(defined).values() if isinstance(one, Workflow)])
    with all_logs() as logs:
        here = threading.get_ident()
        logs.addFilter(lambda record: record.thread == here)  # other tests have engines in this process, which log as well
        async with running(opened, registry) as engine, serving(engine.requests, opened, registry, logs, app="app.py"):
            yield engine


@pytest.fixture(autouse=True, scope="session")
def quick_pilot() -> Iterator[None]:
    """Let pilots look more often whether the app has done what a key asks for."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_wait, "SLEEP_GRANULARITY", IDLE_S)
        patched.setattr(_wait, "SLEEP_IDLE", IDLE_S / 20)
        yield


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where a journal of a test's own is to be."""
    return tmp_path / ".wfkit" / "journal.duckdb"


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The journal of an engine that runs for all tests, with runs in every state; only to be looked at."""
    journal = tmp_path_factory.mktemp("standing") / ".wfkit" / "journal.duckdb"
    up, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with engine_on(journal) as engine:
            await fill(engine)
            write_reports(journal.parent / "reports")
            up.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(SECONDS_MAX)
        yield journal
    finally:
        stop.set()
        thread.join(SECONDS_MAX)


def order(id: str, card: str = "visa") -> defined.Order:
    return defined.Order(id, Decimal(9), card)


async def fill(engine: Engine) -> None:
    """Make runs in every state."""
    await engine.start(defined.pack, order("7"), id="pack-7")
    await engine.get(defined.pack, "pack-7").send("order.packed", {"order_id": "8"})
    await engine.start(defined.pay, order("f", "flaky"), id="pay-flaky")
    await engine.start(defined.pay, order("d", "declined"), id="pay-declined")
    await engine.start(defined.undo, order("u"), id="undo-1")
    await engine.start(defined.parcel, order("p"), id="parcel-1")
    await engine.start(defined.family, order("f"), id="family-1")
    await engine.start(defined.mistaken, order("m"), id="mistaken-1")
    await engine.start(defined.batch, 30, id="batch-30")
    await engine.start(defined.nap, "2 days", id="napper")
    await engine.get(defined.nap, "napper").cancel("no more naps")
    for id, status in EXPECTED.items():
        while not await engine.runs(f"id:{id} status:{status}"):
            await asyncio.sleep(0.01)


def write_reports(folder: Path) -> None:
    """Leave reports as verification does."""
    folder.mkdir()
    (folder / "good.json").write_text(report("good", [], []), encoding="utf-8")
    (folder / "strange.json").write_text("{}", encoding="utf-8")
    found = [
        finding("charge happened twice", ["crash@2:step.effect_done_not_journaled:charge"], 3),
        finding("order is lost", ["dup@delivery:pay", "cancel@start.journaled:pay"], 5),
    ]
    struck = [
        {"kind": "crash", "at": "pay", "schedules": 6, "failed": 0, "severity": "info"},
        {"kind": "cancel", "at": "pay", "schedules": 4, "failed": 0, "severity": "info"},
        *({"kind": "crash", "at": f"step_{n}", "schedules": 1, "failed": 0, "severity": "info"} for n in range(20)),
        {"kind": "crash", "at": "charge", "schedules": 7, "failed": 3, "severity": "error"},
        {"kind": "fail", "at": "charge", "schedules": 8, "failed": 0, "severity": "info"},
    ]
    (folder / "bad.json").write_text(report("bad", found, struck), encoding="utf-8")


def report(workflow: str, findings: list[dict[str, object]], struck: list[dict[str, object]], *, ok: bool | None = None) -> str:
    coverage = {
        "not_run": [],
        "points": 9,
        "effects": 1,
        "single_run": 60,
        "single_total": 60,
        "struck": struck,
        "schedules": 63,
        "seconds": 1.25,
    }
    head = {
        "file": "wfkit-report",
        "format": 1,
        "wfkit": "0.1.0",
        "workflow": workflow,
        "ok": not findings if ok is None else ok,
    }
    return json.dumps(head | {"findings": findings, "coverage": coverage})


def finding(title: str, faults: list[str], count: int) -> dict[str, object]:
    return {
        "oracle": "ledger",
        "severity": "error",
        "code": "WF063",
        "title": title,
        "about": "charge",
        "line": "app.py:7",
        "faults": faults,
        "story": f"WF063  {title}\n  1  charge called\n  why: the key is new each time\n  fix: use the idempotency key",
        "why": None,
        "file": ".wfkit/failures/bad-ledger-1.json",
        "count": count,
    }
