"""Recorded against requested: what counts, and how a divergence is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.laws.driver import Driver, Scenario
from wfkit.api.definitions import Step, Workflow, step, workflow
from wfkit.api.primitives import State, sleep
from wfkit.api.signals import wait_signal
from wfkit.core.commands import CancelStep, Command, CompleteRun, RunStep, SetState, StartTimer
from wfkit.core.compare import PYTHON, differences
from wfkit.core.entries import Record, RunStarted
from wfkit.core.machine import Machine, activations
from wfkit.errors import NonDeterminismError


@step
async def reserve(item: str) -> str:
    return item


@step
async def charge(item: str) -> str:
    return item


@step
async def ship(item: str) -> str:
    return item


level = State("level", int)


def line_of(of: Workflow[..., Any], text: str) -> str:
    """Return `file:line` of the first line of a workflow that holds a text."""
    first = of.fn.__code__.co_firstlineno
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    found = next(n for n, line in enumerate(lines, 1) if n >= first and text in line)
    return f"{__file__}:{found}"


def recorded(of: Workflow[..., Any], **start: Any) -> list[Record]:
    """Run a workflow to its end, and return its history as if it had begun in other circumstances."""
    history = Driver(Scenario(of), run_id="order-77").run().history
    first = history[0].entry
    assert isinstance(first, RunStarted)
    facts = {"code": of.code_hash, "python": PYTHON, **start}
    return [Record(msgspec.structs.replace(first, **facts), history[0].commands), *history[1:]]


def divergence(history: list[Record], now: Workflow[..., Any]) -> NonDeterminismError:
    with pytest.raises(NonDeterminismError) as caught:
        Machine(now).replay(activations(history), length=len(history))
    return caught.value


def likely(error: NonDeterminismError) -> str:
    return next(line.removeprefix("  likely").strip() for line in str(error).splitlines() if line.startswith("  likely"))


@workflow(name="fulfil")
async def old() -> None:
    await reserve("a")
    await charge("a")
    await ship("a")


@workflow(name="fulfil")
async def sleeps_first() -> None:
    await reserve("a")
    await sleep("3s")
    await charge("a")


def test_a_divergence_is_told_in_full() -> None:
    """Both commands, the user's line of each, the last agreement, the likely cause, and what to do: in columns."""
    error = divergence(recorded(old), sleeps_first)
    assert error.render().splitlines() == [
        "error[WF021]: history and code disagree",
        "  run order-77, entry 2 of 4",
        f"    recorded   step   charge        {line_of(sleeps_first, 'await charge')}",
        f"    requested  timer  3s            {line_of(sleeps_first, 'await sleep')}  in sleeps_first",
        "  last agreed  step   reserve       entry 1",
        "  likely       the code was edited: `timer 3s` is new before `charge`",
        '  help         guard it: if has_patch("my-change"): ...    or restore the old code until this run has ended',
    ]


@workflow(name="fulfil")
async def without_charge() -> None:
    await reserve("a")
    await ship("a")


@workflow(name="fulfil")
async def without_the_end() -> None:
    await reserve("a")
    await charge("a")


@workflow(name="fulfil")
async def with_more_at_the_end() -> None:
    await reserve("a")
    await charge("a")
    await ship("a")
    await reserve("again")


@workflow(name="fulfil")
async def in_another_order() -> None:
    await reserve("a")
    await ship("a")
    await charge("a")


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        (sleeps_first, "the code was edited: `timer 3s` is new before `charge`"),
        (without_charge, "the code was edited: `charge` is gone from before `ship`"),
        (without_the_end, "the code was edited: `ship` is gone"),
        (with_more_at_the_end, "the code was edited: `reserve` is new at the end"),
    ],
)
def test_an_edit_is_named(now: Workflow[..., Any], cause: str) -> None:
    """The code's hash changed since the start: what is new or gone is told by name."""
    assert likely(divergence(recorded(old), now)) == cause


def test_another_order_without_an_edit_is_a_set() -> None:
    """The code is the same, and what is requested stands in the history, but later."""
    history = recorded(old, code=in_another_order.code_hash)
    assert likely(divergence(history, in_another_order)).startswith("only the order differs: iteration over a set")


def test_the_order_of_a_set_within_one_activation_is_seen() -> None:
    """All steps of a fan-out are asked for at once."""

    def fan_out(*steps: Step[[str], str]) -> Workflow[[], None]:
        @workflow(name="fan_out")
        async def runs() -> None:
            await asyncio.gather(*(each("a") for each in steps))

        return runs

    error = divergence(recorded(fan_out(reserve, charge, ship)), fan_out(ship, reserve, charge))
    assert likely(error).startswith("only the order differs")
    assert "recorded   step  reserve" in str(error)
    assert "requested  step  ship" in str(error)


def test_another_python_is_named() -> None:
    """It may order callbacks in another way; the same code on the same Python would be a stranger cause."""
    history = recorded(old, python="3.7", code=in_another_order.code_hash)
    assert likely(divergence(history, in_another_order)) == f"the run was recorded on Python 3.7, this is {PYTHON}"


def test_without_evidence_the_usual_causes_are_listed() -> None:
    """The same code, the same Python, another branch: something outside of the run decided."""
    weather: list[str] = []

    @workflow
    async def depends() -> None:
        if weather:
            await sleep("1h")
        else:
            await reserve("a")

    history = recorded(depends)
    weather.append("rain")
    assert likely(divergence(history, depends)).startswith("a branch on something that differs between executions")


def test_a_command_too_many_or_too_few_is_told_as_nothing() -> None:
    """One of the two sides asks for nothing at all."""

    def runs(*steps: Step[[str], str]) -> Workflow[[], None]:
        @workflow(name="runs")
        async def of() -> None:
            await asyncio.gather(*(each("a") for each in steps), wait_signal("never"))

        return of

    def history_of(of: Workflow[..., Any]) -> list[Record]:
        driver = Driver(Scenario(of))
        driver.start()
        driver.machine.evict()
        return driver.history

    fewer, more = runs(reserve), runs(reserve, charge)
    # Both open the wait last, so the shorter one's wait stands against the longer one's step.
    assert "requested  wait for  never" in str(divergence(history_of(more), fewer))
    assert "recorded   wait for  never" in str(divergence(history_of(fewer), more))
    ends = recorded(without_the_end, code="")[:3]
    error = divergence([*ends[:2], Record(ends[2].entry, ())], without_the_end)
    assert "recorded   nothing" in str(error)
    assert "last agreed  step      charge        entry 2" in str(error)


def test_the_line_is_that_of_a_helper_too() -> None:
    """Where the user's code asks for it, however deep, and not where wfkit or contextlib stand."""

    async def helper() -> None:
        with level_block():
            await ship("a")

    @workflow(name="fulfil")
    async def through_a_helper() -> None:
        await reserve("a")
        await helper()

    assert f"{__file__}:{helper.__code__.co_firstlineno + 2}  in helper" in str(divergence(recorded(old), through_a_helper))


def level_block() -> Any:
    return contextlib.nullcontext()


def test_a_divergence_leaves_nothing_behind() -> None:
    """The machines that found it are evicted: no `finally` block runs later, anywhere."""
    log: list[str] = []

    @workflow(name="fulfil")
    async def careful() -> None:
        try:
            await reserve("a")
            await sleep("3s")
        finally:
            log.append("closed")

    divergence(recorded(old), careful)
    assert log == ["closed", "closed"]  # the replay, and the one that looked for the line


# -- what counts ----------------------------------------------------------------------------------------------------------


def run_step(n: int = 1, name: str = "charge", args: bytes = b"[]") -> RunStep:
    return RunStep(n, name, Raw(args), "key")


@pytest.mark.parametrize(
    ("recorded_", "requested", "breaks"),
    [
        ([run_step()], [run_step(name="ship")], True),
        ([run_step()], [run_step(n=2)], True),
        ([run_step()], [StartTimer(1, 1)], True),
        ([run_step()], [], True),
        ([], [run_step()], True),
        ([run_step(1), run_step(2, "b")], [run_step(2, "b"), run_step(1)], True),
        ([CompleteRun(Raw(b"1"))], [StartTimer(1, 1)], True),
        ([run_step(args=b"[1]")], [run_step(args=b"[2]")], False),
        ([StartTimer(1, 5)], [StartTimer(1, 6)], False),
        ([CompleteRun(Raw(b"1"))], [CompleteRun(Raw(b"2"))], False),
        ([CancelStep(1)], [CancelStep(1, awaited=True)], False),
    ],
)
def test_kind_number_and_name_must_agree(recorded_: list[Command], requested: list[Command], breaks: bool) -> None:
    """Arguments, durations and results may differ: a time stamp in an argument changes no control flow."""
    (found,) = differences(recorded_, requested, 7)
    assert (found.seq, found.breaks) == (7, breaks)


def test_state_is_never_compared() -> None:
    """It is for display: more, less or other state is no difference."""
    state: list[Command] = [SetState("level", Raw(b"1"))]
    assert differences([*state, run_step()], [run_step(), *state, *state], 1) == []


def test_differences_that_do_not_break_are_returned() -> None:
    """So that `check` can be strict about them."""

    def takes(item: str, *, first: int) -> Workflow[[], None]:
        @workflow(name="takes")
        async def of() -> None:
            level.set(first)
            await reserve(item)
            await sleep(first)

        return of

    history = recorded(takes("a", first=1))
    found = Machine(takes("b", first=2)).replay(activations(history), length=len(history))
    assert [(difference.seq, type(difference.recorded)) for difference in found] == [(1, RunStep), (2, StartTimer)]


def test_replay_stops_at_the_inbox() -> None:
    """What is durable but was never activated is the engine's to feed."""
    history = recorded(old)
    machine = Machine(old)
    machine.replay(activations([*history[:2], Record(history[2].entry)]), length=3)
    assert machine.seq == 2
    machine.evict()


def test_code_changes_its_hash_with_its_helpers() -> None:
    """An edit of a function that the workflow calls is an edit; one of a step is none."""
    assert old.code_hash == old.code_hash
    assert old.code_hash != sleeps_first.code_hash
    assert helped.code_hash != Workflow(helped_otherwise.fn, name="helped").code_hash


def test_code_changes_its_hash_with_the_helpers_of_what_is_within_it() -> None:
    """A helper that only a nested function calls is the workflow's as well."""

    def made(helper: Callable[[], int]) -> Workflow[[], int]:
        async def nests() -> int:
            def inner() -> int:
                return helper()

            return inner()

        return Workflow(nests, name="nests")

    assert made(_same_helper).code_hash == made(_same_helper).code_hash
    assert made(_same_helper).code_hash != made(_other_helper).code_hash


def _same_helper() -> int:
    return 1


def _other_helper() -> int:
    return 2


@workflow
async def helped() -> int:
    return _same_helper()


@workflow
async def helped_otherwise() -> int:
    return _same_helper() + 1


def test_capturing_lines_changes_no_command() -> None:
    """A machine that remembers lines asks for the same."""
    machine = Machine(old, capture_sites=True)
    assert machine.replay(activations(recorded(old)), length=4) == []
    assert machine.sites is not None
    assert machine.sites["RunStep", 1] == f"{line_of(old, 'await reserve')} in old"
