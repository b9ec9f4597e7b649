"""Pictures of the screens: what a change does to how they look is seen before it is kept.

A picture that is not there is drawn, and its test fails once: look at it, and keep it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui import afternoon
from tests.tui.conftest import LARGE, SMALL, Seen
from wfkit_tui.app import WfkitApp
from wfkit_tui.backend import Backend

PICTURES = Path(__file__).parent / "pictures"
JOURNAL = Path(".wfkit/journal.duckdb")


@pytest.fixture(autouse=True)
def _afternoon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the folder of the shop, at a fixed time of day, with the terminal's own colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("wfkit.cli.output.now", lambda: afternoon.PRESENT)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    asyncio.run(afternoon.write(JOURNAL))
    reports = JOURNAL.parent / "reports"
    reports.mkdir()
    (reports / "restock.json").write_bytes((Path(__file__).parent / "report.json").read_bytes())
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "size", "steps"),
    [
        ("runs", SMALL, []),
        ("runs-wide", LARGE, [("j", "─ r00a18 order_saga ─")]),
        ("detail", SMALL, [("/id:r00a15\n", "> r00a15"), ("\n", "reserve_stock"), ("]]", "─ ship_parcel ─")]),
        ("blocked", SMALL, [("/id:r00a17\n", "> r00a17"), ("\n", "requested")]),
        ("signals", SMALL, [("2", "order-46")]),
        ("report", LARGE, [("5", "> restock"), ("\n", "finding 1 of 1")]),
    ],
)
def test_a_screen_looks_as_it_did(name: str, size: tuple[int, int], steps: list[tuple[str, str]]) -> None:
    """To the character, and in the same colours. The steps there: what is written, and what is seen of it."""

    async def draw() -> str:
        app = WfkitApp(Backend(JOURNAL, clock=lambda: afternoon.PRESENT))
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            seen = Seen(app, pilot)
            await seen.until("no engine: this is what the journal holds")
            await seen.until("r00a19")
            for written, shows in steps:
                await seen.write(written)
                await seen.until(shows)
            await seen.until("Help")
            before = ""
            while (picture := app.export_screenshot(title=name)) != before:  # the footer fills in late
                before = picture
                await pilot.pause(0.3)
            return picture

    drawn, kept = asyncio.run(draw()), PICTURES / f"{name}.svg"
    if not kept.exists():
        kept.write_text(drawn, encoding="utf-8")
        pytest.fail(f"there was no picture: look at {kept}")
    fresh = kept.with_suffix(".new.svg")
    if drawn != kept.read_text(encoding="utf-8"):
        fresh.write_text(drawn, encoding="utf-8")
    assert drawn == kept.read_text(encoding="utf-8"), f"it looks otherwise: compare {kept} with {fresh}, and keep one of them"
