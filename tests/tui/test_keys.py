"""Every key on every screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.binding import Binding

from tests.tui.conftest import Seen, looking
from wfkit_tui.screens.frame import Frame

ELSEWHERE = (
    "app.quit",
    "app.suspend_process",
    "app.command_palette",
    "app.go(",
    "go(",
    "quit",
    "command_palette",
    "move(",
    "page(",
)
"""What leaves the screen, is Textual's own, or is pressed in every other test."""


SELDOM = [pytest.param(screen, marks=pytest.mark.torture) for screen in ("2", "3", "4", "5", "1 enter L")]


@pytest.mark.parametrize("screen", ["1", "1 enter", "5 enter", "6", *SELDOM])
def test_every_key_that_is_offered_works(standing: Path, screen: str) -> None:
    """Whatever it does, the screens go on."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.press(*screen.split())
            for binding in _bindings(seen):
                await seen.press(binding.key)
                while not isinstance(seen.app.screen, Frame):  # a dialog, that of help among them
                    await seen.press("escape")
                await seen.press("escape", *screen.split())
                await seen.until(lambda: isinstance(seen.app.screen, Frame) and seen.app.screen.is_mounted)

    asyncio.run(test())


def _bindings(seen: Seen) -> list[Binding]:
    offered = [active.binding for active in seen.app.screen.active_bindings.values() if active.enabled]
    return [binding for binding in offered if not binding.action.startswith(ELSEWHERE)]


def test_keys_go_where_they_went_before_the_terminal_was_too_small(standing: Path) -> None:
    """What has the focus keeps it, though it is covered meanwhile."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            focused = seen.app.screen.focused
            await seen.pilot.resize_terminal(50, 12)
            await seen.until("terminal too small")
            assert "napper" not in seen.text
            assert "Runs" not in seen.text
            await seen.pilot.resize_terminal(80, 24)
            await seen.until("> napper")
            assert seen.app.screen.focused is focused is not None

    asyncio.run(test())


def test_logs_are_not_sorted(standing: Path) -> None:
    """They have one order, so that key is not offered."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.press("6")
            assert "slash" in seen.app.screen.active_bindings
            assert "o" not in seen.app.screen.active_bindings

    asyncio.run(test())
