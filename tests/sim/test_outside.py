"""Deliveries from outside: what is under way when the process dies is made again, each time in the same order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim.judging import RESOURCES, World, charge, mail
from wfkit import Signal, step, wait_signal, workflow
from wfkit.testing import Instance, Recording, simulate

yes = Signal("yes", str)


@workflow
async def greet(name: str) -> str:
    return f"hello {name}"


def test_starts_that_a_crash_interrupts_are_made_again_in_one_order() -> None:
    """Were it the order of addresses in memory, schedules would go two ways."""
    others = [Instance(greet, name, id=name) for name in "bcdefgh"]
    traces = {
        tuple(map(str, simulate(greet, "a", runs=others, id="a", faults="crash@start.before_journal:greet").trace))
        for _ in range(10)
    }
    assert len(traces) == 1


@step
async def ask() -> None:
    await mail.get().send(to="boss", text="please approve")


@step
def ask_in_thread() -> None:
    mail.get().send_sync(to="boss", text="please approve")


@workflow
async def asks(in_thread: bool) -> str:
    await charge(1)
    await (ask_in_thread() if in_thread else ask())
    return await wait_signal(yes)


def polls(seconds: float) -> Any:
    async def script(run: Any, world: World) -> None:
        while not world.mail.messages:
            await asyncio.sleep(seconds)
        await run.send(yes, "approved")

    return script


async def waits_for_the_mail(run: Any, world: World) -> None:
    sent = await world.mail.happened("send")
    await run.send(yes, f"approved by {sent.payload['to']}")


async def awaits_the_result(run: Any, world: World) -> None:
    await waits_for_the_mail(run, world)
    await run.result()


def simulated(script: Any, *faults: str, in_thread: bool = False) -> Recording[str]:
    return simulate(asks, in_thread, world=World, resources=RESOURCES, script=script, faults=faults)


@pytest.mark.parametrize("in_thread", [False, True], ids=["async", "thread"])
def test_a_script_may_wait_until_something_has_happened(in_thread: bool) -> None:
    """Without looking again and again; also if the step that does it dies at that moment."""
    for faults in ((), ("crash@2:call.after:send",)):
        assert simulated(waits_for_the_mail, *faults, in_thread=in_thread).result == "approved by boss"


@pytest.mark.parametrize("script", [polls(1), polls(3600), waits_for_the_mail], ids=["often", "seldom", "waits"])
def test_a_script_that_looks_for_what_never_comes_blames_nobody(script: Any) -> None:
    """The run has failed, and no mail will ever be sent: that is rest, though the script looks again every second."""
    recording = simulated(script, "fatal@1:call.before:charge")
    assert (recording.status, recording.stopped) == ("failed", None)
    assert recording.findings == []


def test_a_script_that_awaits_the_result_ends_with_the_run() -> None:
    """That a fault lets the run fail is what a client would hear, and no error of the simulation."""
    assert simulated(awaits_the_result).result == "approved by boss"
    recording = simulated(awaits_the_result, "fatal@2:call.before:send")
    assert recording.status == "failed"
    assert simulated(polls(1), "fatal@1:call.before:charge").script_error.startswith("all has come to rest")
