"""Takes the pictures of the README: `python -m tests.screenshots [--svg FOLDER]`."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from fixtures.shop.services.payments import Fault
from tests.screenshots.drawing import find_browser, svg_of, write_png
from tests.screenshots.stage import CODE, Visitor, visit

PICTURES = Path(__file__).parents[2] / "fixtures" / "screenshots"
SIZE = (120, 30)
TITLE = "wfkit dev fixtures.shop.workflows"
EDIT = ("        charged = await s.do(charge", "        await ask_for_age(order)\n        charged = await s.do(charge")
NEW_STEP = '''

@step
def ask_for_age(order: Order) -> None:
    """Not everybody may buy a lamp."""
'''

Take: TypeAlias = Callable[[str], None]
"""Takes a picture of this name."""


async def start_and_kill(visitor: Visitor, take: Take) -> None:
    """Orders of every fate; and one whose charge is in flight while the worker is killed."""
    await visitor.sees("● live", "No runs yet")
    await visitor.trouble(Fault("decline", card="stolen", times=None))
    await visitor.trouble(Fault("fail", card="shaky", times=5))
    await visitor.trouble(Fault("slow", card="slow", seconds=9))
    await visitor.order("order-1041")
    await visitor.order("order-1042", card="stolen")
    await visitor.order("order-1043", pack_within=timedelta(seconds=1))
    await visitor.order("order-1044")
    await visitor.pack("order-1041", "box-7")
    await visitor.sees("TimeoutError", "CardDeclined", "completed")
    await visitor.order("order-1045", card="shaky")
    await visitor.order("order-1046", card="slow")
    await visitor.sees("order-1046", "✗ 2 failed", "✓ 1")
    await visitor.press("home")
    await visitor.sees("> order-1046", "▶ charge")
    take("start")

    await visitor.kill()
    await visitor.sees("○ no worker", "killed by SIGKILL", "Palette")
    take("killed")

    await visitor.sees("● live", "order-1046  fulfil    ◷ waiting")
    await visitor.pack("order-1046", "box-9")
    await visitor.press("enter")
    await visitor.sees("order-1046  fulfil  ✓ completed", "hand_over", "✓ 2")
    take("recovered")
    await visitor.press("escape")


async def edit_too_much(visitor: Visitor, take: Take) -> None:
    """A step that is new before one that runs have behind them."""
    await visitor.sees("order-1045  fulfil    ◷ waiting")
    code = CODE.read_text(encoding="utf-8")
    CODE.write_text(code.replace(*EDIT) + NEW_STEP, encoding="utf-8")
    await visitor.sees("▲ 2 blocked")
    await visitor.press("slash", *"status:blocked", "enter")
    await visitor.sees("> order-1045", "2 runs")
    await visitor.press("enter")
    await visitor.sees("recorded", "requested", "ask_for_age")
    take("blocked")

    CODE.write_text(code, encoding="utf-8")
    await visitor.sees("◷ waiting", "◷ 2 waiting")
    await visitor.press("escape")


async def look_at_the_finding(visitor: Visitor, take: Take) -> None:
    """What verification has found in the careless delivery."""
    await visitor.press("5")
    await visitor.sees("restock", "✗ fails")
    await visitor.press("enter")
    await visitor.sees("why:", "fix:")
    take("finding")


async def take_all(save: Callable[[str, str], None]) -> None:
    """Let somebody visit the shop, and save each picture by its name."""
    with TemporaryDirectory(prefix="wfkit-screenshots-") as folder:
        async with visit(Path(folder), SIZE) as visitor:

            def take(name: str) -> None:
                save(name, svg_of(visitor.app, TITLE))

            await start_and_kill(visitor, take)
            await edit_too_much(visitor, take)
            await look_at_the_finding(visitor, take)


def main() -> None:
    """Take the pictures."""
    parser = ArgumentParser(prog="python -m tests.screenshots", description="Takes the pictures of the README.")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="leave them as SVG in this folder, which needs no browser")
    folder: Path | None = parser.parse_args().svg
    browser = find_browser() if folder is None else ""
    if browser is None:
        raise SystemExit("error: Chromium draws the pictures; install it (Debian, Ubuntu: apt-get install chromium)")

    def save(name: str, svg: str) -> None:
        if folder is not None:
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        else:
            write_png(browser, svg, PICTURES / f"{name}.png")

    if folder is not None:
        folder = folder.absolute()
    asyncio.run(take_all(save))


if __name__ == "__main__":
    main()
