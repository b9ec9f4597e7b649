"""`http_transport`: a real HTTP client in steps, with a fake service at the other end of the wire."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from wfkit import Resource, resource, step, step_info, workflow
from wfkit.testing import FakeService, http_transport, http_transport_sync, replace, simulate


@resource
async def bank() -> Any:
    async with httpx.AsyncClient() as client:
        yield client


@resource
async def ledger() -> Any:
    with httpx.Client() as client:
        yield client


class World:
    def __init__(self) -> None:
        self.service = FakeService("bank")
        self.http = httpx.AsyncClient(transport=http_transport(self.service), base_url="https://bank.example/v1")
        self.http_sync = httpx.Client(transport=http_transport_sync(self.service), base_url="https://bank.example/v1")

        @self.service.on("POST /v1/charges")
        def charge(state: dict[str, Any], amount: int) -> Any:
            state["balance"] = state.get("balance", 0) + amount
            return (402, {"error": "too much"}) if amount > 100 else {"id": "ch_1", "amount": amount}

        @self.service.on_read("GET /v1/charges/{id}")
        def show(state: dict[str, Any], id: str) -> Any:
            return {"id": id, "balance": state["balance"]}


def resources(*used: Resource[Any]) -> list[Any]:
    parts = {bank: lambda world: world.http, ledger: lambda world: world.http_sync}
    return [replace(each, parts[each]) for each in used]


@step
async def charge(amount: int) -> str:
    response = await bank.get().post(
        "/charges", json={"amount": amount}, headers={"Idempotency-Key": step_info().idempotency_key}
    )
    return str(response.json().get("id", response.status_code))


@step
async def show(id: str) -> int:
    return int((await bank.get().get(f"/charges/{id}")).json()["balance"])


@step
async def refund(id: str) -> str:
    return str((await bank.get().post(f"/charges/{id}/refunds")).json()["id"])


@step
def charge_sync(amount: int) -> str:
    return str(ledger.get().post("/charges", json={"amount": amount}).json()["id"])


@workflow
async def buy(amount: int) -> list[Any]:
    id = await charge(amount)
    return [id, await show(id), await refund(id)] if id == "ch_1" else [id]


@workflow
async def buy_sync(amount: int) -> str:
    return await charge_sync(amount)


def test_a_request_is_an_effect_by_method_template_and_key() -> None:
    """Ids in the path are replaced, and a handler gets them; without a handler the answer has an id."""
    recording = simulate(buy, 7, world=World, resources=resources(bank))
    assert recording.result == ["ch_1", 7, "refunds-1"]
    assert [(effect.name, dict(effect.payload)) for effect in recording.effects] == [
        ("POST /v1/charges", {"amount": 7}),
        ("POST /v1/charges/{id}/refunds", {"id": "ch_1"}),
    ]
    assert recording.effects[0].key is not None
    assert recording.effects[1].key is None


def test_an_error_status_refuses_so_nothing_has_happened() -> None:
    """The service's state is what it was, and there is no effect."""
    recording = simulate(buy, 700, world=World, resources=resources(bank))
    assert recording.result == ["402"]
    assert recording.effects == []
    assert recording.world.service.state == {}


def test_a_lost_answer_is_retried_under_the_same_key() -> None:
    """The client meets a timeout, the step is tried again, and the service recognises the key."""
    recording = simulate(buy, 7, world=World, resources=resources(bank), faults="lost_ack@1:call.after:POST /v1/charges")
    assert recording.status == "completed"
    assert recording.faults
    assert len(recording.world.service.attempts) == 3
    assert len(recording.effects) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("fail@1:call.before:POST /v1/charges", "ConnectError"),
        ("lost_ack@1:call.after:POST /v1/charges", "ReadTimeout"),
        ("slow@1:call.after:POST /v1/charges", "ReadTimeout"),
    ],
)
def test_a_client_meets_what_it_would_meet(fault: str, error: str) -> None:
    """Failures are httpx's own, and a slow answer is not waited for longer than the client does."""
    recording = simulate(buy, 7, world=World, resources=resources(bank), faults=fault)
    failed = [record.entry.error for record in recording.history() if type(record.entry).__name__ == "AttemptFailed"]  # type: ignore[union-attr]  # by its name
    assert [failure.type for failure in failed if failure is not None] == [error]
    assert recording.status == "completed"


def test_a_sync_client_in_a_def_step_works_alike() -> None:
    """Also when the process dies after the request has arrived."""
    recording = simulate(buy_sync, 7, world=World, resources=resources(ledger), faults="crash@1:call.after:POST /v1/charges")
    assert recording.result == "ch_1"
    assert recording.lives == 2
    assert [effect.name for effect in recording.effects] == ["POST /v1/charges"] * 2
