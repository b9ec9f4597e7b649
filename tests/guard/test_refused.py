"""What raises in workflow code, and what the error says."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import pytest
from msgspec import Raw

from tests.guard.calls import REFUSED
from tests.guard.conftest import SEED, STARTED, Driver, start
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import unsafe
from wfkit.core.commands import RunStep
from wfkit.core.entries import RunStarted, StepCompleted
from wfkit.core.machine import Machine
from wfkit.errors import DeterminismViolation

HARMLESS = ["os.environ[]", "os.environ.get", "secrets.token_hex", "os.urandom", "time.sleep", "Thread.start", "uuid.uuid1"]


@step
async def charge(amount: int) -> int:
    return amount


def begin(machine: Machine) -> Any:
    return machine.feed(RunStarted(t=STARTED, id="run", workflow="pays", args=Raw(b"[]"), seed=SEED), 1)


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_touches_the_outside_raises_and_says_where(name: str, in_workflow: Driver) -> None:
    """The message names what was called and the user's line, the help what to do instead."""
    call, said = REFUSED[name]
    with pytest.raises(DeterminismViolation) as caught:
        in_workflow(lambda: call())  # a line of the user's, if the call itself has none

    assert said in str(caught.value)
    assert f"tests{os.sep}guard{os.sep}" in str(caught.value)
    assert caught.value.help


@pytest.mark.parametrize("name", REFUSED)
def test_a_violation_that_the_code_swallows_voids_the_activation(name: str, in_workflow: Driver) -> None:
    """A broad `except` around the call hides the error from the code, but not from the machine."""

    def careless() -> str:
        with suppress(Exception):
            REFUSED[name][0]()
        return "went on"

    with pytest.raises(DeterminismViolation):
        in_workflow(careless)


@pytest.mark.parametrize("name", HARMLESS)
def test_unsafe_lifts_it(name: str, in_workflow: Driver) -> None:
    """Who knows better says why, and gets the real thing."""

    def knows_better() -> None:
        with unsafe("for a test"):
            REFUSED[name][0]()

    in_workflow(knows_better)


def test_after_an_unsafe_block_it_is_back(in_workflow: Driver) -> None:
    """The block lifts the guard for itself alone."""

    def knew_better() -> None:
        with unsafe("for a test"):
            os.environ.get("HOME")
        os.environ.get("HOME")

    with pytest.raises(DeterminismViolation):
        in_workflow(knew_better)


@pytest.mark.parametrize("name", HARMLESS)
def test_outside_of_workflow_code_nothing_raises(name: str) -> None:
    """The guard is inert there."""
    REFUSED[name][0]()


def test_the_line_is_that_of_the_users_code_and_not_of_the_library(in_workflow: Driver) -> None:
    """Who reads the message looks for the line in their own file."""
    with pytest.raises(DeterminismViolation) as caught:
        in_workflow(lambda: Path("/no/such/file").read_bytes())
    line = sys._getframe().f_lineno - 1

    assert f", at {__file__}:{line} in <lambda>" in str(caught.value)


def test_later_activations_are_guarded_as_the_first() -> None:
    """After a step the code is guarded still."""

    @workflow
    async def pays() -> None:
        await charge(1)
        time.sleep(0)

    machine = Machine(pays)
    (command,) = begin(machine)
    assert isinstance(command, RunStep)
    with pytest.raises(DeterminismViolation, match="sleep"):
        machine.feed(StepCompleted(t=STARTED, n=command.n, value=Raw(b"1")), 2)


def test_another_thread_is_free_during_an_activation(in_workflow: Driver) -> None:
    """Steps in threads run at the same time as activations."""
    asked, answered = threading.Event(), threading.Event()
    answers: list[Any] = []

    def read() -> None:
        asked.wait()
        answers.extend([os.environ.get("NO_SUCH"), time.time(), os.urandom(2), type(time.time)])
        answered.set()

    def waits() -> None:
        asked.set()
        assert answered.wait(30)

    thread = threading.Thread(target=read)
    thread.start()
    in_workflow(waits)
    thread.join()

    assert answers[1] > STARTED / 1e6 + 1e6
    assert answers[3] is BuiltinFunctionType


@pytest.mark.parametrize("touch", [lambda: os.mkdir("/no/such"), lambda: os.environ["HOME"]], ids=["mkdir", "environ"])  # noqa: PTH102  # bare
def test_code_that_is_closed_with_its_run_touches_nothing(touch: Callable[[], object]) -> None:
    """A `finally` block that runs because its run leaves memory is stopped, and no violation of the run."""
    reached: list[str] = []

    @workflow
    async def pays() -> None:
        try:
            await charge(1)
        finally:
            reached.append("finally")
            with suppress(Exception):
                touch()
            reached.append("after")

    machine = Machine(pays)
    begin(machine)
    machine.evict()

    assert reached == ["finally"]
    assert machine.loop.violation is None


def test_a_machine_without_a_violation_is_not_disturbed() -> None:
    """What the guard looks at leaves no trace in an honest run."""
    assert start(lambda: sum(range(4))) == 6
