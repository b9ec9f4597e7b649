"""Which undo is of which step: told by the evidence, since code that undoes by hand calls it in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.quality.outside import to_its_end
from tests.sim.judging import RESOURCES, ask, campaign, found, grave, note, pay, reserve, shop, subject_of
from wfkit import Step, Workflow, info, saga, step, step_info, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.services import NO_EFFECT, FakeService, KeyValue, Mailbox
from wfkit.sim.subject import Subject, residue


class Shop:
    """Keeps what was done by its id. Giving back what is not kept is nothing to do."""

    def __init__(self) -> None:
        self.shop, self.bank = FakeService("shop"), FakeService("bank")
        self.mail, self.store = Mailbox(), KeyValue("store")
        for do, undo in (("rent", "unrent"), ("label", "unlabel"), ("bill", "pay back")):
            self._keeps(do, undo)

    def _keeps(self, do: str, undo: str) -> None:
        @self.shop.on(do)
        def take(state: dict[str, Any], id: str) -> str:
            state.setdefault(do, {})[id] = "taken"
            return f"{do}/{id}"

        @self.shop.on(undo)
        def give_back(state: dict[str, Any], id: str) -> object:
            return state.get(do, {}).pop(id, NO_EFFECT)


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in grave(violations)]


def shop_of(workflow: Workflow[..., Any], *args: Any, **more: Any) -> Subject:
    return subject_of(workflow, *args, **{"world": Shop, "resources": RESOURCES, **more})


@step
async def rent(id: str, city: str) -> str:
    return await ask("rent", id=id)


@step(undoes=rent)
async def unrent(id: str) -> None:
    await ask("unrent", id=id)


@step
async def label(id: str) -> str:
    return await ask("label", id=id)


@step
async def unlabel(id: str, why: str) -> None:
    """Undo `label`, which nothing declares."""
    await ask("unlabel", id=id)


@step
async def bill(id: str) -> str:
    return await ask("bill", id=id)


@step(undoes=bill)
async def pay_back(id: str, why: str) -> None:
    await ask("pay back", id=id)


@step(undoes=bill)
async def pay_back_receipt(receipt: str) -> None:
    await ask("pay back", id=receipt.rpartition("/")[2])


@workflow
async def leaves_out_an_argument(city: str) -> None:
    car = f"{info().id}/car"
    async with saga() as s:
        s.undo(unrent, car)
        await to_its_end(rent(car, city))
        await note("rented")


@workflow
async def adds_a_reason(order: str) -> None:
    try:
        await to_its_end(bill(order))
        await to_its_end(note("billed"))
    except BaseException as exc:
        await to_its_end(pay_back(order, type(exc).__name__))
        raise


@workflow
async def undoes_by_the_result(order: str) -> None:
    receipt = f"bill/{order}"
    try:
        receipt = await bill(order)
        await note("billed")
    except Exception:
        await pay_back_receipt(receipt)
        raise


@workflow
async def labels(id: str) -> str:
    async with saga() as s:
        s.undo(unlabel, id, "it failed")
        return await label(id)


@workflow
async def undoes_its_child(order: str) -> None:
    async with saga() as s:
        s.undo(unlabel, f"{order}/1", "the order failed")
        await labels(f"{order}/1")
        await note("labelled")


@workflow
async def pays_back(orders: list[str]) -> None:
    for order in orders:
        await pay_back(order, "it failed")


@workflow
async def undoes_by_a_child(orders: list[str]) -> None:
    try:
        for order in orders:
            await bill(order)
        await note("billed")
    except Exception:
        await pays_back(orders)
        raise


NOTES = (residue("note", "a note does no harm"),)


@pytest.mark.parametrize("workflow", [leaves_out_an_argument, adds_a_reason, undoes_its_child], ids=lambda each: each.name)
def test_an_undo_is_known_by_what_it_is_about(workflow: Workflow[..., Any]) -> None:
    """It need not take the arguments of its step, nor be declared: it has undone what it was called for."""
    assert campaign(shop_of(workflow, "o1", expect=NOTES)) == {}


@pytest.mark.parametrize(
    ("workflow", "args"), [(undoes_by_the_result, "o1"), (undoes_by_a_child, ["o1", "o2"])], ids=["result", "child"]
)
def test_an_undo_may_take_a_result_and_be_run_by_a_child(workflow: Workflow[..., Any], args: Any) -> None:
    """Whatever calls it, and however it knows what to undo."""
    number = 3 if isinstance(args, list) else 2
    assert signature(found(shop_of(workflow, args), f"fatal@{number}:call.before:note")) == []


@workflow
async def forgets_one(orders: list[str]) -> None:
    try:
        for order in orders:
            await bill(order)
        await note("billed")
    except Exception:
        await pays_back(orders[1:])
        raise


@step(undoes=bill)
async def pay_back_another(id: str) -> None:
    await ask("pay back", id=f"order {id}")


@workflow
async def undoes_another(order: str) -> None:
    try:
        await bill(order)
        await note("billed")
    except Exception:
        await pay_back_another(f"no {order}")
        raise


def test_what_a_child_forgets_to_undo_is_found() -> None:
    """Two of three are not all."""
    [violation] = found(shop_of(forgets_one, ["o1", "o2", "o3"]), "fatal@4:call.before:note")
    assert signature([violation]) == [("saga", "error", "bill")]
    assert violation.evidence == ('left behind: bill {"id":"o1"}, done by bill',)


def test_an_undo_of_something_else_is_told_with_both_arguments() -> None:
    """The service says that there was nothing; the arguments say why."""
    [violation] = found(shop_of(undoes_another, "o1"), "fatal@2:call.before:note")
    assert signature([violation]) == [("saga", "error", "bill")]
    assert 'it was called with ["no o1"], and bill with ["o1"]' in violation.why


@step(undoes=pay)
async def refund_another(amount: int) -> None:
    await shop.get().call("give", idempotency_key=step_info().idempotency_key, amount=amount)


@workflow
async def refunds_another_amount() -> None:
    try:
        await pay(3)
        await note("paid")
    except Exception:
        await refund_another(4)
        raise


def test_an_undo_that_has_nothing_in_common_with_a_step_is_none_where_the_service_keeps_nothing() -> None:
    """Nobody can tell that it undid something, and its arguments say that it did not."""

    class Forgetful(Shop):
        def __init__(self) -> None:
            super().__init__()
            self.shop = FakeService("shop")

    subject = shop_of(refunds_another_amount, world=Forgetful)
    assert signature(found(subject, "fatal@2:call.before:note")) == [("saga", "error", "pay")]


@workflow
async def registers_late(id: str) -> None:
    async with saga() as s:
        await label(id)
        s.undo(unlabel, id, "it failed")
        await note("labelled")


@workflow
async def registers_another(id: str) -> None:
    async with saga() as s:
        s.undo(unlabel, f"label of {id}", "it failed")
        await label(id)
        await note("labelled")


@workflow
async def notes_first(id: str) -> None:
    async with saga() as s:
        await note("it begins")
        await s.do(reserve, id, undo=pay_back_receipt)


@workflow
async def bills_before_its_saga(id: str) -> None:
    await bill(id)
    async with saga() as s:
        s.undo(unlabel, id, "it failed")
        await label(id)


@pytest.mark.parametrize(
    ("workflow", "faults", "about", "why"),
    [
        (registers_late, ["slow_n@1:call.after:label"], "label", "is registered after it"),
        (registers_another, ["fatal@2:call.before:note"], "label", 'called with ["label of o1","it failed"]'),
        (notes_first, ["fatal@2:call.before:reserve"], "note", "note has no undo"),
    ],
    ids=["late", "another", "first"],
)
def test_what_nothing_undoes_stays_when_its_saga_fails(
    workflow: Workflow[..., Any], faults: list[str], about: str, why: str
) -> None:
    """Also where no pair is declared, and where it is done before any undo is registered."""
    [violation] = grave(found(shop_of(workflow, "o1"), *faults))
    assert signature([violation]) == [("saga", "warning", about)]
    assert violation.title == f"{about} stays although the saga around it was undone"
    assert why in violation.why


def test_what_is_done_before_a_saga_is_not_undone_by_it() -> None:
    """The saga's block is where the undoing begins, and the cause is told as that."""
    violations = grave(found(shop_of(bills_before_its_saga, "o1"), "fatal@2:call.before:label"))
    assert signature(violations) == [("saga", "error", "bill")]
    assert violations[0].why == "bill is not part of the saga that was undone"


class PayingBank(Shop):
    """Pays back as often as it is asked to, once for each key."""

    def __init__(self) -> None:
        super().__init__()

        @self.shop.on("pay back")
        def pay_back(state: dict[str, Any], id: str) -> object:
            return "paid back" if id in state.get("bill", {}) else NO_EFFECT


@workflow
async def undoes_in_two_places(order: str) -> None:
    async with saga() as s:
        s.undo(pay_back, order, "it failed")
        await s.do(bill, order, undo=pay_back_one)
        await note("billed")


@step(undoes=bill)
async def pay_back_one(id: str) -> None:
    await ask("pay back", id=id)


@workflow
async def undoes_by_one_key(order: str) -> None:
    try:
        await bill(order)
        await note("billed")
    except Exception:
        for _ in range(2):
            await pay_back_one.with_options(key=f"{order}/back")(order)
        raise


@workflow
async def bills_twice(order: str) -> None:
    async with saga() as s:
        for _ in range(2):
            await s.do(bill, order, undo=pay_back_one)
        await note("billed")


def test_what_two_undos_take_back_of_one_thing_is_too_much() -> None:
    """Each has a key of its own, so the bank pays twice."""
    subject = shop_of(undoes_in_two_places, "o1", world=PayingBank, expect=NOTES)
    [violation] = found(subject, "fatal@2:call.before:note")
    assert signature([violation]) == [("saga", "error", "pay back")]
    assert violation.title == "pay back happened twice for one bill: it was undone more than once"
    assert "pay_back_one and pay_back undid the same thing" in violation.why


@pytest.mark.parametrize(
    ("world", "workflow", "failing"),
    [(Shop, undoes_in_two_places, 2), (PayingBank, undoes_by_one_key, 2), (PayingBank, bills_twice, 3)],
    ids=["nothing left", "one key", "done twice"],
)
def test_an_undo_that_takes_back_what_is_there_is_right(world: type[Shop], workflow: Workflow[..., Any], failing: int) -> None:
    """However often it is asked: where nothing is left, under a key that is known, or for two things."""
    subject = shop_of(workflow, "o1", world=world, expect=NOTES)
    assert signature(found(subject, f"fatal@{failing}:call.before:note")) == []


@step
async def rent_and_label(id: str) -> None:
    key = step_info().idempotency_key
    for effect in ("rent", "label"):
        await shop.get().call(effect, idempotency_key=f"{key}/{effect}", id=id)


@step
async def undo_one(id: str) -> None:
    await ask("unrent", id=id)


@step
async def undo_both(id: str) -> None:
    key = step_info().idempotency_key
    for effect in ("unlabel", "unrent"):
        await shop.get().call(effect, idempotency_key=f"{key}/{effect}", id=id)


@workflow
async def half_undone(id: str) -> None:
    async with saga() as s:
        await s.do(rent_and_label, id, undo=undo_one)
        await note("done")


@workflow
async def wholly_undone(id: str) -> None:
    async with saga() as s:
        await s.do(rent_and_label, id, undo=undo_both)
        await note("done")


def test_an_undo_takes_back_all_that_its_step_did() -> None:
    """The label is still there, which the service knows; its author may say that this is meant."""
    failure = "fatal@2:call.before:note"
    [violation] = found(shop_of(half_undone, "o1", expect=NOTES), failure)
    assert signature([violation]) == [("saga", "warning", "rent")]
    assert violation.title == "label stays: undo_one took back rent alone"
    meant = (*NOTES, residue("label", "a label is worth nothing"))
    assert found(shop_of(half_undone, "o1", expect=meant), failure) == []
    assert found(shop_of(wholly_undone, "o1", expect=NOTES), failure) == []


@step
async def lease(id: str) -> str:
    return await ask("rent", id=id)


async def unleases(id: str, *, again: bool) -> bool:
    try:
        await ask("unrent", id=id)
    except ConnectionError:
        if again:
            raise
        return False
    return True


@step(undoes=lease)
async def unlease_and_hope(id: str) -> None:
    await unleases(id, again=False)


@step(undoes=lease)
async def unlease_and_tell(id: str) -> bool:
    return await unleases(id, again=False)


@step
async def unlease_until_done(id: str) -> None:
    await unleases(id, again=True)


@workflow
async def hopes_in_a_saga(id: str) -> None:
    async with saga() as s:
        await s.do(lease, id, undo=unlease_and_hope)
        await note("done")


@workflow
async def tells_a_saga(id: str) -> None:
    async with saga() as s:
        await s.do(lease, id, undo=unlease_and_tell)
        await note("done")


@workflow
async def undoes_until_it_is_done(id: str) -> None:
    async with saga() as s:
        await s.do(lease, id, undo=unlease_until_done)
        await note("done")


async def gives_up_by_hand(undo: Step[[str], Any], id: str) -> bool:
    await lease(id)
    try:
        await note("done")
    except Exception:
        if await undo(id) is not False:
            raise
        return False
    return True


@workflow
async def hopes_by_hand(id: str) -> bool:
    return await gives_up_by_hand(unlease_and_hope, id)


@workflow
async def asks_for_help(id: str) -> bool:
    return await gives_up_by_hand(unlease_and_tell, id)


@pytest.mark.parametrize(
    ("workflow", "undoing", "expected"),
    [
        (hopes_in_a_saga, "comp.call.before", [("saga", "error", "rent")]),
        (tells_a_saga, "comp.call.before", [("saga", "error", "rent")]),
        (hopes_by_hand, "call.before", [("saga", "error", "rent")]),
        (undoes_until_it_is_done, "comp.call.before", []),
        (asks_for_help, "call.before", []),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_an_undo_that_swallows_the_failure_of_its_call_has_undone_nothing(
    workflow: Workflow[..., Any], undoing: str, expected: list[tuple[str, str, str]]
) -> None:
    """Nobody tries it again: it ended well. A saga takes no notice of what it returns; who calls it by hand may."""
    violations = found(shop_of(workflow, "o1", expect=NOTES), "fatal@2:call.before:note", f"fail@3:{undoing}:unrent")
    assert signature(violations) == expected
    assert all("failed, and it ended well all the same" in each.why for each in grave(violations))
    assert all("let the exception leave it" in each.fix for each in grave(violations))
