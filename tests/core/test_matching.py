"""Which signal goes to which wait."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from wfkit.core.loop import RunLoop, TimerHandle
from wfkit.core.matching import Arrived, SignalBuffer, Wait, Wanted, matches


class NoTimers:
    def start_timer(self, handle: TimerHandle, delay: int) -> None:
        raise AssertionError

    def cancel_timer(self, handle: TimerHandle) -> None:
        raise AssertionError


@pytest.fixture
def loop() -> RunLoop:
    """A run's loop; a future without callbacks needs no activation."""
    return RunLoop(NoTimers())  # type: ignore[abstract]  # the missing methods are set below the class


def wait_for(loop: RunLoop, *names: str, where: dict[str, object] | None = None, deadline: int | None = None) -> Wait:
    return Wait(loop=loop, wanted=tuple(Wanted(n, name, where) for n, name in enumerate(names, 1)), deadline=deadline)


def signal(seq: int, name: str = "s", payload: object = None, arrived: int = 0) -> Arrived:
    return Arrived(seq, name, Raw(json.dumps(payload).encode()), arrived)


def unread(buffer: SignalBuffer) -> list[Arrived]:
    """Return the signals that nobody has taken, oldest first."""
    return list(buffer._signals)


def test_signals_are_taken_in_the_order_of_their_arrival(loop: RunLoop) -> None:
    """First in, first out, by name."""
    buffer = SignalBuffer()
    for seq, name in enumerate(["s", "other", "s"], 1):
        buffer.deliver(signal(seq, name))
    first, second = wait_for(loop, "s"), wait_for(loop, "s")
    buffer.register(first)
    buffer.register(second)
    assert (first.result().seq, second.result().seq) == (1, 3)
    assert [kept.seq for kept in unread(buffer)] == [2]


def test_waits_are_served_in_the_order_of_their_registration(loop: RunLoop) -> None:
    """And each signal has one taker."""
    buffer = SignalBuffer()
    first, second = wait_for(loop, "s"), wait_for(loop, "s")
    buffer.register(first)
    buffer.register(second)
    buffer.deliver(signal(1))
    assert (first.done(), second.done()) == (True, False)
    buffer.deliver(signal(2))
    assert second.result().seq == 2


def test_a_wait_leaves_what_it_does_not_want(loop: RunLoop) -> None:
    """Another wait behind it may take it."""
    buffer = SignalBuffer()
    picky, easy = wait_for(loop, "s", where={"id": 1}), wait_for(loop, "s")
    buffer.register(picky)
    buffer.register(easy)
    buffer.deliver(signal(1, payload={"id": 2}))
    buffer.deliver(signal(2, payload={"id": 1}))
    assert (picky.result().seq, easy.result().seq) == (2, 1)


def test_a_signal_of_a_withdrawn_wait_goes_back_to_the_front(loop: RunLoop) -> None:
    """Before those that came later."""
    buffer = SignalBuffer()
    wait = wait_for(loop, "s")
    buffer.register(wait)
    buffer.deliver(signal(1))
    buffer.deliver(signal(2))
    buffer.withdraw(wait)
    assert [kept.seq for kept in unread(buffer)] == [1, 2]


def test_a_signal_of_a_withdrawn_wait_reaches_the_next_one(loop: RunLoop) -> None:
    """It is not kept while somebody waits for it."""
    buffer = SignalBuffer()
    first, second = wait_for(loop, "s"), wait_for(loop, "s")
    buffer.register(first)
    buffer.register(second)
    buffer.deliver(signal(1))
    buffer.withdraw(first)
    assert second.result().seq == 1
    assert unread(buffer) == []


def test_a_signal_handed_on_still_has_to_be_in_time(loop: RunLoop) -> None:
    """A wait whose deadline was before its arrival does not get it by this way either."""
    buffer = SignalBuffer()
    first, expired = wait_for(loop, "s"), wait_for(loop, "s", deadline=10)
    buffer.register(first)
    buffer.register(expired)
    buffer.deliver(signal(1, arrived=11))
    buffer.withdraw(first)
    assert not expired.done()
    assert [kept.seq for kept in unread(buffer)] == [1]


def test_a_signal_is_not_handed_to_a_wait_that_is_done(loop: RunLoop) -> None:
    """One that timed out in this activation, and has not gone away yet."""
    buffer = SignalBuffer()
    done, open_ = wait_for(loop, "s"), wait_for(loop, "s")
    buffer.register(done)
    buffer.register(open_)
    done.cancel()
    buffer.deliver(signal(1))
    assert open_.result().seq == 1


@pytest.mark.parametrize(("arrived", "taken"), [(9, True), (10, True), (11, False)])
def test_what_arrived_by_the_deadline_wins(loop: RunLoop, arrived: int, taken: bool) -> None:
    """Its arrival counts, not when it is looked at."""
    buffer = SignalBuffer()
    wait = wait_for(loop, "s", deadline=10)
    buffer.register(wait)
    buffer.deliver(signal(1, arrived=arrived))
    assert wait.done() is taken
    assert len(unread(buffer)) == (0 if taken else 1)


def test_a_wait_for_several_takes_the_first_that_comes(loop: RunLoop) -> None:
    """And leaves the others."""
    buffer = SignalBuffer()
    for seq, name in enumerate(["c", "b", "a"], 1):
        buffer.deliver(signal(seq, name))
    wait = wait_for(loop, "a", "b")
    buffer.register(wait)
    assert wait.result().name == "b"
    assert [kept.name for kept in unread(buffer)] == ["c", "a"]


@pytest.mark.parametrize(
    ("where", "payload", "fits"),
    [
        (None, 1, True),
        ({}, None, True),
        ({"id": 1}, {"id": 1, "more": 2}, True),
        ({"id": 1}, {"id": 2}, False),
        ({"id": 1}, {}, False),
        ({"id": 1}, [1], False),
        ({"id": None}, {}, False),
        ({"id": None}, {"id": None}, True),
        ({"id": 1}, {"id": True}, False),
        ({"id": True}, {"id": True}, True),
        ({"id": 1}, {"id": 1.0}, True),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ],
)
def test_where_compares_fields_as_json(where: dict[str, object] | None, payload: object, fits: bool) -> None:
    """All of them, each equal."""
    assert matches(where, Raw(json.dumps(payload).encode())) is fits


@given(st.lists(st.tuples(st.sampled_from("dww x"), st.sampled_from("ab")), max_size=30))
def test_no_signal_is_lost_and_none_is_taken_twice(acts: list[tuple[str, str]]) -> None:
    """Whatever comes and goes, in whatever order."""
    loop = RunLoop(NoTimers())  # type: ignore[abstract]  # as above
    buffer = SignalBuffer()
    waits: list[Wait] = []
    withdrawn: list[Wait] = []
    delivered = 0
    for act, name in acts:
        match act:
            case "d":
                delivered += 1
                buffer.deliver(signal(delivered, name))
            case "w":
                waits.append(wait_for(loop, name))
                buffer.register(waits[-1])
            case _ if waits:
                withdrawn.append(waits.pop(0))
                buffer.withdraw(withdrawn[-1])
            case _:
                pass
    taken = [wait.result().seq for wait in waits if wait.done()]
    kept = [left.seq for left in unread(buffer)]
    assert sorted(taken + kept) == list(range(1, delivered + 1))
    for name in "ab":
        of_name = [left.seq for left in unread(buffer) if left.name == name]
        assert not of_name or all(wait.done() for wait in waits if wait.wanted[0].name == name)
