"""What changes runs: it asks first, shows the command that does the same, and tells what went wrong."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.cli import app as defined
from tests.tui.conftest import LARGE, Seen, engine_on, looking, order
from wfkit.core.entries import CancelRequested
from wfkit_tui.dialogs.values import as_json, as_written


def field(seen: Seen, id: str) -> Input:
    return seen.app.screen.query_one(f"#{id}", Input)


def command(seen: Seen) -> str:
    """The command line that a dialog shows, which may be wrapped."""
    return str(seen.app.screen.query_one("#command").render()).removeprefix("$ ")


def test_cancel_asks_and_escape_leaves_the_run_alone(journal: Path) -> None:
    """Nothing happens by one key."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
            async with looking(journal) as seen:
                await seen.until("> napper")
                await seen.press("c")
                await seen.until("Cancel napper?")
                await seen.press("escape")
                await seen.until(lambda: "Cancel napper?" not in seen.text)
                assert await engine.get(defined.nap, "napper").status() == "running"

    asyncio.run(test())


def test_cancel_does_it_and_keeps_the_reason(journal: Path) -> None:
    """The reason stands in the history."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
            async with looking(journal) as seen:
                await seen.until("> napper")
                await seen.press("c")
                await seen.until("Cancel napper?")
                await seen.write("no more naps")
                assert command(seen) == f"wfkit runs cancel napper --reason 'no more naps' --store {journal}"
                await seen.press("enter")
                await seen.until("⊘ cancelled")
                history = await engine.get(defined.nap, "napper").history()
                (requested,) = [record.entry for record in history if isinstance(record.entry, CancelRequested)]
                assert requested.reason == "no more naps"

    asyncio.run(test())


def test_the_command_that_is_shown_does_the_same(journal: Path) -> None:
    """It can be copied into a shell as it stands."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="napper")
            async with looking(journal) as seen:
                await seen.until("> napper")
                await seen.press("X")
                await seen.until("Terminate napper?")
                await seen.write("it's enough")
                program, *arguments = shlex.split(command(seen))
                assert program == "wfkit"
                await seen.press("escape")
                env = {name: value for name, value in os.environ.items() if name not in ("WFKIT_STORE", "WFKIT_ENGINE")}
                child = await asyncio.create_subprocess_exec(sys.executable, "-m", "wfkit", *arguments, env=env)
                assert await child.wait() == 0
                await seen.until("■ terminated")

    asyncio.run(test())


def test_marked_runs_are_stopped_together(journal: Path) -> None:
    """Space marks; the dialog names them all; then they are no longer marked."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            for id in ("one", "two", "three"):
                await engine.start(defined.nap, "2 days", id=id)
            async with looking(journal) as seen:
                await seen.until("> three")
                await seen.press("space", "space")
                assert "2 marked" in seen.text
                await seen.press("c")
                await seen.until("Cancel 2 runs?")
                await seen.press("enter")
                await seen.until(lambda: sum("⊘ cancelled" in line for line in seen.lines[3:6]) == 2)
                assert await engine.get(defined.nap, "one").status() == "running"
                assert "marked" not in seen.text

    asyncio.run(test())


def test_a_run_that_has_ended_is_not_asked_to_end(standing: Path) -> None:
    """It is said instead."""

    async def test() -> None:
        async with looking(standing) as seen:
            await seen.until("> napper")
            await seen.press("c")
            await seen.until("it has ended already")

    asyncio.run(test())


def test_start_has_a_form_that_begins_with_the_last_input(journal: Path) -> None:
    """A field for each parameter, by its type hint; the value of the last run stands in it."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.nap, "2 days", id="first")
            async with looking(journal, LARGE) as seen:
                await seen.until("> first")
                await seen.press("s")
                await seen.until("Start which workflow?")
                await seen.until("nap(length: str)")
                await choose(seen, "nap(")
                await seen.until("length: str")
                assert field(seen, "value-0").value == "2 days"
                await seen.press("tab")
                await seen.write("second")
                assert command(seen) == f"""wfkit start nap '"2 days"' --id second --store {journal}"""
                await seen.press("enter")
                await seen.until("second")
                assert await engine.get(defined.nap, "second").status() == "running"

    asyncio.run(test())


def test_a_form_of_several_parameters_leaves_out_what_is_optional(journal: Path) -> None:
    """They become an object; what is missing is told before anything is asked of the engine."""

    async def test() -> None:
        async with engine_on(journal) as engine, looking(journal, LARGE) as seen:
            await seen.until("No runs yet")
            await seen.press("s")
            await seen.until("Start which workflow?")
            await choose(seen, "two(")
            await seen.until("order: Order")
            assert command(seen) == "(order is missing)"
            await seen.press("enter")
            await seen.until(lambda: "(order is missing)" not in seen.text and "order is missing" in seen.text)  # told once
            await seen.write('{"id": "7", "amount": "9"}')
            await seen.until("$ wfkit start two")
            await seen.press("tab")
            await seen.write("5")
            assert """'{"order":{"id": "7", "amount": "9"},"count":5}'""" in command(seen)
            await seen.press("enter")
            await seen.until("✓ completed")
            (run,) = await engine.runs("wf:two")
            assert await run.result() == "7 5 none"

    asyncio.run(test())


def test_what_the_engine_refuses_is_told_in_the_form(journal: Path) -> None:
    """What was written stays, to be mended."""

    async def test() -> None:
        async with engine_on(journal), looking(journal, LARGE) as seen:
            await seen.until("No runs yet")
            await seen.press("s")
            await seen.until("Start which workflow?")
            await choose(seen, "pay(")
            await seen.until("order: Order")
            await seen.write('{"id": 7}')
            await seen.press("enter")
            await seen.until("$.id")
            assert field(seen, "value-0").value == '{"id": 7}'

    asyncio.run(test())


def test_the_form_shows_the_fields_of_the_types(journal: Path) -> None:
    """Of a parameter that is an object, somebody has to know what to write."""

    async def test() -> None:
        async with engine_on(journal), looking(journal) as seen:
            await seen.until("● live")
            await seen.press("s")
            await seen.until("Start which workflow?")
            await choose(seen, "pay(")
            await seen.until('Order: id: str, amount: Decimal, card: str = "visa"')

    asyncio.run(test())


def test_send_begins_with_the_signal_that_the_run_waits_for(journal: Path) -> None:
    """The payload is JSON; the run takes it."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.pack, order("7"), id="pack-7")
            async with looking(journal) as seen:
                await seen.until("◷ waiting")
                await seen.press("e")
                await seen.until("Send a signal to pack-7")
                assert field(seen, "signal").value == "order.packed"
                await seen.until("Payload: dict")
                assert command(seen) == "(payload is missing: order.packed carries dict)"
                await seen.write('{"order_id": "7"')
                assert command(seen).startswith("(this is not JSON")
                await seen.press("enter")
                await seen.until("this is not JSON")
                await seen.write("}")
                assert command(seen) == f"""wfkit send order.packed '{{"order_id": "7"}}' --run pack-7 --store {journal}"""
                await seen.press("enter")
                await seen.until("✓ completed")

    asyncio.run(test())


def test_a_signal_that_the_run_does_not_wait_for_is_sent_and_told(journal: Path) -> None:
    """It may come before its wait, or its name may be mistyped."""

    async def test() -> None:
        async with engine_on(journal) as engine:
            await engine.start(defined.pack, order("7"), id="pack-7")
            async with looking(journal, LARGE) as seen:
                await seen.until("◷ waiting")
                await seen.press("e")
                await seen.until("Payload: dict")
                await seen.press("shift+tab", "end", "s")
                await seen.until("Payload, as JSON, optional:")
                await seen.press("enter")
                told = (
                    "sent order.packeds to pack-7, which does not wait for it now but for order.packed; it is kept until then"
                )
                await seen.until(lambda: told in [each.message for each in seen.app._notifications])

    asyncio.run(test())


async def choose(seen: Seen, text: str) -> None:
    """Choose a workflow of the list by its first characters."""
    options = [str(option.prompt) for option in seen.app.screen.query_one("OptionList").options]  # type: ignore[attr-defined]
    (place,) = [place for place, option in enumerate(options) if option.startswith(text)]
    await seen.press("home", *["down"] * place, "enter")


@pytest.mark.parametrize(
    ("text", "type", "json"),
    [
        ("7", "int", "7"),
        ("7", "str", '"7"'),
        ('"7"', "str", '"7"'),
        ("2 days", "str", '"2 days"'),
        ("null", "str | None", "null"),
        ("null", "str", '"null"'),
        ('{"id": 7}', "Order", '{"id": 7}'),
        ("2026-08-01", "date", '"2026-08-01"'),
        ("[1, 2]", "list[int] | str", "[1, 2]"),
        ("true", "bool", "true"),
    ],
)
def test_what_is_written_becomes_json_by_the_type_hint(text: str, type: str, json: str) -> None:
    """A text needs no quotes where a text is wanted; what a run had as input is written so that it means the same again."""
    value = as_json(text, type)
    assert bytes(value).decode() == json
    assert as_json(as_written(value, type), type) == value
