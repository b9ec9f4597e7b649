"""What a service refuses by its answer is noticed: no exception tells of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.sim.judging import found
from wfkit import Expect, Resource, State, Workflow, resource, step, step_info, workflow
from wfkit.sim.services import FakeService
from wfkit.sim.subject import Declaration, Replace, Subject, outcome, replace
from wfkit.testing import Volatile, http_transport


@resource
async def api() -> Any:
    async with httpx.AsyncClient() as client:
        yield client


@resource
async def mirror() -> Any:
    async with httpx.AsyncClient() as client:
        yield client


@resource
async def archive() -> Any:
    async with httpx.AsyncClient() as client:
        yield client


SERVICES: dict[str, Resource[Any]] = {"api": api, "mirror": mirror, "archive": archive}


class Net:
    def __init__(self) -> None:
        self.clients = {name: _client(name) for name in SERVICES}


def _client(name: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"https://{name}.example", transport=http_transport(FakeService(name)))


async def post(path: str, client: Any = api) -> httpx.Response:
    response: httpx.Response = await client.get().post(path, headers={"Idempotency-Key": step_info().idempotency_key})
    return response


@step
async def charge() -> None:
    await post("/charges")


@step
async def charge_and_raise() -> None:
    (await post("/charges")).raise_for_status()


@step
async def charge_and_tell() -> bool:
    return (await post("/charges")).is_success


@step
async def charge_at_first() -> None:
    if step_info().attempt == 1:
        (await post("/charges")).raise_for_status()


@step(expect=Expect(at_least_once="counts for nothing"))
async def count() -> None:
    await post("/counts")


@step
async def copy(to: str) -> None:
    await post("/copies", SERVICES[to])


@step
async def ship() -> None:
    (await post("/shipments")).raise_for_status()


@step
async def look() -> int:
    return int((await api.get().get("/charges")).status_code)


progress = State("progress", str)


@workflow
async def takes_any_answer() -> str:
    await charge()
    await ship()
    return "shipped"


@workflow
async def charges_at_first() -> str:
    await charge_at_first()
    await ship()
    return "shipped"


@workflow
async def does_not_listen() -> str:
    await charge_and_tell()
    await ship()
    return "shipped"


@workflow
async def raises() -> str:
    await charge_and_raise()
    await ship()
    return "shipped"


@workflow
async def listens() -> str:
    if not await charge_and_tell():
        return "declined"
    await ship()
    return "shipped"


@workflow
async def tells_by_a_value() -> Volatile[bool]:
    paid = await charge_and_tell()
    await ship()
    return paid


@workflow
async def shows_it() -> str:
    progress.set("paid" if await charge_and_tell() else "not paid")
    await ship()
    return "shipped"


@workflow
async def looks_again() -> str:
    if not await charge_and_tell():
        await look()
    await ship()
    return "shipped"


@workflow
async def copies(where: list[str]) -> str:
    for each in where:
        await copy(each)
    await ship()
    return "kept"


@workflow
async def claims_nothing() -> None:
    await charge()
    await ship()


@workflow
async def counts() -> str:
    await count()
    await ship()
    return "shipped"


@workflow
async def ends_with_a_courtesy() -> str:
    await ship()
    await charge()
    return "shipped"


def judged(
    workflow: Workflow[..., Any], point: str, *args: Any, expect: tuple[Declaration, ...] = ()
) -> list[tuple[str, str, str, str]]:
    resources: list[Replace[Net]] = [
        replace(each, lambda world, name=name: world.clients[name])  # type: ignore[misc]  # mypy cannot infer its default
        for name, each in SERVICES.items()
    ]
    violations = found(Subject(workflow, args, world=Net, resources=tuple(resources), expect=expect), f"fatal@{point}")
    return [(each.oracle, each.severity, each.about, each.why) for each in violations]


CHARGES = "1:call.before:POST /charges"


@pytest.mark.parametrize(
    ("workflow", "point", "args", "about", "why"),
    [
        (takes_any_answer, CHARGES, (), "charge", "charge took no notice of the status of the answer"),
        (charges_at_first, CHARGES, (), "charge_at_first", ""),
        (
            does_not_listen,
            CHARGES,
            (),
            "charge_and_tell",
            "charge_and_tell returned something other than usual, and nobody took notice of it",
        ),
        (
            copies,
            "1:call.before:POST /copies",
            (["api", "mirror"],),
            "copy",
            "copy took no notice of the status of the answer",
        ),
    ],
    ids=["status", "refused attempt failed", "result", "no majority"],
)
def test_a_refusal_that_nobody_looks_at_is_told_of(
    workflow: Workflow[..., Any], point: str, args: tuple[Any, ...], about: str, why: str
) -> None:
    """The customer gets for nothing what the run says was paid."""
    assert judged(workflow, point, *args) == [("difference", "warning", about, why)]


@pytest.mark.parametrize(
    ("workflow", "point", "args", "expect"),
    [
        (raises, CHARGES, (), ()),
        (listens, CHARGES, (), ()),
        (tells_by_a_value, CHARGES, (), ()),
        (shows_it, CHARGES, (), ()),
        (looks_again, CHARGES, (), ()),
        (claims_nothing, CHARGES, (), ()),
        (counts, "1:call.before:POST /counts", (), ()),
        (ends_with_a_courtesy, "2:call.before:POST /charges", (), ()),
        (copies, "1:call.before:POST /copies", (["api", "mirror", "archive"],), ()),
        (takes_any_answer, CHARGES, (), (outcome(fault="fatal", value="shipped"),)),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_who_takes_notice_of_a_refusal_or_need_not_is_right(
    workflow: Workflow[..., Any], point: str, args: tuple[Any, ...], expect: tuple[Declaration, ...]
) -> None:
    """By an exception, a result, a state or another call; a majority is enough, and a declaration settles it."""
    assert judged(workflow, point, *args, expect=expect) == []
