"""`run`: a workflow in one line, which always comes to an end."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.engine.world import VirtualLoop
from wfkit.api.definitions import step, workflow
from wfkit.engine.engine import run
from wfkit.errors import DefinitionError, DeterminismViolation, ProgrammingError, RunFailed, StuckRun


@pytest.fixture(autouse=True)
def _hang_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on a loop that raises when nothing more can happen."""

    def run_it(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main)

    monkeypatch.setattr(asyncio, "run", run_it)


@step
async def double(x: int) -> int:
    return 2 * x


def test_a_run_returns_the_result() -> None:
    """Its arguments are those of the workflow."""

    @workflow
    async def main(x: int) -> int:
        return await double(x)

    assert run(main, 4) == 8


def test_a_run_that_fails_raises() -> None:
    """With the exception of the workflow."""

    @workflow
    async def main() -> None:
        raise ConnectionError("no route")

    with pytest.raises(RunFailed, match="no route"):
        run(main)


def test_a_run_takes_only_workflows() -> None:
    """A plain function is refused."""

    async def plain() -> None: ...

    with pytest.raises(DefinitionError, match="takes a @workflow"):
        run(plain)


def test_a_name_that_is_not_defined_is_raised() -> None:
    """A run that is blocked in memory would wait for an edit that cannot come. So it is wherever the code gets to."""

    @workflow
    async def at_once() -> int:
        return undefined_name  # type: ignore[name-defined, no-any-return]  # noqa: F821  # this is the point

    @workflow
    async def later() -> int:
        await double(1)
        return undefined_name  # type: ignore[name-defined, no-any-return]  # noqa: F821  # this is the point

    with pytest.raises(ProgrammingError, match="undefined_name"):
        run(at_once)
    with pytest.raises(ProgrammingError, match="undefined_name"):
        run(later)


def test_a_future_that_nobody_completes_is_raised() -> None:
    """The workflow is stuck, not waiting."""

    @workflow
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckRun):
        run(main)


def test_what_the_guard_refuses_is_raised() -> None:
    """Here a file in workflow code."""

    @workflow
    async def main() -> str:
        with open("/etc/hostname") as file:  # noqa: PTH123  # this is the point
            return file.read()

    with pytest.raises(DeterminismViolation):
        run(main)
