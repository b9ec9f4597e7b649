"""An afternoon of a developer with `wfkit dev`, in a real terminal: a start, a kill, an edit too many, and its mending."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.terminal import WFKIT, Terminal, call, terminal_in
from wfkit.control.client import EngineClient, engine_beside
from wfkit.control.messages import GetEngine

APP = """\
import time
from pathlib import Path

from wfkit import Signal, step, wait_signal, workflow

packed = Signal("packed", str)


def note(book: str, line: str) -> None:
    with Path(book).open("a") as file:
        file.write(line + chr(10))


@step
def charge(order: str) -> None:
    note("charges", order)


@step
def ship(order: str, box: str) -> str:
    note("parcels", order)
    while not Path("ferry").exists():
        time.sleep(0.05)
    return f"{order} left in {box}"


@workflow
async def purchase(order: str) -> str:
    await charge(order)
    box = await wait_signal(packed)
    return await ship(order, box)
"""

EDITED = APP.replace("    await charge(order)", "    await check(order)\n    await charge(order)").replace(
    "@step\ndef charge", "@step\ndef check(order: str) -> None:\n    pass\n\n\n@step\ndef charge"
)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "app.py").write_text(APP)
    with terminal_in(tmp_path) as terminal:
        yield terminal


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 45)])
def test_a_run_survives_a_kill_and_an_edit_and_all_of_it_is_seen(
    columns: int, rows: int, terminal: Terminal, tmp_path: Path
) -> None:
    """Nothing that completed runs again, and the screens follow each time by themselves."""
    terminal.open(columns, rows, *WFKIT, "dev", "app.py")
    terminal.until("● live", "No runs yet")

    terminal.keys("s")
    terminal.until("Start purchase")
    terminal.keys("order-1")
    terminal.until("""$ wfkit start purchase '"order-1"'""")
    terminal.keys("Enter")
    terminal.until("◷ waiting")
    run = call(tmp_path, "runs", "-q").strip()
    call(tmp_path, "start", "purchase", '"order-2"', "--id", "order-2")
    terminal.until("order-2")
    call(tmp_path, "send", "packed", '"box-2"', "--run", "order-2")
    terminal.until("▶ running", "1/4")

    os.kill(worker(tmp_path), signal.SIGKILL)
    terminal.until("● live", "ship 2/", "◷ waiting")
    (tmp_path / "ferry").touch()
    terminal.until("✓ completed")

    terminal.keys("Enter")
    terminal.until(f"{run}  purchase  ◷ waiting", "timeline 1/4")
    save(tmp_path, EDITED)
    terminal.until("▲ blocked", "recorded", "step  charge", "requested", "step  check")
    save(tmp_path, APP)
    terminal.until(f"{run}  purchase  ◷ waiting")
    call(tmp_path, "send", "packed", '"box-1"', "--run", run)
    terminal.until(f"{run}  purchase  ✓ completed", "✓ 2 ")  # the header, too: otherwise it asks whether to leave an open run

    terminal.keys("q")
    terminal.until("app.py reloaded", f"run {run} of purchase is blocked", f"no longer blocked: {run}", "status 0")
    assert (tmp_path / "charges").read_text().split() == ["order-1", "order-2"]
    assert (tmp_path / "parcels").read_text().split() == ["order-2", "order-2", "order-1"]


def worker(folder: Path) -> int:
    """Return the process that the engine runs in."""
    journal = folder / ".wfkit" / "journal.duckdb"
    return EngineClient(engine_beside(journal), journal).ask(GetEngine()).pid


def save(folder: Path, text: str) -> None:
    """Save the app as editors do."""
    new = folder / "app.py.new"
    new.write_text(text)
    new.replace(folder / "app.py")
