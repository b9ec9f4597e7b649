"""Opening a journal that another life has left."""

import asyncio
from typing import Any

import pytest

from tests.engine.world import World, check_journal, until
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import sleep
from wfkit.api.signals import Signal, wait_signal
from wfkit.core import machine
from wfkit.core.entries import ActivationStarted, AttemptFailed, StepFailed
from wfkit.engine import projector
from wfkit.engine.engine import Engine
from wfkit.errors import JournalLocked, RunFailed, WorkerDied

go = Signal("go", int)
calls: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@step(retry=Retry(max_attempts=1))
async def once(x: Any) -> Any:
    calls.append(x)
    return x


@step
async def for_ever(x: Any) -> Any:
    calls.append(x)
    await asyncio.sleep(3600)
    return x


@workflow
async def doze(x: int) -> int:
    await sleep("1h")
    return await once(x)  # type: ignore[no-any-return]  # it is what it was given


@workflow
async def many_steps(count: int) -> int:
    for x in range(count):
        await once(x)
    return await wait_signal(go)


@workflow
async def hang(x: str) -> str:
    return await for_ever(x)  # type: ignore[no-any-return]  # it is what it was given


def test_sleeping_runs_are_taken_up_without_their_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand of them: no machine is made before something comes for a run."""
    made = 0
    make = machine.Machine.__init__

    def count(*args: Any, **options: Any) -> None:
        nonlocal made
        made += 1
        make(*args, **options)

    async def first(engine: Engine) -> None:
        await asyncio.gather(*(engine.start(doze, x, id=f"run-{x}") for x in range(10_000)))
        await engine._projector.write()
        await asyncio.gather(*(engine.start(doze, x, id=f"more-{x}") for x in range(100)))

    async def second(engine: Engine) -> int:
        before = made
        run = engine.get(doze, "run-77")
        assert len(engine._timers) == 10_100
        assert await run.status() == "running"
        assert before == made == 0
        await run.cancel()
        await until(lambda: engine._runs.named("run-77").state.finished)  # type: ignore[union-attr]  # it is there
        return made

    world.crash(first, doze)
    monkeypatch.setattr(machine.Machine, "__init__", count)
    assert world.crash(second, doze) == 1


def test_completed_steps_do_not_run_again(world: World) -> None:
    """Their results come from the journal, however often the process dies."""

    async def first(engine: Engine) -> None:
        await engine.start(many_steps, 50, id="one")
        await until(lambda: len(calls) == 50)
        await asyncio.sleep(1)

    async def again(engine: Engine) -> None:
        await asyncio.sleep(1)

    async def last(engine: Engine) -> int:
        run = engine.get(many_steps, "one")
        await run.send(go, 3)
        return await run.result()

    world.crash(first, many_steps)
    world.crash(again, many_steps)
    world.live(again, many_steps)
    assert world.live(last, many_steps) == 3
    assert calls == list(range(50))
    check_journal(world.disk.rows, many_steps)


def test_an_old_projection_is_caught_up(world: World) -> None:
    """It holds some runs as they were, and others not at all."""

    async def first(engine: Engine) -> None:
        for name in ("a", "b"):
            await engine.start(many_steps, 2, id=name)
        await engine._projector.write()
        await engine.get(many_steps, "a").send(go, 1)
        await engine.start(many_steps, 1, id="c")

    async def last(engine: Engine) -> list[int]:
        for name in ("b", "c"):
            await engine.get(many_steps, name).send(go, 2)
        return [await engine.get(many_steps, name).result() for name in ("a", "b", "c")]

    world.crash(first, many_steps)
    assert world.live(last, many_steps) == [1, 2, 2]
    assert world.disk._newest["b"].status == "completed"


def test_a_journal_that_was_taken_over_refuses_the_old_engine(world: World) -> None:
    """Each opening has an epoch; the older one can do nothing any more."""

    async def story(engine: Engine) -> None:
        run = await engine.start(many_steps, 1, id="one")
        world.disk.open()
        with pytest.raises(JournalLocked):
            await run.send(go, 1)

    world.crash(story, many_steps)
    assert len(world.history("one")) <= 2


def test_a_step_under_which_the_process_dies_again_and_again_fails(world: World) -> None:
    """At the fifth death, with one key and five numbers; what waits for its turn meanwhile is not blamed."""

    async def life(engine: Engine) -> None:
        await engine.start(hang, "bad", id="one")
        before = len(calls)
        await until(lambda: len(calls) > before or engine._runs.named("one").state.finished)  # type: ignore[union-attr]  # it is there

    async def last(engine: Engine) -> None:
        with pytest.raises(RunFailed, match="the process died 5 times while for_ever") as caught:
            await engine.get(hang, "one").result()
        assert isinstance(caught.value.error, WorkerDied)

    async def first(engine: Engine) -> None:
        await engine.start(hang, "bad", id="one")
        await until(lambda: calls)

    world.crash(first, hang)
    for _ in range(4):
        world.crash(life, hang)
    world.live(last, hang)
    assert calls == ["bad"] * 5
    entries = [record.entry for record in world.history("one")]
    assert [entry.attempt for entry in entries if isinstance(entry, AttemptFailed | StepFailed)] == [1, 2, 3, 4, 5]
    check_journal(world.disk.rows, hang)


def test_a_death_between_other_failures_starts_the_count_anew(world: World) -> None:
    """Only deaths in a row are held against a step."""
    deaths = 0

    @step(retry=Retry(max_attempts=20, initial="1s", backoff=1.0))
    async def moody() -> str:
        nonlocal deaths
        calls.append(1)
        if len(calls) >= 13:
            return "done"
        if len(calls) % 2:
            raise ConnectionError
        deaths += 1
        await asyncio.sleep(3600)
        return ""

    @workflow
    async def main() -> str:
        return await moody()

    async def life(engine: Engine) -> None:
        await engine.start(main, id="one")
        before = deaths
        await until(lambda: deaths > before)

    for _ in range(6):
        world.crash(life, main)
    assert world.live(lambda engine: engine.get(main, "one").result(), main) == "done"
    assert deaths == 6


def test_the_innocent_are_not_blamed_with_the_guilty(world: World) -> None:
    """Steps that are always in flight when the process dies of another one: that one fails, and they complete."""
    lives = 0

    @step
    async def killer() -> None:
        calls.append("killer")
        await asyncio.sleep(3600)

    @step
    async def innocent(x: int) -> int:
        await asyncio.sleep(2)
        return x

    @workflow
    async def bad() -> None:
        await killer()

    @workflow
    async def good(x: int) -> int:
        return await innocent(x)

    async def life(engine: Engine) -> None:
        for x in range(5):
            await engine.start(good, x, id=f"good-{x}")
        await engine.start(bad, id="bad")
        await until(lambda: "killer" in calls or engine._runs.named("bad").state.finished)  # type: ignore[union-attr]  # it is there

    async def last(engine: Engine) -> list[int]:
        with pytest.raises(RunFailed, match="the process died 5 times while killer"):
            await engine.get(bad, "bad").result()
        return [await engine.get(good, f"good-{x}").result() for x in range(5)]

    while lives < 30:
        calls.clear()
        world.crash(life, bad, good)
        lives += 1
        if "killer" not in calls:
            break
    assert lives < 10
    assert world.live(last, bad, good) == [0, 1, 2, 3, 4]


def test_an_activation_under_which_the_process_dies_again_and_again_is_blocked(world: World) -> None:
    """Of a timer, which no step in flight tells of; the run is parked, and tried again when the engine opens next."""
    deadly = True

    @workflow
    async def main() -> str:
        await sleep("10s")
        calls.append("activated")
        if deadly:
            raise Dies
        return "survived"

    @workflow
    async def neighbour() -> str:
        await sleep("10s")
        return "fine"

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await engine.start(neighbour, id="two")

    async def life(engine: Engine) -> str:
        await asyncio.sleep(30)
        return await engine.get(main, "one").status()

    world.crash(first, main, neighbour)
    deaths, status = 0, "it died again and again"
    while deaths < 20:
        try:
            status = world.crash(life, main, neighbour)
            break
        except Dies:
            deaths += 1
    assert status == "blocked"
    # Before the first death nobody could know; from then on each one is counted.
    assert deaths == 6
    announced = [record for record in world.history("one") if isinstance(record.entry, ActivationStarted)]
    assert len(announced) == 5
    deadly = False

    async def last(engine: Engine) -> list[str]:
        return [await engine.get(wf, id).result() for wf, id in ((main, "one"), (neighbour, "two"))]

    assert world.live(last, main, neighbour) == ["survived", "fine"]


class Dies(KeyboardInterrupt):
    """What workflow code raises here to kill its process."""


def test_a_child_whose_first_activation_kills_the_process_is_blocked_itself(world: World) -> None:
    """Not the parent that starts it, in whose unit it begins."""

    @workflow
    async def child() -> None:
        raise Dies

    @workflow
    async def parent() -> None:
        await once(1)
        await child()

    async def first(engine: Engine) -> list[str]:
        await engine.start(parent, id="one")
        await asyncio.sleep(5)
        return []

    async def life(engine: Engine) -> list[str]:
        await asyncio.sleep(30)
        return [await engine.get(parent, id).status() for id in ("one", "one/child-2")]

    told: list[str] = []
    for story in [first, *[life] * 15]:
        try:
            told = world.crash(story, parent)
        except Dies:
            continue
        break
    assert told == ["running", "blocked"]
    assert len(calls) <= 3


def test_a_recovery_that_fails_leaves_the_journal_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read in part is not written back."""

    async def first(engine: Engine) -> None:
        for x in range(10):
            await engine.start(doze, x, id=f"run-{x}")

    world.crash(first, doze)
    rows = list(world.disk.rows)
    spoiled = rows[5]
    world.disk.rows[5] = spoiled._replace(body=b"{")
    with pytest.raises(Exception, match="truncated"):
        world.live(lambda _engine: asyncio.sleep(1), doze)
    assert world.disk._runs == {}
    world.disk.rows[5] = spoiled
    assert world.disk.rows == rows
    world.clock.jump(7200)
    assert world.live(lambda engine: engine.get(doze, "run-5").result(), doze) == 5


def test_an_engine_that_is_never_idle_projects_all_the_same(world: World) -> None:
    """Whoever lists runs folds what is not projected: that stays little, however long the engine is busy."""

    async def busy(engine: Engine) -> int:
        for x in range(240):
            await engine.start(doze, x, id=f"run-{x}")
            await asyncio.sleep(0.25)
        return len(engine._runs.changed)

    assert world.crash(busy, doze) <= (projector.BUSY_SECONDS + 2 * projector.IDLE_SECONDS) * 4
