"""Runs that do not end, and runs that are blocked."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.sim.judging import ask, charge, found, note, shop, subject_of
from wfkit import Retry, Signal, saga, sleep, step, undoes, wait_signal, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Subject

reply = Signal("reply", str)


def signature(violations: list[Violation]) -> list[tuple[str, str, str]]:
    return [(each.oracle, each.severity, each.about) for each in violations]


async def replies(run: Any, world: Any) -> None:
    await asyncio.sleep(10)
    await run.client.publish(reply, "yes")


@step
async def question() -> None:
    await ask("question")
    await asyncio.sleep(5)


@workflow
async def asks_before_it_listens() -> str:
    await question()
    return await wait_signal(reply)


def test_a_published_answer_that_nobody_heard_is_waited_for_for_ever() -> None:
    """Who asks before listening is right until the answer is quick."""
    [violation] = found(subject_of(asks_before_it_listens, script=replies), "early@1:delivery:reply")
    assert signature([violation]) == [("liveness", "error", "reply")]
    assert "published while nobody listens" in violation.why


@step
async def sign() -> None:
    await ask("sign")


@step
async def unsign() -> None:
    await ask("unsign", key=undoes(sign).idempotency_key)


@workflow
async def undoes_what_it_did_not_register() -> None:
    async with saga() as s:
        await sign()
        s.undo(unsign)
        await note("signed")


def test_a_compensation_that_always_fails_is_told_with_its_error() -> None:
    """It is tried for ever. What the schedule comes to is not its length, but why it has no end, and where."""
    [violation] = found(subject_of(undoes_what_it_did_not_register), "fail_n@2:call.before:note")
    assert signature([violation]) == [("liveness", "error", "unsign")]
    assert "unsign fails for ever: WorkflowLoopError: this step does not undo a call of 'sign'" in violation.title
    assert violation.line.startswith(__file__)
    assert "compensations" in violation.why


@workflow
async def waits() -> str:
    return await wait_signal(reply)


@workflow
async def waits_in_vain() -> str:
    try:
        return await wait_signal(reply, timeout="1h")
    except TimeoutError:
        return "no"


async def silence(run: Any, world: Any) -> None:
    """Nobody says anything, and that is meant."""


def test_a_signal_that_nobody_sends_makes_the_campaign_vacuous() -> None:
    """A campaign that ends in a timeout has proved nothing about the way on, unless a script says that silence is meant."""
    for each in (waits, waits_in_vain):
        assert signature(found(subject_of(each))) == [("liveness", "info", "reply")]
        assert found(subject_of(each, script=silence)) == []


@workflow
async def waits_for_ever_and_ever() -> None:
    while True:
        await sleep("1 day")


def test_what_never_rests_is_told_unless_the_user_says_how_long_to_look() -> None:
    """An entity's loop has no end by design, a forgotten one by mistake; `until=` tells them apart."""
    assert signature(found(subject_of(waits_for_ever_and_ever))) == [("liveness", "error", "end")]
    assert found(subject_of(waits_for_ever_and_ever, until=5 * 86_400_000_000)) == []


@workflow
async def has_an_error_in_its_way_out() -> str:
    try:
        await charge(1)
    except Exception as exc:  # noqa: BLE001  # whatever it is
        await note(exc.missing)  # type: ignore[attr-defined]  # the planted bug
    return "ok"


def test_a_programming_error_on_a_path_that_faults_open_is_found_with_its_line() -> None:
    """Code that handles failures is code that tests seldom run."""
    [violation] = found(subject_of(has_an_error_in_its_way_out), "fatal@1:call.before:charge")
    assert signature([violation]) == [("liveness", "error", "WF029")]
    assert "missing" in violation.title
    assert "fix the code" in violation.fix
    assert violation.line.startswith(f"{__file__}:")


@workflow
async def reads_a_file() -> str:
    with open("orders.json", "rb") as file:  # noqa: PTH123  # the planted bug
        return str(len(file.read()))


def test_what_the_guard_refuses_is_an_ambient_finding() -> None:
    """A file read in a workflow is a finding of its own, not a run that happens to be stuck."""
    [violation] = found(subject_of(reads_a_file))
    assert signature([violation]) == [("ambient", "error", "WF023")]


@step(retry=Retry(max_attempts=None))
async def stubborn() -> None:
    await shop.get().call("stubborn")


@workflow
async def goes_on_for_ever() -> None:
    await stubborn()


def test_a_way_that_faults_open_may_wait_for_a_person() -> None:
    """Asking a person after a failure is an answer, and no run that hangs."""

    @workflow
    async def asks_a_person() -> str:
        try:
            await charge(1)
        except Exception:  # noqa: BLE001  # whatever it was, a person decides
            return await wait_signal(reply)
        return "ok"

    violations = found(subject_of(asks_a_person), "fatal@1:call.before:charge")
    assert ("liveness", "info", "reply") in signature(violations)
    assert all(each.severity == "info" for each in violations)


def test_a_subject_without_world_is_judged_as_well() -> None:
    """The first call of `verify` has nothing but a workflow."""

    @step
    async def nothing() -> None:
        """It does nothing."""

    @workflow
    async def plain() -> None:
        await nothing()

    assert found(Subject(plain), "cancel@1:step.before:nothing") == []


async def answers_next_year(run: Any, world: Any) -> None:
    await asyncio.sleep(390 * 86_400)
    await run.send(reply, "yes")


@workflow
async def waits_for_a_year() -> str:
    answer = await wait_signal(reply)
    await sleep("9 days")
    return answer


def test_a_long_run_may_take_ten_times_as_long() -> None:
    """What nearly takes 400 days by itself is not said to have no end when something comes a week late."""
    assert found(subject_of(waits_for_a_year, script=answers_next_year), "late@1:delivery:reply") == []


@workflow
async def goes_on_when_refused() -> None:
    await sleep("100 days")
    try:
        await charge(1)
    except Exception:  # noqa: BLE001  # however it is refused
        while True:
            await sleep("1 day")


def test_what_never_ends_is_looked_at_for_ten_times_as_long() -> None:
    """And said to have no end after that."""
    [violation] = found(subject_of(goes_on_when_refused), "fatal@2:call.before:charge")
    assert signature([violation]) == [("liveness", "error", "end")]
    assert "it had not come to rest after 1000 days" in violation.title
    assert found(subject_of(goes_on_when_refused, until=200 * 86_400_000_000), "fatal@2:call.before:charge") == []
