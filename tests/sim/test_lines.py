"""Of the user's lines it is known which ran, and the code is afterwards as it was."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import linecache
from pathlib import Path

import pytest

from wfkit import saga, step, workflow
from wfkit.sim.faults import parse_fault
from wfkit.sim.lines import watched
from wfkit.sim.simulation import Simulation
from wfkit.sim.subject import Subject


@step
async def reserve(item: str) -> str:
    """Reserve."""
    if item == "nothing":
        item = "something"
    return item


@step(undoes=reserve)
async def release(item: str) -> None:
    asyncio.get_running_loop().call_soon(
        str,
        item,
    )


@step
def pack(item: str) -> str:
    def wrap(what: str) -> str:
        return f"[{what}]"

    return wrap(item)


@workflow
async def order(item: str) -> str:
    global last  # noqa: PLW0603  # a statement that does nothing
    try:
        async with saga() as s:
            got = await s.do(reserve, item, undo=release)
            last = await pack(got)
            return last
    except Exception:  # noqa: BLE001  # whatever went wrong
        return "sorry"


last = ""
SUBJECT = Subject(order, ("box",))


def line_of(fn: object, text: str) -> int:
    lines, first = inspect.getsourcelines(fn)  # type: ignore[arg-type]  # a function
    return first + next(index for index, line in enumerate(lines) if text in line)


def test_what_never_ran_is_named_with_its_owner() -> None:
    """A line that no schedule reached is a line of which the report must claim nothing."""
    with watched(SUBJECT) as lines:
        assert Simulation(SUBJECT).run().result == "[box]"
    here = "tests/sim/test_lines.py"
    assert lines.missing() == [
        f"{here}:{line_of(reserve.fn, 'item = ')}, step reserve",
        f"{here}:{line_of(release.fn, 'call_soon(')}, compensation of reserve",
        f"{here}:{line_of(order.fn, 'sorry')}, workflow order",
    ]


def test_a_fault_that_leads_to_them_covers_them() -> None:
    """Code for failures is counted where faults open the way to it."""
    with watched(SUBJECT) as lines:
        recording = Simulation(SUBJECT, [parse_fault("fatal@2:call.before:pack")]).run()
    assert recording.result == "sorry"
    covered = lines.covered()
    assert [told.rpartition(", ")[2] for told in covered.missing] == ["step reserve", "step pack", "workflow order"]
    assert (covered.run, covered.total) == (8, 13)


def test_the_code_is_afterwards_as_it_was() -> None:
    """Tests that follow in the same process run the author's own code, in modules to which nothing was added."""
    before = order.fn.__code__
    with watched(SUBJECT):
        assert order.fn.__code__ is not before
        assert order.fn.__code__.co_firstlineno == before.co_firstlineno
    assert order.fn.__code__ is before
    assert [name for name in order.fn.__globals__ if "wfkit" in name] == []


def test_a_call_that_outlasts_the_campaign_goes_on() -> None:
    """A campaign in a thread, as `averify` makes it, meets calls of other threads that end after it."""
    with watched(SUBJECT):
        called = reserve.fn("nothing")
        assert isinstance(hash(reserve.fn.__code__), int)  # as debuggers and other measurements ask for it
    with pytest.raises(StopIteration, match="something"):
        called.send(None)


def test_what_closes_over_names_is_counted() -> None:
    """A workflow defined in a test closes over the test's variables, which only its very function object has."""
    price = 3

    @workflow
    async def inner(count: int) -> int:
        total = price * count
        if total > 100:
            total = 100
        return total

    subject = Subject(inner, (2,))
    with watched(subject) as lines:
        assert Simulation(subject).run().result == 6
    assert lines.covered().total == 4
    assert lines.missing() == [f"tests/sim/test_lines.py:{line_of(inner.fn, 'total = 100')}, workflow inner"]


def test_a_file_that_was_edited_since_is_left_alone(tmp_path: Path) -> None:
    """Code is never replaced by that of a newer file: what runs is what was imported."""
    path = tmp_path / "edited_since.py"
    text = "from wfkit import workflow\n\n@workflow\nasync def edited() -> int:\n    return 1\n"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("edited_since", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    subject = Subject(module.edited)
    with watched(subject) as lines:
        assert lines.covered().total == 1
    path.write_text(text.replace("return 1", "return 2"))
    linecache.checkcache(str(path))
    with watched(subject) as lines:
        assert lines.covered().total == 0
        assert Simulation(subject).run().result == 1


def test_errors_still_name_the_users_line() -> None:
    """A story that names lines which the author cannot find is of no use."""

    @step
    async def broken() -> None:
        text = "no number"
        int(text)

    @workflow
    async def breaks() -> None:
        await broken()

    subject = Subject(breaks)
    with watched(subject):
        run = Simulation(subject).run().run
    assert run is not None
    assert run.error is not None
    assert run.error.line == f"{__file__}:{line_of(breaks.fn, 'await broken()')} in breaks"


@workflow
async def elsewhere(item: str) -> str:
    return item


def test_what_else_the_app_defines_counts_once_it_runs() -> None:
    """A report on one workflow says nothing of its neighbours."""
    with watched(Subject(elsewhere, ("box",), workflows=(order,))) as lines:
        Simulation(Subject(elsewhere, ("box",), workflows=(order,))).run()
        assert lines.covered() == (1, 1, [])
    with watched(Subject(order, ("box",), workflows=(elsewhere,))) as lines:
        Simulation(SUBJECT).run()
        assert not any("elsewhere" in missing for missing in lines.missing())
        assert lines.missing()
