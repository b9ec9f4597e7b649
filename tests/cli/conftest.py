"""Calls `wfkit` in child processes, beside a journal with runs of every kind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from wfkit import Engine
from wfkit.cli.main import main

APP = Path(__file__).with_name("app.py")
MODULES = ("app", "shop", "fakes")
"""What the folders of tests hold: each call imports them anew."""
SECONDS_MAX = 30
UNSET = ("CI", "NO_COLOR", "FORCE_COLOR", "WFKIT_STORE", "WFKIT_ENGINE")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a table in a pipe."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The objects of JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Wfkit: TypeAlias = Callable[..., Answer]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child: nothing in it decides about colours or the journal, unless a test says so."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "NO_COLOR", "FORCE_COLOR", "WFKIT_STORE", "WFKIT_ENGINE")
    }
    return kept | {"COLUMNS": "80", "PYTHONPATH": str(APP.parents[2])} | changes


def call_in(folder: Path) -> Wfkit:
    def call(*arguments: str, input: str | None = None, **env: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "wfkit", *arguments],
            cwd=folder,
            env=environment(**env),
            input=input,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=SECONDS_MAX,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the app and without a journal."""
    shutil.copy(APP, tmp_path / "app.py")
    return tmp_path


@pytest.fixture
def wfkit(folder: Path) -> Wfkit:
    """Calls `wfkit` in a folder with the app and without a journal."""
    return call_in(folder)


@pytest.fixture(scope="session")
def filled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the app, and a journal with runs of every kind; only to be read."""
    folder = tmp_path_factory.mktemp("filled")
    shutil.copy(APP, folder / "app.py")
    for part in (1, 2):
        # As a program of the user's, so that the code's place is the folder's.
        program = f"from tests.cli.conftest import fill{part}; fill{part}()"
        subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=environment(), check=True, capture_output=True, timeout=SECONDS_MAX
        )
        edited = APP.read_text(encoding="utf-8").replace('await sleep("50ms")\n', 'await sync(1)\n    await sleep("50ms")\n')
        (folder / "app.py").write_text(edited, encoding="utf-8")
    return folder


def call_here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wfkit:
    """Call `wfkit` in this process, which is quicker."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Answer:
        for module in MODULES:
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr(sys, "argv", ["wfkit", *arguments])
        capsys.readouterr()
        status = main()
        return Answer(status, *capsys.readouterr())

    return call


@pytest.fixture
def quick(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wfkit:
    """Calls `wfkit` in this process, in a folder with the app and without a journal."""
    return call_here(folder, monkeypatch, capsys)


@pytest.fixture
def filled(filled_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wfkit:
    """Calls `wfkit` in this process, beside a journal that holds runs of every kind; only to be read."""
    return call_here(filled_folder, monkeypatch, capsys)


def fill1() -> None:
    """Make runs of every kind."""
    sys.path.insert(0, "")
    import app  # type: ignore[import-not-found]  # of the folder

    async def fill() -> None:
        async with Engine.open(app="app.py", control=False) as engine:
            await engine.start(app.pack, app.Order("7", Decimal(9)), id="pack-7")
            waiting = engine.get(app.pack, "pack-7")
            await waiting.send("order.packed", {"order_id": "8", "box": "b\x1b[31m"})
            await waiting.send("order.pakced", {"order_id": "7"})
            for id, workflow, card in [
                ("pay-1", app.pay, "visa"),
                ("pay-2", app.pay, "flaky"),
                ("pay-declined", app.pay, "declined"),
                ("undo-1", app.undo, "visa"),
                ("parcel-1", app.parcel, "visa"),
                ("family-1", app.family, "visa"),
                ("mistaken-1", app.mistaken, "visa"),
            ]:
                await engine.start(workflow, app.Order(id, Decimal(9), card), id=id)
            await engine.start(app.batch, 30, id="batch-30")
            await engine.start(app.nap, "2 days", id="napper")
            await (await engine.start(app.pay, app.Order("again", Decimal(9)), id="pay-1x")).result()
            await (await engine.start(app.pay, app.Order("again", Decimal(9)), id="pay-1x", if_finished="restart")).result()
            await engine.get(app.nap, "napper").cancel("no more naps")
            expected = {"undo-1": "compensating", "parcel-1": "retrying", "family-1": "waiting", "mistaken-1": "blocked"}
            expected |= {"pay-declined": "failed", "napper": "cancelled", "pack-7": "waiting", "pay-2": "completed"}
            for id, status in expected.items():
                while not await engine.runs(f"id:{id} status:{status}"):
                    await asyncio.sleep(0.01)
            await engine.start(app.edited, app.Order("e", Decimal(9)), id="edited-1")

    asyncio.run(fill())


def fill2() -> None:
    """Let the run of the edited workflow be blocked."""

    async def fill() -> None:
        async with Engine.open(app="app.py", control=False) as engine:
            while not await engine.runs("id:edited-1 status:blocked"):
                await asyncio.sleep(0.01)

    asyncio.run(fill())
