"""Starting runs, and what their handles tell."""

import asyncio
from dataclasses import dataclass

import pytest

from tests.engine.world import World, check_journal
from wfkit.api.definitions import Retry, step, workflow
from wfkit.api.primitives import State, sleep
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.commands import RunStep
from wfkit.core.entries import RunStarted
from wfkit.engine.client import Run
from wfkit.engine.engine import Engine
from wfkit.errors import DefinitionError, DuplicateRun, RunEnded, RunFailed, UnknownRun, UnknownWorkflow

go = Signal("go", str)
progress = State("progress", int, default=lambda: 0)
keys: list[str] = []


@dataclass
class Order:
    id: str
    amount: int = 1


@step
async def echo(x: str) -> str:
    return x


@workflow
async def shout(x: str) -> str:
    return (await echo(x)).upper()


@workflow
async def whisper(x: str) -> str:
    return (await echo(x)).lower()


@workflow
async def wait_for_go(x: str) -> str:
    progress.set(1)
    got = await wait_signal(go)
    progress.set(2)
    return x + got


@workflow
async def collect(count: int) -> list[str]:
    return [await wait_signal(go) for _ in range(count)]


@workflow
async def place(order: Order) -> int:
    await sleep("10s")
    return order.amount


@step(retry=Retry(max_attempts=1))
async def fail(x: str) -> str:
    raise LookupError(x)


@workflow
async def failing(x: str) -> str:
    return await fail(x)


def generations(world: World) -> list[int]:
    starts = [history[0].entry for history in world.histories().values()]
    return [start.generation for start in starts if isinstance(start, RunStarted)]


def test_the_same_start_again_attaches(world: World) -> None:
    """One id, workflow and input name one run, while it runs and after it."""

    async def story(engine: Engine) -> None:
        first = await engine.start(shout, "a", id="one")
        second = await engine.start(shout, "a", id="one")
        assert [await first.result(), await second.result()] == ["A", "A"]
        assert await (await engine.start(shout, "a", id="one")).result() == "A"

    world.live(story, shout)
    assert len(world.histories()) == 1


def test_the_order_of_keys_in_the_input_does_not_count(world: World) -> None:
    """Equal input is equal as a value."""

    async def story(engine: Engine) -> None:
        from msgspec import Raw

        for text in (b'[{"id":"a","amount":2}]', b'[{"amount":2,"id":"a"}]'):
            await engine.requests.start_run("place", Raw(text), "one", "attach", None)

    world.live(story, place)
    assert len(world.histories()) == 1


def test_other_input_under_an_id_is_refused(world: World) -> None:
    """Nothing is started, and the run that exists is left alone."""

    async def story(engine: Engine) -> None:
        run = await engine.start(shout, "a", id="one")
        with pytest.raises(DuplicateRun, match="other input"):
            await engine.start(shout, "b", id="one")
        assert await run.result() == "A"
        with pytest.raises(DuplicateRun, match="other input"):
            await engine.start(shout, "b", id="one")

    world.live(story, shout)


def test_another_workflow_under_an_id_is_refused(world: World) -> None:
    """Whatever is to happen if it is finished."""

    async def story(engine: Engine) -> None:
        run = await engine.start(shout, "a", id="one")
        await run.result()
        for choice in ("attach", "fail", "restart"):
            with pytest.raises(DuplicateRun, match="shout"):
                await engine.start(whisper, "a", id="one", if_finished=choice)

    world.live(story, shout, whisper)


def test_a_start_can_refuse_a_finished_run(world: World) -> None:
    """`if_finished="fail"` attaches to a run that goes on, and refuses one that has ended."""

    async def story(engine: Engine) -> None:
        run = await engine.start(wait_for_go, "a", id="one")
        again = await engine.start(wait_for_go, "a", id="one", if_finished="fail")
        await run.send(go, "!")
        assert await again.result() == "a!"
        with pytest.raises(DuplicateRun, match="already completed"):
            await engine.start(wait_for_go, "a", id="one", if_finished="fail")

    world.live(story, wait_for_go)


def test_a_restart_opens_the_next_generation_with_other_keys(world: World) -> None:
    """The chain keeps its id; each generation has its own history and its own idempotency keys."""

    async def story(engine: Engine) -> None:
        for text in ("a", "a", "b"):
            run = await engine.start(shout, text, id="one", if_finished="restart")
            assert await run.result() == text.upper()

    world.live(story, shout)
    histories = list(world.histories().values())
    assert generations(world) == [1, 2, 3]
    found = [command.key for history in histories for command in history[0].commands or () if isinstance(command, RunStep)]
    assert len(set(found)) == 3


def test_a_restart_of_a_run_that_goes_on_attaches(world: World) -> None:
    """There is one generation at a time."""

    async def story(engine: Engine) -> None:
        await engine.start(wait_for_go, "a", id="one")
        await engine.start(wait_for_go, "a", id="one", if_finished="restart")
        with pytest.raises(DuplicateRun):
            await engine.start(wait_for_go, "b", id="one", if_finished="restart")

    world.live(story, wait_for_go)
    assert len(world.histories()) == 1


def test_a_generation_remembers_the_dedupe_ids_of_those_before(world: World) -> None:
    """What an earlier generation took is not taken again."""

    async def story(engine: Engine) -> object:
        run = await engine.start(collect, 1, id="one")
        await run.send(go, "first", dedupe="scan-1")
        await run.result()
        run = await engine.start(collect, 1, id="one", if_finished="restart")
        await run.send(go, "first again", dedupe="scan-1")
        await run.send(go, "second", dedupe="scan-2")
        return await run.result()

    assert world.live(story, collect) == ["second"]


def test_concurrent_starts_under_one_id_make_one_run(world: World) -> None:
    """Whoever comes second attaches."""

    async def story(engine: Engine) -> list[str]:
        runs = await asyncio.gather(*(engine.start(shout, "a", id="one") for _ in range(20)))
        return await asyncio.gather(*(run.result() for run in runs))

    assert world.live(story, shout) == ["A"] * 20
    assert len(world.histories()) == 1


def test_concurrent_restarts_of_a_cold_run_make_one_generation(world: World) -> None:
    """Also when each of them has to look into the journal first."""

    async def first(engine: Engine) -> None:
        await (await engine.start(shout, "a", id="one")).result()

    async def second(engine: Engine) -> None:
        starts = [engine.start(shout, "a", id="one", if_finished="restart") for _ in range(5)]
        await asyncio.gather(*starts)

    world.live(first, shout)
    world.live(second, shout)
    assert generations(world) == [1, 2]


def test_a_start_can_send_a_signal_in_the_same_commit(world: World) -> None:
    """Both are durable, or neither is."""

    async def story(engine: Engine) -> str:
        return await (await engine.start(wait_for_go, "a", id="one", send=(go, "!"))).result()

    assert world.live(story, wait_for_go) == "a!"
    assert len(world.disk.units[0]) == 2


def test_a_start_can_send_a_signal_by_its_name(world: World) -> None:
    """As everywhere else where a signal is meant."""

    async def story(engine: Engine) -> str:
        return await (await engine.start(wait_for_go, "a", id="one", send=("go", "!"))).result()

    assert world.live(story, wait_for_go) == "a!"


def test_a_start_of_a_run_that_exists_only_sends(world: World) -> None:
    """So that a webhook needs not know whether it is the first."""

    async def story(engine: Engine) -> list[str]:
        runs = [await engine.start(collect, 3, id="one", send=(go, text)) for text in ("x", "y", "z")]
        return await runs[0].result()

    assert world.live(story, collect) == ["x", "y", "z"]


def test_a_start_that_cannot_send_is_refused(world: World) -> None:
    """A signal to a finished run is not taken, nor pretended to be."""

    async def story(engine: Engine) -> None:
        await (await engine.start(wait_for_go, "a", id="one", send=(go, "!"))).result()
        with pytest.raises(RunEnded):
            await engine.start(wait_for_go, "a", id="one", send=(go, "?"))

    world.live(story, wait_for_go)


@pytest.mark.parametrize("id", ["", "a b", "ä", "a" * 129, "a\n", "a;b"])
def test_an_id_that_is_no_run_id_is_refused(world: World, id: str) -> None:
    """The message shows it."""

    async def story(engine: Engine) -> None:
        with pytest.raises(DefinitionError, match="is no run id"):
            await engine.start(shout, "a", id=id)

    world.live(story, shout)


def test_an_id_may_use_all_its_characters(world: World) -> None:
    """Up to 128 of them."""

    async def story(engine: Engine) -> str:
        id = ("A-z0.9_:/" * 20)[:128]
        run = await engine.start(shout, "a", id=id)
        return await engine.get(shout, id).result() if run.id == id else ""

    assert world.live(story, shout) == "A"


def test_a_run_without_an_id_gets_a_random_one(world: World) -> None:
    """Two of them are two runs."""

    async def story(engine: Engine) -> None:
        first, second = await engine.start(shout, "a"), await engine.start(shout, "a")
        assert first.id != second.id
        assert await first.result() == await second.result() == "A"

    world.live(story, shout)


def test_an_unknown_workflow_is_refused_with_the_nearest_names(world: World) -> None:
    """A typing error is told as one."""

    async def story(engine: Engine) -> None:
        from msgspec import Raw

        with pytest.raises(UnknownWorkflow, match="did you mean 'shout'"):
            await engine.requests.start_run("shoot", Raw(b'["a"]'), None, "attach", None)

    world.live(story, shout)
    assert world.histories() == {}


def test_a_handle_of_no_run_says_so_when_it_is_used(world: World) -> None:
    """Whatever is asked of it."""

    async def story(engine: Engine) -> None:
        run = engine.get(wait_for_go, "nobody")
        for ask in (run.result, run.status, run.history, run.cancel, run.terminate):
            with pytest.raises(UnknownRun, match="nobody"):
                await ask()
        with pytest.raises(UnknownRun, match="nobody"):
            await run.send(go, "!")
        with pytest.raises(UnknownRun, match="nobody"):
            await run.state(progress)

    world.live(story, wait_for_go)


def test_a_handle_tells_status_state_and_history(world: World) -> None:
    """All of them durable when they are told."""

    async def story(engine: Engine) -> None:
        run = await engine.start(wait_for_go, "a", id="one")
        assert await run.status() == "running"
        assert await run.state(progress) == 1
        assert len(await run.history()) == 1
        assert len(world.history("one")) == 1
        await run.send(go, "!")
        assert await run.result() == "a!"
        assert await run.status() == "completed"
        assert await run.state(progress) == 2

    world.live(story, wait_for_go)


def test_what_a_handle_tells_after_a_restart_is_what_was(world: World) -> None:
    """Result, failure, status and state come from the journal."""

    async def first(engine: Engine) -> None:
        await (await engine.start(wait_for_go, "a", id="good", send=(go, "!"))).result()
        with pytest.raises(RunFailed):
            await (await engine.start(failing, "why", id="bad")).result()

    async def second(engine: Engine) -> None:
        good: Run[str] = engine.get(wait_for_go, "good")
        assert await good.result() == "a!"
        assert await good.status() == "completed"
        assert await good.state(progress) == 2
        with pytest.raises(RunFailed, match="why") as caught:
            await engine.get(failing, "bad").result()
        assert isinstance(caught.value.error, LookupError)
        assert (await engine.start(wait_for_go, "a", id="good")).id == "good"
        with pytest.raises(DuplicateRun):
            await engine.start(wait_for_go, "b", id="good")

    world.crash(first, wait_for_go, failing)
    world.crash(second, wait_for_go, failing)
    world.live(second, wait_for_go, failing)
    world.live(second, wait_for_go, failing)


def test_an_acknowledged_start_survives_a_crash(world: World) -> None:
    """It is durable when the call returns."""

    async def first(engine: Engine) -> None:
        await engine.start(shout, "a", id="one")

    async def second(engine: Engine) -> str:
        return await engine.get(shout, "one").result()

    world.crash(first, shout)
    assert world.live(second, shout) == "A"


def test_a_result_is_told_to_all_who_wait_and_to_none_who_gave_up(world: World) -> None:
    """A waiter that was cancelled harms nobody."""

    async def story(engine: Engine) -> list[str]:
        run = await engine.start(wait_for_go, "a")
        waiting = [asyncio.ensure_future(run.result()) for _ in range(3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.result(), 1)
        await run.send(go, "!")
        return await asyncio.gather(*waiting)

    assert world.live(story, wait_for_go) == ["a!"] * 3


def test_a_timer_of_an_old_generation_does_not_bring_it_back(world: World) -> None:
    """The deadline of a run that is long over comes, while its next generation is only in the journal."""

    @workflow(timeout="20s")
    async def brief(x: str) -> str:
        await sleep("1s")
        return x

    async def first(engine: Engine) -> None:
        for _ in range(2):
            await (await engine.start(brief, "a", id="one", if_finished="restart")).result()
        await asyncio.sleep(60)
        await (await engine.start(brief, "a", id="one", if_finished="restart")).result()

    world.live(first, brief)
    assert generations(world) == [1, 2, 3]
    check_journal(world.disk.rows, brief)
