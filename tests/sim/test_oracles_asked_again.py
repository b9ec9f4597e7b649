"""Steps that are executed once more, and find things otherwise than at first: what that excuses, and what it does not."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from tests.sim.judging import World, ask, found, note, shop, store, subject_of
from wfkit import Expect, Retry, Workflow, now, step, workflow
from wfkit.sim.campaign import Terms
from wfkit.sim.explore import search
from wfkit.testing import Volatile


class Changing(World):
    """A shop that keeps a log of what it is asked, and a model that answers otherwise when it is asked again."""

    def __init__(self) -> None:
        super().__init__()

        @self.shop.on("log")
        def log(state: dict[str, Any], line: str) -> None:
            state.setdefault("lines", []).append(line)

        @self.shop.on("complete")
        def complete(state: dict[str, Any], turn: int) -> str:
            state["asked"] = state.get("asked", 0) + 1
            return ("book", "search")[state["asked"] % 2] if turn < 2 else "stop"


@step(expect=Expect(at_least_once="tokens are cheap"))
async def decide(turn: int) -> Volatile[str]:
    return str(await shop.get().call("complete", turn=turn))


@step(expect=Expect(read_only=True))
async def look_up(turn: int) -> str:
    return f"found {turn}"


@step
async def reserve_for(turn: int) -> str:
    return await ask("take", turn=turn)


@workflow
async def agent() -> Volatile[list[str]]:
    done: list[str] = []
    while (what := await decide(len(done))) != "stop":
        done.append(await (reserve_for if what == "book" else look_up)(len(done)))
    return done


@step(expect=Expect(at_least_once="a line too many"), retry=Retry(max_attempts=None))
async def audit(line: str) -> None:
    await shop.get().call("log", line=line)


@workflow
async def audited() -> None:
    await audit("o-1")


@step(retry=Retry(max_attempts=None, max_interval="1m"))
async def pack() -> str:
    return await ask("pack")


@workflow
async def says_sorry_when_it_is_late() -> str:
    began = now()
    await pack()
    if now() - began > timedelta(minutes=30):
        await note("sorry")
    return "ok"


@pytest.mark.parametrize(
    ("workflow", "faults"),
    [(agent, ["crash"]), (audited, ["crash"]), (says_sorry_when_it_is_late, ["outage", "slow", "delay"])],
    ids=["an answer declared Volatile decides", "a state that grows with each call", "late by an outage"],
)
def test_what_comes_of_another_answer_is_no_bug(workflow: Workflow[..., Any], faults: list[str]) -> None:
    """It was recorded before it was acted on; and a clock tells an outage as well as a delay."""
    explored = search(subject_of(workflow, world=Changing), Terms(faults=faults, budget=0.1))
    assert [each.violation.title for each in explored.found if each.violation.severity != "info"] == []


class Rates(World):
    """A shop that knows what things cost."""

    def __init__(self) -> None:
        super().__init__()
        self.shop.on_read("rate")(lambda _state, **_what: 3)


@step(expect=Expect(read_only=True))
async def rate(item: str) -> int:
    return int(await shop.get().read("rate", item=item))


@workflow
async def falls_back() -> int:
    try:
        return await rate("lamp")
    except ConnectionError:
        return 1


def test_a_service_that_is_only_read_fails_as_well() -> None:
    """So what a workflow does without an answer is tried."""
    coverage = search(subject_of(falls_back, world=Rates), Terms(faults=["fail_n"], budget=0.1)).coverage
    assert (coverage.lines_run, coverage.lines_missing) == (coverage.lines_total, [])


@step(retry=Retry(max_attempts=None))
async def lock() -> str:
    me = uuid.uuid4().hex
    if not await store.get().compare_and_set("lock", None, me):
        raise RuntimeError("taken")
    return me


@workflow
async def locks_itself_out() -> None:
    await lock()


def test_a_step_that_never_succeeds_again_is_told_as_that() -> None:
    """What the first attempt left keeps all others from it, by whichever fault they came."""
    [violation] = found(subject_of(locks_itself_out), "crash@1:put.after:lock")
    assert (violation.oracle, violation.severity) == ("liveness", "error")
    assert violation.title == "lock fails for ever: RuntimeError: taken"
