"""The filter language: what each term means, and what is said about one that means nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wfkit.api.definitions import NonRetryable, Retry, step, workflow
from wfkit.api.primitives import sleep, start_child
from wfkit.api.registry import Registry
from wfkit.api.signals import wait_signal
from wfkit.core.commands import Failure
from wfkit.core.entries import Blocked
from wfkit.core.state import RunState
from wfkit.engine.engine import Engine, running
from wfkit.errors import FilterError
from wfkit.journal.duckdb import open_journal
from wfkit.journal.filters import parse, split
from wfkit.journal.memory import MemoryDisk
from wfkit.journal.port import Journal

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND


def state(**fields: Any) -> RunState:
    return RunState(1, **{"id": "order-7", "workflow": "order_saga", "started": NOW - 60 * SECOND, **fields})


def accepts(filter: str, **fields: Any) -> bool:
    return parse(filter, NOW).accepts(state(**fields))


FAILED = Failure("HTTPError", "503 Service Unavailable")


@pytest.mark.parametrize(
    ("filter", "fields"),
    [
        ("", {}),
        ("status:failed", {"status": "failed"}),
        ("status:failed,running", {"status": "running"}),
        ("status:running", {"status": "running"}),
        ("wf:order_*", {}),
        ("wf:order_saga", {}),
        ("id:order-?", {}),
        ("after:2m", {}),
        ("before:30s", {}),
        ("after:2027-01-15", {}),
        ("before:2027-01-15T08:00:00Z", {}),
        ('error:"503 Service"', {"status": "failed", "error": FAILED}),
        ("error:httperror", {"status": "failed", "error": FAILED}),
        ("error:WF021", {"status": "blocked", "blocked": Blocked(t=1, at=1, cause=FAILED, code="WF021")}),
        ('"order-7"', {}),
        ("ORDER", {}),
        ('"service unavailable"', {"error": FAILED}),
        ("wf:order_* after:2m 503", {"error": FAILED}),
    ],
)
def test_a_run_that_fits_every_term_is_accepted(filter: str, fields: dict[str, Any]) -> None:
    """Each term of the language, and several together."""
    assert accepts(filter, **fields)


@pytest.mark.parametrize(
    ("filter", "fields"),
    [
        ("status:failed", {}),
        ("status:waiting", {}),
        ("wf:order", {}),
        ("id:order", {}),
        ("after:30s", {}),
        ("before:2m", {}),
        ("error:503", {}),
        ("parcel", {}),
        ("wf:order_* status:failed", {}),
    ],
)
def test_a_run_that_misses_one_term_is_not_accepted(filter: str, fields: dict[str, Any]) -> None:
    """Names are patterns of the whole name, texts are parts of it."""
    assert not accepts(filter, **fields)


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        ("stauts:failed", "did you mean status:?"),
        ("status:fialed", "did you mean failed?"),
        ("status:failed,nonsense", "no status 'nonsense'"),
        ("after:yesterday", "'yesterday' is no time"),
        ("order:77", "no filter 'order'"),
        ("wf.name:77", "no filter 'wf.name'"),
        ("wf:a wf:b", "this was said before"),
        ("status:", "says nothing after the colon"),
        ('error:"503', "a quotation has no end"),
    ],
)
def test_a_term_that_means_nothing_is_refused_by_name(filter: str, says: str) -> None:
    """A filter that is taken for a text would silently find nothing."""
    with pytest.raises(FilterError) as refused:
        parse(filter, NOW)
    assert says in str(refused.value)


def test_quotes_keep_blanks_and_make_a_text_of_what_looks_like_a_filter() -> None:
    """A run id may hold a colon."""
    assert split(r'error:"no \"such\" item" "order:77" wf:a') == ['error:no "such" item', "text:order:77", "wf:a"]
    assert accepts('"order:77"', id="order:77")


def test_an_argument_of_a_shell_is_one_term_unless_it_is_plainly_a_whole_filter() -> None:
    """A shell takes the quotes of `error:"card declined"` away, and leaves those of a filter in single quotes."""
    declined = {"status": "failed", "error": Failure("CardDeclined", "card declined")}
    assert parse(["error:card declined"], NOW).accepts(state(**declined))
    assert not parse(["error:declined card"], NOW).accepts(state(**declined))
    assert parse(["status:failed wf:order_*"], NOW).accepts(state(**declined))


# -- asked of an engine -------------------------------------------------------------------------------------------------


@step(retry=Retry(initial="1h"))
async def ship(order: dict[str, Any]) -> None:
    raise ConnectionError("503")


@step
async def refuse(order: dict[str, Any]) -> None:
    raise NonRetryable("no")


@workflow
async def shipped(order: dict[str, Any]) -> None:
    await ship(order)


@workflow
async def refused(order: dict[str, Any]) -> None:
    await refuse(order)


@workflow
async def waiting(item: str, count: int) -> None:
    await wait_signal("never")


@workflow
async def asleep() -> None:
    await sleep("1h")


async def ids(engine: Engine, filter: str) -> list[str]:
    return [run.id for run in await engine.runs(filter)]


Scenario = Callable[[Engine], Awaitable[None]]


@contextmanager
def disk_of(kind: str, folder: Path) -> Iterator[Callable[[], Awaitable[Journal]]]:
    """Lend a way to open a journal of either kind."""
    disk = MemoryDisk()

    async def open_memory() -> Journal:
        return disk.open()

    async def open_file() -> Journal:
        return await open_journal(folder / "journal.duckdb")

    yield open_memory if kind == "memory" else open_file


@pytest.mark.parametrize("kind", ["memory", "duckdb"])
def test_an_engine_finds_its_runs_by_filter_on_either_journal(kind: str, tmp_path: Path) -> None:
    """What only the history tells, a step or the input, is found as well; projected or not."""
    expected = {
        "": ["sleeper", "waiter", "declined", "order-77"],
        "status:failed": ["declined"],
        "status:retrying": ["order-77"],
        "status:waiting": ["sleeper", "waiter"],
        "status:waiting,failed": ["sleeper", "waiter", "declined"],
        "step:ship": ["order-77"],
        "step:*": ["declined", "order-77"],
        "step:*f*s*": ["declined"],
        "step:[!r]*": ["order-77"],
        "step:ship error:503": ["order-77"],
        "input.order.id:77": ["order-77"],
        "input.order.lines.0:tea": ["declined"],
        "input.order.price:1.5": ["declined"],
        'input.order.note:"a \\"great\\" caf[èé]*"': ["declined"],
        'input.order.note:"*\n"': ["declined"],
        "input.item:tea": ["waiter"],
        "input:3": ["waiter"],
        "input.order.id:78": [],
        "input.order.id:77 step:refuse": [],
    }

    async def scenario(open: Callable[[], Awaitable[Journal]]) -> None:
        registry = Registry([shipped, refused, waiting, asleep])
        async with running(await open(), registry) as engine:
            await engine.start(shipped, {"id": 77, "text": "x" * 5000}, id="order-77")
            run = await engine.start(
                refused, {"id": 5, "lines": ["tea"], "price": 1.50, "note": 'a "great" café\n'}, id="declined"
            )
            with pytest.raises(Exception, match="failed"):
                await run.result()
            await engine.start(waiting, "tea", 3, id="waiter")
            await engine.start(asleep, id="sleeper")
            while await ids(engine, "status:retrying") != ["order-77"]:
                await asyncio.sleep(0.01)
            assert {filter: await ids(engine, filter) for filter in expected} == expected
            assert [run.id for run in await engine.runs(limit=2)] == ["sleeper", "waiter"]
        async with running(await open(), registry) as engine:
            assert {filter: await ids(engine, filter) for filter in expected} == expected

    with disk_of(kind, tmp_path) as open:
        asyncio.run(scenario(open))


def test_only_the_runs_that_are_taken_up_go_on() -> None:
    """A command that runs one workflow leaves the unfinished others of the journal as they are."""
    done: list[str] = []

    @step
    async def note(name: str) -> None:
        done.append(name)

    @workflow
    async def child(name: str) -> None:
        await sleep("30ms")
        await note(name)

    @workflow
    async def parent(name: str) -> None:
        await child(name)

    async def scenario() -> None:
        disk = MemoryDisk()
        registry = Registry([parent, child])
        async with running(disk.open(), registry) as engine:
            for name in ("wanted", "other"):
                await engine.start(parent, name, id=name)
        await asyncio.sleep(0.05)
        async with running(disk.open(), registry, all_runs=False) as engine:
            await engine.take_up("wanted")
            await engine.get(parent, "wanted").result()
            assert done == ["wanted"]
            assert await engine.get(parent, "other").status() == "running"
        async with running(disk.open(), registry) as engine:
            await engine.get(parent, "other").result()
        assert done == ["wanted", "other"]

    asyncio.run(scenario())


def test_a_run_that_was_left_alone_goes_on_when_another_attaches_to_it() -> None:
    """Otherwise whoever awaits it would wait for ever."""

    @workflow
    async def shared() -> str:
        await sleep("30ms")
        return "shared"

    @workflow
    async def user() -> str:
        start_child(shared, id="the-shared-one")
        return "started"

    async def scenario() -> None:
        disk = MemoryDisk()
        registry = Registry([shared, user])
        async with running(disk.open(), registry) as engine:
            await engine.start(shared, id="the-shared-one")
        async with running(disk.open(), registry, all_runs=False) as engine:
            await (await engine.start(user)).result()
            assert await engine.get(shared, "the-shared-one").result() == "shared"

    asyncio.run(scenario())


@workflow
async def noted(order: dict[str, Any]) -> None:
    await wait_signal("never")


def test_a_run_is_found_behind_many_that_come_near(tmp_path: Path) -> None:
    """The value stands in every input, and only in two of them where it is asked for; the limit counts those."""

    async def check(engine: Engine) -> None:
        assert await ids(engine, "input.order.id:7") == ["near-1", "near-0"]
        assert [run.id for run in await engine.runs("input.order.id:7", limit=1)] == ["near-1"]
        assert len(await engine.runs("input.order.part:7", limit=1_000)) == 340

    async def scenario() -> None:
        path = tmp_path / "journal.duckdb"
        async with running(await open_journal(path), Registry([noted])) as engine:
            for number in range(2):
                await engine.start(noted, {"id": 7}, id=f"near-{number}")
            await asyncio.gather(*(engine.start(noted, {"id": number, "part": 7}) for number in range(10, 350)))
            await check(engine)
        async with running(await open_journal(path), Registry([noted])) as engine:
            await check(engine)

    asyncio.run(scenario())
