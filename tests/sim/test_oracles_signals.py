"""Signals that are accepted and never read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.sim.judging import charge, found, note, subject_of
from wfkit import RunEnded, Signal, Workflow, info, send, sleep, start_child, wait_any, wait_signal, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Instance, ignores

stop = Signal("stop", str)
vote = Signal("vote", str)
paid = Signal("paid", int)


async def stops(run: Any, world: Any) -> None:
    await asyncio.sleep(600)
    await run.send(stop, "please")


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations if each.severity != "info"]


@workflow
async def deaf() -> None:
    await sleep("1h")


@workflow
async def listens() -> str:
    await charge(1)
    try:
        await wait_signal(stop, timeout="1h")
    except TimeoutError:
        return "done"
    return "stopped"


IGNORED = (ignores(stop, "it is too late then"),)


def test_a_signal_that_nobody_reads_is_a_warning_without_any_fault() -> None:
    """Whoever sent it was told that it was accepted."""
    assert signature(found(subject_of(deaf, script=stops))) == [("signals", "warning", "stop")]
    assert found(subject_of(deaf, script=stops, expect=IGNORED)) == []


def test_a_signal_that_comes_too_late_is_a_warning_unless_it_may() -> None:
    """A run that ends with a request unread has ignored somebody; a superseded one may be."""
    assert signature(found(subject_of(listens, script=stops), "late@1:delivery:stop")) == [("signals", "warning", "stop")]
    assert signature(found(subject_of(listens, script=stops, expect=IGNORED), "late@1:delivery:stop")) == []


def test_a_run_that_failed_or_was_cancelled_reads_no_more() -> None:
    """Nobody expects an answer of a run that was ended."""
    for fault in ("fatal@1:call.before:charge", "cancel@2:wait.registered:stop", "dup@1:delivery:stop"):
        assert signature(found(subject_of(listens, script=stops), fault)) == []


@workflow
async def counts_votes() -> str:
    for _ in range(2):
        await wait_signal(vote)
    await note("decided")
    return "decided"


@workflow
async def counts_voters() -> str:
    voters: set[str] = set()
    while len(voters) < 2:
        voters.add(await wait_signal(vote))
    await note("decided")
    return "decided"


async def two_vote(run: Any, world: Any) -> None:
    for after, who in ((60, "ann"), (120, "bob")):
        await asyncio.sleep(after)
        await run.send(vote, who)


def test_a_delivery_that_counts_twice_takes_the_place_of_another() -> None:
    """The result is the same, and bob was not asked. Who counts voters goes on until he is."""
    [violation] = found(subject_of(counts_votes, script=two_vote), "dup@1:delivery:vote")
    assert signature([violation]) == [("signals", "warning", "vote")]
    assert violation.title == 'vote("ann") was taken twice, in place of vote("bob")'
    assert found(subject_of(counts_voters, script=two_vote), "dup@1:delivery:vote") == []


@workflow
async def pays_or_stops() -> str:
    got = await wait_any(paid, stop)
    return "stopped" if stop.came(got) else "paid"


async def stops_and_pays(run: Any, world: Any) -> None:
    await run.send(stop, "please")
    await asyncio.sleep(60)
    await run.send(paid, 9)


async def stops_and_pays_if_it_may(run: Any, world: Any) -> None:
    with suppress(RunEnded):
        await stops_and_pays(run, world)


def test_what_is_refused_without_any_fault_is_a_warning_unless_its_sender_deals_with_that() -> None:
    """Whoever pays is told that the run has ended, and has to do something about it."""
    assert signature(found(subject_of(pays_or_stops, script=stops_and_pays))) == [("signals", "warning", "paid")]
    assert found(subject_of(pays_or_stops, script=stops_and_pays_if_it_may)) == []


@workflow
async def sends_to(receiver: str) -> None:
    send(receiver, paid, 9)
    await note("sent")


@workflow
async def receives() -> int:
    return await wait_signal(paid, timeout="1h")


@pytest.mark.parametrize(
    ("receiver", "at", "expected"),
    [
        ("bill-7", 0, []),
        ("bill_7", 0, [("warning", "paid was sent to 'bill_7': is it 'bill-7'?")]),
        ("ledger", 0, [("info", "paid was sent to 'ledger', which takes no part here")]),
        ("bill-7", 5, [("warning", "paid came before receives was started, and was dropped")]),
    ],
    ids=["there", "wrong id", "elsewhere", "later"],
)
def test_what_is_sent_to_nobody_is_told(receiver: str, at: int, expected: list[tuple[str, str]]) -> None:
    """It is dropped, and neither side hears of it: the id is wrong, or the receiver is not there yet."""
    runs = (Instance(receives, id="bill-7", at=at),)
    violations = found(subject_of(delayed, receiver, runs=runs))
    assert [(each.severity, each.title) for each in violations if each.oracle == "signals"] == expected


@workflow
async def delayed(receiver: str) -> None:
    await sleep("1s")
    await sends_to(receiver)


ready = Signal("ready", int)


@workflow
async def works(boss: str) -> None:
    await charge(1)
    send(boss, ready, 1)


@workflow
async def waits_for_its_worker() -> int:
    start_child(works, info().id)
    return await wait_signal(ready)


@workflow
async def waits_for_its_worker_for_a_while() -> int:
    start_child(works, info().id)
    return await wait_signal(ready, timeout="10 days")


def test_a_run_that_waits_for_the_word_of_one_that_failed_waits_for_ever() -> None:
    """Nobody else sends it. A wait with an end of its own is right."""

    def told(workflow: Workflow[..., Any]) -> list[tuple[str, str]]:
        violations = found(subject_of(workflow), f"fail_n@{workflow.name}-1/works-1:1:call.before:charge")
        return [(each.title, each.why) for each in violations if each.severity == "error"]

    assert told(waits_for_its_worker) == [
        ("waits_for_its_worker waits for ready for ever", "works, which sends it, failed before that")
    ]
    assert told(waits_for_its_worker_for_a_while) == []
