"""What the tests of the oracles share: a world, steps that reach it, and a campaign of single faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

from wfkit import Workflow, resource, step, step_info
from wfkit.sim.faults import Fault, kinds_at, parse_fault
from wfkit.sim.findings import Violation
from wfkit.sim.oracles import judge, judge_base
from wfkit.sim.passes.fault_free import ticks
from wfkit.sim.reference import Reference
from wfkit.sim.services import NO_EFFECT, FakeService, KeyValue, Mailbox
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Replace, Subject, replace


class World:
    """A shop that takes and gives back, a bank without handlers, a mail server, and a store."""

    def __init__(self) -> None:
        self.shop = FakeService("shop")
        self.bank = FakeService("bank")
        self.mail = Mailbox()
        self.store = KeyValue("store")
        for do, undo in (("reserve", "release"), ("book", "unbook"), ("pay", "refund")):
            self._keeps(do, undo)

    def _keeps(self, do: str, undo: str) -> None:
        @self.shop.on(do)
        def take(state: dict[str, Any], **what: Any) -> str:
            state.setdefault(do, []).append(what)
            return f"{do} accepted"

        @self.shop.on(undo)
        def give_back(state: dict[str, Any], **what: Any) -> object:
            if what not in state.get(do, []):
                return NO_EFFECT
            state[do].remove(what)
            return f"{undo} accepted"


@resource
async def shop() -> AsyncIterator[FakeService]:
    yield FakeService("shop")


@resource
async def bank() -> AsyncIterator[FakeService]:
    yield FakeService("bank")


@resource
async def mail() -> AsyncIterator[Mailbox]:
    yield Mailbox()


@resource
async def store() -> AsyncIterator[KeyValue]:
    yield KeyValue("store")


RESOURCES: tuple[Replace[World], ...] = (
    replace(shop, lambda world: world.shop),
    replace(bank, lambda world: world.bank),
    replace(mail, lambda world: world.mail),
    replace(store, lambda world: world.store),
)


async def ask(name: str, **payload: Any) -> str:
    """Ask the shop for something, by the key of the step that runs."""
    return str(await shop.get().call(name, idempotency_key=step_info().idempotency_key, **payload))


@step
async def charge(amount: int) -> str:
    """The answer is `charge-1`, `charge-2`, ...: it depends on who comes first."""
    return str(await bank.get().call("charge", idempotency_key=step_info().idempotency_key, amount=amount))


@step
async def note(what: str) -> None:
    await ask("note", what=what)


@step
async def reserve(item: str) -> str:
    return await ask("reserve", item=item)


@step(undoes=reserve)
async def release(item: str) -> None:
    await ask("release", item=item)


@step
async def book(room: str) -> str:
    return await ask("book", room=room)


@step(undoes=book)
async def unbook(room: str) -> None:
    await ask("unbook", room=room)


@step
async def pay(amount: int) -> str:
    return await ask("pay", amount=amount)


@step(undoes=pay)
async def refund(amount: int) -> None:
    await ask("refund", amount=amount)


def subject_of(workflow: Workflow[..., Any], *args: Any, **more: Any) -> Subject:
    return Subject(workflow, args, **{"world": World, "resources": RESOURCES, **more})


def reference_of(subject: Subject) -> Reference:
    """Run the schedules without faults: other orders of arrival, another seed, another day."""
    orders = [Simulation(subject, arrival=arrival).run() for arrival in (1, 2, 3)]
    later = changed(subject, start=subject.start + timedelta(days=3, hours=5))
    base = Simulation(subject).run()
    redrawn = [Simulation(subject, seed=7).run(), Simulation(later, seed=8).run(), Simulation(subject, ticks(base)).run()]
    return Reference.of(subject, base, orders, redrawn)


def found(subject: Subject, *faults: str, reference: Reference | None = None) -> list[Violation]:
    """Return what is said of one schedule: of the one without faults if none are given."""
    reference = reference or reference_of(subject)
    if not faults:
        return judge_base(subject, reference)
    plan = tuple(map(parse_fault, faults))
    recording = Simulation(subject, plan, base=reference.base).run()
    assert recording.faults, f"{faults} did not strike"
    return judge(subject, reference, recording)


def grave(violations: Sequence[Violation]) -> list[Violation]:
    return [violation for violation in violations if violation.severity != "info"]


def campaign(subject: Subject) -> dict[str, list[Violation]]:
    """Return the errors and warnings of the schedule without faults, and of every single fault, by the fault."""
    reference = reference_of(subject)
    verdicts = {"no fault": grave(judge_base(subject, reference))}
    for point in reference.base.trace:
        for kind in kinds_at(point.phase):
            fault = Fault(kind.name, point)
            recording = Simulation(subject, (fault,), base=reference.base).run()
            verdicts[str(fault)] = grave(judge(subject, reference, recording))
    return {fault: violations for fault, violations in verdicts.items() if violations}
