"""Keys and payloads that only one process makes: others execute the same steps, and do something else."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wfkit import Signal, step, step_info, wait_signal, workflow
from wfkit.sim.deeds import may_differ
from wfkit.sim.findings import Violation
from wfkit.sim.hash_seeds import HashSeeds
from wfkit.sim.oracles.deeds import differing
from wfkit.sim.reference import Reference
from wfkit.sim.services import FakeService
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject
from wfkit.testing import verify

bank = FakeService("bank")
WORKER = uuid.uuid4().hex
PREFIX = "live"
paid = Signal("paid", str)


class World:
    replaces = {f"{__name__}:bank": lambda world: world.bank}  # noqa: RUF012  # nobody writes to it

    def __init__(self) -> None:
        self.bank = FakeService("bank")


def own() -> str:
    return step_info().idempotency_key


async def pay(key: str, **what: Any) -> None:
    await bank.call("pay", idempotency_key=key, **what)


@step
async def by_hash(order: str) -> None:
    await pay(f"{hash(order)}")


@step
async def by_order(order: str) -> None:
    await pay("-".join({order, "a", "b", "c", "d"}))


@step
def by_module(order: str) -> None:
    bank.call_sync("pay", idempotency_key=f"{WORKER}-{order}")


@step
async def process_in_payload(order: str) -> None:
    await pay(own(), worker=os.getpid())


@step
async def address_in_payload(order: str) -> None:
    await pay(own(), of=f"{World.__init__}")


@step
async def first_of_some(order: str, tags: list[str]) -> None:
    await pay(own(), order=order, tag=next(iter(set(tags))))


@step
async def as_told(order: str, tags: list[str]) -> None:
    await pay(own(), order=order, tags=tags)
    await pay(order, what=order)


@step
async def all_alike(order: str) -> None:
    await pay(own(), at=time.time(), id=str(uuid.uuid4()), of=sorted({order, "a", "b", "c", "d"}))
    await pay(f"{PREFIX}-{order}")


@workflow
async def one(which: str) -> str:
    steps = {each.name: each for each in (by_hash, by_order, by_module, process_in_payload, address_in_payload, all_alike)}
    await steps[which]("o-1")
    return await wait_signal(paid)


def script(words: str) -> Callable[[Any, World], Awaitable[None]]:
    async def sends(run: Any, _world: World) -> None:
        await run.send(paid, words)

    return sends


def executed(subject: Subject) -> tuple[list[Violation], HashSeeds]:
    seeds = HashSeeds()
    seeds.start(subject)
    base = Simulation(subject).run()
    assert base.result == "thanks"
    seeds.execute(0)
    seeds.collect()
    return list(differing(Reference.of(subject, base), seeds.executed)), seeds


def subject_of(which: str) -> Subject:
    return Subject(one, (which,), World, script=script("thanks"))


@pytest.mark.parametrize(
    ("which", "severity", "why"),
    [
        ("by_hash", "error", "it uses hash()"),
        ("by_order", "error", "the order of a set"),
        ("by_module", "error", "WORKER is made anew in every process"),
        ("process_in_payload", "warning", "it uses os.getpid()"),
        ("address_in_payload", "warning", "the text of an object shows its address"),
    ],
)
def test_what_only_one_process_makes_is_told_with_its_cause(which: str, severity: str, why: str) -> None:
    """After a real crash the key is another one, and what was paid is paid again."""
    [violation], seeds = executed(subject_of(which))
    assert (violation.oracle, violation.severity, violation.about, violation.n) == ("ledger", severity, "pay", 1)
    assert violation.why.startswith(why)
    assert violation.line.startswith(f"{__file__}:")
    assert len(set(violation.evidence)) == 2
    assert (set(seeds.executed), seeds.not_run) == ({0, 2}, [])


def test_verify_executes_the_schedule_without_faults_there() -> None:
    """No fault is needed to show it."""
    report = verify(one, "by_hash", world=World, script=script("thanks"), faults=["tie"], budget="0.1s")
    assert [(finding.oracle, finding.severity, finding.faults) for finding in report.findings] == [("ledger", "error", ())]


def test_what_is_the_same_in_every_process_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance and clock are the schedule's own; and what a test has patched here, no other process can know."""
    monkeypatch.setitem(globals(), "PREFIX", "test")
    violations, seeds = executed(subject_of("all_alike"))
    assert (violations, set(seeds.executed), seeds.not_run) == ([], {0, 2}, [])


@workflow
async def two() -> None:
    await first_of_some("o-1", ["a", "b"])


@workflow
async def three() -> None:
    await as_told("o-1", ["a", "b"])


def test_nothing_is_executed_there_where_all_that_is_sent_stands_in_the_journal() -> None:
    """The key of the call, and its arguments; which one of a list is taken does not stand there."""
    assert may_differ(Simulation(subject_of("by_hash")).run())
    assert may_differ(Simulation(Subject(two, (), World)).run())
    assert not may_differ(Simulation(Subject(three, (), World)).run())


def test_what_cannot_be_executed_there_is_told() -> None:
    """A world that only this test has is in no other process's reach."""

    class Local(World):
        pass

    _, seeds = executed(Subject(one, ("by_hash",), Local, script=script("thanks")))
    assert seeds.executed == {}
    [told] = seeds.not_run
    assert told.startswith("keys and payloads in other processes: they cannot load ")
    assert told.endswith("Local")


TESTED: set[str] = set()
"""Names of this module where its tests run; empty in other processes."""


async def fails_there(_run: Any, _world: World) -> None:
    if not TESTED:
        raise ValueError("not here")


@workflow
async def unpaid() -> str:
    await by_hash("o-1")
    return "thanks"


def test_user_code_that_fails_there_does_no_harm() -> None:
    """It is told as not run."""
    TESTED.add(__name__)
    violations, seeds = executed(Subject(unpaid, (), World, script=fails_there))
    assert violations == []
    assert seeds.not_run == ["hash seed 0, 2: the schedule is not executed there: ValueError: not here"]
