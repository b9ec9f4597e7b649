"""The shop under `wfkit dev`, in a folder of its own, and somebody at its screens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, chdir
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import httpx
import msgspec
from msgspec import Raw
from textual.pilot import Pilot

from fixtures.shop.customers import PRICES
from fixtures.shop.orders import Order, packed
from fixtures.shop.premises import OPENING_STOCK, Premises
from fixtures.shop.services.payments import Fault
from fixtures.shop.services.stock import Stock
from wfkit.control.messages import GetEngine, SendSignal, StartRun
from wfkit.dev.supervisor import News, Supervisor
from wfkit_tui.app import WfkitApp
from wfkit_tui.backend import Backend
from wfkit_tui.supervision import Supervision

ROOT = Path(__file__).parents[2]
APP = "fixtures.shop.workflows"
CODE = Path("fixtures/shop/workflows.py")
JOURNAL = Path(".wfkit/journal.duckdb")
CARELESS = [
    *("fixtures.shop.careless:restock", '{"id": "delivery-1", "item": "lamp", "quantity": 5}'),
    *("--world", "fixtures.shop.fakes:World", "--for", "1s"),
]
SECONDS_MAX = 60.0
LOOK_SECONDS = 0.02


class Visitor:
    """Somebody at the screens, who orders lamps, presses keys, looks, and at times kills the worker."""

    def __init__(self, shop: Premises, app: WfkitApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._shop = shop
        self._pilot = pilot

    async def order(self, id: str, *, card: str = "visa", pack_within: timedelta = timedelta(days=3)) -> None:
        """Order a lamp."""
        order = Order(id, "lamp", 1, PRICES["lamp"], card, "ada@home.example", pack_within)
        await self.app.backend.ask(StartRun(workflow="fulfil", id=id, input=Raw(msgspec.json.encode([order]))))

    async def pack(self, id: str, box: str) -> None:
        """Put what was ordered in a box."""
        await self.app.backend.ask(SendSignal(run=id, signal=packed.name, payload=Raw(msgspec.json.encode(box))))

    async def trouble(self, fault: Fault) -> None:
        """Let the payment provider make trouble."""
        async with httpx.AsyncClient(base_url=self._shop.payments_url) as http:
            (await http.post("/faults", content=msgspec.json.encode(fault))).raise_for_status()

    async def kill(self) -> None:
        """Kill the process that the workflows run in."""
        os.kill((await self.app.backend.ask(GetEngine())).pid, signal.SIGKILL)

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self._pilot.press(*keys)
        await self._pilot.pause()

    async def sees(self, *texts: str) -> None:
        """Wait until the screen shows all of these texts.

        Raises:
            TimeoutError: it never does.
        """
        give_up = asyncio.get_running_loop().time() + SECONDS_MAX
        while not all(text in self._seen for text in texts):
            if asyncio.get_running_loop().time() > give_up:
                raise TimeoutError(f"the screen never shows {texts}\n{self._seen}")
            await self._pilot.pause(LOOK_SECONDS)

    @property
    def _seen(self) -> str:
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())


@asynccontextmanager
async def visit(folder: Path, size: tuple[int, int]) -> AsyncGenerator[Visitor]:
    """Open a shop in a folder, which is the working directory meanwhile, and show the screens of `wfkit dev` on it."""
    shutil.copytree(ROOT / "fixtures", folder / "fixtures", ignore=shutil.ignore_patterns("__pycache__", "screenshots"))
    books = folder / "books"
    books.mkdir()
    shop = Premises(books)
    os.environ.update(shop.addresses)
    stock = Stock(shop.stock)
    stock.restock("opening", "lamp", OPENING_STOCK)
    stock.close()
    shop.payments.start()
    shop.mailbox.start()
    try:
        with chdir(folder):
            _verify_the_careless()
            async with _screens(size) as (app, pilot):
                yield Visitor(shop, app, pilot)
    finally:
        for service in (shop.payments, shop.mailbox, shop.front):
            service.close()


@asynccontextmanager
async def _screens(size: tuple[int, int]) -> AsyncGenerator[tuple[WfkitApp, Pilot[None]]]:
    told: SimpleQueue[News] = SimpleQueue()
    supervisor = Supervisor(APP, Path.cwd(), JOURNAL, told.put)
    supervising = asyncio.ensure_future(supervisor.run())
    app = WfkitApp(Backend(JOURNAL), supervision=Supervision(told))
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            yield app, pilot
    finally:
        supervisor.stop()
        await supervising


def _verify_the_careless() -> None:
    """Leave a report of what verification says of the careless delivery."""
    command = [sys.executable, "-m", "wfkit", "verify", *CARELESS]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS_MAX)
    if done.returncode != 1:
        raise RuntimeError(f"wfkit verify ended with status {done.returncode}\n{done.stdout}{done.stderr}")
