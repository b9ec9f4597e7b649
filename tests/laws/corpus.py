"""Workflows that use all of asyncio, and all of wfkit: the parameter of the laws.

Each one shows in its commands what the construct does, in particular in which order: a set that iterates in another order,
or a callback that runs a tick earlier, becomes another history.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.laws.driver import Scenario, Sent
from wfkit.api.definitions import NonRetryable, Retry, Workflow, run_step, step, workflow
from wfkit.api.primitives import State, has_patch, info, now, rng, sleep, sleep_until, start_child, timeout, uuid4
from wfkit.api.saga import saga
from wfkit.api.signals import Signal, publish, send, subscribe, wait_any, wait_signal
from wfkit.errors import RunFailed, StepError

WIDE = 12
"""So many tasks at once: enough that an order by address would show."""


@dataclass
class Parcel:
    id: str
    tags: set[str] = field(default_factory=set)


class Declined(Exception):
    pass


@step
async def val(x: str) -> str:
    return x


@step(retry=Retry(max_attempts=1))
async def boom(x: str) -> str:
    raise ValueError(x)


@step(retry=Retry(max_attempts=1), raises=(Declined,))
async def decline(x: str) -> str:
    raise Declined(x)


@step(retry=Retry(max_attempts=3, initial="500ms"))
def never_right(x: str) -> str:
    raise ConnectionError(x)


@step
async def tag(parcel: Parcel) -> Parcel:
    return Parcel(parcel.id, parcel.tags | {"seen"})


@step
async def undo(x: str) -> None:
    pass


@step(retry=Retry(max_attempts=1))
async def undo_in_vain(x: str) -> None:
    raise NonRetryable(x)


progress = State("progress", dict[str, int], dict)
paid = Signal("paid", int)
packed = Signal("packed", Parcel)
stop = Signal("stop", str)

SCENARIOS: list[Scenario] = []


def scenario(**options: Any) -> Callable[[Workflow[..., Any]], Workflow[..., Any]]:
    def add(of: Workflow[..., Any]) -> Workflow[..., Any]:
        SCENARIOS.append(Scenario(of, **options))
        return of

    return add


# -- tasks ------------------------------------------------------------------------------------------------------------


@scenario()
@workflow
async def in_sequence() -> str:
    return "".join([await val(str(i)) for i in range(4)])


@scenario()
@workflow
async def gathered() -> str:
    return "".join(await asyncio.gather(*(val(str(i)) for i in range(WIDE))))


@scenario()
@workflow
async def gathered_with_failures() -> list[str]:
    got = await asyncio.gather(boom("a"), val("b"), decline("c"), val("d"), return_exceptions=True)
    return [repr(one) for one in got]


@scenario()
@workflow
async def gathered_and_one_fails() -> str:
    tail = asyncio.create_task(val("tail"))
    try:
        await asyncio.gather(val("a"), boom("b"), val("c"))
    except ValueError as exc:
        return f"{exc} {await tail} {await val('after')}"
    return "no"


@scenario()
@workflow
async def gathered_and_cancelled() -> str:
    both = asyncio.gather(val("a"), sleep("90s"))
    await sleep("5s")
    both.cancel()
    try:
        await both
    except asyncio.CancelledError:
        return await val("cancelled")
    return "no"


@scenario()
@workflow
async def gathers_in_a_set() -> list[str]:
    waiting = {asyncio.gather(val(f"{i}a"), val(f"{i}b")) for i in range(WIDE)}
    out: list[str] = []
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            out.append(await val("+".join(one.result())))  # noqa: PERF401  # as users write it
    return out


@scenario()
@workflow
async def task_group() -> str:
    out: list[str] = []

    async def one(i: int) -> None:
        out.append(await val(str(i)))
        out.append(await val(str(-i)))

    async with asyncio.TaskGroup() as group:
        for i in range(WIDE):
            group.create_task(one(i))
    return ",".join(out)


@scenario()
@workflow
async def task_group_that_fails_cancels() -> list[int]:
    cancelled: list[int] = []

    async def slow(i: int) -> None:
        try:
            await val(f"s{i}")
            await asyncio.sleep(100 + i)
        finally:
            cancelled.append(i)

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for i in range(WIDE):
                group.create_task(slow(i))
            group.create_task(boom("x"))
    for i in cancelled:
        await val(str(i))
    return cancelled


@scenario()
@workflow
async def task_group_with_cleanup_steps() -> list[str]:
    log: list[str] = []

    async def careful(i: int) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append(await val(f"clean{i}"))
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(4):
                group.create_task(careful(i), name=f"careful-{i}")
            await boom("body")
    except* ValueError as group_error:
        log += [str(exc) for exc in group_error.exceptions]
    return log


@scenario()
@workflow
async def nested_task_groups() -> list[str]:
    log: list[str] = []

    async def inner(i: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(val(f"{i}a"))
            if i == 2:
                group.create_task(boom(f"{i}"))
            group.create_task(sleep(i))
        log.append(f"inner {i}")

    try:
        async with asyncio.TaskGroup() as group:
            for i in range(4):
                group.create_task(inner(i))
    except* ValueError as found:
        log.append(repr(found.exceptions))
    return [*log, await val("end")]


@scenario()
@workflow
async def exception_groups() -> list[str]:
    out: list[str] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(boom("a"))
            group.create_task(decline("b"))
    except* ValueError as found:
        out += [f"value {exc}" for exc in found.exceptions]
    except* Declined as found:
        out += [f"declined {exc}" for exc in found.exceptions]
    return [*out, await val("end")]


@scenario()
@workflow
async def cancellation_with_cleanup() -> list[str]:
    out: list[str] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            out.append(await val("cleanup"))
            raise
        finally:
            out.append(await val("finally"))

    task = asyncio.create_task(inner())
    await asyncio.sleep(1)
    task.cancel("why")
    try:
        await task
    except asyncio.CancelledError as exc:
        out.append(str(exc.args))
    return out


@scenario()
@workflow
async def cancelled_steps() -> list[str]:
    tasks = [asyncio.create_task(val(f"v{i}"), name=f"n{i}") for i in range(6)]
    await asyncio.sleep(1.5)
    for task in tasks[::2]:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return [one if isinstance(one, str) else type(one).__name__ for one in ended]


@scenario(cancel_after=3.0)
@workflow
async def cancelled_from_outside() -> None:
    try:
        await asyncio.gather(sleep("1h"), val("a"), sleep("2h"))
    finally:
        await val("cleanup")


@scenario(cancel_after=2.5)
@workflow
async def cancel_swallowed() -> str:
    try:
        await sleep("1h")
    except asyncio.CancelledError:
        return await val("went on")
    return "no"


@scenario()
@workflow
async def uncancelled() -> list[Any]:
    out: list[Any] = []
    here = asyncio.current_task()
    assert here is not None
    here.cancel()
    try:
        await val("never")
    except asyncio.CancelledError:
        out.append(here.cancelling())
        here.uncancel()
    return [*out, here.cancelling(), await val("on")]


@scenario()
@workflow
async def fire_and_forget() -> list[str]:
    out: list[str] = []

    async def background(i: int) -> None:
        out.append(await val(str(i)))

    for i in range(5):
        asyncio.create_task(background(i))  # noqa: RUF006  # the run keeps its tasks alive
    gc.collect()
    await asyncio.sleep(6)
    gc.collect()
    return out


@scenario()
@workflow
async def left_behind() -> str:
    asyncio.create_task(sleep("1h"))  # noqa: RUF006  # as above
    asyncio.create_task(wait_signal("never"))  # noqa: RUF006  # as above
    asyncio.create_task(val("dangling"))  # noqa: RUF006  # as above
    await asyncio.sleep(0)
    return "done"


@scenario()
@workflow
async def names_and_time() -> list[Any]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(2.5)
    named = asyncio.create_task(val("n"), name="mine")
    tasks = [asyncio.create_task(val(str(i))) for i in range(3)]
    here = asyncio.current_task()
    assert here is not None
    names = [task.get_name() for task in asyncio.all_tasks()]
    await asyncio.gather(named, *tasks)
    return [round(loop.time() - begun) >= 2, names, here.get_name(), len(asyncio.all_tasks())]


@scenario()
@workflow
async def every_task_in_a_set() -> list[str]:
    async def one(i: int) -> None:
        await sleep(100 + i)

    for i in range(WIDE):
        asyncio.create_task(one(i), name=f"t{i}")  # noqa: RUF006  # as above
    await sleep(1)
    out = []
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        out.append(await val(task.get_name()))
    return out


@scenario()
@workflow
async def done_callbacks() -> list[str]:
    out: list[str] = []
    task = asyncio.create_task(val("x"))
    task.add_done_callback(lambda done: out.append(f"1 {done.result()}"))
    task.add_done_callback(lambda _: out.append("2"))
    await task
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_soon(out.append, "soon")
    loop.call_later(2, out.append, "later")
    loop.call_later(1, out.append, "sooner").cancel()
    loop.call_at(loop.time() + 3, out.append, "at")
    await asyncio.sleep(4)
    return out


@scenario()
@workflow
async def context_variables() -> list[str]:
    out = [flavour.get()]
    flavour.set("a")

    async def child() -> None:
        out.append(flavour.get())
        flavour.set("child")
        await val("1")
        out.append(flavour.get())

    await asyncio.gather(child(), asyncio.create_task(child()))
    own = contextvars.copy_context()
    own.run(flavour.set, "own")
    await asyncio.create_task(child(), context=own)
    return [*out, flavour.get()]


flavour = contextvars.ContextVar("flavour", default="plain")


# -- waiting ----------------------------------------------------------------------------------------------------------


@scenario()
@workflow
async def timeouts() -> list[str]:
    out = []
    try:
        async with asyncio.timeout(1):
            await val("a")
            await asyncio.sleep(50)
    except TimeoutError:
        out.append("late")
    async with asyncio.timeout(1000):
        out.append(await val("b"))
    async with asyncio.timeout(None) as scope:
        scope.reschedule(asyncio.get_running_loop().time() + 500)
        out.append(await val("c"))
    try:
        async with asyncio.timeout(-1):
            await val("never")
    except TimeoutError:
        out.append("negative")
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 2):
            await asyncio.sleep(60)
    except TimeoutError:
        out.append("at")
    return out


@scenario()
@workflow
async def nested_timeouts() -> list[str]:
    out = []
    try:
        async with timeout("20s"):
            try:
                async with timeout("10s"):
                    await asyncio.gather(sleep("1h"), val("a"))
            except TimeoutError:
                out.append(await val("inner"))
            await sleep("1h")
    except TimeoutError:
        out.append(await val("outer"))
    return out


@scenario()
@workflow
async def a_step_against_the_clock() -> list[str]:
    out = []
    for i in range(6):
        try:
            async with timeout("2s"):
                out.append(await val(str(i)))
        except TimeoutError:
            out.append("late")
    return out


@scenario()
@workflow
async def wait_for() -> list[str]:
    out = [await asyncio.wait_for(val("a"), 50)]
    for seconds in (1.0, 0.0):
        try:
            await asyncio.wait_for(asyncio.sleep(50), seconds)
        except TimeoutError:
            out.append(await val(f"late {seconds}"))
    task = asyncio.create_task(val("b"))
    out.append(await asyncio.wait_for(asyncio.shield(task), None))
    return out


async def _waited_for(return_when: str) -> list[str]:
    pending = {asyncio.create_task(val(str(i)), name=f"t{i}") for i in range(WIDE)}
    if return_when == asyncio.FIRST_EXCEPTION:
        pending |= {asyncio.create_task(boom("x"), name="boom")}
    out: list[str] = []
    for _ in range(4):
        if not pending:
            break
        done, pending = await asyncio.wait(pending, return_when=return_when)
        for task in done:
            out.append(task.get_name() if task.exception() is None else repr(task.exception()))
            await val(f"seen {out[-1]}")
    for task in pending:
        task.cancel()
    for task in pending:
        with contextlib.suppress(asyncio.CancelledError):
            await task
        out.append(await val(task.get_name()))
    return out


@scenario()
@workflow
async def wait_first_completed() -> list[str]:
    return await _waited_for(asyncio.FIRST_COMPLETED)


@scenario()
@workflow
async def wait_all_completed() -> list[str]:
    return await _waited_for(asyncio.ALL_COMPLETED)


@scenario()
@workflow
async def wait_first_exception() -> list[str]:
    return await _waited_for(asyncio.FIRST_EXCEPTION)


@scenario()
@workflow
async def wait_with_a_timeout() -> list[int]:
    out = []
    pending = {asyncio.create_task(val(str(i))) for i in range(6)}
    while pending:
        done, pending = await asyncio.wait(pending, timeout=1)
        out.append(len(done))
        await val(str(len(done)))
    return out


@scenario()
@workflow
async def as_completed_over_coroutines() -> list[str]:
    return [await val(await one) for one in asyncio.as_completed([val(str(i)) for i in range(WIDE)])]


@scenario()
@workflow
async def as_completed_over_tasks() -> list[str]:
    tasks = {asyncio.create_task(val(str(i))) for i in range(WIDE)}
    return [await val(await one) for one in asyncio.as_completed(tasks)]


class Answer:
    """Something of the user's that can be awaited, and hashes by its address."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __await__(self) -> Generator[Any, None, str]:
        return val(self.text).__await__()


@scenario()
@workflow
async def as_completed_over_awaitables() -> list[str]:
    awaitables: list[Awaitable[str]] = [Answer(str(i)) for i in range(WIDE)]
    return [await val(await one) for one in asyncio.as_completed(awaitables)]


@scenario()
@workflow
async def as_completed_with_a_timeout() -> list[str]:
    out = []
    try:
        for one in asyncio.as_completed([val(str(i)) for i in range(6)], timeout=2):
            out.append(await one)  # noqa: PERF401  # as above
    except TimeoutError:
        out.append(await val("late"))
    return out


if sys.version_info >= (3, 13):

    @scenario()
    @workflow
    async def as_completed_asynchronously() -> list[str]:
        tasks = [asyncio.create_task(val(str(i)), name=f"t{i}") for i in range(WIDE)]
        out = []
        async for task in asyncio.as_completed(tasks):
            out.append(await val(f"{task.get_name()} {await task}"))  # noqa: PERF401  # as above
        return out


@scenario()
@workflow
async def shielded() -> list[str]:
    task = asyncio.create_task(val("x"))
    out = []
    try:
        async with asyncio.timeout(0.000_001):
            await asyncio.shield(task)
    except TimeoutError:
        out.append("late")
    return [*out, await task]


@scenario(cancel_after=1.0)
@workflow
async def shielded_from_a_cancel() -> str:
    task = asyncio.create_task(val("kept"))
    try:
        await asyncio.shield(sleep("2s"))
    except asyncio.CancelledError:
        return await task
    return "no"


# -- synchronisation --------------------------------------------------------------------------------------------------


@scenario()
@workflow
async def events_and_queues() -> list[str]:
    ready, queue = asyncio.Event(), asyncio.Queue[str | None](2)
    out: list[str] = []

    async def produce() -> None:
        for i in range(6):
            await queue.put(await val(f"p{i}"))
        await queue.put(None)
        ready.set()

    async def consume() -> None:
        while (got := await queue.get()) is not None:
            out.append(await val(f"c{got}"))
            queue.task_done()

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
        await ready.wait()
        out.append("ready")
    return out


@scenario()
@workflow
async def priority_and_lifo_queues() -> list[str]:
    first, last = asyncio.PriorityQueue[tuple[int, str]](), asyncio.LifoQueue[str]()
    out: list[str] = []

    async def fill(i: int) -> None:
        text = await val(f"{i % 3}")
        await first.put((int(text), f"{i:02}"))
        await last.put(f"{i:02}")

    await asyncio.gather(*(fill(i) for i in range(WIDE)))
    while not first.empty():
        out.append(await val((await first.get())[1]))
        out.append(last.get_nowait())
    return out


@scenario()
@workflow
async def workers_over_a_queue() -> list[str]:
    queue = asyncio.Queue[str]()
    out: list[str] = []

    async def worker(name: str) -> None:
        while True:
            job = await queue.get()
            out.append(await val(f"{name}{job}"))
            queue.task_done()

    workers = [asyncio.create_task(worker(name)) for name in "abc"]
    for i in range(WIDE):
        queue.put_nowait(str(i))
    await queue.join()
    for one in workers:
        one.cancel()
    return out


@scenario()
@workflow
async def locks_and_semaphores() -> list[str]:
    lock, slots = asyncio.Lock(), asyncio.BoundedSemaphore(3)
    out: list[str] = []

    async def one(i: int) -> None:
        async with slots:
            out.append(await val(f"s{i}"))
            async with lock:
                out.append(await val(f"l{i}"))

    await asyncio.gather(*(one(i) for i in range(8)))
    return out


@scenario()
@workflow
async def conditions() -> list[str]:
    condition = asyncio.Condition()
    out: list[str] = []
    turn = 0

    async def one(i: int) -> None:
        async with condition:
            await condition.wait_for(lambda: turn > i)
            out.append(await val(f"c{i}"))

    async with asyncio.TaskGroup() as group:
        for i in (2, 0, 3, 1):
            group.create_task(one(i))
        for _ in range(4):
            await sleep(1)
            async with condition:
                turn += 1
                condition.notify_all()
    return out


@scenario()
@workflow
async def barriers() -> list[str]:
    barrier = asyncio.Barrier(3)
    out: list[str] = []

    async def one(i: int) -> None:
        await val(f"b{i}")
        out.append(f"{i} {await barrier.wait()}")
        async with barrier as place:
            out.append(await val(f"{i} at {place}"))

    await asyncio.gather(*(one(i) for i in range(3)))
    return out


@scenario()
@workflow
async def a_waiter_is_cancelled() -> list[str]:
    lock, out = asyncio.Lock(), list[str]()

    async def one(i: int) -> None:
        try:
            async with lock:
                out.append(await val(str(i)))
        except asyncio.CancelledError:
            out.append(f"cancelled {i}")

    await lock.acquire()
    tasks = [asyncio.create_task(one(i)) for i in range(5)]
    await sleep(1)
    tasks[1].cancel()
    lock.release()
    await sleep(1)
    tasks[3].cancel()
    await asyncio.gather(*tasks)
    return out


# -- generators -------------------------------------------------------------------------------------------------------


async def _counted(count: int, log: list[str]) -> AsyncGenerator[str, None]:
    try:
        for i in range(count):
            yield await val(str(i))
    finally:
        log.append("closed")
        await asyncio.sleep(0)


@scenario()
@workflow
async def async_generators() -> list[str]:
    out: list[str] = []
    async for one in _counted(3, out):
        out.append(one)  # noqa: PERF401  # as above
    async for one in _counted(30, out):
        if one == "2":
            break
    async with contextlib.aclosing(_counted(9, out)) as counted:
        async for one in counted:
            out.append(one)
            break
    gc.collect()
    return [*out, await val("end")]


@scenario()
@workflow
async def async_generators_with_steps_at_the_end() -> str:
    async def closes_with_a_step() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield await val("next")
        finally:
            await val("closing")

    async for _ in closes_with_a_step():
        break
    generator = closes_with_a_step()
    await anext(generator)
    await generator.aclose()
    return await val("end")


@scenario()
@workflow
async def exit_stacks() -> list[str]:
    out: list[str] = []

    @contextlib.asynccontextmanager
    async def opened(name: str) -> AsyncIterator[str]:
        out.append(await val(f"open {name}"))
        try:
            yield name
        finally:
            out.append(await val(f"close {name}"))

    with contextlib.suppress(ValueError):
        async with contextlib.AsyncExitStack() as stack:
            for name in "abc":
                await stack.enter_async_context(opened(name))
            stack.push_async_callback(val, "callback")
            await boom("x")
    return out


# -- wfkit's own ------------------------------------------------------------------------------------------------------


@scenario()
@workflow
async def clock_and_chance() -> list[Any]:
    out: list[Any] = [str(uuid4()), rng().random(), rng().sample(range(100), 3), now().isoformat()]
    await sleep("90 minutes")
    await sleep_until(now() + timedelta(days=3))
    await sleep_until(now() - timedelta(days=3))
    await val(out[0])
    return [*out, str(uuid4()), info().id, info().started_at.isoformat()]


def look_up(key: str) -> str:
    return {"here": key}[key]


@scenario()
@workflow
async def failing_steps() -> list[str]:
    out = []
    for failing in (boom, decline, never_right):
        try:
            await failing("x")
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is shown
            out.append(await val(repr(exc)))
    try:
        await run_step("odd", look_up, "missing")
    except KeyError as exc:
        out.append(repr(exc))
    return out


@scenario()
@workflow
async def rich_values() -> Parcel:
    parcel = await tag(Parcel("p", {"c", "a", "b"}))
    progress.set({"parcels": len(parcel.tags)})
    progress.set({**progress.get(), "more": 1})
    return await tag(Parcel("q", parcel.tags | {"d"}))


@scenario(signals=(Sent(1, "paid", 1), Sent(2, "paid", 2), Sent(9, "paid", 3), Sent(9, "packed", {"id": "p"})))
@workflow
async def signals() -> list[Any]:
    out: list[Any] = [await wait_signal(paid)]
    await sleep(5)
    out.append(await wait_signal(paid, timeout="1s"))
    try:
        out.append(await wait_signal(paid, timeout="1s"))
    except TimeoutError:
        out.append("late")
    first, second = await asyncio.gather(wait_signal(paid), wait_signal(packed))
    return [*out, first, second.id]


@scenario(signals=tuple(Sent(i / 2, "packed", {"id": f"p{i % 3}"}) for i in range(12)))
@workflow
async def signals_by_field() -> list[str]:
    async def collect(id: str) -> list[str]:
        return [await val((await wait_signal(packed, where={"id": id}, timeout="1 day")).id) for _ in range(3)]

    return [one for of in await asyncio.gather(*(collect(f"p{i}") for i in range(3))) for one in of]


@scenario(signals=(Sent(1, "paid", 1), Sent(3.5, "paid", 2), Sent(6, "stop", "enough")))
@workflow
async def signals_until_stopped() -> list[Any]:
    out: list[Any] = []
    with subscribe(paid):
        while True:
            got = await wait_any(paid, stop, timeout="1h")
            if stop.came(got):
                return [*out, got.value]
            out.append(await val(str(got.value)))


@scenario(signals=(Sent(4, "paid", 7),))
@workflow
async def cancelled_waiters() -> list[Any]:
    first = asyncio.create_task(wait_signal(paid))
    second = asyncio.create_task(wait_signal(paid, timeout="1h"))
    await sleep("2s")
    first.cancel()
    send("run-2", "hello", {"from": info().id})
    publish(paid, 3)
    return [await second, first.cancelled()]


@step(retry=Retry(max_attempts=1))
async def half(x: int) -> int:
    if x == 7:
        raise NonRetryable("seven")
    return x // 2


@workflow
async def halver(x: int) -> int:
    return await half(x)


@scenario(children={"halver": halver})
@workflow
async def children() -> list[Any]:
    out: list[Any] = list(await asyncio.gather(*(halver(2 * i) for i in range(4))))
    try:
        await halver(7)
    except RunFailed as exc:
        out.append(str(exc))
    start_child(halver, 8, id="kept", on_parent_end="cancel")
    task = asyncio.create_task(halver(10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [*out, await val("end")]


@scenario()
@workflow
async def saga_undone() -> None:
    async with saga() as s:
        await s.do(val, "a", undo=undo)
        await asyncio.gather(s.do(val, "b", undo=undo), s.do(val, "c", undo=undo_in_vain), s.do(boom, "d", undo=undo))


@scenario()
@workflow
async def saga_completed() -> str:
    async with saga() as s:
        out = await s.do(val, "a", undo=undo)
        s.pivot()
        out += await s.do(val, "b", undo=undo)
    return out


@scenario()
@workflow
async def nested_sagas() -> list[str]:
    out = []
    async with saga() as outer:
        await outer.do(val, "outer", undo=undo)
        try:
            async with saga() as inner:
                await inner.do(val, "inner", undo=undo)
                await decline("inner")
        except Declined:
            out.append(await val("inner undone"))
        await outer.do(val, "last", undo=undo)
    return out


@scenario(cancel_after=3.0)
@workflow
async def saga_cancelled() -> None:
    async with saga() as s:
        await asyncio.gather(*(s.do(val, str(i), undo=undo) for i in range(4)))
        await sleep("1h")


@scenario()
@workflow
async def saga_against_the_clock() -> str:
    try:
        async with timeout("3s"), saga() as s:
            for i in range(5):
                await s.do(val, str(i), undo=undo)
    except TimeoutError:
        return await val("late")
    return "in time"


@scenario(patches=("old",))
@workflow(patches=("old", "new"))
async def patched() -> list[str]:
    out = []
    if has_patch("old"):
        out.append(await val("old"))
    if has_patch("new"):
        out.append(await val("new"))
    return [*out, await val("end")]


@scenario()
@workflow
async def fails_in_the_end() -> None:
    await val("a")
    raise StepError("Odd", "of its own")


BY_NAME = {one.name: one for one in SCENARIOS}
SEEDS = range(5)
