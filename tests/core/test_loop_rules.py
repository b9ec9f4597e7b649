"""The twelve rules of the loop. Each one was a failure that somebody reproduced; each test fails without its rule."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.laws.driver import DEFAULT_SEED, EPOCH, SECOND, Driver, Scenario, drive
from wfkit.api.definitions import Workflow, step, workflow
from wfkit.api.primitives import rng, sleep
from wfkit.api.signals import wait_signal
from wfkit.core.commands import CancelChild, CancelStep, CancelTimer, Command, CompleteRun, RunStep, StartChild, StartTimer
from wfkit.core.entries import CancelRequested, Fed, RunStarted, SignalReceived, StepCompleted, TimerFired
from wfkit.core.loop import RunLoop, Task, running
from wfkit.core.machine import Machine
from wfkit.errors import ProgrammingError, StuckRun, WorkflowLoopError

performed: list[str] = []


machines: list[Machine] = []


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    performed.clear()
    yield
    for machine in machines:
        machine.evict()
    machines.clear()


@step
async def val(x: str) -> str:
    performed.append(x)
    return x


def started(of: Workflow[..., Any], args: bytes = b"[]", seed: str = DEFAULT_SEED) -> RunStarted:
    return RunStarted(t=EPOCH, id="run-1", workflow=of.name, args=Raw(args), seed=seed)


def begin(of: Workflow[..., Any]) -> tuple[Machine, tuple[Command, ...]]:
    """Return a machine that has taken its first entry, and the commands of it."""
    machine = Machine(of)
    machines.append(machine)
    return machine, machine.feed(started(of), 1)


def completed(n: int, value: object = "x", t: int = EPOCH) -> StepCompleted:
    return StepCompleted(t=t, n=n, value=Raw(msgspec.json.encode(value)))


def args_of(commands: tuple[Command, ...]) -> list[Any]:
    """Return the first argument of each step that is asked for."""
    return [msgspec.json.decode(command.args)[0] for command in commands if isinstance(command, RunStep)]


# -- 1: one entry per activation, run to quiescence ---------------------------------------------------------------------


def test_an_activation_runs_until_nothing_is_ready() -> None:
    """However many ticks it takes to get there, what an entry leads to belongs to that entry."""

    @workflow
    async def many_ticks() -> str:
        async def tick(times: int) -> None:
            for _ in range(times):
                await asyncio.sleep(0)

        await asyncio.gather(*(tick(i) for i in range(50)))
        return await val("there")

    _, commands = begin(many_ticks)
    assert args_of(commands) == ["there"]


def test_each_entry_is_an_activation_of_its_own() -> None:
    """A loop over `asyncio.wait` sees one outcome at a time, live and in replay, however many are known already."""

    @workflow
    async def as_they_come() -> list[str]:
        waiting = {asyncio.create_task(val(str(i))) for i in range(3)}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await val(f"{len(done)} done")
        return []

    machine, _ = begin(as_they_come)
    entries = [completed(2), completed(1), completed(3), completed(4), completed(5), completed(6)]
    asked = [args_of(machine.feed(entry, seq)) for seq, entry in enumerate(entries, start=2)]
    assert asked == [["1 done"], [], [], ["2 done"], [], []]


def test_an_outcome_wakes_its_waiters_through_the_ready_queue() -> None:
    """What an entry makes ready waits for its turn, so a callback never runs in the middle of another one."""

    @workflow
    async def two_waiters() -> list[str]:
        order: list[str] = []
        shared = asyncio.create_task(val("x"))

        async def wait(name: str) -> None:
            await shared
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

        await asyncio.gather(wait("a"), wait("b"))
        return order

    assert drive(two_waiters).result == ["a begins", "b begins", "a ends", "b ends"]


# -- 2: tasks and futures hash by a counter of their run ----------------------------------------------------------------


def test_tasks_and_futures_hash_alike_in_every_run() -> None:
    """However many runs there were before, the hashes are the same, and they are no addresses."""

    @workflow
    async def hashes() -> list[int]:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(5)]
        return [hash(of) for of in (*tasks, loop.create_future(), asyncio.gather(*tasks), asyncio.current_task())]

    first = drive(hashes).result
    assert drive(hashes).result == first
    assert len(set(first)) == len(first)
    assert max(first) < 100


def test_tasks_of_many_runs_do_not_collide_in_asyncios_table() -> None:
    """While asyncio registers a task, its hash is unique in the process: 100,000 runs' first tasks are not all number 2."""

    @workflow
    async def asleep() -> None:
        await sleep("1h")

    for _ in range(50):
        begin(asleep)
    table: Any = getattr(asyncio.tasks, "_scheduled_tasks", None) or asyncio.tasks._all_tasks  # type: ignore[attr-defined]
    registered = [hash(reference) for reference in table.data if isinstance(reference(), Task)]
    assert len(registered) >= 50
    assert len(set(registered)) == len(registered)


# -- 3: as_completed and all_tasks ----------------------------------------------------------------------------------------


class Backwards:
    """An awaitable whose place in a set is known: a set of them iterates in the opposite of the order given."""

    def __init__(self, place: int, count: int) -> None:
        self.place = place
        self.count = count

    def __hash__(self) -> int:
        return self.count - self.place

    def __await__(self) -> Generator[Any, None, str]:
        return val(str(self.place)).__await__()


def test_as_completed_starts_what_it_is_given_in_that_order() -> None:
    """A set comes first in asyncio's own code, and coroutines hash by their address."""

    @workflow
    async def eight() -> list[str]:
        given: list[Awaitable[str]] = [Backwards(i, 8) for i in range(8)]
        return [await one for one in asyncio.as_completed(given)]

    _, commands = begin(eight)
    assert args_of(commands) == list("01234567")


def test_outside_of_runs_asyncio_keeps_its_sets() -> None:
    """The stand-in for `set` is for workflow code alone; elsewhere nothing has changed."""
    order: list[str] = []

    class Told(Backwards):
        def __await__(self) -> Generator[Any, None, str]:
            order.append(str(self.place))
            return asyncio.sleep(0, "").__await__()

    async def outside() -> None:
        for one in asyncio.as_completed([Told(i, 8) for i in range(8)]):
            await one

    asyncio.run(outside())
    assert order == [str(one.place) for one in {Backwards(i, 8) for i in range(8)}]


def test_all_tasks_answers_from_the_run() -> None:
    """Tasks whose hashes collide in a set come in the order of the run, not in that of a table of the whole process."""

    @workflow
    async def colliding() -> list[str]:
        loop = asyncio.get_running_loop()
        for i in range(6):
            asyncio.create_task(sleep(100), name=str(i))  # noqa: RUF006  # the run keeps it
            for _ in range(1023):
                loop.create_future()  # so that the next task's hash has the same place in a set's table
        return [task.get_name() for task in asyncio.all_tasks()]

    orders = set()
    for _ in range(64):  # so often that the process's own numbers pass the end of a set's table
        orders.add(tuple(drive(colliding).result))
    assert len(orders) == 1


@workflow
async def asleep_for_a_while() -> None:
    await sleep("1h")


# -- 4: eviction is explicit ----------------------------------------------------------------------------------------------


@workflow
async def with_a_last_will() -> None:
    try:
        await sleep("30 days")
    finally:
        await val("last will")


def test_an_evicted_run_asks_for_nothing_and_does_nothing() -> None:
    """Its `finally` blocks run, with every command refused: the step is neither asked for nor called as a function."""
    machine, _ = begin(with_a_last_will)
    before = list(machine.commands)
    machine.evict()
    gc.collect()
    assert machine.commands == before
    assert performed == []


def test_code_of_an_evicted_run_never_runs_inside_another_run() -> None:
    """Not even code that refuses to be closed, and not even when the garbage collector finds it."""
    inside: list[str] = []
    over: list[bool] = []

    @workflow
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await sleep("30 days")
            except BaseException:
                if over:
                    raise
            finally:
                if not over and running() is not None and running() is not own:
                    inside.append("stubborn code ran in another run")
        while True:
            try:
                await asyncio.sleep(0)
            except BaseException:  # as above
                if over:
                    raise

    @workflow
    async def collecting() -> None:
        gc.collect()

    machine, _ = begin(stubborn)
    own = machine.loop
    machine.evict()
    machines.clear()
    del machine
    begin(collecting)
    gc.collect()
    assert inside == []
    over.append(True)


@pytest.mark.parametrize("last", ["raise", "await", "exit", "cancel"])
def test_no_finally_block_stops_an_eviction(last: str) -> None:
    """A block may raise, wait, leave or go on: the run leaves memory all the same, and the other tasks are closed too."""
    closed: list[str] = []

    @workflow
    async def awkward() -> None:
        async def one(i: int) -> None:
            try:
                await sleep("30 days")
            finally:
                closed.append(str(i))
                match last:
                    case "raise":
                        raise ValueError("in finally")
                    case "await":
                        await asyncio.Event().wait()
                    case "exit":
                        raise SystemExit(1)
                    case _:
                        raise asyncio.CancelledError

        await asyncio.gather(*(one(i) for i in range(3)))

    machine, _ = begin(awkward)
    machine.evict()
    assert sorted(closed) == ["0", "1", "2"]


def test_a_run_is_free_once_it_is_evicted() -> None:
    """Even if its `finally` blocks wait: what they hold is memory again."""

    class Load:
        pass

    @workflow
    async def loaded() -> None:
        load = Load()
        weights.append(weakref.ref(load))
        try:
            await sleep("30 days")
        finally:
            for _ in range(3):
                with contextlib.suppress(GeneratorExit):
                    await asyncio.sleep(0)

    weights: list[weakref.ref[Load]] = []
    machine, _ = begin(loaded)
    machine.evict()
    machines.clear()
    del machine
    gc.collect()
    assert weights[0]() is None


@pytest.mark.parametrize("place", ["at its yield", "at its await"])
def test_a_generator_is_free_once_its_run_is_evicted(place: str) -> None:
    """Wherever it is, and even if its `finally` waits."""

    class Load:
        pass

    async def loaded() -> AsyncGenerator[int, None]:
        load = Load()
        weights.append(weakref.ref(load))
        try:
            if place == "at its await":
                await sleep("30 days")
            yield 1
        finally:
            for _ in range(3):
                with contextlib.suppress(BaseException):
                    await asyncio.sleep(0)

    @workflow
    async def iterates() -> None:
        async for _ in loaded():
            await sleep("30 days")

    weights: list[weakref.ref[Load]] = []
    machine, _ = begin(iterates)
    machine.evict()
    machines.clear()
    del machine
    gc.collect()
    assert weights[0]() is None


def test_a_machine_that_fails_is_evicted_at_once() -> None:
    """Nobody else closes it, and its `finally` blocks must not run when the garbage collector comes."""
    log: list[str] = []

    @workflow
    async def broken() -> None:
        async def beside() -> None:
            try:
                await sleep("1h")
            finally:
                log.append("closed")

        asyncio.create_task(beside())  # noqa: RUF006  # the run keeps it
        await val("a")
        raise NameError("a typo")

    machine, _ = begin(broken)
    with pytest.raises(ProgrammingError):
        machine.feed(completed(1), 2)
    assert log == ["closed"]


def test_the_garbage_collector_is_off_during_an_activation() -> None:
    """So that it frees nothing of anybody else's in the middle of a run; afterwards it is as it was."""

    @workflow
    async def collects() -> bool:
        return gc.isenabled()

    assert drive(collects).result is False
    assert gc.isenabled()
    gc.disable()
    try:
        drive(collects)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_abandoned_async_generator_is_closed_by_eviction_alone() -> None:
    """It waits for the end of the run in memory, where the garbage collector would otherwise have closed it."""
    log: list[str] = []

    async def counted() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            log.append("closed")

    @workflow
    async def leaves() -> None:
        async for _ in counted():
            break
        gc.collect()
        log.append("collected")
        await sleep("1h")

    machine, _ = begin(leaves)
    gc.collect()
    assert log == ["collected"]
    machine.evict()
    assert log == ["collected", "closed"]


# -- 5: nesting in the host's loop ----------------------------------------------------------------------------------------


def test_a_run_nests_in_the_task_that_drives_it() -> None:
    """Inside, the run's loop and task are the current ones and the host's are not; afterwards all is as before."""
    seen: list[object] = []

    @workflow
    async def looks_around() -> None:
        seen.extend([asyncio.get_running_loop(), asyncio.current_task(), asyncio.current_task(hosts[0])])
        await val("x")

    hosts: list[Any] = []

    async def drives() -> None:
        host = asyncio.get_running_loop()
        hosts.append(host)
        machine, _ = begin(looks_around)
        assert seen[0] is machine.loop
        assert isinstance(seen[1], Task)
        assert seen[2] is None
        assert asyncio.get_running_loop() is host
        assert asyncio.current_task() in asyncio.all_tasks(host)
        await asyncio.sleep(0)
        machine.evict()

    asyncio.run(drives())


def test_a_failed_activation_leaves_the_host_as_it_was() -> None:
    """An error that leaves `feed` finds the host's loop and task in place."""

    @workflow
    async def broken() -> None:
        raise NameError("a typo")

    async def drives() -> None:
        host, task = asyncio.get_running_loop(), asyncio.current_task()
        with pytest.raises(ProgrammingError):
            begin(broken)
        assert (asyncio.get_running_loop(), asyncio.current_task()) == (host, task)
        await asyncio.sleep(0)

    asyncio.run(drives())


def test_two_threads_may_each_activate_a_run() -> None:
    """What is ready in one activation is nobody else's: a workflow that another thread interrupts keeps its place."""

    @workflow
    async def inner() -> str:
        return "inner"

    @workflow
    async def interrupted() -> str:
        async def other() -> str:
            return "other"

        task = asyncio.create_task(other())
        # What another thread does at this point, the same thread does here: it runs a whole activation.
        asyncio._set_running_loop(None)
        drive(inner)
        asyncio._set_running_loop(loop)
        return await task

    machine = Machine(interrupted)
    loop = machine.loop
    commands = machine.feed(started(interrupted), 1)
    assert commands == (CompleteRun(Raw(b'"other"')),)


def test_a_workflow_cannot_drive_a_run() -> None:
    """A run inside of a run is a child; anything else is refused."""

    @workflow
    async def drives() -> None:
        with contextlib.suppress(Exception):
            begin(asleep_for_a_while)

    with pytest.raises(WorkflowLoopError, match="cannot drive another run"):
        begin(drives)


# -- 6: timers ------------------------------------------------------------------------------------------------------------


def test_loop_time_is_seconds_since_the_start() -> None:
    """It begins at nought, and moves with the entries, not with a clock."""

    @workflow
    async def times() -> list[float]:
        loop = asyncio.get_running_loop()
        out = [loop.time()]
        await asyncio.sleep(2.5)
        return [*out, loop.time()]

    machine, _ = begin(times)
    (ending,) = machine.feed(TimerFired(t=EPOCH + 3 * SECOND, n=1), 2)
    assert ending == CompleteRun(Raw(b"[0.0,3.0]"))


@pytest.mark.parametrize(
    ("seconds", "microseconds"), [(0.123_456_7, 123_457), (1e-7, 0), (2_592_000.000_001, 2_592_000_000_001)]
)
def test_delays_are_whole_microseconds(seconds: float, microseconds: int) -> None:
    """A float's last digits never reach the journal."""

    @workflow
    async def sleeps() -> None:
        await asyncio.sleep(seconds)

    assert begin(sleeps)[1] == (StartTimer(1, microseconds),)


def test_a_deadline_late_in_a_run_is_still_exact() -> None:
    """`call_at` counts from a clock that is a float; the microsecond survives months of it."""

    @workflow
    async def deadline() -> None:
        await asyncio.sleep(90 * 86_400)
        async with asyncio.timeout(0.3):
            await val("x")

    machine, _ = begin(deadline)
    timer, _ = machine.feed(TimerFired(t=EPOCH + 90 * 86_400 * SECOND + 1, n=1), 2)
    assert timer == StartTimer(2, 300_000)


def test_a_timer_set_and_cancelled_in_one_activation_leaves_no_trace() -> None:
    """A timeout around something that is there already costs nothing."""

    @workflow
    async def quick() -> str:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        return await val("x")

    _, commands = begin(quick)
    assert [type(command) for command in commands] == [RunStep]


def test_a_step_asked_for_and_cancelled_in_one_activation_never_runs() -> None:
    """Nobody has seen the command, so it is taken back: cancelling it would be too late for a step that is quick."""

    @workflow
    async def changes_its_mind() -> str:
        task = asyncio.create_task(val("regretted"))
        await asyncio.sleep(0)
        task.cancel()
        return await val("kept")

    _, commands = begin(changes_its_mind)
    assert args_of(commands) == ["kept"]
    assert not any(isinstance(command, CancelStep) for command in commands)


def test_a_timer_cancelled_later_is_cancelled_in_the_journal() -> None:
    """It was recorded, so its end is too."""

    @workflow
    async def in_time() -> str:
        async with asyncio.timeout(60):
            return await val("x")

    machine, commands = begin(in_time)
    assert commands[0] == StartTimer(1, 60 * SECOND)
    assert machine.feed(completed(2), 2)[0] == CancelTimer(1)


# -- 7: no eager tasks ----------------------------------------------------------------------------------------------------


def test_eager_start_is_dropped() -> None:
    """A task begins when it is its turn, on every Python: an eager one would ask for its step earlier."""

    @workflow
    async def eager() -> None:
        loop: Any = asyncio.get_running_loop()
        tasks = [loop.create_task(val("task"), eager_start=True), asyncio.ensure_future(val("second"))]
        await asyncio.gather(val("direct"), *tasks)

    order: list[str] = []

    @workflow
    async def shows() -> None:
        async def begins() -> None:
            order.append("begun")

        loop: Any = asyncio.get_running_loop()
        task = loop.create_task(begins(), eager_start=True)
        order.append("created")
        await task

    begin(shows)
    assert order == ["created", "begun"]
    assert args_of(begin(eager)[1]) == ["task", "second", "direct"]


def test_a_task_factory_is_refused() -> None:
    """It could make tasks that are eager, or that hash by their address."""

    @workflow
    async def factory() -> None:
        asyncio.get_running_loop().set_task_factory(None)

    with pytest.raises(WorkflowLoopError, match="set_task_factory"):
        begin(factory)


# -- 8: a violation is remembered -----------------------------------------------------------------------------------------


async def _connects() -> None:
    await asyncio.open_connection("127.0.0.1", 1)


async def _starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def _starts_a_shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def _uses_a_thread() -> None:
    await asyncio.to_thread(print)


async def _uses_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def _serves() -> None:
    await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)


async def _resolves() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def _watches_a_socket() -> None:
    asyncio.get_running_loop().add_reader(0, print)


async def _handles_signals() -> None:
    asyncio.get_running_loop().add_signal_handler(1, print)


async def _is_called_from_threads() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(print)


async def _stops() -> None:
    asyncio.get_running_loop().stop()


REFUSED: list[tuple[Callable[[], Awaitable[None]], str]] = [
    (_connects, "create_connection"),
    (_starts_a_process, "subprocess_exec"),
    (_starts_a_shell, "subprocess_shell"),
    (_uses_a_thread, "run_in_executor"),
    (_uses_an_executor, "run_in_executor"),
    (_serves, "create_server"),
    (_resolves, "getaddrinfo"),
    (_watches_a_socket, "add_reader"),
    (_handles_signals, "add_signal_handler"),
    (_is_called_from_threads, "call_soon_threadsafe"),
    (_stops, "stop"),
]


@pytest.mark.parametrize(("touches", "name"), REFUSED, ids=lambda of: getattr(of, "__name__", None))
@pytest.mark.parametrize("swallowed", [False, True])
def test_what_cannot_be_replayed_is_refused_even_if_the_error_is_swallowed(
    touches: Callable[[], Awaitable[None]], name: str, swallowed: bool
) -> None:
    """The workflow may catch the exception; the activation is void all the same, and its commands with it."""

    @workflow
    async def reaches_out() -> str:
        try:
            await touches()
        except BaseException:
            if not swallowed:
                raise
        return await val("went on")

    with pytest.raises(WorkflowLoopError, match=rf"loop\.{name}\(\) in workflow code") as caught:
        begin(reaches_out)
    assert caught.value.help == "do this in a step"


@pytest.mark.parametrize("how", ["run", "Runner", "run_until_complete"])
def test_a_second_loop_cannot_run_inside_a_workflow(how: str) -> None:
    """It is asyncio that refuses it, as in every coroutine; the run fails with that error."""

    @workflow
    async def nests() -> None:
        inner = asyncio.sleep(0)
        try:
            match how:
                case "run":
                    asyncio.run(inner)
                case "Runner":
                    asyncio.Runner().run(inner)
                case _:
                    asyncio.get_running_loop().run_until_complete(inner)
        finally:
            inner.close()

    if how == "run_until_complete":
        with pytest.raises(WorkflowLoopError, match="run_until_complete"):
            begin(nests)
        return
    assert drive(nests).failure.type == "RuntimeError"
    assert "running event loop" in drive(nests).failure.message


def test_every_method_of_a_loop_is_defined_or_refused() -> None:
    """What a newer asyncio may call is not left to `NotImplementedError`, which says nothing to the user."""
    own = vars(RunLoop)
    missing = [
        name
        for name, member in vars(asyncio.AbstractEventLoop).items()
        if callable(member) and name not in own and name[0] != "_"
    ]
    assert missing == []


# -- 9: stuck is an error -------------------------------------------------------------------------------------------------


async def _bare_future() -> None:
    await asyncio.get_running_loop().create_future()


async def _event() -> None:
    await asyncio.Event().wait()


async def _queue() -> None:
    await asyncio.Queue[int]().get()


async def _gathered() -> None:
    await asyncio.gather(asyncio.Event().wait(), _queue())


async def _grouped() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_event(), name="listener")


async def _deadlock() -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


async def _in_a_circle() -> None:
    async def waits(place: int) -> None:
        await tasks[1 - place]

    tasks = [asyncio.create_task(waits(place), name=f"snake-{place}") for place in range(2)]
    await tasks[0]


STUCK: list[tuple[Callable[[], Awaitable[None]], str, str]] = [
    (_bare_future, "a future that nobody sets", "_bare_future"),
    (_event, "Event.wait()", "_event"),
    (_queue, "Queue.get()", "_queue"),
    (_gathered, "Event.wait()", "_gathered"),
    (_grouped, "TaskGroup.__aexit__()", "_grouped"),
    (_grouped, "(task 'listener')", "_event"),
    (_deadlock, "Lock.acquire()", "_deadlock"),
]


@pytest.mark.parametrize(("waits", "what", "where"), STUCK)
def test_a_run_that_waits_for_nothing_durable_is_told_what_and_where(
    waits: Callable[[], Awaitable[None]], what: str, where: str
) -> None:
    """It is no hang: the error names the awaited object and the user's line."""

    @workflow
    async def stuck() -> None:
        await val("first")
        await waits()

    machine, _ = begin(stuck)
    with pytest.raises(StuckRun, match="nothing durable") as caught:
        machine.feed(completed(1), 2)
    assert what in str(caught.value)
    line = waits.__code__.co_firstlineno
    told = [part for part in str(caught.value).split() if part.startswith(__file__)]
    assert told
    assert where in str(caught.value) or any(int(part.rpartition(":")[2]) > line for part in told)


def test_tasks_that_wait_for_each_other_are_told_by_name() -> None:
    """A circle of tasks has no innermost object, but its tasks have names."""

    @workflow
    async def stuck() -> None:
        await _in_a_circle()

    with pytest.raises(StuckRun, match=r"task 'snake-0', which waits for this one"):
        begin(stuck)


def test_a_wait_beside_something_durable_is_not_stuck() -> None:
    """An event that is set once a step returns, or a signal comes, is a fine thing to wait for."""

    @workflow
    async def waits() -> None:
        ready = asyncio.Event()

        async def sets() -> None:
            await wait_signal("go")
            ready.set()

        task = asyncio.create_task(sets())
        await ready.wait()
        await task

    machine, _ = begin(waits)
    machine.feed(SignalReceived(t=EPOCH, name="go", payload=Raw(b"1"), arrived=EPOCH), 2)
    assert machine.ended


# -- 10: chance -----------------------------------------------------------------------------------------------------------


def test_chance_comes_from_the_recorded_seed() -> None:
    """All of its 128 bits count, and nothing else does."""

    @workflow
    async def draws() -> float:
        return rng().random()

    def draw(seed: str) -> object:
        (ending,) = Machine(draws).feed(started(draws, seed=seed), 1)
        assert isinstance(ending, CompleteRun)
        return msgspec.json.decode(ending.value)

    assert draw("ff" * 16) == draw("ff" * 16) == Random(int("ff" * 16, 16)).random()
    assert len({draw("00" * 16), draw("80" + "00" * 15), draw("00" * 15 + "01")}) == 3


def test_the_generator_is_made_on_first_use() -> None:
    """It takes 2.5 kB, which a hundred thousand sleeping runs need not have each."""

    @workflow
    async def draws() -> float:
        await val("x")
        return rng().random()

    machine, _ = begin(draws)
    assert machine.loop._random is None
    machine.feed(completed(1), 2)
    assert machine.loop._random is not None


# -- 11: a run is woken by its own entries alone --------------------------------------------------------------------------


shared: list[asyncio.Event] = []


@workflow
async def listens() -> str:
    shared[:] = [asyncio.Event()]
    try:
        async with asyncio.timeout(60):
            await shared[0].wait()
    except TimeoutError:
        return "late"
    return "heard"


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_run_cannot_wake_another_one(swallowed: bool) -> None:
    """The one that tries is stopped, at the line where it tries, even if it catches the error."""

    @workflow
    async def shouts() -> str:
        try:
            shared[0].set()
        except Exception:
            if not swallowed:
                raise
        return "shouted"

    listener, _ = begin(listens)
    with pytest.raises(WorkflowLoopError, match=rf"shared asyncio object, at {__file__}:\d+ in shouts"):
        begin(shouts)
    listener.evict()


def test_a_run_that_was_touched_is_void() -> None:
    """Its event is set and its task was not woken: it would go another way than its replay does, so it goes no way at all."""
    listener, _ = begin(listens)
    with pytest.raises(WorkflowLoopError):
        shared[0].set()
    with pytest.raises(WorkflowLoopError, match="shared asyncio object"):
        listener.feed(TimerFired(t=EPOCH, n=1), 2)
    again, _ = begin(listens)
    assert again.feed(TimerFired(t=EPOCH, n=1), 2) == (CompleteRun(Raw(b'"late"')),)


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_nothing_is_scheduled_on_a_run_from_outside(method: str) -> None:
    """Outside of its own activation a run's loop takes no callback and no timer: no entry would explain it."""
    machine, commands = begin(asleep_for_a_while)
    arguments = [print] if method == "call_soon" else [1, print]
    with pytest.raises(WorkflowLoopError):
        getattr(machine.loop, method)(*arguments)
    assert tuple(machine.commands) == commands
    machine.evict()


# -- 12: when main returns ------------------------------------------------------------------------------------------------


@workflow
async def other() -> None:
    await sleep("1h")


def test_what_is_pending_when_main_returns_is_cancelled_and_told() -> None:
    """Steps and awaited children are cancelled and listed as dangling; timers and waits just end."""

    @workflow
    async def leaves() -> str:
        for pending in (val("dangling"), other(), sleep("1h"), wait_signal("never")):
            asyncio.create_task(pending)  # noqa: RUF006  # the run keeps it
        await asyncio.sleep(0)
        return "done"

    _, commands = begin(leaves)
    opened = {type(command): command.n for command in commands if isinstance(command, RunStep | StartChild)}
    step_n, child_n = opened[RunStep], opened[StartChild]
    assert commands[-3:] == (CancelStep(step_n), CancelChild(child_n), CompleteRun(Raw(b'"done"'), (step_n, child_n)))


def test_tasks_that_outlive_main_are_closed_without_a_word() -> None:
    """Their `finally` blocks run with commands refused; what they raise goes nowhere."""
    log: list[str] = []

    @workflow
    async def leaves() -> str:
        async def beside() -> None:
            try:
                await sleep("1h")
            finally:
                log.append("closed")
                await val("never")
                log.append("never")

        async def fails() -> None:
            try:
                await sleep("1h")
            finally:
                raise ValueError("in finally")

        for task in (beside(), fails()):
            asyncio.create_task(task)  # noqa: RUF006  # the run keeps it
        await asyncio.sleep(0)
        return "done"

    machine, commands = begin(leaves)
    assert commands[-1] == CompleteRun(Raw(b'"done"'))
    assert args_of(commands) == []
    assert (log, performed, machine.ended) == (["closed"], [], True)


def test_an_ended_run_takes_entries_and_answers_nothing() -> None:
    """An outcome that comes late finds nobody."""
    machine = drive(asleep_for_a_while).machine
    late: list[Fed] = [completed(1), TimerFired(t=EPOCH, n=1), CancelRequested(t=EPOCH)]
    assert [machine.feed(entry, 10) for entry in late] == [(), (), ()]


def test_infinity_is_no_delay() -> None:
    """A sleep without end is none that a journal can hold; the run says so instead of sleeping."""

    @workflow
    async def forever() -> None:
        await asyncio.sleep(math.inf)

    assert Driver(Scenario(forever)).run().failure.type in {"OverflowError", "ValueError"}
