"""Runs that do not end, and runs that are blocked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.sim import judging
from tests.sim.judging import ask, charge, found, note, shop, store, subject_of
from wfkit import Retry, Signal, Workflow, info, saga, sleep, step, timeout, undoes, wait_any, wait_signal, workflow
from wfkit.sim.findings import Violation
from wfkit.sim.subject import Instance, Subject

reply = Signal("reply", str)
bill = Signal("bill", dict[str, str])
amount, stop = Signal("amount", int), Signal("stop", str)


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


@workflow
async def times_out() -> str:
    async with timeout("1h"):
        return await wait_signal(reply)


async def silence(run: Any, world: Any) -> None:
    """Nobody says anything, and that is meant."""


def test_a_campaign_proves_nothing_of_what_follows_a_signal_that_nobody_sends() -> None:
    """One that ends in a timeout has not tried the way on, unless a script says that silence is meant."""
    [violation] = found(subject_of(waits_in_vain))
    assert signature([violation]) == [("liveness", "warning", "reply")]
    assert violation.title == "nothing is proved of what follows reply: nobody sends it"
    assert "verify(..., script=script)" in violation.fix
    assert "--world" in violation.fix
    assert found(subject_of(waits_in_vain, script=silence)) == []


@workflow
async def waits_where() -> str:
    return str(await wait_signal(bill, where={"order": "o1"}))


@workflow
async def adds_up() -> int:
    seen: set[int] = set()
    while sum(seen) < 100:
        seen.add(await wait_signal(amount))
    return sum(seen)


@workflow
async def awaits_one_that_waits() -> str:
    return await waits()


@workflow
async def serves() -> None:
    while True:
        await wait_signal(amount)


@workflow
async def serves_until_told() -> None:
    while True:
        if stop.came(await wait_any(amount, stop)):
            break


def sends(*signals: tuple[Signal[Any], Any]) -> Any:
    async def script(run: Any, world: Any) -> None:
        for signal, payload in signals:
            await run.send(signal, payload)

    return script


@pytest.mark.parametrize(
    ("workflow", "script", "told"),
    [
        (waits, sends((Signal("replay", str), "yes")), "waits waits for reply for ever; unread: replay once"),
        (waits, silence, "waits waits for reply for ever"),
        (waits_where, sends((bill, {"order": "1"})), "waits_where waits for bill for ever; unread: bill once"),
        (adds_up, sends((amount, 50), (amount, 50)), "adds_up waits for amount for ever"),
        (awaits_one_that_waits, silence, "awaits_one_that_waits waits for waits, which waits for reply for ever"),
        (serves_until_told, sends((amount, 1)), "serves_until_told waits for amount and stop for ever"),
    ],
)
def test_a_run_that_never_ends_without_any_fault_proves_nothing(workflow: Workflow[..., Any], script: Any, told: str) -> None:
    """It is named what it waits for, and what nobody reads: a wrong name, a condition that nothing fits."""
    [violation] = found(subject_of(workflow, script=script))
    assert (violation.severity, violation.title) == ("warning", f"proves nothing: without any fault {told}")
    assert found(subject_of(workflow, script=script, until=86_400_000_000)) == []


def test_a_loop_without_an_end_is_meant() -> None:
    """A server waits for the next request: nothing in its code comes after that."""
    assert found(subject_of(serves, script=sends((amount, 1)))) == []


@workflow
async def gets_what_is_no_json() -> None:
    await makes_a_thing()


@step
async def makes_a_thing() -> Any:
    return object()


@step
async def fails() -> None:
    raise LookupError("no such account")


@workflow
async def always_fails() -> None:
    await fails()


@step
async def breaks() -> str:
    return {"ann": "4711"}["bob"]


@workflow
async def always_breaks() -> str:
    return await breaks()


@pytest.mark.parametrize(
    ("workflow", "world", "severity", "told"),
    [
        (always_fails, judging.World, "info", "fails: LookupError: no such account"),
        (always_fails, None, "warning", "fails: LookupError: no such account"),
        (always_breaks, judging.World, "warning", "fails: KeyError: 'bob'"),
        (gets_what_is_no_json, judging.World, "warning", "fails: CodecError: "),
        (times_out, judging.World, "warning", "fails: TimeoutError; nobody sends reply"),
    ],
    ids=["refused", "no world", "breaks", "no JSON", "nobody sends"],
)
def test_a_run_that_fails_without_any_fault_proves_nothing(
    workflow: Workflow[..., Any], world: Any, severity: str, told: str
) -> None:
    """A world may refuse what is asked of it, to see how that is dealt with; all else is no test of the workflow."""
    resources = judging.RESOURCES if world is not None else ()
    [violation] = found(subject_of(workflow, world=world, resources=resources))
    assert (violation.oracle, violation.severity) == ("liveness", severity)
    assert violation.title.startswith(f"proves nothing: without any fault {workflow.name} {told}")


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


# -- what goes on for long ----------------------------------------------------------------------------------------------


@step(retry=Retry(max_attempts=None, initial="5s", max_interval="5s"))
async def lock(who: str) -> None:
    if not await store.get().compare_and_set("lock", None, who) and await store.get().get("lock") != who:
        raise ConnectionError("taken")


@step(retry=Retry(max_attempts=None))
async def unlock(who: str) -> None:
    await store.get().compare_and_set("lock", who, None)


@workflow
async def locked() -> None:
    await lock(info().id)
    await note("mine")
    await sleep("10m")
    await unlock(info().id)


@workflow
async def never_unlocked() -> None:
    await lock(info().id)
    await note("mine")


@workflow
async def waits_for_a_report() -> None:
    await is_ready()


@step(retry=Retry(max_attempts=None, initial="1s", max_interval="1s"))
async def is_ready() -> None:
    if not await store.get().get("report"):
        raise ConnectionError("not yet")


async def makes_it_ready(run: Any, world: judging.World) -> None:
    await asyncio.sleep(200)
    world.store.state["report"] = True


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wfkit.sim.endless.IN_VAIN_MAX", 50)


@pytest.mark.usefixtures("impatient")
def test_a_step_may_wait_by_failing_as_long_as_something_else_goes_on() -> None:
    """Many attempts are no proof that it is in vain: the lock is still to be given back, the report to be made."""
    subject = subject_of(locked, id="a", runs=(Instance(locked, id="b", at=1),))
    assert found(subject) == []
    assert found(subject_of(waits_for_a_report, script=makes_it_ready)) == []


@pytest.mark.usefixtures("impatient")
def test_a_step_that_waits_by_failing_for_what_nobody_does_is_in_vain() -> None:
    """Nothing else goes on, so time will not mend it."""
    [violation] = found(subject_of(never_unlocked, id="a", runs=(Instance(never_unlocked, id="b", at=1),)))
    assert signature([violation]) == [("liveness", "error", "lock")]
    assert violation.title == "lock fails for ever: ConnectionError: taken"


@step(retry=Retry(max_attempts=None))
async def misreads_its_answer() -> None:
    int(await ask("note", what="a lamp"))


@workflow
async def understands_nothing() -> None:
    await misreads_its_answer()


@pytest.mark.usefixtures("impatient")
def test_a_step_that_fails_although_it_is_answered_is_in_vain() -> None:
    """No service has to heal for that, so it is seen as soon as for a step that asks nobody."""
    [violation] = found(subject_of(understands_nothing))
    assert violation.title.startswith("misreads_its_answer fails for ever: ValueError: ")
    assert violation.evidence == ("this run: 51 attempts, and no end",)


@step
async def makes_folder() -> None:
    await store.get().put("folder", 0)


@step(undoes=makes_folder)
async def removes_folder() -> None:
    if await store.get().get("folder"):
        raise OSError("not empty")


@step
async def adds_file() -> None:
    await store.get().put("folder", 1)
    await ask("note", what="a file")


@step(undoes=adds_file, retry=Retry(max_attempts=4))
async def removes_file() -> None:
    await ask("forget", what="a file")
    await store.get().put("folder", 0)


@workflow
async def fills_a_folder() -> None:
    async with saga() as s:
        await s.do(makes_folder, undo=removes_folder)
        await s.do(adds_file, undo=removes_file)
        raise RuntimeError("in vain")


def test_an_undo_that_is_refused_for_good_may_keep_others_from_their_end() -> None:
    """Somebody has to look after it anyway."""
    assert found(subject_of(fills_a_folder), "fatal@3:comp.call.before:forget") == []


class Refused(Exception): ...


@step(raises=(Refused,), retry=Retry(max_attempts=2, non_retryable=(Refused,)))
async def submit() -> None:
    await ask("submit")


class OneToken(judging.World):
    """Takes each token once: whoever lost the answer is refused for ever."""

    def __init__(self) -> None:
        super().__init__()

        @self.shop.on("submit")
        def submit(state: dict[str, Any]) -> str:
            state["submitted"] = state.get("submitted", 0) + 1
            if state["submitted"] > 1:
                raise Refused("the token was used")
            return "in"


@workflow
async def submits_until_it_works() -> None:
    while True:
        try:
            return await submit()
        except Exception:  # noqa: BLE001  # the planted bug
            await sleep("1m")


def test_a_loop_that_gets_nowhere_is_ended_and_told_with_what_it_repeats() -> None:
    """It needs no 400 days to see that, nor twenty thousand records."""
    subject = subject_of(submits_until_it_works, world=OneToken)
    [violation] = found(subject, "fail@1:call.before:submit", "lost_ack@1:call.after:submit")
    assert signature([violation]) == [("liveness", "error", "end")]
    assert "it goes round in circles" in violation.title
    assert "which last failed with Refused: the token was used" in violation.evidence[0]
    assert "count its turns" in violation.fix
