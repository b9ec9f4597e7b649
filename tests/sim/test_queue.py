"""`FakeQueue`: what steps send and a script takes, at least once."""

from __future__ import annotations

import asyncio
from typing import Any

from wfkit import Run, Signal, resource, step, wait_signal, workflow
from wfkit.sim.loop import VirtualLoop
from wfkit.testing import FakeQueue, replace, simulate

done = Signal("done", str)


@resource
async def jobs() -> Any:
    yield None


@step
async def ask(what: str) -> None:
    await jobs.get().send(what=what)


@workflow
async def work(what: str) -> str:
    await ask(what)
    return await wait_signal(done)


class World:
    def __init__(self) -> None:
        self.jobs = FakeQueue("jobs")


async def worker(run: Run[str], world: World) -> None:
    while True:
        message = await world.jobs.receive()
        await run.send(done, f"{message.body['what']} in {message.receives}", dedupe=message.id)
        if message.receives > 1:
            world.jobs.ack(message)


def on_virtual_time(scenario: Any) -> Any:
    loop = VirtualLoop()  # type: ignore[abstract]  # as in the simulation
    task = loop.create_task(scenario)
    loop.drive(10**12, lambda: False)
    return task.result()


def test_what_a_step_sends_a_script_takes_and_answers() -> None:
    """A step's send wakes the script that waits; the schedule comes to rest with the script waiting for the next one."""
    recording = simulate(work, "dig", world=World, resources=[replace(jobs, lambda world: world.jobs)], script=worker)
    assert recording.result == "dig in 1"
    assert recording.stopped is None


def test_a_step_that_runs_again_sends_again() -> None:
    """The queue knows no keys."""
    recording = simulate(
        work,
        "dig",
        world=World,
        resources=[replace(jobs, lambda world: world.jobs)],
        script=worker,
        faults="crash@1:step.effect_done_not_journaled:ask",
    )
    assert [effect.name for effect in recording.effects] == ["send", "send"]


def test_a_message_that_is_not_acknowledged_comes_again_after_the_others_and_is_given_up_in_the_end() -> None:
    """At least once, out of order, and never for ever."""

    async def scenario() -> tuple[list[tuple[Any, int]], list[str], float]:
        queue = FakeQueue("q", hidden="30s", receives_max=2)
        await queue.send(n=1)
        first = await queue.receive()
        await queue.send(n=2)
        second = await queue.receive()
        queue.ack(second)
        again = await queue.receive()
        await queue.send(n=3)
        third = await queue.receive()
        queue.nack(third)
        fourth = await queue.receive()
        queue.ack(fourth)
        try:
            async with asyncio.timeout(60):
                await queue.receive()
        except TimeoutError:
            pass
        told = [(message.body["n"], message.receives) for message in (first, second, again, third, fourth)]
        return told, [message.id for message in queue.dead], asyncio.get_running_loop().time()

    told, dead, now = on_virtual_time(scenario())
    assert told == [(1, 1), (2, 1), (1, 2), (3, 1), (3, 2)]
    assert dead == ["q-1"]
    assert now == 90.0
