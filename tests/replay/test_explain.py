"""Why a run does not go on: from its history, and from a replay on the code as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from wfkit.api.definitions import Workflow, step, workflow
from wfkit.api.primitives import sleep, start_child, timeout
from wfkit.api.signals import wait_signal
from wfkit.core.commands import FailRun, Failure, RetryPolicy, RunStep
from wfkit.core.entries import AttemptFailed, Blocked, Entry, Record, RunStarted, SignalReceived, StepCompleted, StepFailed
from wfkit.core.machine import Machine
from wfkit.core.state import RunState
from wfkit.errors import NonDeterminismError, ProgrammingError
from wfkit.replay.explain import error_text, explain, now_at, spell, until

SECOND = 1_000_000


@step
async def charge(amount: int) -> int:
    return amount


@workflow
async def leaf() -> None: ...


def line(text: str) -> str:
    """Return `file:line` of the only line of this file that ends with a mark."""
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123  # line by line
        (number,) = (number for number, source in enumerate(file, 1) if source.rstrip().endswith(f"# {text}"))
    return f"{__file__}:{number}"


def history(workflow: Workflow[..., Any], *entries: Callable[[int], Entry], args: bytes = b"[]") -> list[Record]:
    """Return the history of a run of the workflow that is fed these entries, one a second."""
    machine = Machine(workflow)
    first = RunStarted(t=0, id="r", workflow=workflow.name, args=Raw(args), seed="0" * 32)
    records = [Record(first, machine.feed(first, 1))]
    for seq, make in enumerate(entries, 2):
        entry = make((seq - 1) * SECOND)
        fed = isinstance(entry, StepCompleted | SignalReceived)
        records.append(Record(entry, machine.feed(entry, seq) if fed else None))  # type: ignore[arg-type]  # as tested
    machine.evict()
    return records


def signal(name: str, payload: bytes) -> Callable[[int], Entry]:
    return lambda t: SignalReceived(t=t, name=name, payload=Raw(payload), arrived=t)


def test_a_wait_names_its_line_and_the_signals_that_it_does_not_take() -> None:
    """With the field that differs; signals of other names are told apart."""

    @workflow
    async def waits() -> None:
        await wait_signal("packed", where={"id": 7, "done": True})  # the wait

    told = explain(
        history(
            waits,
            signal("packed", b'{"id": 8, "done": true}'),
            signal("packed", b'{"id": 7, "done": 1}'),
            signal("packed", b'{"id": 7}'),
            signal("packed", b'"text"'),
            signal("shipped", b"1"),
        ),
        waits,
    )
    (wait,) = told.reasons
    assert (wait.kind, wait.name, wait.since) == ("signal", "packed", 0)
    assert [unread.differs for unread in wait.unmatched] == ["id is 8", "done is 1", "it has no done", "it is no object"]
    assert [unread.name for unread in told.unread] == ["shipped"]
    assert wait.line == f"{line('the wait')} in waits"
    assert told.problem is None


def test_a_retry_names_the_last_error_and_the_next_attempt() -> None:
    """From the history alone."""

    @workflow
    async def pays() -> None:
        await charge(1)  # the step

    failed = Failure("ConnectionError", "503", line="bank.py:3 in charge")
    records = history(pays, lambda t: AttemptFailed(t=t, n=1, attempt=1, error=failed, due=60 * SECOND))
    (reason,) = explain(records).reasons
    assert (reason.kind, reason.name, reason.attempt, reason.attempts_max, reason.due) == ("step", "charge", 2, 4, 60 * SECOND)
    assert (reason.error, reason.line) == (failed, None)
    assert explain(records, pays).reasons[0].line == f"{line('the step')} in pays"


def test_steps_come_before_waits_and_timers() -> None:
    """What moves by itself is last; a child that nobody awaits holds nothing up."""

    @workflow
    async def mixed() -> None:
        start_child(leaf)
        async with asyncio.timeout(60):
            await asyncio.gather(wait_signal("packed"), charge(1), leaf())

    assert [reason.kind for reason in explain(history(mixed)).reasons] == ["step", "child", "signal", "timer"]


def test_a_step_that_is_a_task_of_its_own_has_no_line_of_ours() -> None:
    """Below its loop are the frames of whoever replays: none of them is the user's."""

    @workflow
    async def parallel() -> None:
        await asyncio.gather(charge(1), charge(2))

    assert [reason.line for reason in explain(history(parallel), parallel).reasons] == [None, None]


def test_an_edit_that_diverges_is_the_problem() -> None:
    """Even before an engine has noticed."""

    @workflow(name="same")
    async def before() -> None:
        await charge(1)

    @workflow(name="same")
    async def after() -> None:
        await sleep(1)
        await charge(1)

    told = explain(history(before), after)
    assert isinstance(told.problem, NonDeterminismError)
    assert explain(history(before), before).problem is None


def test_past_a_divergence_no_line_is_shown() -> None:
    """The code asks for something else under the same number, whose line would be a wrong answer."""

    @workflow(name="same")
    async def before() -> None:
        await charge(1)
        await wait_signal("go")

    @workflow(name="same")
    async def with_a_step() -> None:
        await charge(1)
        await charge(2)
        await wait_signal("go")

    @workflow(name="same")
    async def with_another_wait() -> None:
        await charge(1)
        await wait_signal("come")
        await wait_signal("go")

    records = history(before, lambda t: StepCompleted(t=t, n=1, value=Raw(b"1")))
    for edited in (with_a_step, with_another_wait):
        told = explain(records, edited)
        assert isinstance(told.problem, NonDeterminismError)
        assert [(reason.name, reason.line) for reason in told.reasons] == [("go", None)]


def test_before_a_divergence_lines_are_shown() -> None:
    """What history and code agree on was asked for at that line."""

    @workflow(name="same")
    async def before() -> None:
        async with timeout("3 days"):
            await charge(1)

    @workflow(name="same")
    async def after() -> None:
        async with timeout("3 days"):  # the timeout
            await wait_signal("go")

    told = explain(history(before), after)
    assert [(reason.kind, reason.line) for reason in told.reasons] == [
        ("step", None),
        ("timer", f"{line('the timeout')} in after"),
    ]


def test_an_entry_in_the_inbox_is_tried_on_the_code_as_it_is_now() -> None:
    """So that a blocked run tells whether the edit has mended it."""

    @workflow(name="same")
    async def wrong() -> None:
        await charge(1)
        raise NameError("oops")

    @workflow(name="same")
    async def right() -> None:
        await charge(1)

    cause = Failure("ProgrammingError", "NameError: oops")
    records = [
        *history(right)[:1],
        Record(StepCompleted(t=SECOND, n=1, value=Raw(b"1"))),
        Record(Blocked(t=SECOND, at=2, cause=cause, code="WF029")),
    ]
    told = explain(records, wrong)
    assert isinstance(told.problem, ProgrammingError)
    assert (told.reasons[0].kind, told.reasons[0].name) == ("inbox", "1")
    assert explain(records, right).problem is None


def test_an_entry_that_killed_the_process_is_not_tried() -> None:
    """Asking why must not die of it."""
    tried = []

    @workflow
    async def kills() -> None:
        await charge(1)
        tried.append(True)

    records = [
        *history(kills),
        Record(StepCompleted(t=SECOND, n=1, value=Raw(b"1"))),
        Record(Blocked(t=SECOND, at=2, cause=Failure("WfkitError", "the process died"), code="WF000")),
    ]
    explain(records, kills)
    assert tried == []


def test_the_cause_of_a_failure_is_the_last_step_with_the_same_error() -> None:
    """A step whose error was handled is not blamed."""
    retry = RetryPolicy(max_attempts=1)
    one, two = (RunStep(n, name, Raw(b"[]"), "k", retry) for n, name in ((1, "handled"), (2, "charge")))
    first = RunStarted(t=0, id="r", workflow="w", args=Raw(b"[]"), seed="0" * 32)
    told = explain(
        [
            Record(first, (one,)),
            Record(StepFailed(t=1, n=1, error=Failure("ValueError", "no")), (two,)),
            Record(StepFailed(t=2, n=2, error=Failure("KeyError", "k")), (FailRun(Failure("KeyError", "k", line="w.py:1")),)),
        ]
    )
    assert told.cause is not None
    assert (told.cause.name, told.reasons) == ("charge", ())


# -- in a few words ------------------------------------------------------------------------------------------------------


def state_of(workflow: Workflow[..., Any], *entries: Callable[[int], Entry]) -> RunState:
    state = RunState(1)
    for record in history(workflow, *entries):
        state.apply(record)
    return state


def test_where_a_run_is_stands_in_a_few_words() -> None:
    """Steps first, then what is waited for; timers only if there is nothing else."""

    @workflow
    async def gathers() -> None:
        await asyncio.gather(*(charge(1) for _ in range(1200)), wait_signal("packed"), sleep(9))

    @workflow
    async def sleeps() -> None:
        await sleep(90)

    assert now_at(state_of(gathers), 0) == "charge ×1,200, 1 more"
    assert now_at(state_of(sleeps), 30 * SECOND) == "timer in 1m"
    assert now_at(state_of(sleeps), 91 * SECOND) == "timer overdue"


def test_a_blocked_run_is_at_its_cause() -> None:
    """Its first line."""
    state = RunState(1, status="blocked", blocked=Blocked(t=0, at=2, cause=Failure("E", "one\ntwo"), code="WF021"))
    assert now_at(state, 0) == "WF021 one"


def test_a_run_that_needs_attention_says_so_first() -> None:
    """It may go unnoticed for days."""
    assert now_at(RunState(1, attention=True, inbox=[2]), 0) == "! needs attention: its inbox"


@pytest.mark.parametrize(
    ("us", "text"),
    [(-5, "0ms"), (0, "0ms"), (1_499, "1ms"), (250_000, "250ms"), (9_800_000, "9.8s"), (5_400_400_000, "1h30m")],
)
def test_lengths_are_spelled_for_people(us: int, text: str) -> None:
    """In at most two units."""
    assert spell(us) == text


def test_a_moment_that_passed_is_overdue() -> None:
    """No engine was there to act on it."""
    assert (until(60 * SECOND, 0), until(0, 1)) == ("in 1m", "overdue")


def test_an_operators_reason_has_no_type() -> None:
    """`Terminated` and `Cancelled` are ours, not the user's."""
    assert error_text(Failure("Cancelled", "no more naps")) == "no more naps"
    assert error_text(Failure("ValueError")) == "ValueError"
    assert error_text(None) == ""
