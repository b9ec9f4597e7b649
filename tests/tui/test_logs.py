"""What the logs show of what was logged and printed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from queue import SimpleQueue

from tests.tui.conftest import engine_on, looking
from wfkit.dev.supervisor import News
from wfkit_tui.supervision import Supervision


def test_a_long_line_is_read_to_its_end(journal: Path) -> None:
    """It goes on below, behind the time and the level."""

    async def test() -> None:
        async with engine_on(journal), looking(journal) as seen:
            await seen.press("6")
            logging.getLogger("shop").warning("%sand the cause stands at the end", "this is long, " * 9)
            await seen.until("at the end")
            (first,) = [line for line in seen.lines if "WARNING" in line]
            assert "shop  this is long" in first
            assert all(line.startswith(" " * 20) for line in seen.lines if "long" in line and line != first)

    asyncio.run(test())


def test_what_would_move_the_cursor_is_written_out(journal: Path) -> None:
    """Whatever user code prints; colours are left out."""

    async def test() -> None:
        async with engine_on(journal), looking(journal) as seen:
            await seen.press("6")
            logging.getLogger("shop").warning("\x1b[1;31mred\x1b[0m then \x1b[2J\x1b[H wiped \x1b]0;TITLE\x07\tend")
            await seen.until("end")
            (line,) = [line for line in seen.lines if "WARNING" in line]
            assert r"shop  red then \x1b[2J\x1b[H wiped \x1b]0;TITLE\x07 " in line

    asyncio.run(test())


def test_what_a_worker_logs_and_prints_is_shown_once(journal: Path) -> None:
    """What it prints beside that is shown as well."""

    async def test() -> None:
        news: SimpleQueue[News] = SimpleQueue()
        async with engine_on(journal), looking(journal, supervision=Supervision(news)) as seen:
            await seen.press("6")
            logging.getLogger("shop").warning("no lamps\nsince monday")
            for printed in ("WARNING shop: no lamps", "since monday", "a word from elsewhere"):
                news.put(News("stderr", printed))
            await seen.until("a word from elsewhere")
            await seen.until("WARNING  shop  no lamps")
            await seen.until(lambda: seen.text.count("stderr") == 1)
            assert seen.text.count("no lamps") == seen.text.count("since monday") == 1

    asyncio.run(test())


def test_a_blocked_run_is_told_once_and_what_a_worker_that_is_gone_logged_as_its_record(journal: Path) -> None:
    """The supervisor tells the first with the whole difference; of the second there is only what was printed."""

    async def test() -> None:
        news: SimpleQueue[News] = SimpleQueue()
        news.put(News("stderr", "WARNING shop: of a worker before"))
        news.put(News("blocked", "run order-7 of order is blocked\n  recorded   step  charge"))
        async with engine_on(journal), looking(journal, supervision=Supervision(news)) as seen:
            await seen.press("6")
            log = logging.getLogger("wfkit.engine")
            for run in ("order-7", "order-8"):
                log.warning("run %s is blocked: [WF021] history and code disagree", run, extra={"run_id": run})
            await seen.until("wfkit.engine  run order-8 is blocked")
            assert "WARNING  shop  of a worker before" in seen.text
            assert seen.text.count("order-7") == 1

    asyncio.run(test())
