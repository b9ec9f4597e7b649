"""Values that are declared to differ between runs, and what is still compared beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.sim.judging import World, found, grave, note, shop, subject_of
from wfkit import Expect, Workflow, step, workflow
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.sim.volatile import is_volatile, settled
from wfkit.testing import Volatile

CRASH = "crash@1:step.effect_done_not_journaled:{}"
ANY = Expect(at_least_once="a number that nobody takes is no loss")


@dataclass
class Ticket:
    number: Volatile[str]
    price: int


class Page(msgspec.Struct, rename="camel"):
    printed_at: Volatile[int]
    tickets: list[Ticket]
    size: int = 3


class Office(World):
    """An office that hands out numbers: who asks twice gets another one."""

    def __init__(self) -> None:
        super().__init__()

        @self.shop.on("draw")
        def draw(state: dict[str, Any], price: int) -> dict[str, Any]:
            last = len(self.shop.attempts)
            return {"number": f"A{40 + last}", "price": price + (last > 1) * 5}


@step(expect=ANY)
async def draw_plain(price: int) -> str:
    return str((await shop.get().call("draw", price=price))["number"])


@step(expect=ANY)
async def draw_volatile(price: int) -> Volatile[str]:
    return str((await shop.get().call("draw", price=price))["number"])


@step(expect=ANY)
async def draw_ticket(price: int) -> Ticket:
    return Ticket(**await shop.get().call("draw", price=price))


@workflow
async def number_plain() -> str:
    return await draw_plain(20)


@workflow
async def number_volatile() -> Volatile[str]:
    return await draw_plain(20)


@workflow
async def number_of_volatile_step() -> str:
    number = await draw_volatile(20)
    await note(f"your number is {number}")
    return number


@workflow
async def ticket_with_price() -> Ticket:
    return await draw_ticket(20)


@workflow
async def page_of_tickets() -> Page:
    ticket = await draw_ticket(20)
    return Page(1, [Ticket(ticket.number, 20)])


@workflow
async def parent_of_ticket() -> int:
    ticket = await page_of_tickets()
    await note(f"number {ticket.tickets[0].number}")
    return ticket.size


def office(workflow: Workflow[..., Any]) -> Subject:
    return subject_of(workflow, world=Office)


def test_a_value_that_differs_after_a_crash_is_found() -> None:
    """As long as nobody says that it may."""
    violations = grave(found(office(number_plain), CRASH.format("draw_plain")))
    assert [(each.oracle, each.about) for each in violations] == [("difference", "result")]


@pytest.mark.parametrize("case", [number_volatile, number_of_volatile_step, page_of_tickets, parent_of_ticket])
def test_what_is_declared_volatile_is_not_compared(case: Workflow[..., Any]) -> None:
    """Neither in the result, nor in what steps are given that is made of it."""
    trace = Simulation(office(case)).run().trace
    point = next(each for each in trace if each.phase == "step.effect_done_not_journaled" and "draw" in each.label)
    assert grave(found(office(case), f"crash@{point}")) == []


def test_what_stands_beside_a_volatile_field_is_compared() -> None:
    """The price of the second ticket is another one, and no declaration covers it."""
    violations = grave(found(office(ticket_with_price), CRASH.format("draw_ticket")))
    assert [(each.oracle, each.about) for each in violations] == [("difference", "result")]


def test_volatile_is_found_wherever_a_hint_can_hold_it() -> None:
    """In containers, unions, tuples by position, and records by the names that travel."""
    assert not is_volatile(dict[str, list[int]])
    assert settled(Volatile[int], 5) == "~"
    assert settled(Volatile[str] | None, None) is None
    assert settled(Volatile[str] | None, "x") == "~"
    assert settled(tuple[Volatile[str], int], ["x", 1]) == ["~", 1]
    assert settled(dict[str, Volatile[int]], {"a": 1}) == {"a": "~"}
    page = {"printedAt": 1, "tickets": [{"number": "A1", "price": 2}], "size": 3}
    assert settled(Page, page) == {"printedAt": "~", "tickets": [{"number": "~", "price": 2}], "size": 3}
