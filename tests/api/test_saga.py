"""Sagas: steps with their compensations, undone in reverse when the block is left by an exception."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.laws.driver import Driver, Puppet, drive, perform
from wfkit.api.definitions import ATTENTION_AFTER, NonRetryable, Retry, run_step, step, workflow
from wfkit.api.primitives import sleep, timeout
from wfkit.api.saga import saga, undoes
from wfkit.core.commands import (
    CancelRun,
    CancelStep,
    Command,
    FailRun,
    FailSaga,
    Failure,
    RegisterUndo,
    ReleaseUndos,
    RunStep,
    Undoes,
)
from wfkit.core.entries import StepCompleted
from wfkit.errors import DefinitionError, ProgrammingError, StepError, WorkflowLoopError

seen: list[tuple[str, object, object, object]] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@step(retry=Retry(max_attempts=1))
async def reserve(item: str) -> str:
    return f"slot of {item}"


@step
async def charge(item: str) -> str:
    if item == "broken":
        raise NonRetryable("declined")
    return f"receipt for {item}"


@step
async def release(item: str) -> None:
    of = undoes(reserve)
    seen.append((item, of.idempotency_key, of.outcome, of.result))


@step
async def refund(item: str) -> None:
    of = undoes(charge)
    seen.append((item, of.idempotency_key, of.outcome, of.result))


@step(retry=Retry(max_attempts=1))
async def refund_once(item: str) -> None:
    raise NonRetryable(f"no refund of {item}")


@step
async def note(text: str) -> str:
    return text


@step(retry=Retry(max_attempts=2), total_timeout="1h")
async def ship(item: str) -> str:
    return item


class Cancelled(Exception):
    pass


def steps_in(commands: tuple[Command, ...]) -> list[str]:
    return [command.name for command in commands if isinstance(command, RunStep)]


def undos_of(run: Driver) -> list[str]:
    """Return what would be undone if the run failed now."""
    return run.state.undo or []


@workflow
async def order() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        await s.do(charge, "a", undo=refund)
        await note("placed")
    return await note("done")


def test_a_saga_that_succeeds_undoes_nothing() -> None:
    """Its compensations are registered all the same, for those who watch, and released at its end."""
    run = drive(order)
    assert [command for command in run.commands if isinstance(command, ReleaseUndos)] == [
        ReleaseUndos(("release", "refund"), of=(1, 2))
    ]
    assert undos_of(run) == []
    assert run.result == "done"
    assert run.steps == ["reserve", "charge", "note", "note"]


def test_a_compensation_is_registered_before_its_step_runs() -> None:
    """In the same activation, with the same arguments, and it says which call it is of."""
    run = Puppet(order)
    assert run.commands[0] == RegisterUndo("reserve", "release", Raw(b'["a"]'), of=1)
    assert isinstance(run.commands[1], RunStep)
    assert run.commands[1].n == 1
    run.machine.evict()


def test_a_saga_that_fails_tells_where_its_block_began() -> None:
    """Once, before its first compensation: what stands before the block is not the saga's to undo."""

    @workflow
    async def prepares() -> None:
        await note("a")
        async with saga() as s:
            await note("b")
            await s.do(charge, "a", undo=refund)

    run = Puppet(prepares)
    run.complete(note)
    run.complete(note)
    first, second = run.fail(charge, error=Cancelled())
    assert first == FailSaga(since=2)
    assert isinstance(second, RunStep)
    run.machine.evict()


def test_a_saga_that_fails_tells_what_the_sagas_within_it_have_kept() -> None:
    """Also those that tasks of its block opened. A saga that is over beside it is not among them."""

    async def inner(item: str) -> None:
        async with saga() as s:
            await s.do(reserve, item, undo=release)

    async def outer(item: str) -> None:
        async with saga() as s:
            async with saga():
                await inner(item)
            await asyncio.create_task(inner(item))
            await s.do(charge, item, undo=refund)

    @workflow
    async def side_by_side() -> None:
        await asyncio.gather(inner("beside"), outer("within"))

    run = Puppet(side_by_side)
    run.complete(reserve, "beside")
    run.complete(reserve, "within")
    run.complete(reserve, "within")
    first, *_ = run.fail(charge, error=Cancelled())
    assert first == FailSaga(since=2, kept=(2, 3))
    run.machine.evict()


def test_compensations_run_in_reverse_order() -> None:
    """Each with the key, outcome and result of the call that it undoes; then the exception goes on."""
    run = Puppet(order)
    run.complete(reserve)
    run.complete(charge)
    assert steps_in(run.fail(note, error=Cancelled("by the customer"))) == ["refund"]
    assert steps_in(run.complete(refund)) == ["release"]
    run.complete(release)
    keys = {command.name: command.key for command in run.commands if isinstance(command, RunStep)}
    assert seen == [
        ("a", keys["charge"], "completed", "receipt for a"),
        ("a", keys["reserve"], "completed", "slot of a"),
    ]
    assert (run.failure.type, run.failure.message) == ("Cancelled", "by the customer")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NonRetryable("declined"), "failed"),
        (ConnectionError("gone"), "failed"),
        (Failure("StepTimeout", "after 30s"), "unknown"),
        (Failure("WorkerDied", "five times"), "unknown"),
    ],
)
def test_a_step_that_failed_is_undone_too(error: Any, outcome: str) -> None:
    """Its answer may be lost: what a timeout leaves behind is not known, so the compensation looks for itself."""
    run = Puppet(order)
    run.complete(reserve)
    run.fail(charge, error=error)
    run.complete(refund)
    run.complete(release)
    assert [(outcome, result) for _, _, outcome, result in seen] == [(outcome, None), ("completed", "slot of a")]


@workflow
async def in_parallel() -> None:
    async with saga() as s:
        await asyncio.gather(*(s.do(charge, item, undo=refund) for item in ("a", "b")), s.do(reserve, "x", undo=release))


def test_steps_in_flight_are_cancelled_and_awaited_before_anything_is_undone() -> None:
    """Their effects must be known: nothing is undone while one of them may still take effect."""
    run = Puppet(in_parallel)
    commands = run.fail(reserve, error=ValueError("sold out"))
    assert commands == (FailSaga(since=1), CancelStep(1, awaited=True), CancelStep(2, awaited=True))
    assert run.fail(charge, "a", error=Failure("StepCancelled", "in time")) == ()
    assert steps_in(run.complete(charge, "b")) == ["release"]
    run.complete(release)
    run.complete(refund, "b")
    run.complete(refund, "a")
    outcomes = [(item, outcome) for item, _, outcome, _ in seen]
    assert outcomes == [("x", "failed"), ("b", "completed"), ("a", "unknown")]
    assert run.failure.type == "ValueError"


def test_parallel_steps_in_a_task_group_are_undone_as_well() -> None:
    """The group cancels its tasks, and each waits for the end of its step."""

    @workflow
    async def grouped() -> None:
        async with saga() as s, asyncio.TaskGroup() as group:
            group.create_task(s.do(charge, "a", undo=refund))
            group.create_task(s.do(reserve, "x", undo=release))

    run = Puppet(grouped)
    assert run.fail(reserve, error=ValueError("sold out")) == (CancelStep(1, awaited=True),)
    assert steps_in(run.complete(charge)) == ["release"]
    run.complete(release)
    run.complete(refund)
    assert run.failure.type == "ExceptionGroup"


def test_new_steps_are_refused_while_a_saga_is_undone() -> None:
    """A branch that goes on after its step ended finds the saga closed to it."""

    @workflow
    async def branches() -> None:
        async def branch() -> None:
            await s.do(charge, "a", undo=refund)
            with contextlib.suppress(BaseException):
                await s.do(charge, "b", undo=refund)

        async with saga() as s:
            await asyncio.gather(branch(), s.do(reserve, "x", undo=release))

    run = Puppet(branches)
    run.fail(reserve, error=ValueError("sold out"))
    run.complete(charge)
    assert list(run.open_steps().values()) == ["release"]
    run.complete(release)
    run.complete(refund)
    assert run.steps == ["charge", "reserve", "release", "refund"]


def test_a_compensation_registered_by_hand_while_the_saga_is_undone_still_runs() -> None:
    """A branch that has just taken effect says so late; what it did is undone like the rest."""

    @workflow
    async def branches() -> None:
        async def branch() -> None:
            await note("took effect")
            s.undo(note, "taken back")

        async with saga() as s:
            await asyncio.gather(branch(), s.do(reserve, "x", undo=release))

    run = Puppet(branches)
    run.fail(reserve, error=ValueError("sold out"))
    assert list(run.open_steps().values()) == ["note", "release"]
    run.complete(note)
    assert steps_in(run.complete(release)) == ["note"]
    run.complete(note, "taken back")
    assert run.failure.type == "ValueError"


def test_a_saga_that_has_ended_takes_nothing_more() -> None:
    """Nobody would ever undo it."""

    @workflow
    async def too_late() -> None:
        async with saga() as s:
            pass
        await s.do(charge, "a", undo=refund)

    with pytest.raises(DefinitionError, match="block has ended"):
        Puppet(too_late)


def test_undo_by_hand_joins_the_order() -> None:
    """What is registered last is undone first, however it was registered."""

    @workflow
    async def by_hand() -> None:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await note("sent")
            s.undo(note, "recalled")
            raise Cancelled

    run = drive(by_hand)
    assert run.steps == ["reserve", "note", "note", "release"]


def test_the_original_exception_leaves_even_if_a_compensation_fails() -> None:
    """The failure is told beside it, and the other compensations run."""

    @workflow
    async def unlucky() -> None:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            await s.do(charge, "b", undo=refund_once)
            await s.do(charge, "c", undo=refund)
            raise Cancelled("original")

    run = drive(unlucky)
    ending = run.ending
    assert isinstance(ending, FailRun)
    assert (ending.error.type, ending.saga_failures) == ("Cancelled", ("refund_once: NonRetryable: no refund of b",))
    assert run.steps[3:] == ["refund", "refund_once", "release"]


def test_compensations_without_a_policy_are_retried_without_end() -> None:
    """The run asks for attention after some attempts; they are marked as what they are."""
    run = Puppet(order)
    run.complete(reserve)
    run.complete(charge)
    (_, command) = run.fail(note, error=Cancelled())
    assert isinstance(command, RunStep)
    assert (command.retry.max_attempts, command.retry.attention_after, command.compensation) == (None, ATTENTION_AFTER, True)
    assert command.retry.non_retryable == ()
    run.machine.evict()


def test_a_compensation_keeps_a_policy_of_its_own() -> None:
    """It says how much is enough."""

    @workflow
    async def own_policy() -> None:
        async with saga() as s:
            await s.do(charge, "a", undo=refund_once)
            raise Cancelled

    run = Puppet(own_policy)
    (_, command) = run.complete(charge)
    assert isinstance(command, RunStep)
    assert (command.retry.max_attempts, command.compensation) == (1, True)
    run.machine.evict()


# -- pivot ----------------------------------------------------------------------------------------------------------------


@workflow
async def past_the_pivot() -> str:
    async with saga() as s:
        await s.do(reserve, "a", undo=release)
        s.pivot()
        await s.do(charge, "a", undo=refund)
        await asyncio.gather(note("b"), ship("c"))
    return await note("after")


def test_past_the_pivot_the_way_is_forward() -> None:
    """Steps are retried without end, in tasks as well, and ask for attention after their policy has run out."""
    run = drive(past_the_pivot)
    commands = [command for command in run.commands if isinstance(command, RunStep)]
    policies = [(command.name, command.retry.max_attempts, command.retry.attention_after) for command in commands]
    assert policies == [("reserve", 1, None), ("charge", None, 4), ("note", None, 4), ("ship", None, 2), ("note", 4, None)]
    assert not any(command.compensation for command in commands)


def test_the_pivot_holds_for_the_whole_saga() -> None:
    """Whichever task passed it: a step that cannot be undone any more is retried without end in every other one."""

    @workflow
    async def pivots_in_a_task() -> None:
        async with saga() as s:

            async def pivot() -> None:
                s.pivot()

            await asyncio.gather(pivot())
            await s.do(charge, "a", undo=refund)

    (command,) = (command for command in drive(pivots_in_a_task).commands if isinstance(command, RunStep))
    assert (command.retry.max_attempts, command.retry.attention_after) == (None, 4)


def test_what_is_retried_without_end_has_no_total_timeout() -> None:
    """It would leave a saga half done; so it counts only before the pivot, and in a compensation with a policy."""
    unhurried = note.with_options(total_timeout="1h")
    hurried = unhurried.with_options(retry=Retry(max_attempts=2))

    @workflow
    async def forward() -> None:
        async with saga() as s:
            await s.do(ship, "a", undo=refund)
            s.pivot()
            await s.do(ship, "b", undo=refund)
            await ship("c")

    @workflow
    async def back() -> None:
        async with saga() as s:
            s.undo(unhurried, "a")
            s.undo(hurried, "b")
            raise Cancelled

    limits = [[of.total_timeout for of in drive(wf).commands if isinstance(of, RunStep)] for wf in (forward, back)]
    hour = 3_600_000_000
    assert limits == [[hour, None, None], [hour, None]]


def test_the_pivot_releases_what_was_registered() -> None:
    """What is registered behind it will not run either, so it is not shown."""

    @workflow
    async def pivots() -> None:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            s.pivot()
            s.undo(note, "b")
            await note("c")

    run = Puppet(pivots)
    assert undos_of(run) == ["release"]
    assert run.complete(reserve)[0] == ReleaseUndos(("release",), of=(1,))
    assert undos_of(run) == []
    run.complete(note)
    assert not any(isinstance(command, RegisterUndo) for command in run.commands[2:])


def test_what_is_being_undone_is_no_longer_to_be_undone() -> None:
    """The list of a run's undos shrinks with each compensation that begins."""
    run = Puppet(order)
    run.complete(reserve)
    run.complete(charge)
    run.fail(note, error=Cancelled())
    assert undos_of(run) == ["release"]
    run.complete(refund)
    assert undos_of(run) == []
    run.machine.evict()


def test_past_the_pivot_nothing_is_undone() -> None:
    """An exception leaves the block, and the steps stay done."""

    @workflow
    async def fails_late() -> None:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            s.pivot()
            raise Cancelled

    run = drive(fails_late)
    assert run.steps == ["reserve"]
    assert run.failure.type == "Cancelled"


# -- nesting --------------------------------------------------------------------------------------------------------------


def test_an_inner_saga_is_undone_alone() -> None:
    """The outer one goes on, and is undone without the inner one's steps."""

    @workflow
    async def nested() -> None:
        async with saga() as outer:
            await outer.do(reserve, "outer", undo=release)
            with contextlib.suppress(Cancelled):
                async with saga() as inner:
                    await inner.do(charge, "inner", undo=refund)
                    raise Cancelled
            await note("between")
            raise Cancelled

    run = drive(nested)
    assert run.steps == ["reserve", "charge", "refund", "note", "release"]


def test_an_exception_undoes_the_inner_saga_before_the_outer_one() -> None:
    """From the inside out, as with all blocks."""

    @workflow
    async def nested() -> None:
        async with saga() as outer:
            await outer.do(reserve, "outer", undo=release)
            async with saga() as inner:
                await inner.do(charge, "inner", undo=refund)
                raise Cancelled

    assert drive(nested).steps == ["reserve", "charge", "refund", "release"]


# -- cancel ---------------------------------------------------------------------------------------------------------------


def test_a_cancel_undoes_the_saga() -> None:
    """`CancelledError` is an exception like others here; the run ends as cancelled."""
    run = Puppet(order)
    run.complete(reserve)
    assert run.cancel() == (CancelStep(2, awaited=True),)
    assert steps_in(run.complete(charge)) == ["refund"]
    run.complete(refund)
    run.complete(release)
    assert run.ending == CancelRun("asked for")


def test_a_timeout_undoes_the_saga_within_it() -> None:
    """And is a TimeoutError outside of it."""

    @workflow
    async def hurried() -> str:
        try:
            async with timeout("1m"), saga() as s:
                await s.do(reserve, "a", undo=release)
                await sleep("1h")
        except TimeoutError:
            return await note("too late")
        return "in time"

    run = Puppet(hurried)
    run.complete(reserve)
    assert steps_in(run.fire()) == ["release"]
    assert steps_in(run.complete(release)) == ["note"]
    run.complete(note)
    assert run.result == "too late"


def test_a_cancel_during_compensation_is_put_off() -> None:
    """It is remembered, and delivered at the first await after the block."""

    @workflow
    async def goes_on() -> str:
        try:
            async with saga() as s:
                await s.do(reserve, "a", undo=release)
                await s.do(charge, "a", undo=refund)
                raise Cancelled
        except Cancelled:
            pass
        try:
            await note("never")
        except asyncio.CancelledError:
            return await note("cancelled")
        return "not cancelled"

    run = Puppet(goes_on)
    run.complete(reserve)
    run.complete(charge)
    assert run.cancel() == ()
    assert run.cancel() == ()
    run.complete(refund)
    assert steps_in(run.complete(release)) == ["note"]
    run.complete(note, "cancelled")
    assert run.result == "cancelled"


def test_a_cancel_during_compensation_ends_the_run_as_cancelled() -> None:
    """Unless the original exception leaves the workflow first, as here it does not."""

    @workflow
    async def goes_on() -> str:
        with contextlib.suppress(Cancelled):
            async with saga() as s:
                await s.do(reserve, "a", undo=release)
                raise Cancelled
        return await note("never")

    run = Puppet(goes_on)
    run.complete(reserve)
    assert run.cancel() == ()
    run.complete(release)
    assert run.ending == CancelRun("asked for")
    assert run.steps == ["reserve", "release"]


def test_a_cancel_during_compensation_does_not_replace_the_original_exception() -> None:
    """The original exception always leaves."""
    run = Puppet(order)
    run.complete(reserve)
    run.complete(charge)
    run.fail(note, error=Cancelled("original"))
    run.cancel()
    run.complete(refund)
    run.complete(release)
    assert run.failure.message == "original"


def test_a_workflows_timeout_ends_it_as_timed_out() -> None:
    """It is one cancel; compensations run."""
    run = Puppet(order)
    run.complete(reserve)
    run.cancel(timeout=True)
    run.complete(charge)
    run.complete(refund)
    run.complete(release)
    assert run.ending == CancelRun("asked for", timed_out=True)


# -- programming errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NameError("typo"), TypeError("typo"), AttributeError("typo"), SystemExit(1)], ids=repr)
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_programming_error_undoes_nothing_and_blocks_the_run(error: BaseException, swallowed: bool) -> None:
    """Even if the code around the block handles it: the run goes on from here once the code is mended."""

    @workflow
    async def mistaken() -> str:
        try:
            async with saga() as s:
                await s.do(reserve, "a", undo=release)
                raise error
        except Exception:
            if not swallowed:
                raise
        return "went on"

    run = Puppet(mistaken)
    with pytest.raises(ProgrammingError):
        run.complete(reserve)
    assert run.machine.pending == {}


def test_a_builtin_error_out_of_a_step_is_no_programming_error() -> None:
    """The saga is undone, and the run fails."""
    run = Puppet(order)
    run.complete(reserve)
    run.complete(charge)
    assert steps_in(run.fail(note, error=TypeError("of the step"))) == ["refund"]
    run.complete(refund)
    run.complete(release)
    assert run.failure.type == "TypeError"


def test_an_eviction_undoes_nothing() -> None:
    """A saga whose run leaves memory is not left by an exception."""
    run = Puppet(order)
    run.complete(reserve)
    before = run.commands
    run.machine.evict()
    assert run.commands == before


# -- undo code by hand ----------------------------------------------------------------------------------------------------


@step(undoes=charge)
async def refund_by_hand(item: str) -> str:
    of = undoes(charge)
    return f"{of.outcome} {of.result}"


def test_undo_code_by_hand_finds_the_call_that_it_undoes() -> None:
    """The last one with equal arguments that is not undone yet; each call is undone once."""

    @workflow
    async def by_hand() -> list[str]:
        for item in ("a", "b", "a"):
            await charge(item)
        with contextlib.suppress(StepError):
            await charge("broken")
        return [await refund_by_hand(item) for item in ("broken", "a", "a", "b")]

    run = drive(by_hand)
    assert run.result == ["failed None", "completed receipt for a", "completed receipt for a", "completed receipt for b"]
    calls = [command for command in run.commands if isinstance(command, RunStep)]
    charges = [command.key for command in calls if command.name == "charge"]
    undone = [command.undoes.key for command in calls if command.undoes is not None]
    assert undone == [charges[3], charges[2], charges[0], charges[1]]


def test_undo_code_that_finds_no_call_says_so() -> None:
    """In the step, where it asks."""

    @workflow
    async def nothing_to_undo() -> str:
        return await refund_by_hand("a")

    run = Puppet(nothing_to_undo)
    (command,) = run.commands
    assert isinstance(command, RunStep)
    assert command.undoes is None
    with pytest.raises(WorkflowLoopError, match="does not undo a call of 'charge'"):
        perform(refund_by_hand, command)
    run.machine.evict()


def test_what_a_compensation_undoes_is_recorded_with_it() -> None:
    """So that it survives a crash: the step sees what the journal says."""
    run = Puppet(order)
    run.complete(reserve)
    (command,) = run.cancel()[1:] or run.fail(charge, error=NonRetryable("x"))[1:]
    assert isinstance(command, RunStep)
    of = command.undoes
    assert of == Undoes("charge", of.key if of else "", "failed")
    run.machine.evict()


def test_a_saga_takes_steps_only() -> None:
    """A plain function has no name that a journal could hold."""

    async def plain(item: str) -> None: ...

    @workflow
    async def wrong() -> None:
        async with saga() as s:
            await s.do(charge, "a", undo=plain)

    with pytest.raises(DefinitionError, match=r"undo= takes a @step"):
        Puppet(wrong)


def test_undoes_outside_of_a_compensation_is_an_error() -> None:
    """There is nothing that it could name."""
    with pytest.raises(WorkflowLoopError, match="does not undo"):
        undoes(charge)


def test_a_null_result_is_a_result() -> None:
    """A step that completed with None is no step without a result."""

    @workflow
    async def quiet() -> None:
        async with saga() as s:
            await s.do(refund_once, "a", undo=note_none)
            raise Cancelled

    run = Puppet(quiet)
    n = run.number_of(refund_once)
    (_, command) = run.feed(StepCompleted(t=run.now, n=n, value=Raw(b"null")))
    assert isinstance(command, RunStep)
    assert command.undoes is not None
    assert msgspec.json.encode(command.undoes.result) == b"null"
    run.machine.evict()


@step
async def note_none(item: str) -> None:
    pass


def test_steps_of_undecorated_functions_are_part_of_it() -> None:
    """Within the block they are steps like others, though not undone."""

    @workflow
    async def mixed() -> str:
        async with saga() as s:
            await s.do(reserve, "a", undo=release)
            return await run_step("shout", str.upper, "x")

    assert drive(mixed).result == "X"


def test_a_call_that_was_withdrawn_is_not_undone() -> None:
    """It was cancelled in the moment that asked for it, so nothing was charged; the one before it is meant."""

    @workflow
    async def takes_one_back() -> str:
        await charge("a")
        second = asyncio.ensure_future(charge("a"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        return await refund_by_hand("a")

    run = drive(takes_one_back)
    assert run.steps == ["charge", "refund_by_hand"]
    assert run.result == "completed receipt for a"
