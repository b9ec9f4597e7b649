"""Steps: attempts, retries, time limits, results."""

import asyncio
import contextlib
import itertools
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.engine.world import START, World, until
from wfkit.api.attempt import StepInfo, step_info
from wfkit.api.definitions import NonRetryable, Retry, RetryAfter, run_step, step, workflow
from wfkit.api.primitives import now, sleep
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, wait_signal
from wfkit.core.commands import RunStep
from wfkit.core.entries import AttemptFailed, AttemptStarted, StepCompleted, StepFailed
from wfkit.engine.engine import Engine
from wfkit.errors import CodecError, PayloadTooLarge, RunCancelled, RunFailed, StepCancelled, StepError, StepTimeout

once = Retry(max_attempts=1)
go = Signal("go", int)


class Declined(Exception):
    pass


class DeclinedForGood(Declined):
    pass


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()
    infos.clear()


calls: list[Any] = []
infos: list[StepInfo] = []


def seconds() -> float:
    """Virtual time since the life began."""
    return round(asyncio.get_running_loop().time(), 3)


@step(retry=Retry(max_attempts=4, initial="1s", backoff=2.0))
async def flaky(fails: int) -> int:
    calls.append(seconds())
    infos.append(step_info())
    if len(calls) <= fails:
        raise ConnectionError("not yet")
    return len(calls)


@workflow
async def try_flaky(fails: int) -> int:
    return await flaky(fails)


def test_a_failed_attempt_is_repeated_after_the_policys_waits(world: World) -> None:
    """One second, two, four; each attempt with the same key and the next number."""

    async def story(engine: Engine) -> int:
        return await (await engine.start(try_flaky, 3)).result()

    assert world.live(story, try_flaky) == 4
    assert [round(b - a) for a, b in itertools.pairwise(calls)] == [1, 2, 4]
    assert [info.attempt for info in infos] == [1, 2, 3, 4]
    assert len({info.idempotency_key for info in infos}) == 1


def test_a_step_whose_attempts_are_used_up_fails_with_its_own_error(world: World) -> None:
    """A builtin exception is raised in the workflow as itself."""

    @workflow
    async def main() -> str:
        try:
            await flaky(99)
        except ConnectionError as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == "not yet"
    assert len(calls) == 4


def test_back_off_survives_a_crash(world: World) -> None:
    """The next attempt keeps its number and its due time; the time between is not waited again."""

    async def first(engine: Engine) -> None:
        await engine.start(try_flaky, 3, id="one")
        await until(lambda: len(calls) == 3)  # at 0, 1 and 3 seconds
        await asyncio.sleep(1)

    async def second(engine: Engine) -> tuple[int, float]:
        return await engine.get(try_flaky, "one").result(), seconds()

    world.crash(first, try_flaky)
    result, took = world.live(second, try_flaky)
    assert result == 4
    assert 2.5 < took < 3.2
    assert [info.attempt for info in infos] == [1, 2, 3, 4]
    failures = [record.entry for record in world.history("one") if isinstance(record.entry, AttemptFailed)]
    assert [failure.died for failure in failures] == [False] * 3


def test_a_step_asks_for_its_own_wait(world: World) -> None:
    """`RetryAfter` overrides the policy's wait, not its number of attempts."""

    @step(retry=Retry(max_attempts=2))
    async def busy() -> None:
        calls.append(seconds())
        raise RetryAfter("30s")

    @workflow
    async def main() -> str:
        try:
            await busy()
        except StepError as exc:
            return exc.type
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == "RetryAfter"
    assert len(calls) == 2
    assert 29.9 < calls[1] - calls[0] < 30.2


@pytest.mark.parametrize("error", [NonRetryable("no"), Declined("no"), DeclinedForGood("no")])
def test_what_is_not_to_be_retried_ends_the_step_at_once(world: World, error: Exception) -> None:
    """`NonRetryable`, a class that the policy names, and its subclasses, which arrive as that class."""

    @step(retry=Retry(non_retryable=(Declined,)))
    async def pay() -> None:
        calls.append(1)
        raise error

    @workflow
    async def main() -> str:
        try:
            await pay()
        except Declined as exc:
            return f"declined: {exc}"
        except StepError as exc:
            return f"{exc.type}: {exc.message}"
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    told = {"NonRetryable": "NonRetryable: no", "Declined": "declined: no", "DeclinedForGood": "declined: no"}
    assert world.live(story, main) == told[type(error).__name__]
    assert calls == [1]


def test_an_attempt_that_takes_too_long_is_cancelled_and_repeated(world: World) -> None:
    """Each one has the whole timeout."""

    @step(timeout="2s", retry=Retry(max_attempts=2, initial="1s"))
    async def slow() -> None:
        calls.append(seconds())
        try:
            await asyncio.sleep(3600)
        finally:
            calls.append(seconds())

    @workflow
    async def main() -> str:
        try:
            await slow()
        except StepTimeout as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert "timeout of 2 s (attempt 2)" in world.live(story, main)
    start = calls[0]
    assert [round(at - start) for at in calls] == [0, 2, 3, 5]


def test_a_total_timeout_bounds_all_attempts(world: World) -> None:
    """Also in the midst of one of them."""

    @step(total_timeout="10s", retry=Retry(max_attempts=None, initial="1s", backoff=1.0))
    async def stubborn() -> None:
        calls.append(seconds())
        await asyncio.sleep(3)
        raise ConnectionError

    @workflow
    async def main() -> str:
        try:
            await stubborn()
        except StepTimeout as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> tuple[str, float]:
        return await (await engine.start(main)).result(), seconds()

    told, took = world.live(story, main)
    assert "total timeout of 10 s" in told
    assert 9.9 < took < 10.2
    assert len(calls) == 3


def test_a_total_timeout_that_passed_while_nothing_ran_starts_nothing(world: World) -> None:
    """The engine was down for longer than all attempts may take."""

    @step(total_timeout="1h")
    async def late() -> None:
        calls.append(1)
        await asyncio.sleep(100)

    @workflow
    async def main() -> str:
        try:
            await late()
        except StepTimeout:
            return "too late"
        return ""

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await until(lambda: calls)

    async def second(engine: Engine) -> str:
        return await engine.get(main, "one").result()

    world.crash(first, main)
    world.clock.jump(7200)
    assert world.live(second, main) == "too late"
    assert calls == [1]


def test_a_result_that_comes_after_the_timeout_is_dropped_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An attempt that swallows its cancellation has failed all the same."""

    @step(timeout="1s", retry=once)
    async def deaf() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "too late"
        return ""

    @workflow
    async def main() -> str:
        try:
            return await deaf()
        except StepTimeout:
            return "timeout"

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    caplog.set_level(logging.INFO, "wfkit.engine")
    assert world.live(story, main) == "timeout"
    assert "deaf()" in caplog.text
    assert "dropped" in caplog.text


def test_an_attempt_that_ignores_its_cancellation_is_given_up(world: World) -> None:
    """The run goes on without it."""

    @step(timeout="1s", retry=once)
    async def immortal() -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                calls.append(1)

    @workflow
    async def main() -> str:
        try:
            await immortal()
        except StepTimeout:
            return "timeout"
        return ""

    async def story(engine: Engine) -> tuple[str, float]:
        return await (await engine.start(main)).result(), seconds()

    told, took = world.live(story, main)
    assert told == "timeout"
    assert took < 20


def test_an_attempt_that_was_given_up_has_no_say_in_the_next_one(world: World) -> None:
    """It ends while the next one runs, and that goes on."""

    @step(timeout="4s", retry=Retry(max_attempts=2, initial="1s"))
    async def deaf() -> int:
        attempt = step_info().attempt
        calls.append(attempt)
        end = seconds() + (11 if attempt == 1 else 3)
        while seconds() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(end - seconds())
        calls.append(-attempt)
        return attempt

    @workflow
    async def main() -> int:
        return await deaf()

    async def story(engine: Engine) -> int:
        return await (await engine.start(main, id="one")).result()

    assert world.live(story, main) == 2
    assert calls == [1, 2, -1, -2]
    kinds = [type(record.entry) for record in world.history("one")]
    assert kinds[1:] == [AttemptFailed, AttemptStarted, StepCompleted]


def test_a_result_of_a_cancelled_step_is_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The workflow stopped waiting for it."""

    @step
    async def deaf() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "too late"
        return ""

    @workflow
    async def main() -> str:
        try:
            async with asyncio.timeout(2):
                return await deaf()
        except TimeoutError:
            await sleep("1s")
            return "gave up"

    async def story(engine: Engine) -> str:
        return await (await engine.start(main, id="one")).result()

    caplog.set_level(logging.INFO, "wfkit.engine")
    assert world.live(story, main) == "gave up"
    assert "dropped" in caplog.text
    assert not [record for record in world.history("one") if isinstance(record.entry, StepCompleted | StepFailed)]


def test_a_step_that_exits_fails_without_stopping_the_engine(world: World) -> None:
    """`sys.exit` in a step is an error of that step."""

    @step(retry=once)
    async def leave() -> None:
        sys.exit("bye")

    @workflow
    async def main() -> str:
        try:
            await leave()
        except StepError as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert "sys.exit('bye')" in world.live(story, main)


def test_a_step_that_raises_cancelled_itself_has_failed(world: World) -> None:
    """It is not taken for a cancel of the run; it is retried as any other error."""

    @step(retry=Retry(max_attempts=2, initial="1s"))
    async def odd() -> None:
        calls.append(1)
        raise asyncio.CancelledError

    @workflow
    async def main() -> str:
        try:
            await odd()
        except StepError as exc:
            return exc.type
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == "CancelledError"
    assert calls == [1, 1]


@pytest.mark.parametrize("value", [float("nan"), object(), "x" * 3_000_000], ids=["nan", "object", "too large"])
def test_a_result_that_cannot_be_recorded_fails_the_step_at_once(world: World, value: object) -> None:
    """It ran, and would give the same again; the workflow gets an error that says why."""

    @step
    async def give() -> Any:
        calls.append(1)
        return value

    @workflow
    async def main() -> str:
        try:
            await give()
        except (CodecError, PayloadTooLarge) as exc:
            return str(exc)
        return ""

    async def story(engine: Engine) -> str:
        return await (await engine.start(main)).result()

    assert "give() returned what cannot be recorded" in world.live(story, main)
    assert calls == [1]


def test_arguments_are_those_of_the_moment_of_the_call(world: World) -> None:
    """Neither the workflow nor the step changes what the other one has."""

    @step(retry=Retry(max_attempts=2, initial="1s"))
    async def spoil(items: list[int]) -> list[int]:
        calls.append(list(items))
        items.append(99)
        if len(calls) == 1:
            raise ConnectionError
        return items

    @workflow
    async def main() -> list[list[int]]:
        items = [1]
        task = asyncio.create_task(spoil(items))
        await asyncio.sleep(0)
        items.append(2)
        return [items, await task]

    async def story(engine: Engine) -> list[list[int]]:
        return await (await engine.start(main)).result()

    assert world.live(story, main) == [[1, 2], [1, 99]]
    assert calls == [[1], [1]]


def test_steps_of_undecorated_functions_are_found_again_after_a_crash(world: World) -> None:
    """The run is rebuilt first, since only its code knows the function. Also where every run is evicted at once."""

    async def undecorated(x: int) -> int:
        calls.append(x)
        if len(calls) <= 3:
            await asyncio.sleep(3600)
        return x * 2

    @workflow
    async def main(x: int) -> int:
        return await run_step("double", undecorated, x)

    async def first(engine: Engine) -> None:
        for x in (1, 2, 3):
            await engine.start(main, x, id=f"run-{x}")
        await until(lambda: len(calls) == 3)

    async def second(engine: Engine) -> list[int]:
        return [await engine.get(main, f"run-{x}").result() for x in (1, 2, 3)]

    world.crash(first, main)
    assert world.live(second, main, hot_max=1) == [2, 4, 6]
    assert sorted(calls) == [1, 1, 2, 2, 3, 3]


def test_options_hold_for_one_call(world: World) -> None:
    """Also after a crash: they are recorded with the command."""

    @workflow
    async def main() -> list[str]:
        steps = (report.with_options(timeout="1s"), report.with_options(key="invoice/7"), report)
        return [await step() for step in steps]

    @step(retry=once)
    async def report() -> str:
        info = step_info()
        if not calls:
            calls.append(1)
            await asyncio.sleep(3600)
        assert info.deadline is not None
        return f"{info.idempotency_key} {round((info.deadline - now()).total_seconds())}"

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await until(lambda: calls)

    async def second(engine: Engine) -> list[str]:
        return await engine.get(main, "one").result()

    world.crash(first, main)
    told = world.live(second, main)
    keys = [command.key for record in world.history("one") for command in record.commands or () if isinstance(command, RunStep)]
    assert told == [f"{keys[0]} 1", "invoice/7 600", f"{keys[2]} 600"]


def test_a_step_knows_where_it_is(world: World) -> None:
    """Run, workflow, step, attempt, and the deadline of this attempt by the world's clock."""

    @step(timeout="30s")
    async def look() -> None:
        infos.append(step_info())

    @workflow
    async def main() -> None:
        await look()

    async def story(engine: Engine) -> None:
        await (await engine.start(main, id="one")).result()

    world.live(story, main)
    (info,) = infos
    assert (info.run_id, info.workflow, info.step, info.attempt) == ("one", "main", "look", 1)
    assert info.deadline == datetime.fromtimestamp(START / 1e6 + 30, UTC)


def test_concurrency_is_bounded(world: World) -> None:
    """No more than `steps_max` attempts run at once, and all of them run."""
    busy, most = 0, 0

    @step
    async def work(x: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(1)
        busy -= 1
        return x

    @workflow
    async def main() -> int:
        return sum(await asyncio.gather(*(work(x) for x in range(20))))

    async def story(engine: Engine) -> int:
        return await (await engine.start(main)).result()

    assert world.live(story, main, steps_max=3) == 190
    assert most == 3


def test_back_off_holds_no_slot(world: World) -> None:
    """While one step waits for its next attempt another one runs."""

    @step
    async def quick() -> str:
        return "done"

    @workflow
    async def main() -> str:
        task = asyncio.create_task(flaky(1))
        await asyncio.sleep(0)
        told = await quick()
        await task
        return told

    async def story(engine: Engine) -> None:
        run = await engine.start(main, id="one")
        await run.result()

    world.live(story, main, steps_max=1)
    kinds = [type(record.entry).__name__ for record in world.history("one")]
    assert kinds.index("StepCompleted") < kinds.index("AttemptStarted")


def test_compensations_are_not_starved(world: World) -> None:
    """They run while steps of others hold every ordinary slot."""

    @step
    async def hog() -> None:
        await asyncio.sleep(500)

    @step
    async def undo() -> None:
        calls.append(seconds())

    @step
    async def do() -> None: ...

    @workflow
    async def greedy() -> None:
        await hog()

    @workflow
    async def order() -> None:
        async with saga() as s:
            await s.do(do, undo=undo)
            await sleep("5s")
            raise LookupError("no stock")

    async def story(engine: Engine) -> None:
        run = await engine.start(order)
        await asyncio.sleep(1)
        for _ in range(3):
            await engine.start(greedy)
        with pytest.raises(RunFailed):
            await run.result()
        assert seconds() < 10

    world.live(story, order, greedy, steps_max=2)
    assert len(calls) == 1


def test_nothing_is_recorded_between_the_first_attempt_and_its_outcome(world: World) -> None:
    """A step costs one record; only a later attempt writes down that it starts."""

    async def story(engine: Engine) -> None:
        await (await engine.start(try_flaky, 1, id="one")).result()

    world.live(story, try_flaky)
    kinds = [type(record.entry) for record in world.history("one")]
    assert kinds[1:] == [AttemptFailed, AttemptStarted, StepCompleted]


def test_closing_an_engine_is_no_fault_of_the_steps_in_flight(world: World) -> None:
    """However often it is closed: they run again, and no attempt of their policy is used up."""

    @step(retry=once)
    async def long() -> int:
        calls.append(step_info().attempt)
        if len(calls) < 8:
            await asyncio.sleep(3600)
        return len(calls)

    @workflow
    async def main() -> int:
        return await long()

    async def story(engine: Engine) -> None:
        before = len(calls)
        await engine.start(main, id="one")
        await until(lambda: len(calls) > before)

    async def last(engine: Engine) -> int:
        return await engine.get(main, "one").result()

    for _ in range(7):
        world.live(story, main)
    assert world.live(last, main) == 8
    assert calls == list(range(1, 9))


def test_a_death_uses_up_no_attempt_of_the_policy(world: World) -> None:
    """Of two attempts one dies: a failure is still followed by another attempt, and no further one."""

    @step(retry=Retry(max_attempts=2, initial="1s"))
    async def charge() -> None:
        infos.append(step_info())
        if len(infos) == 1:
            await asyncio.sleep(3600)
        raise Declined

    @workflow
    async def main() -> None:
        await charge()

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await until(lambda: infos)

    async def second(engine: Engine) -> None:
        with pytest.raises(RunFailed, match="Declined"):
            await engine.get(main, "one").result()

    world.crash(first, main)
    world.live(second, main)
    assert [info.attempt for info in infos] == [1, 2, 3]


def test_a_step_in_flight_does_not_run_again_when_its_run_is_rebuilt(world: World) -> None:
    """An entry comes for a run whose code has left memory: the replay acts on nothing."""

    @step
    async def slow() -> None:
        calls.append("slow")
        await asyncio.sleep(10)

    @workflow
    async def main() -> int:
        _, value = await asyncio.gather(slow(), wait_signal(go))
        return value

    async def story(engine: Engine) -> int:
        run = await engine.start(main, id="one")
        await engine.start(try_flaky, 0)
        assert engine._runs.named("one").machine is None  # type: ignore[union-attr]  # it is there
        await run.send(go, 7)
        return await run.result()

    assert world.live(story, main, try_flaky, hot_max=1) == 7
    assert calls.count("slow") == 1


def test_a_step_in_flight_at_a_crash_runs_again_with_its_key(world: World) -> None:
    """The same key and arguments, the next number; and the death uses up no attempt of its policy."""

    @step(retry=once)
    async def charge(amount: int) -> int:
        infos.append(step_info())
        if len(infos) == 1:
            await asyncio.sleep(3600)
        return amount

    @workflow
    async def main() -> int:
        return await charge(7)

    async def first(engine: Engine) -> None:
        await engine.start(main, id="one")
        await until(lambda: infos)

    async def second(engine: Engine) -> int:
        return await engine.get(main, "one").result()

    world.crash(first, main)
    assert world.live(second, main) == 7
    assert [info.attempt for info in infos] == [1, 2]
    assert infos[0].idempotency_key == infos[1].idempotency_key


def test_a_saga_waits_for_the_end_of_the_steps_that_it_cancels(world: World) -> None:
    """So that their compensation knows what there is to undo."""

    @step
    async def book() -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(3)
            calls.append("ended")
        return ""

    @step
    async def unbook() -> None:
        calls.append("undone")

    @workflow
    async def main() -> None:
        async with saga() as s:
            task = asyncio.create_task(s.do(book, undo=unbook))
            await sleep("1s")
            try:
                raise LookupError("no")
            finally:
                task.cancel()

    async def story(engine: Engine) -> None:
        with pytest.raises(RunFailed):
            await (await engine.start(main)).result()

    world.live(story, main)
    assert calls == ["ended", "undone"]


def test_a_step_that_was_being_cancelled_at_a_crash_does_not_run_again(world: World) -> None:
    """It has failed, with an outcome that nobody knows: its compensation runs."""

    @step
    async def slow() -> None:
        calls.append("slow")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            calls.append("cancelled")
            await asyncio.sleep(2)
            raise

    @step
    async def undo() -> None:
        calls.append("undo")

    @workflow
    async def main() -> None:
        async with saga() as s:
            await s.do(slow, undo=undo)

    async def first(engine: Engine) -> None:
        run = await engine.start(main, id="one")
        await until(lambda: calls)
        await run.cancel()
        await until(lambda: len(calls) == 2)

    async def second(engine: Engine) -> None:
        with pytest.raises(RunCancelled):
            await engine.get(main, "one").result()

    world.crash(first, main)
    world.live(second, main)
    assert calls == ["slow", "cancelled", "undo"]


def test_a_saga_step_that_is_cancelled_in_back_off_ends_at_once(world: World) -> None:
    """Nobody waits for an attempt that will not come."""

    @step(retry=Retry(max_attempts=None, initial="1m"))
    async def never() -> None:
        calls.append("tried")
        raise ConnectionError

    @step
    async def undo() -> None:
        calls.append("undone")

    @workflow
    async def main() -> None:
        async with saga() as s:
            task = asyncio.create_task(s.do(never, undo=undo))
            await sleep("10s")
            task.cancel()
            try:
                await task
            except StepCancelled:
                raise LookupError from None

    async def story(engine: Engine) -> float:
        with pytest.raises(RunFailed):
            await (await engine.start(main)).result()
        return seconds()

    assert world.live(story, main) < 12
    assert calls == ["tried", "undone"]
