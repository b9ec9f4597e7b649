"""What workflow code calls: durable time, seeded chance, children, state, the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.laws.driver import DEFAULT_SEED, EPOCH, SECOND, Driver, Puppet, Scenario, drive
from wfkit.api.attempt import Attempt, StepInfo, attempt, step_info
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import (
    State,
    has_patch,
    info,
    logger,
    now,
    rng,
    sleep,
    sleep_until,
    start_child,
    timeout,
    unsafe,
    uuid4,
)
from wfkit.api.resources import resource
from wfkit.core.commands import CancelChild, CancelRun, CompleteRun, Failure, SetState, StartChild, StartTimer
from wfkit.core.entries import Parent, RunStarted, StepCompleted
from wfkit.core.keys import child_id
from wfkit.core.machine import Machine
from wfkit.errors import CodecError, DefinitionError, RunCancelled, RunFailed, RunTerminated, RunTimedOut, WorkflowLoopError

BEGUN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
"""The moment that the tests' runs start."""


@step
async def note(text: str) -> str:
    return text


# -- time -----------------------------------------------------------------------------------------------------------------


@workflow
async def watches_the_clock() -> list[datetime]:
    out = [now(), now()]
    for text in "ab":
        await note(text)
        out.append(now())
    return out


def test_now_is_the_time_of_the_last_entry() -> None:
    """Aware, UTC, the same for the whole activation."""
    run = Puppet(watches_the_clock)
    run.now += 5 * SECOND
    run.complete(note)
    run.now += SECOND
    run.complete(note)
    assert run.result == [BEGUN, BEGUN, BEGUN + timedelta(seconds=5), BEGUN + timedelta(seconds=6)]


def test_now_never_goes_back() -> None:
    """Even where an entry says so: the machine's clock was turned."""
    run = Puppet(watches_the_clock)
    run.now += 5 * SECOND
    run.complete(note)
    run.now -= 3600 * SECOND
    run.complete(note)
    assert run.result == [BEGUN, BEGUN, BEGUN + timedelta(seconds=5), BEGUN + timedelta(seconds=5)]


def test_outside_of_runs_now_is_the_wall_clock() -> None:
    """In a step it is the step's own, which tests may choose."""
    assert abs((now() - datetime.now(UTC)).total_seconds()) < 60
    token = attempt.set(Attempt(StepInfo("r", "w", "s", "k", 1, None), clock=lambda: EPOCH))
    try:
        assert now() == BEGUN
    finally:
        attempt.reset(token)


@pytest.mark.parametrize("duration", ["2h", 7200, timedelta(hours=2), 7200.0])
def test_a_sleep_is_a_timer(duration: Any) -> None:
    """Of whole microseconds, however it is written."""

    @workflow
    async def sleeps() -> None:
        await sleep(duration)

    run = Puppet(sleeps)
    assert run.commands == [StartTimer(1, 7200 * SECOND)]
    run.fire()
    assert run.result is None


@pytest.mark.parametrize(
    ("until", "timers"), [(BEGUN + timedelta(days=40), [StartTimer(1, 40 * 86_400 * SECOND)]), (BEGUN, [])]
)
def test_a_sleep_until_is_a_timer_for_the_rest(until: datetime, timers: list[StartTimer]) -> None:
    """At once, and without a timer, if the moment has passed."""

    @workflow
    async def sleeps() -> None:
        await sleep_until(until)

    commands = Puppet(sleeps).commands
    assert [command for command in commands if isinstance(command, StartTimer)] == timers


def test_a_timeout_takes_a_moment_too() -> None:
    """As a deadline; one that has passed ends the block at its first await."""

    @workflow
    async def hurries() -> list[str]:
        out = []
        for moment in (now() + timedelta(seconds=9), now() - timedelta(seconds=9)):
            try:
                async with timeout(moment):
                    out.append(await note("x"))
            except TimeoutError:
                out.append("late")
        return out

    run = Puppet(hurries)
    assert run.commands[0] == StartTimer(1, 9 * SECOND)
    run.complete(note)
    assert run.result == ["x", "late"]


@pytest.mark.parametrize("use", [sleep_until, timeout], ids=lambda use: use.__name__)
def test_a_moment_needs_its_zone(use: Callable[[datetime], Any]) -> None:
    """A naive one means something else on each machine."""

    @workflow
    async def naive() -> None:
        await use(datetime(2030, 1, 1))  # noqa: DTZ001  # this is the point

    assert "without a time zone" in drive(naive).failure.message


# -- chance ---------------------------------------------------------------------------------------------------------------


@workflow
async def rolls_dice() -> list[Any]:
    out: list[Any] = [uuid4(), rng().randint(1, 6)]
    await note("x")
    return [*out, uuid4(), rng().choice("abc"), rng().random()]


def test_chance_is_the_same_in_every_execution() -> None:
    """Of one seed; another one gives other numbers."""
    first, second = drive(rolls_dice).result, drive(rolls_dice).result
    assert first == second
    assert first[0] != first[2]

    def first_uuid(seed: str) -> object:
        machine = Machine(rolls_dice)
        machine.feed(RunStarted(t=EPOCH, id="r", workflow="rolls_dice", args=Raw(b"[]"), seed=seed), 1)
        (ending,) = machine.feed(StepCompleted(t=EPOCH, n=1, value=Raw(b'"x"')), 2)
        assert isinstance(ending, CompleteRun)
        return msgspec.json.decode(ending.value)[0]

    assert first_uuid(DEFAULT_SEED) == str(first[0])
    assert first_uuid("ff" * 16) != str(first[0])


def test_a_seeded_uuid_never_changes() -> None:
    """It may be an order's number: this value is for ever, on every Python."""
    assert str(drive(rolls_dice).result[0]) == "aeec2ef9-997e-479a-b3e1-00f6e181f67a"


# -- what a run knows -----------------------------------------------------------------------------------------------------


def test_info_tells_what_a_run_is() -> None:
    """Its id, generation, workflow, start, the length of its history, its parent."""

    @workflow(name="tells")
    async def asks() -> list[Any]:
        first = info()
        await note("x")
        second = info()
        return [
            first.id,
            first.generation,
            first.workflow,
            first.started_at,
            first.history_length,
            second.history_length,
            first.parent,
        ]

    parent = Parent(1, "order-77", 3, True, "cancel")
    run = Driver(Scenario(asks), run_id="child-1", parent=parent).run()
    assert run.result == ["child-1", 1, "tells", BEGUN.isoformat().replace("+00:00", "Z"), 1, 2, "order-77"]


@pytest.mark.parametrize("recorded", [(), ("new",), ("new", "gone")])
def test_a_patch_holds_if_the_run_began_with_it(recorded: tuple[str, ...]) -> None:
    """It costs no entry; what the code declares since changes nothing for this run."""

    @workflow(patches=("new", "newer"))
    async def patched() -> list[bool]:
        before = has_patch("new")
        await note("x")
        return [before, has_patch("new"), has_patch("newer")]

    run = drive(patched, patches=recorded)
    assert run.result == ["new" in recorded, "new" in recorded, False]
    assert run.steps == ["note"]


def test_a_patch_that_is_not_declared_blocks_the_run() -> None:
    """It could never become true."""

    @workflow
    async def forgot() -> None:
        has_patch("new")

    with pytest.raises(DefinitionError, match="does not declare the patch 'new'") as caught:
        Puppet(forgot)
    assert caught.value.help == '@workflow(patches=("new",))'


# -- state ----------------------------------------------------------------------------------------------------------------


cart = State("cart", dict[str, set[str]], dict)
bare = State("bare", int)


def test_state_is_visible_outside_and_inside() -> None:
    """Each `set` is a command; `get` returns a copy, so what is changed in it is not set."""

    @workflow
    async def shops() -> list[Any]:
        out: list[Any] = [len(cart.get())]
        cart.set({"items": {"b", "a"}})
        copied = cart.get()
        copied["items"].add("c")
        await note("x")
        bare.set(1)
        return [*out, sorted(cart.get()["items"]), bare.get()]

    run = drive(shops)
    assert run.result == [0, ["a", "b"], 1]
    sets = [command for command in run.commands if isinstance(command, SetState)]
    assert sets == [SetState("cart", Raw(b'{"items":["a","b"]}')), SetState("bare", Raw(b"1"))]
    assert run.state.state == {"cart": Raw(b'{"items":["a","b"]}'), "bare": Raw(b"1")}


def test_state_without_a_value_is_an_error() -> None:
    """Unless it has a default."""

    @workflow
    async def reads() -> int:
        return bare.get()

    failure = drive(reads).failure
    assert (failure.type, "state 'bare' is not set and has no default" in failure.message) == ("LookupError", True)


def test_state_has_a_type() -> None:
    """A value that does not fit blocks the run; a type that cannot travel fails at definition."""

    @workflow
    async def writes() -> None:
        bare.set("one")  # type: ignore[arg-type]  # this is the point

    with pytest.raises(CodecError, match="is not the int"):
        Puppet(writes)
    with pytest.raises(CodecError, match="cannot travel"):
        State("s", RuntimeError)


# -- the log --------------------------------------------------------------------------------------------------------------


def test_the_log_is_held_back_until_the_commit(caplog: pytest.LogCaptureFixture) -> None:
    """The engine emits what an activation logged once it is durable; a replay's is thrown away. Records name their run."""

    @workflow
    async def logs() -> None:
        logger.warning("hello %s", "you")
        await note("x")
        logger.warning("again")

    run = Puppet(logs)
    (held,) = run.machine.logs
    assert (held.getMessage(), vars(held)["run_id"], vars(held)["workflow"]) == ("hello you", "run-1", "logs")
    run.complete(note)
    assert [record.getMessage() for record in run.machine.logs] == ["again"]
    assert caplog.records == []


def test_in_a_step_the_log_is_emitted_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the step's name."""
    token = attempt.set(Attempt(StepInfo("order-77", "fulfil", "charge", "k", 1, None)))
    try:
        with caplog.at_level(logging.INFO):
            logger.info("hello")
    finally:
        attempt.reset(token)
    (record,) = caplog.records
    assert (vars(record)["run_id"], vars(record)["workflow"], vars(record)["step"]) == ("order-77", "fulfil", "charge")


# -- unsafe ---------------------------------------------------------------------------------------------------------------


def test_unsafe_lifts_the_guard_for_its_block() -> None:
    """Also when the block is left by an error; outside of a workflow it does nothing."""

    @workflow
    async def careful() -> list[int]:
        loop: Any = asyncio.get_running_loop()
        depths = [loop.unsafe]
        with unsafe("a cache"), unsafe("twice"):
            depths.append(loop.unsafe)
        try:
            with unsafe("fails"):
                raise ValueError
        except ValueError:
            depths.append(loop.unsafe)
        return depths

    assert drive(careful).result == [0, 2, 0]
    with unsafe("nothing to lift"):
        pass
    with pytest.raises(ValueError, match="wants a reason"), unsafe(""):
        pass


def test_an_unsafe_block_must_not_await() -> None:
    """It would lift the guard for the run's other tasks as well, until it ends."""

    @workflow
    async def careless() -> None:
        with unsafe("to wait"):
            await sleep("1s")

    with pytest.raises(WorkflowLoopError, match="an `unsafe` block awaits"):
        Puppet(careless)


# -- children -------------------------------------------------------------------------------------------------------------


@workflow
async def half(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x // 2


@workflow
async def halves(x: int) -> int:
    return await half(x) + 1


def test_a_called_workflow_is_an_awaited_child() -> None:
    """Its id derives from the parent's, and its result comes back typed."""
    run = Puppet(halves, 8)
    assert run.commands == [StartChild(1, "half", child_id("run-1", 1, "half", 1), Raw(b"[8]"))]
    run.end_child("completed", 4)
    assert run.result == 5


@pytest.mark.parametrize(
    ("status", "error", "cls"),
    [
        ("failed", Failure("ValueError", "odd", Raw(b'["odd"]')), RunFailed),
        ("failed", Failure("Odd", "odd"), RunFailed),
        ("cancelled", Failure("Cancelled", "by hand"), RunCancelled),
        ("terminated", None, RunTerminated),
        ("timed_out", None, RunTimedOut),
    ],
)
def test_a_child_that_does_not_complete_raises_in_its_parent(status: str, error: Failure | None, cls: type[Exception]) -> None:
    """As what it was; the parent may go on, or fail with it."""

    @workflow
    async def looks() -> str:
        try:
            await half(7)
        except cls as exc:
            return f"{type(exc).__name__}: {exc}"
        return "none"

    run = Puppet(looks)
    run.end_child(status, error=error)
    assert run.result.startswith(f"{cls.__name__}: half")
    failing = Puppet(halves, 7)
    failing.end_child(status, error=error)
    assert failing.failure.type == cls.__name__


def test_a_cancelled_parent_cancels_its_child_and_awaits_its_end() -> None:
    """It is not over before the child is."""
    run = Puppet(halves, 8)
    assert run.cancel() == (CancelChild(1),)
    assert not run.machine.ended
    run.end_child("cancelled")
    assert run.ending == CancelRun("asked for")


def test_a_child_that_completes_in_spite_of_a_cancel_does_not_stop_it() -> None:
    """The parent was cancelled; the result comes too late."""
    run = Puppet(halves, 8)
    run.cancel()
    run.end_child("completed", 4)
    assert run.ending == CancelRun("asked for")


def test_a_child_is_cancelled_once() -> None:
    """However often its task is."""
    run = Puppet(halves, 8)
    assert run.cancel() == (CancelChild(1),)
    assert run.cancel() == ()
    run.end_child("cancelled")


def test_a_started_child_is_not_awaited() -> None:
    """It lives on, or is cancelled with its parent, as it was told."""

    @workflow
    async def starts() -> list[str]:
        kept = start_child(half, 2)
        bound = start_child(half, 4, id="mine", on_parent_end="cancel")
        return [kept.id, bound.id]

    run = Puppet(starts)
    assert run.commands[:2] == [
        StartChild(1, "half", child_id("run-1", 1, "half", 1), Raw(b"[2]"), awaited=False),
        StartChild(2, "half", "mine", Raw(b"[4]"), awaited=False, on_parent_end="cancel"),
    ]
    assert run.result == [child_id("run-1", 1, "half", 1), "mine"]
    assert isinstance(run.ending, CompleteRun)
    assert run.ending.dangling == ()


@pytest.mark.parametrize("id", ["", "a b", "x" * 129])
def test_a_child_has_a_valid_run_id(id: str) -> None:
    """As a run that is started from outside: the mistake blocks its parent, and is not journaled."""

    @workflow
    async def starts() -> None:
        start_child(half, 2, id=id)

    with pytest.raises(DefinitionError, match="is no run id"):
        Puppet(starts)


def test_only_workflows_are_children() -> None:
    """A step is called, not started."""

    @workflow
    async def starts() -> None:
        start_child(note, "x")

    with pytest.raises(DefinitionError, match="takes a @workflow"):
        Puppet(starts)


def test_children_may_run_beside_each_other() -> None:
    """Each has its own id."""

    @workflow
    async def fans_out() -> list[int]:
        return list(await asyncio.gather(*(half(2 * i) for i in range(3))))

    assert drive(fans_out, children={"half": half}).result == [0, 1, 2]


# -- where they belong ----------------------------------------------------------------------------------------------------


@resource
async def bank() -> Any:
    yield "open"


async def _sleeps() -> None:
    await sleep(1)


@pytest.mark.parametrize(
    "use",
    [
        lambda: asyncio.run(_sleeps()),
        lambda: timeout(1),
        rng,
        uuid4,
        info,
        lambda: has_patch("a"),
        cart.get,
        lambda: cart.set({}),
        lambda: start_child(half, 1),
    ],
    ids=["sleep", "timeout", "rng", "uuid4", "info", "has_patch", "get", "set", "start_child"],
)
def test_outside_of_a_workflow_they_say_so(use: Callable[[], object]) -> None:
    """There is no run to ask."""
    with pytest.raises(WorkflowLoopError, match="only possible in workflow code"):
        use()


@pytest.mark.parametrize("use", [step_info, bank.get], ids=["step_info", "resource"])
def test_what_belongs_into_steps_is_refused_in_workflows(use: Callable[[], object]) -> None:
    """A workflow has no attempt, and no client."""

    @workflow
    async def asks() -> None:
        use()

    with pytest.raises(WorkflowLoopError):
        Puppet(asks)


def test_outside_of_any_run_step_info_is_a_fixed_one() -> None:
    """For unit tests of steps."""
    assert (step_info().idempotency_key, step_info().attempt) == ("test-key", 1)
