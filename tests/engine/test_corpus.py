"""The corpus of the laws on an engine: everything that asyncio and wfkit offer, with a crash at any write."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from tests.engine.world import World, check_journal
from tests.laws.corpus import SCENARIOS
from tests.laws.driver import Scenario
from wfkit.engine.engine import Engine
from wfkit.errors import RunEnded, RunFailed, WfkitError

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
CRASHES = 6
"""So many of the writes of each workflow have their crash; which ones, chance decides, the same every time."""


async def outside(engine: Engine, scenario: Scenario) -> None:
    """Let happen what comes from outside, at its times from the start of the run; what has come is not taken again."""
    run = engine.get(scenario.workflow, "run-1")
    began = (await run.history())[0].entry.t / 1e6
    acts: list[tuple[float, Callable[[], Awaitable[None]]]] = [
        (sent.after, lambda sent=sent, n=n: run.send(sent.name, sent.payload, dedupe=f"{n}"))  # type: ignore[misc]  # bound here
        for n, sent in enumerate(scenario.signals)
    ]
    if scenario.cancel_after is not None:
        acts.append((scenario.cancel_after, run.cancel))
    for after, act in sorted(acts, key=lambda pair: pair[0]):
        await asyncio.sleep(max(began + after - engine._clock.now() / 1e6, 0))
        try:
            await act()
        except RunEnded:
            return


async def hurry(world: World) -> None:
    """Let days pass, for workflows that sleep for days."""
    while True:
        await asyncio.sleep(60)
        world.clock.jump(86_400)


def telling(world: World, scenario: Scenario) -> Callable[[Engine], Awaitable[tuple[str, Any]]]:
    """Return a story that starts the workflow, or attaches to it, and tells how it ended."""

    async def story(engine: Engine) -> tuple[str, Any]:
        run = await engine.start(scenario.workflow, *scenario.args, id="run-1")
        beside = [asyncio.ensure_future(outside(engine, scenario)), asyncio.ensure_future(hurry(world))]
        try:
            told = repr(await run.result())
        except RunFailed as exc:
            told = repr(exc.error)
        except WfkitError as exc:
            told = type(exc).__name__
        for task in beside:
            task.cancel()
        return await run.status(), told

    return story


def workflows(scenario: Scenario) -> list[Any]:
    return [scenario.workflow, *scenario.children.values()]


@each_scenario
def test_a_workflow_ends_alike_with_a_crash_at_any_write(scenario: Scenario) -> None:
    """In the same status, every history replays, and no step has two outcomes."""
    world = World()
    status, _ = world.live(telling(world, scenario), *workflows(scenario))
    check_journal(world.disk.rows, *workflows(scenario))
    writes, chance = len(world.disk.units), Random(scenario.name)
    for at in sorted(chance.sample(range(writes), min(CRASHES, writes))):
        world = World()
        world.disk.crash_before = at
        world.crash_at_write(telling(world, scenario), *workflows(scenario), hot_max=chance.choice((1, 1000)))
        again, _ = world.live(telling(world, scenario), *workflows(scenario))
        check_journal(world.disk.rows, *workflows(scenario))
        assert again == status, f"with a crash before write {at}"
