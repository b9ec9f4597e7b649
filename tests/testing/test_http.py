"""`http_transport`: a real HTTP client in steps, with a fake service at the other end of the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import httpx
import pytest

from wfkit import Expect, Resource, Retry, Workflow, resource, run_step, step, step_info, workflow
from wfkit.testing import NO_EFFECT, FakeService, http_transport, http_transport_sync, replace, simulate, verify


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


class Parcels(World):
    """A service whose handlers name the parts of their paths."""

    def __init__(self) -> None:
        super().__init__()

        @self.service.on("POST /v1/charges/{charge}/refunds")
        def refund(state: dict[str, Any], charge: str) -> Any:
            return {"id": f"refund of {charge}"}


def test_a_handler_may_name_the_parts_of_its_path() -> None:
    """It is called by these names, whatever the parts look like."""
    recording = simulate(buy, 7, world=Parcels, resources=resources(bank))
    assert recording.result == ["ch_1", 7, "refund of ch_1"]
    assert [effect.name for effect in recording.effects][1] == "POST /v1/charges/{charge}/refunds"


class Tokens(World):
    """A service with digits in the names of its resources."""

    def __init__(self) -> None:
        super().__init__()
        self.service.on("POST /v1/charges")(lambda _state, **_payload: {"id": "ch_1"})
        self.service.on_read("GET /v1/charges/ch_1")(lambda _state: {"balance": 5})


def test_a_handler_may_name_the_whole_path() -> None:
    """As it is called, whatever looks like an id in it."""
    recording = simulate(buy, 7, world=Tokens, resources=resources(bank))
    assert recording.result == ["ch_1", 5, "refunds-1"]


def test_an_error_status_refuses_so_nothing_has_happened() -> None:
    """The service's state is what it was, and there is no effect."""
    recording = simulate(buy, 700, world=World, resources=resources(bank))
    assert recording.result == ["402"]
    assert recording.effects == []
    assert recording.world.service.state == {}


def test_a_lost_answer_is_retried_under_the_same_key() -> None:
    """The client meets a gateway's answer, the step is tried again, and the service recognises the key."""
    recording = simulate(buy, 7, world=World, resources=resources(bank), faults="lost_ack@1:call.after:POST /v1/charges")
    assert recording.status == "completed"
    assert recording.faults
    assert len(recording.world.service.attempts) == 3
    assert len(recording.effects) == 2


@workflow
async def looks_at_its_status(call: str) -> str:
    return await run_step("call", {"POST": charges, "GET": gets}[call])


async def asks_for_money() -> httpx.Response:
    key = step_info().idempotency_key
    answer: httpx.Response = await bank.get().post("/charges", json={"amount": 7}, headers={"Idempotency-Key": key})
    return answer


async def charges() -> str:
    return str((await asks_for_money()).raise_for_status().json()["id"])


async def gets() -> str:
    return str((await bank.get().get("/charges")).raise_for_status().text)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("fail@1:call.before:POST /v1/charges", "HTTPStatusError: Server error '503 Service Unavailable'"),
        ("fail_n(1)@1:call.before:POST /v1/charges", "ConnectError: POST /v1/charges: no answer"),
        ("outage(1s)@1:call.before:POST /v1/charges", "ConnectError: bank is down"),
        ("lost_ack@1:call.after:POST /v1/charges", "HTTPStatusError: Server error '504 Gateway Timeout'"),
        ("slow@1:call.after:POST /v1/charges", "ReadTimeout: the answer took too long"),
        ("fail@1:read:GET /v1/charges", "HTTPStatusError: Server error '503 Service Unavailable'"),
        ("fail_n(1)@1:read:GET /v1/charges", "ConnectError: GET /v1/charges: no answer"),
        ("slow@1:read:GET /v1/charges", "ReadTimeout: the answer took too long"),
    ],
)
def test_a_client_meets_what_it_would_meet(fault: str, error: str) -> None:
    """An answer of a gateway, or httpx's own failures; a slow answer is not waited for longer than the client does."""
    call = "GET" if "GET" in fault else "POST"
    recording = simulate(looks_at_its_status, call, world=WithList, resources=resources(bank), faults=fault)
    failed = [record.entry.error for record in recording.history() if type(record.entry).__name__ == "AttemptFailed"]  # type: ignore[union-attr]  # by its name
    assert [f"{each.type}: {each.message}".partition(" for url")[0] for each in failed if each is not None] == [error]
    assert recording.status == "completed"


class WithList(World):
    """A bank that tells what it has charged."""

    def __init__(self) -> None:
        super().__init__()
        self.service.on_read("GET /v1/charges")(lambda _state: "none")


async def takes_no_notice() -> None:
    await asks_for_money()


@workflow
async def pays_carelessly() -> str:
    await run_step("pay", takes_no_notice)
    return "paid"


def test_a_step_that_does_not_look_at_the_status_is_named() -> None:
    """A 503 is nothing to it, so nobody pays."""
    report = verify(pays_carelessly, world=World, resources=resources(bank), faults=["fail"], budget="0.1s")
    [finding] = report.findings
    assert finding.title == "POST /v1/charges happened never instead of once"
    assert finding.why == "pay took no notice that its call failed"
    assert "fix: let the exception leave it (over HTTP: raise_for_status()), so that it is tried again" in report.text()


class Declined(Exception):
    """The bank has said no."""


@step(retry=Retry(non_retryable=(Declined,)))
async def takes_each_status_for_a_refusal() -> None:
    answer = await asks_for_money()
    if answer.status_code >= 400:
        raise Declined


@step(retry=Retry(non_retryable=(Declined,)))
async def knows_a_refusal() -> None:
    answer = await asks_for_money()
    if answer.status_code == 402:
        raise Declined
    answer.raise_for_status()


@workflow
async def pays_or_is_declined(how: str) -> str:
    try:
        await (knows_a_refusal() if how == "402" else takes_each_status_for_a_refusal())
    except Declined:
        return "declined"
    return "paid"


def test_a_gateway_that_gives_up_on_a_call_has_not_refused_it() -> None:
    """Who takes its 504 for a refusal has charged a customer that was declined."""
    proven: Any = {"world": World, "resources": resources(bank), "budget": "0.1s"}
    report = verify(pays_or_is_declined, "each", faults=["lost_ack"], **proven)
    [finding] = report.findings
    assert finding.title == 'POST /v1/charges took effect, and pays_or_is_declined completed "declined" as if it had not'
    verify(pays_or_is_declined, "402", **proven).assert_ok()


def test_a_sync_client_in_a_def_step_works_alike() -> None:
    """Also when the process dies after the request has arrived."""
    recording = simulate(buy_sync, 7, world=World, resources=resources(ledger), faults="crash@1:call.after:POST /v1/charges")
    assert recording.result == "ch_1"
    assert recording.lives == 2
    assert [effect.name for effect in recording.effects] == ["POST /v1/charges"] * 2


# -- calls that come again ------------------------------------------------------------------------------------------------


class Idempotent(World):
    """It knows calls again by other means than the usual header."""

    def __init__(self) -> None:
        super().__init__()
        transport = http_transport(self.service, key_header="X-Request-Id")
        self.http = httpx.AsyncClient(transport=transport, base_url="https://bank.example/v1")

        @self.service.on("PUT /v1/users/{id}")
        def set_user(state: dict[str, Any], id: str, name: str) -> Any:
            state[id] = name
            return {"id": id, "name": name}

        @self.service.on("PUT /v1/logs/{id}")
        def log(state: dict[str, Any], id: str, line: str) -> Any:
            state.setdefault("lines", []).append(line)
            return {"id": id}

        @self.service.on("POST /v1/tickets")
        def take_ticket(state: dict[str, Any], order: str) -> Any:
            if order in state:
                return NO_EFFECT({"id": state[order]})
            state[order] = "t1"
            return {"id": "t1"}


def own_key() -> str:
    return step_info().idempotency_key


async def by_field() -> Any:
    return await bank.get().post("/orders", json={"item": "lamp", "meta": {"client_token": f"{own_key()}/1"}})


async def by_any_header() -> Any:
    return await bank.get().post("/payments", json={}, headers={"PayPal-Request-Id": own_key()})


async def by_named_header() -> Any:
    return await bank.get().post("/payments", json={}, headers={"X-Request-Id": "order-7"})


async def puts() -> Any:
    return await bank.get().put("/users/u1", json={"name": "ann"})


async def puts_without_handler() -> Any:
    return await bank.get().put("/prices/p1", json={"cents": 5})


async def deletes() -> Any:
    return await bank.get().delete("/users/u1")


async def puts_what_is_no_put() -> Any:
    return await bank.get().put("/logs/l1", json={"line": "x"})


async def finds_its_ticket() -> Any:
    response = await bank.get().post("/tickets", json={"order": "o1"})
    assert response.json() == {"id": "t1"}, "the second call has an answer, too"
    return response


def times_under_a_crash(call: Callable[[], Awaitable[Any]]) -> int:
    """Return how often something happens when the process dies after it, and calls again."""

    @step
    async def calls() -> int:
        return int((await call()).status_code)

    @workflow
    async def calling() -> int:
        return await calls()

    fault = "crash@1:step.effect_done_not_journaled:calls"
    recording = simulate(calling, world=Idempotent, resources=resources(bank), faults=fault)
    assert recording.result == 200
    assert len(recording.world.service.attempts) == 2
    return len(recording.effects)


@pytest.mark.parametrize(
    "call", [by_field, by_any_header, by_named_header, puts, puts_without_handler, deletes, finds_its_ticket]
)
def test_a_call_that_is_known_again_happens_once(call: Callable[[], Awaitable[Any]]) -> None:
    """By its key wherever that stands, by its method, or by the word of the handler."""
    assert times_under_a_crash(call) == 1


def test_a_handler_may_show_that_a_put_is_none() -> None:
    """It does something more each time."""
    assert times_under_a_crash(puts_what_is_no_put) == 2


async def posts() -> Any:
    return await bank.get().post("/users", json={"name": "ann"})


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (puts_what_is_no_put, "the same PUT came twice, and the second one changed the state of bank once more"),
        (posts, "the call has no idempotency key, so each attempt is a new one to the outside"),
    ],
)
def test_what_happens_twice_is_told_by_how_it_was_asked_for(call: Callable[[], Awaitable[Any]], why: str) -> None:
    """And that there may be nothing wrong with it."""

    async def calls() -> None:
        await call()

    @workflow
    async def calling() -> None:
        await run_step("calls", calls)

    fault = "crash@1:step.effect_done_not_journaled:calls"
    [finding] = simulate(calling, world=Idempotent, resources=resources(bank), faults=fault).findings
    assert finding.why == why
    assert "NO_EFFECT(answer)" in finding.story


@workflow
async def puts_another_name(names: list[str]) -> None:
    for name in names:
        await put_name(name)


@step
async def put_name(name: str) -> None:
    await bank.get().put("/users/u1", json={"name": name})


def test_a_put_of_another_value_is_something_new() -> None:
    """Also of one that was there before."""
    recording = simulate(puts_another_name, ["ann", "bob", "bob", "ann"], world=Idempotent, resources=resources(bank))
    assert [effect.payload["name"] for effect in recording.effects] == ["ann", "bob", "ann"]


async def tell(what: str) -> None:
    await bank.get().post("/news", json={"what": what})


@workflow
async def tells() -> None:
    await run_step("tell", tell, "all is well", expect=Expect(at_least_once="news may come twice"))


def test_an_undecorated_step_may_say_what_to_expect_of_it() -> None:
    """As a decorated one."""
    fault = "crash@1:step.effect_done_not_journaled:tell"
    assert simulate(tells, world=World, resources=resources(bank), faults=fault).findings == []


# -- refused by the schedule ----------------------------------------------------------------------------------------------


class Noting(World):
    """A client that keeps the statuses that it is answered with."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.http.event_hooks = {"response": [self.note]}

    async def note(self, response: httpx.Response) -> None:
        self.statuses.append(response.status_code)


async def paid() -> int:
    answer = await bank.get().post("/payments", json={}, headers={"Idempotency-Key": step_info().idempotency_key})
    return int(answer.status_code)


async def is_no_error() -> int:
    return int((await bank.get().post("/payments", json={})).raise_for_status().status_code)


async def tells_a_number() -> int:
    return 0 if (status := await paid()) in (402, 409) else status


async def tells_a_name() -> int:
    return 0 if (status := await paid()) == httpx.codes.FORBIDDEN else status


@pytest.mark.parametrize(
    ("call", "status"),
    [(paid, 422), (is_no_error, 422), (tells_a_number, 402), (tells_a_name, 403)],
    ids=lambda it: getattr(it, "__name__", str(it)),
)
def test_a_service_refuses_as_http_does(call: Callable[[], Coroutine[Any, Any, int]], status: int) -> None:
    """By a status that the step's code names, or else by the usual one; each attempt is refused."""

    @workflow
    async def pays() -> int:
        return await run_step("pay", call)

    recording = simulate(pays, world=Noting, resources=resources(bank), faults="fatal@1:call.before:POST /v1/payments")
    assert recording.world.statuses == [status] * (4 if call is is_no_error else 1)
    assert recording.effects == []
    assert recording.status == ("failed" if call is is_no_error else "completed")
    assert recording.findings == []


payment = step(name="pay")(paid)
insistent = step(name="pay", retry=Retry(max_attempts=None))(is_no_error)


@step
async def ship() -> None:
    await bank.get().post("/parcels", headers={"Idempotency-Key": step_info().idempotency_key})


@workflow
async def ships_unpaid() -> str:
    await payment()
    await ship()
    return "shipped"


@workflow
async def ships_what_is_paid() -> str:
    if await payment() == 422:
        return "refused"
    await ship()
    return "shipped"


@workflow
async def ships_when_it_is_paid_at_last() -> str:
    await insistent()
    await ship()
    return "shipped"


def what_is_shipped_is_paid(world: World) -> bool:
    return len(world.service.effects) != 1 or "payments" in world.service.effects[0].name


@step(retry=Retry(max_attempts=3))
async def name_it() -> None:
    (await bank.get().put("/users/7", json={"name": "ann"})).raise_for_status()


@workflow
async def names() -> str:
    await name_it()
    return "ok"


def test_a_put_that_has_set_its_value_is_not_refused() -> None:
    """The same once more is nothing new, so there is nothing to refuse."""
    faults = ["lost_ack@1:call.after:PUT /v1/users/{id}", "fatal@1:call.before:PUT /v1/users/{id}:2"]
    assert simulate(names, world=World, resources=resources(bank), faults=faults).result == "ok"


@pytest.mark.parametrize(
    ("workflow", "is_found"), [(ships_unpaid, True), (ships_what_is_paid, False), (ships_when_it_is_paid_at_last, False)]
)
def test_a_step_that_takes_a_refusal_for_an_answer_is_tried(workflow: Workflow[[], str], is_found: bool) -> None:
    """So what a workflow makes of it is seen. One that is tried without end is accepted at last."""
    report = verify(
        workflow, world=World, resources=resources(bank), faults=["fatal"], invariants=[what_is_shipped_is_paid], budget="0.1s"
    )
    found = [finding.title for finding in report.findings if finding.severity != "info"]
    unpaid = 'POST /v1/payments was refused, and ships_unpaid completed "shipped" as always'
    assert sorted(found) == [unpaid, "what_is_shipped_is_paid: it does not hold"] * is_found
