"""How a run ends, or is blocked instead: what leaves the workflow decides."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from msgspec import Raw

from tests.laws.driver import Puppet, drive
from wfkit.api.definitions import Retry, Workflow, step, workflow
from wfkit.api.primitives import sleep
from wfkit.core.commands import CancelRun, CompleteRun
from wfkit.core.entries import RunStarted
from wfkit.core.machine import Machine
from wfkit.errors import CodecError, DefinitionError, ProgrammingError, StepError, WorkflowLoopError


class Odd(Exception):
    pass


@step(retry=Retry(max_attempts=1))
async def note(text: str) -> str:
    return text


@workflow
async def echoes(text: str) -> str:
    return await note(text)


def raising(error: BaseException) -> Workflow[[], None]:
    @workflow
    async def raises() -> None:
        await note("x")
        raise error

    return raises


@pytest.mark.parametrize(
    "error", [ValueError("bad"), Odd("own"), KeyError("k"), AssertionError(), RuntimeError("r"), StepError("T", "m")]
)
def test_an_exception_fails_the_run(error: Exception) -> None:
    """With its type, its text and its line."""
    failure = drive(raising(error)).failure
    assert failure.type == (error.type if isinstance(error, StepError) else type(error).__name__)
    assert failure.line is not None
    assert failure.line.endswith(" in raises")


@pytest.mark.parametrize(
    "error",
    [NameError("n"), UnboundLocalError("u"), AttributeError("a"), TypeError("t"), ImportError("i"), ModuleNotFoundError("m")],
    ids=repr,
)
def test_a_programming_error_blocks_the_run(error: Exception) -> None:
    """It leaves `feed` as an error that names the line, and no command comes of the activation."""
    run = Puppet(raising(error))
    with pytest.raises(ProgrammingError, match=rf"{type(error).__name__}: .*, at {__file__}:\d+ in raises") as caught:
        run.complete(note)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [CodecError("c"), DefinitionError("d"), WorkflowLoopError("w")], ids=repr)
def test_wfkits_own_errors_about_code_block_the_run_as_themselves(error: Exception) -> None:
    """They have a code and a help of their own."""
    run = Puppet(raising(error))
    with pytest.raises(type(error)):
        run.complete(note)


def test_a_programming_error_within_a_group_blocks_the_run() -> None:
    """A task group wraps it; it is the same mistake."""

    @workflow
    async def grouped() -> None:
        async def mistaken() -> None:
            raise NameError("typo")

        async with asyncio.TaskGroup() as group:
            group.create_task(mistaken())
            group.create_task(note("x"))  # type: ignore[arg-type, unused-ignore]  # a coroutine

    with pytest.raises(ProgrammingError, match="NameError: typo"):
        Puppet(grouped)


@pytest.mark.parametrize("error", [TypeError("of the step"), AttributeError("a"), NameError("n"), ImportError("i")], ids=repr)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_builtin_error_out_of_a_step_fails_the_run(error: Exception, grouped: bool) -> None:
    """The workflow's code is right; what it called was not."""

    @workflow
    async def calls() -> None:
        if not grouped:
            await note("x")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(note("x"))

    run = Puppet(calls)
    run.fail(note, error=error)
    assert run.failure.type == ("ExceptionGroup" if grouped else type(error).__name__)


def test_a_programming_error_that_the_workflow_handles_is_its_own_business() -> None:
    """As in plain Python."""

    @workflow
    async def handles() -> str:
        try:
            return {}.missing  # type: ignore[attr-defined, no-any-return]  # this is the point
        except AttributeError:
            return "handled"

    assert drive(handles).result == "handled"


@pytest.mark.parametrize("result", ["text", math.nan, {1, 2}])
def test_a_result_that_is_not_what_the_hint_promises_blocks_the_run(result: Any) -> None:
    """Its steps are done; only the code has to be mended."""

    @workflow
    async def returns() -> int:
        return result  # type: ignore[no-any-return]  # this is the point

    with pytest.raises(CodecError):
        Puppet(returns)


def test_input_that_does_not_decode_is_told_with_its_path() -> None:
    """The engine refuses it at the start; a history that holds it blocks."""
    with pytest.raises(CodecError, match=r"expected `str`, got `int`.*\$\[0\]"):
        Machine(echoes).feed(RunStarted(t=1, id="r", workflow="echoes", args=Raw(b"[5]"), seed="00"), 1)


def test_sys_exit_in_a_workflow_blocks_it() -> None:
    """It would end the engine."""
    run = Puppet(raising(SystemExit(3)))
    with pytest.raises(ProgrammingError, match=r"called sys\.exit\(3\)"):
        run.complete(note)


def test_a_callback_that_fails_blocks_the_run() -> None:
    """Asyncio would log it and go on; a run has nobody who reads that."""

    @workflow
    async def calls_back() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await note("x")

    with pytest.raises(ProgrammingError, match="ZeroDivisionError"):
        Puppet(calls_back)


def test_a_cancel_that_leaves_the_workflow_ends_it_as_cancelled() -> None:
    """With the reason that was given."""
    run = Puppet(echoes, "x")
    run.cancel()
    assert run.ending == CancelRun("asked for")


def test_a_workflow_that_cancels_itself_has_failed() -> None:
    """Nobody asked for it."""

    @workflow
    async def gives_up() -> None:
        raise asyncio.CancelledError

    failure = drive(gives_up).failure
    assert (failure.type, failure.message) == ("CancelledError", "the workflow was cancelled by its own code")


def test_a_cancel_that_the_workflow_swallows_leaves_it_running() -> None:
    """It is delivered once, and it is the workflow's to obey."""

    @workflow
    async def stays() -> str:
        try:
            await sleep("1h")
        except asyncio.CancelledError:
            return await note("stayed")
        return "no"

    run = Puppet(stays)
    run.cancel()
    run.complete(note)
    assert isinstance(run.ending, CompleteRun)
    assert run.result == "stayed"


def test_what_a_workflow_raises_on_its_way_out_is_its_end() -> None:
    """Cleanup that fails replaces the cancel, as in plain Python."""

    @workflow
    async def cleans_up() -> None:
        try:
            await sleep("1h")
        finally:
            await note("cleanup")

    run = Puppet(cleans_up)
    run.cancel()
    run.fail(note, error=ValueError("no luck"))
    assert run.failure.type == "ValueError"


def test_the_context_of_the_host_does_not_reach_a_run() -> None:
    """A workflow starts in a context of its own, so nothing of it depends on who activates it."""
    from contextvars import ContextVar

    host: ContextVar[str] = ContextVar("host", default="none")

    @workflow
    async def looks() -> str:
        return host.get()

    token = host.set("engine")
    try:
        assert drive(looks).result == "none"
    finally:
        host.reset(token)
