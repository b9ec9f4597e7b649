"""Signals: typed facts from outside."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import UNSET, Raw

from tests.laws.driver import EPOCH, SECOND, Puppet
from wfkit.api.definitions import step, workflow
from wfkit.api.primitives import now, sleep
from wfkit.api.signals import Signal, publish, send, subscribe, wait_any, wait_signal
from wfkit.core.commands import AwaitSignal, CancelTimer, PublishSignal, SendSignal, StartTimer, StopAwaiting, Subscribe
from wfkit.core.matching import Arrived
from wfkit.errors import CodecError, DefinitionError, WorkflowLoopError

paid = Signal("paid", int)
packed = Signal("packed", dict[str, str])
stop = Signal("stop", str)


@step
async def note(text: str) -> str:
    return text


@workflow
async def takes_one() -> int:
    return await wait_signal(paid)


def test_a_wait_takes_what_comes() -> None:
    """It opens in the journal, and closes with the number of the entry that it took."""
    run = Puppet(takes_one)
    assert run.commands == [AwaitSignal(1, "paid", UNSET)]
    assert run.send("paid", 5)[0] == StopAwaiting(1, took=2)
    assert run.result == 5


@workflow
async def takes_three_later() -> list[int]:
    await note("first")
    return [await wait_signal(paid) for _ in range(3)]


def test_what_was_sent_before_the_wait_is_not_lost() -> None:
    """It is taken first, in the order in which it came."""
    run = Puppet(takes_three_later)
    for payload in (1, 2):
        assert run.send("paid", payload) == ()
    taken = run.complete(note)
    assert [command.took for command in taken if isinstance(command, StopAwaiting)] == [2, 3]
    run.send("paid", 3)
    assert run.result == [1, 2, 3]


def test_other_signals_stay_for_other_waits() -> None:
    """Each name has its own queue."""

    @workflow
    async def crosswise() -> list[Any]:
        return [await wait_signal(paid), await wait_signal(stop), await wait_signal("odd")]

    run = Puppet(crosswise)
    run.send("odd", {"any": ["thing"]})
    run.send("stop", "now")
    run.send("paid", 1)
    assert run.result == [1, "now", {"any": ["thing"]}]


def test_where_takes_what_has_equal_fields() -> None:
    """Others stay, in their order, for waits that want them."""

    @workflow
    async def picks() -> list[dict[str, str]]:
        second = await wait_signal(packed, where={"id": "b"})
        return [second, await wait_signal(packed)]

    run = Puppet(picks)
    assert run.commands == [AwaitSignal(1, "packed", Raw(b'{"id":"b"}'))]
    run.send("packed", {"id": "a"})
    run.send("packed", {"id": "b"})
    assert run.result == [{"id": "b"}, {"id": "a"}]


@workflow
async def waits_a_minute() -> str:
    try:
        return str(await wait_signal(paid, timeout="1m"))
    except TimeoutError:
        return "late"


def test_a_wait_ends_with_its_timeout() -> None:
    """As a TimeoutError; the wait is closed and took nothing."""
    run = Puppet(waits_a_minute)
    assert run.commands == [AwaitSignal(1, "paid"), StartTimer(2, 60 * SECOND)]
    assert run.fire()[0] == StopAwaiting(1)
    assert run.result == "late"


def test_a_signal_in_time_cancels_the_timer() -> None:
    """And the wait is closed with what it took."""
    run = Puppet(waits_a_minute)
    assert run.send("paid", 5)[:2] == (CancelTimer(2), StopAwaiting(1, took=2))
    assert run.result == "5"


def test_a_signal_that_arrived_before_the_deadline_wins() -> None:
    """However late the run is told: it was in the inbox while the engine was down."""
    run = Puppet(waits_a_minute)
    run.now += 3600 * SECOND
    run.send("paid", 5, arrived=EPOCH + 60 * SECOND)
    assert run.result == "5"


def test_a_signal_that_arrived_after_the_deadline_does_not_win() -> None:
    """Though the timer has not fired yet; it stays for the next wait."""

    @workflow
    async def twice() -> list[str]:
        return [await waits_a_minute.fn(), str(await wait_signal(paid))]

    run = Puppet(twice)
    run.now += 3600 * SECOND
    run.send("paid", 5, arrived=EPOCH + 60 * SECOND + 1)
    assert not run.machine.ended
    run.fire()
    assert run.result == ["late", "5"]


def test_a_timeout_may_be_a_point_in_time() -> None:
    """An aware datetime; the timer is set for the rest of the time."""

    @workflow
    async def until() -> int:
        return await wait_signal(paid, timeout=now() + timedelta(seconds=90))

    run = Puppet(until)
    assert run.commands[1] == StartTimer(2, 90 * SECOND)
    run.machine.evict()


@pytest.mark.parametrize("timeout", [0, datetime(2020, 1, 1, tzinfo=UTC)])
def test_a_deadline_that_has_passed_still_takes_what_is_there(timeout: Any) -> None:
    """It waits for nothing, and needs no timer."""

    @workflow
    async def looks() -> list[str]:
        out = []
        await note("x")
        for _ in range(2):
            try:
                out.append(str(await wait_signal(paid, timeout=timeout)))
            except TimeoutError:
                out.append("nothing")
        return out

    run = Puppet(looks)
    run.send("paid", 1)
    commands = run.complete(note)
    assert run.result == ["1", "nothing"]
    assert not any(isinstance(command, StartTimer) for command in commands)


def test_a_point_in_time_needs_its_zone() -> None:
    """A naive one means something else on each machine."""

    @workflow
    async def naive() -> None:
        await wait_signal(paid, timeout=datetime(2030, 1, 1))  # noqa: DTZ001  # this is the point

    assert "without a time zone" in Puppet(naive).failure.message


def test_a_signal_handed_to_a_waiter_that_is_cancelled_reaches_the_next() -> None:
    """The waiter got it and was cancelled before it could run: the value goes on in the same activation."""

    @workflow
    async def races() -> list[Any]:
        first = asyncio.create_task(wait_signal(paid), name="first")
        second = asyncio.create_task(wait_signal(paid), name="second")
        await asyncio.sleep(0)
        machine = asyncio.get_running_loop().timers  # type: ignore[attr-defined]  # what an entry does, in between
        machine.signal_buffer().deliver(arrived)
        first.cancel()
        return [await second, first.cancelled()]

    arrived = Arrived(1, "paid", Raw(b"7"), EPOCH)
    run = Puppet(races)
    assert run.result == [7, True]
    assert [command for command in run.commands if isinstance(command, StopAwaiting)] == [
        StopAwaiting(1),
        StopAwaiting(2, took=1),
    ]


def test_a_signal_handed_to_a_waiter_that_is_cancelled_goes_back_to_the_front() -> None:
    """Nobody else waits: the next wait takes it, before what came later."""

    @workflow
    async def races() -> list[Any]:
        first = asyncio.create_task(wait_signal(paid))
        await asyncio.sleep(0)
        machine = asyncio.get_running_loop().timers  # type: ignore[attr-defined]  # as above
        for payload in (b"7", b"8"):
            machine.signal_buffer().deliver(Arrived(1, "paid", Raw(payload), EPOCH))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return [await wait_signal(paid), await wait_signal(paid)]

    assert Puppet(races).result == [7, 8]


def test_a_cancelled_wait_takes_nothing() -> None:
    """What comes afterwards is for the others."""

    @workflow
    async def gives_up() -> int:
        first = asyncio.create_task(wait_signal(paid, timeout="1h"))
        await note("x")
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        return await wait_signal(paid)

    run = Puppet(gives_up)
    run.complete(note)
    run.send("paid", 3)
    assert run.result == 3


def test_waits_are_served_in_the_order_in_which_they_began() -> None:
    """One signal, one taker."""

    @workflow
    async def three() -> list[int]:
        return list(await asyncio.gather(*(wait_signal(paid) for _ in range(3))))

    run = Puppet(three)
    for payload in (5, 6, 7):
        run.send("paid", payload)
    assert run.result == [5, 6, 7]


@workflow
async def takes_any() -> list[Any]:
    out: list[Any] = []
    while len(out) < 3:
        got = await wait_any(paid, stop, timeout="1 day")
        if paid.came(got):
            out.append(got.value + 1)
        elif stop.came(got):
            out.append(got.value.upper())
    return out


def test_wait_any_tells_which_one_came() -> None:
    """One is taken, and all of its waits are closed."""
    run = Puppet(takes_any)
    commands = run.send("stop", "no")
    assert commands[:3] == (CancelTimer(3), StopAwaiting(1), StopAwaiting(2, took=2))
    run.send("paid", 1)
    run.send("paid", 2)
    assert run.result == ["NO", 2, 3]


def test_wait_any_takes_what_came_first() -> None:
    """Not the one that is named first."""

    @workflow
    async def later() -> list[str]:
        await note("x")
        return [(await wait_any(paid, stop)).source.name for _ in range(3)]

    run = Puppet(later)
    for name, payload in (("stop", "a"), ("paid", 1), ("stop", "b")):
        run.send(name, payload)
    run.complete(note)
    assert run.result == ["stop", "paid", "stop"]


def test_wait_any_ends_with_its_timeout() -> None:
    """All of its waits are closed."""

    @workflow
    async def gives_up() -> str:
        try:
            await wait_any(paid, stop, timeout="1m")
        except TimeoutError:
            return "late"
        return "came"

    run = Puppet(gives_up)
    assert run.fire()[:2] == (StopAwaiting(1), StopAwaiting(2))
    assert run.result == "late"


def test_a_subscription_is_open_for_its_block() -> None:
    """Also when the block is left by an error."""

    @workflow
    async def listens() -> None:
        with subscribe(packed, where={"id": "a"}):
            await note("inside")

    run = Puppet(listens)
    assert run.commands[0] == Subscribe(1, "packed", Raw(b'{"id":"a"}'))
    assert run.fail(note, error=ValueError("x"))[0] == StopAwaiting(1)
    assert run.failure.type == "ValueError"


def test_a_signal_goes_to_a_valid_run_id() -> None:
    """What can name no run is a mistake of the code: it blocks the run, and no signal is lost."""

    @workflow
    async def sends() -> None:
        send("run 2", paid, 5)

    with pytest.raises(DefinitionError, match="'run 2' is no run id"):
        Puppet(sends)


def test_sending_is_a_command_that_nobody_awaits() -> None:
    """Typed payloads are checked, untyped ones travel as they are."""

    @workflow
    async def sends() -> None:
        send("run-2", paid, 5)
        send("run-2", "odd", {"a": {1}})
        publish(stop, "now")
        publish("odd", None)

    assert Puppet(sends).commands[:4] == [
        SendSignal(1, "run-2", "paid", Raw(b"5")),
        SendSignal(2, "run-2", "odd", Raw(b'{"a":[1]}')),
        PublishSignal(3, "stop", Raw(b'"now"')),
        PublishSignal(4, "odd", Raw(b"null")),
    ]


def test_a_payload_that_does_not_fit_blocks_the_run() -> None:
    """Whether it is sent or received: only an edit mends that."""

    @workflow
    async def sends() -> None:
        send("run-2", paid, "five")  # type: ignore[misc]  # this is the point

    with pytest.raises(CodecError, match="is not the int"):
        Puppet(sends)
    with pytest.raises(CodecError, match="signal 'paid' came with a payload of the wrong type: expected `int`"):
        Puppet(takes_one).send("paid", "five")


@pytest.mark.parametrize(
    "use",
    [lambda: send("r", paid, 1), lambda: publish(paid, 1), lambda: subscribe(paid).__enter__()],
    ids=["send", "publish", "subscribe"],
)
def test_outside_of_a_workflow_there_is_nothing_to_wait_or_send(use: Any) -> None:
    """A client or the engine sends from there."""
    with pytest.raises(WorkflowLoopError, match="only possible in workflow code"):
        use()


def test_a_signal_needs_a_name_and_a_type_that_travels() -> None:
    """It fails at its definition."""
    with pytest.raises(DefinitionError, match="needs a name"):
        Signal("", int)
    with pytest.raises(CodecError, match="cannot travel"):
        Signal("s", RuntimeError)


def test_a_class_is_no_signal() -> None:
    """It is often written so; the error shows the right form."""
    with pytest.raises(DefinitionError, match=r"class Packed\(Signal\) makes no signal") as caught:
        type("Packed", (Signal,), {})
    assert 'packed = Signal("packed", Packed)' in caught.value.help


def test_a_timeout_that_is_no_duration_is_refused_before_anything_is_asked() -> None:
    """The run fails with the ValueError, and no wait is left open."""

    @workflow
    async def odd() -> None:
        await wait_signal(paid, timeout="soon")

    run = Puppet(odd)
    assert run.failure.type == "ValueError"
    assert len(run.commands) == 1


def test_a_wait_in_the_background_does_not_keep_a_run() -> None:
    """A watcher beside the main line is a fine pattern."""

    @workflow
    async def watched() -> str:
        watcher = asyncio.create_task(wait_signal(stop))
        await sleep("1s")
        return str(watcher.done())

    run = Puppet(watched)
    run.fire()
    assert run.result == "False"
