"""What workflow code does past its history."""

from __future__ import annotations

import pytest

from tests.sim.judging import found, note
from wfkit import Workflow, sleep, unsafe, workflow
from wfkit.sim.services import FakeService, KeyValue, Mailbox, effect
from wfkit.sim.subject import Subject

bank, mail, store = FakeService("bank"), Mailbox(), KeyValue("store")


class World:
    replaces = {  # noqa: RUF012  # nobody writes to it
        f"{__name__}:bank": lambda world: world.bank,
        f"{__name__}:mail": lambda world: world.mail,
        f"{__name__}:store": lambda world: world.store,
        "tests.sim.judging:shop": lambda world: world,
    }

    def __init__(self) -> None:
        self.bank, self.mail, self.store = FakeService("bank"), Mailbox(), KeyValue("store")

    def get(self) -> FakeService:
        return self.bank


@workflow
async def calls() -> None:
    await bank.call("charge", amount=5)


@workflow
async def calls_unsafely() -> None:
    with unsafe("only a mail"):
        mail.send_sync(to="ann")


@workflow
async def reads() -> None:
    await bank.read("rate")


@workflow
async def looks_up() -> None:
    if store.get_sync("paused"):
        await sleep("1h")


@workflow
async def writes() -> None:
    await store.put("paused", "yes")


@workflow
async def declares() -> None:
    effect("charged")


@pytest.mark.parametrize(
    ("flow", "told"),
    [
        (calls, "calls itself asks bank for charge, in no step"),
        (calls_unsafely, "calls_unsafely itself asks mail for send, in no step"),
        (reads, "reads itself asks bank for rate, in no step"),
        (looks_up, "looks_up itself asks store for get('paused'), in no step"),
        (writes, "writes itself asks store for put('paused'), in no step"),
        (declares, "declares itself declares effect('charged'), in no step"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_workflow_that_asks_a_service_itself_is_told_with_its_line(flow: Workflow[[], None], told: str) -> None:
    """Every replay asks again, and `unsafe` changes nothing about that."""
    [violation] = found(Subject(flow, (), World))
    assert (violation.oracle, violation.severity, violation.title) == ("ambient", "error", told)
    line = flow.fn.__code__.co_firstlineno
    assert violation.line.startswith(f"{__file__}:")
    assert 1 <= int(violation.line.split(":")[1].split()[0]) - line <= 3


@workflow
async def in_a_step() -> None:
    await note("done")


@workflow
async def where_it_fails() -> str:
    try:
        await note("done")
    except ConnectionError:
        mail.send_sync(to="ann")
        return "failed"
    return "ok"


def test_steps_ask_services_and_nothing_is_said() -> None:
    """That is what they are for."""
    assert found(Subject(in_a_step, (), World)) == []


def test_it_is_told_also_where_only_a_fault_leads() -> None:
    """What is done when something fails is workflow code too."""
    subject = Subject(where_it_fails, (), World)
    assert found(subject) == []
    assert [each.about for each in found(subject, "fail_n(4)@1:call.before:note")] == ["mail.send"]
