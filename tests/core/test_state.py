"""What a run's records add up to. That any prefix may be stored and caught up is a law: tests/laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from wfkit.core.commands import (
    AwaitSignal,
    CancelChild,
    CancelRun,
    CancelStep,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    RegisterUndo,
    ReleaseUndos,
    RetryPolicy,
    RunStep,
    SetState,
    StartChild,
    StartTimer,
    StopAwaiting,
    Subscribe,
)
from wfkit.core.entries import (
    Activated,
    ActivationStarted,
    AttemptFailed,
    AttemptStarted,
    Blocked,
    CancelRequested,
    Entry,
    Record,
    RunStarted,
    RunTerminated,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    Unblocked,
)
from wfkit.core.state import (
    DEDUPE_MAX,
    PendingChild,
    PendingStep,
    PendingTimer,
    PendingWait,
    RunState,
    decode_state,
    encode_state,
)
from wfkit.errors import InternalError

ERROR = Failure("ValueError", "x")
STARTED = RunStarted(t=100, id="run-1", workflow="w", args=Raw(b"[]"), seed="00", timeout=1_000)


def run_step(n: int, *, retry: RetryPolicy = RetryPolicy(), compensation: bool = False) -> RunStep:  # noqa: B008  # frozen
    return RunStep(n, "charge", Raw(b"[]"), "key", retry, compensation=compensation)


def folded(*records: Record | Entry) -> RunState:
    """Fold records; an entry alone stands for bookkeeping, or for one that waits in the inbox."""
    state = RunState(7)
    for record in records:
        state.apply(record if isinstance(record, Record) else Record(record))
    return state


def started(*commands: Command) -> Record:
    return Record(STARTED, commands)


def test_a_start_names_the_run() -> None:
    """And its deadline counts from it."""
    state = folded(started())
    assert (state.id, state.workflow, state.status, state.seq, state.started, state.updated) == (
        "run-1",
        "w",
        "running",
        1,
        100,
        100,
    )
    assert (state.deadline, state.wake_at) == (1_100, 1_100)


def test_what_is_opened_is_open_until_its_outcome() -> None:
    """Each by the number of its command."""
    opening = (run_step(1), StartTimer(2, 50), AwaitSignal(3, "s"), Subscribe(4, "p"), StartChild(5, "w2", "c", Raw(b"[]")))
    state = folded(started(*opening))
    assert [type(pending) for pending in state.open.values()] == [
        PendingStep,
        PendingTimer,
        PendingWait,
        PendingWait,
        PendingChild,
    ]
    assert state.open[2] == PendingTimer(due=150, since=100)
    state.apply(Record(StepCompleted(t=110, n=1, value=Raw(b"1")), (StopAwaiting(3, took=2), CancelChild(5))))
    assert sorted(state.open) == [2, 4, 5]
    child = state.open[5]
    assert isinstance(child, PendingChild)
    assert child.cancelled
    state.apply(Record(TimerFired(t=150, n=2), (StopAwaiting(4),)))
    assert sorted(state.open) == [5]


def test_a_cancelled_step_is_closed_unless_its_end_is_awaited() -> None:
    """A saga waits for the end of its own steps."""
    state = folded(
        started(run_step(1), run_step(2), StartTimer(3, 1), CancelStep(1), CancelStep(2, awaited=True), CancelTimer(3))
    )
    assert sorted(state.open) == [2]
    step = state.open[2]
    assert isinstance(step, PendingStep)
    assert step.cancelled


@pytest.mark.parametrize(
    ("commands", "detail"),
    [
        ((run_step(1), StartTimer(2, 1)), "running"),
        ((StartTimer(1, 1),), "waiting"),
        ((AwaitSignal(1, "s"),), "waiting"),
        ((), "running"),
        ((run_step(1), run_step(2, compensation=True)), "compensating"),
    ],
)
def test_running_says_what_it_means(commands: tuple[Command, ...], detail: str) -> None:
    """Waiting, running, compensating."""
    assert folded(started(*commands)).detail == detail


def test_a_failed_attempt_waits_for_the_next() -> None:
    """The run is retrying, and due when the attempt is."""
    state = folded(started(run_step(1)), AttemptFailed(t=200, n=1, attempt=1, error=ERROR, due=900))
    step = state.open[1]
    assert isinstance(step, PendingStep)
    assert (step.attempt, step.due, step.error) == (2, 900, ERROR)
    assert (state.detail, state.wake_at) == ("retrying", 900)
    state.apply(Record(AttemptStarted(t=900, n=1, attempt=2)))
    assert (step.due, step.started, state.detail) == (None, True, "running")


def test_a_death_counts_apart_from_the_policy() -> None:
    """The deaths in a row are counted until an attempt fails by itself; a process that was stopped is no death."""

    def lost(attempt: int, error: str) -> AttemptFailed:
        return AttemptFailed(t=200, n=1, attempt=attempt, error=Failure(error), due=200, died=True)

    state = folded(started(run_step(1)), lost(1, "WorkerDied"), lost(2, "WorkerDied"), lost(3, "WorkerStopped"))
    step = state.open[1]
    assert isinstance(step, PendingStep)
    assert (step.attempt, step.deaths, step.uncounted) == (4, 2, 3)
    state.apply(Record(AttemptFailed(t=300, n=1, attempt=4, error=ERROR, due=400)))
    assert (step.attempt, step.deaths, step.uncounted) == (5, 0, 3)
    assert (step.command.retry.max_attempts, step.attempts_max) == (4, 7)


@pytest.mark.parametrize(("attempt", "attention"), [(9, False), (10, True)])
def test_a_step_without_end_asks_for_attention(attempt: int, attention: bool) -> None:
    """Once it has failed so often."""
    endless = run_step(1, retry=RetryPolicy(max_attempts=None, attention_after=10))
    state = folded(started(endless), AttemptFailed(t=200, n=1, attempt=attempt, error=ERROR, due=900))
    assert state.attention is attention


def test_bookkeeping_of_a_step_that_is_gone_is_ignored() -> None:
    """An attempt may fail after its step was cancelled."""
    state = folded(started(run_step(1), CancelStep(1)), AttemptFailed(t=1, n=1, attempt=1, error=ERROR, due=2))
    state.apply(Record(AttemptStarted(t=1, n=1, attempt=2)))
    assert state.open == {}


def test_the_inbox_is_activated_in_its_order() -> None:
    """Out of order is our own bug, not the user's."""
    signal = SignalReceived(t=110, name="s", payload=Raw(b"1"), arrived=110)
    state = folded(started(AwaitSignal(1, "s")), signal, signal)
    assert state.inbox == [2, 3]
    with pytest.raises(InternalError, match=r"entry 3 was activated out of the inbox's order \[2, 3\]"):
        state.apply(Record(Activated(t=120, of=3), ()))
    state = folded(started(AwaitSignal(1, "s")), signal, signal)
    state.apply(Record(Activated(t=120, of=2), (StopAwaiting(1, took=2), StartTimer(2, 10))))
    assert state.inbox == [3]
    assert sorted(state.open) == [2]


def test_activations_that_killed_the_process_are_counted() -> None:
    """Until one succeeds, or an operator unblocks the run."""
    begun = ActivationStarted(t=110, of=2)
    state = folded(started(), CancelRequested(t=105), begun, begun)
    assert state.activations == 2
    state.apply(Record(Activated(t=120, of=2), ()))
    assert state.activations == 0
    assert folded(started(), CancelRequested(t=105), begun, Unblocked(t=120)).activations == 0


def test_a_blocked_run_keeps_all_that_it_waits_for() -> None:
    """And is unfinished; unblocked, it goes on as it was."""
    blocked = Blocked(t=120, at=2, cause=ERROR, code="WF029")
    state = folded(started(run_step(1)), blocked)
    assert (state.status, state.detail, state.finished, state.blocked, list(state.open)) == (
        "blocked",
        "blocked",
        False,
        blocked,
        [1],
    )
    state.apply(Record(Unblocked(t=130)))
    assert (state.status, state.blocked, list(state.open)) == ("running", None, [1])


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (CompleteRun(Raw(b"1"), dangling=(1,)), "completed"),
        (FailRun(ERROR, saga_failures=("undo: x",)), "failed"),
        (CancelRun("why"), "cancelled"),
        (CancelRun(timed_out=True), "timed_out"),
    ],
)
def test_an_ending_closes_everything(ending: Command, status: str) -> None:
    """Nothing is open, nothing is due."""
    state = folded(started(run_step(1), StartTimer(2, 5)), Record(CancelRequested(t=110), (ending,)))
    assert (state.status, state.finished, state.open, state.wake_at) == (status, True, {}, None)
    assert state.attention is (status == "failed")


def test_a_terminated_run_is_over() -> None:
    """What comes after that finds no inbox."""
    state = folded(started(run_step(1)), CancelRequested(t=110), RunTerminated(t=120, reason="enough"))
    assert (state.status, state.open, state.inbox, state.error) == ("terminated", {}, None, Failure("Terminated", "enough"))
    state.apply(Record(StepCompleted(t=130, n=1, value=Raw(b"1"))))
    assert state.inbox is None


def test_a_cancel_lifts_the_deadline() -> None:
    """The timeout is one cancel, and it has been asked for."""
    state = folded(started(StartTimer(1, 5_000)), Record(CancelRequested(t=110), ()))
    assert (state.cancelling, state.wake_at) == (True, 5_100)


def test_state_and_undos_are_kept_for_display() -> None:
    """The last value of each name; the undos in order."""
    state = folded(started(SetState("a", Raw(b"1")), SetState("a", Raw(b"2")), RegisterUndo("s", "u1", Raw(b"[]"))))
    state.apply(Record(StepFailed(t=1, n=9, error=ERROR), (SetState("b", Raw(b"3")), RegisterUndo("s", "u2", Raw(b"[]")))))
    assert (state.state, state.undo) == ({"a": Raw(b"2"), "b": Raw(b"3")}, ["u1", "u2"])


def test_an_undo_is_listed_as_long_as_it_would_run() -> None:
    """Not once it runs, and not once its saga has ended well: so a run of a thousand sagas lists no thousand undos."""
    undos = [RegisterUndo("s", name, Raw(b"[]")) for name in ("a", "b", "a", "c")]
    undoing = RunStep(1, "a", Raw(b"[]"), "key", compensation=True)
    state = folded(started(*undos, undoing, RunStep(2, "b", Raw(b"[]"), "key")))
    assert state.undo == ["a", "b", "c"]
    state.apply(Record(TimerFired(t=1, n=9), (ReleaseUndos(("a", "c")),)))
    assert state.undo == ["b"]
    state.apply(Record(TimerFired(t=1, n=9), (ReleaseUndos(("b",)),)))
    assert state.undo is None


def test_only_a_child_that_matters_at_the_end_is_kept() -> None:
    """One that nobody awaits and that lives on is no business of its parent's any more."""
    awaited = StartChild(1, "w2", "a", Raw(b"[]"))
    abandoned = StartChild(2, "w2", "b", Raw(b"[]"), awaited=False)
    bound = StartChild(3, "w2", "c", Raw(b"[]"), awaited=False, on_parent_end="cancel")
    assert sorted(folded(started(awaited, abandoned, bound)).open) == [1, 3]


def test_a_dedupe_id_is_remembered_even_in_the_inbox() -> None:
    """A signal that arrived twice is known before it is activated, and after a restart of the chain."""
    state = folded(started(), SignalReceived(t=110, name="s", payload=Raw(b"1"), arrived=110, dedupe="d1"))
    assert state.knows("d1")
    assert not state.knows("d2")
    assert not state.knows(None)
    next_one = RunState(8)
    next_one.apply(Record(RunStarted(t=1, id="run-1", workflow="w", args=Raw(b"[]"), seed="00", dedupe=("d1",)), ()))
    assert next_one.knows("d1")


def test_the_oldest_dedupe_ids_are_forgotten() -> None:
    """A chain remembers 10,000 of them."""
    state = folded(started())
    for i in range(DEDUPE_MAX + 1):
        state.apply(Record(SignalReceived(t=110, name="s", payload=Raw(b"1"), arrived=110, dedupe=str(i)), ()))
    assert not state.knows("0")
    assert state.knows("1")
    assert state.knows(str(DEDUPE_MAX))


def test_time_never_goes_back() -> None:
    """An entry of an earlier time does not turn the run's clock."""
    assert folded(started(), Record(TimerFired(t=50, n=9), ())).updated == 100


commands = st.one_of(
    st.builds(run_step, st.integers(1, 5)),
    st.builds(StartTimer, st.integers(1, 5), st.integers(0, 9)),
    st.builds(AwaitSignal, st.integers(1, 5), st.just("s")),
    st.builds(CancelStep, st.integers(1, 5), st.booleans()),
    st.builds(CancelTimer, st.integers(1, 5)),
    st.builds(StopAwaiting, st.integers(1, 5)),
    st.builds(StartChild, st.integers(1, 5), st.just("w"), st.just("c"), st.just(Raw(b"[]")), st.booleans()),
    st.builds(CancelChild, st.integers(1, 5)),
    st.builds(SetState, st.sampled_from("ab"), st.just(Raw(b"null"))),
    st.builds(RegisterUndo, st.just("s"), st.just("u"), st.just(Raw(b"[]"))),
    st.builds(ReleaseUndos, st.lists(st.just("u"), max_size=2).map(tuple)),
)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(StepCompleted, t=st.integers(0, 999), n=st.integers(1, 5), value=st.just(Raw(b"null"))),
    st.builds(TimerFired, t=st.integers(0, 999), n=st.integers(1, 5)),
    st.builds(
        AttemptFailed,
        t=st.integers(0, 999),
        n=st.integers(1, 5),
        attempt=st.integers(1, 3),
        error=st.just(ERROR),
        due=st.integers(0, 9),
    ),
    st.builds(AttemptStarted, t=st.integers(0, 999), n=st.integers(1, 5), attempt=st.integers(1, 3)),
    st.builds(
        SignalReceived,
        t=st.integers(0, 999),
        name=st.just("s"),
        payload=st.just(Raw(b"1")),
        arrived=st.just(0),
        dedupe=st.none() | st.text(max_size=1),
    ),
    st.builds(Blocked, t=st.integers(0, 999), at=st.just(1), cause=st.just(ERROR)),
    st.builds(Unblocked, t=st.integers(0, 999)),
)
fed = (StepCompleted, TimerFired, SignalReceived)


@given(st.lists(st.tuples(entries, st.none() | st.lists(commands, max_size=4)), max_size=12), st.integers(0, 12))
def test_a_stored_state_is_as_good_as_the_records(history: list[tuple[Entry, list[Command] | None]], at: int) -> None:
    """Whatever records there are: storing and reading the state in between changes nothing."""
    records = [
        started(),
        *(Record(entry, tuple(of) if of is not None and isinstance(entry, fed) else None) for entry, of in history),
    ]
    whole = folded(*records)
    state = decode_state(encode_state(folded(*records[:at])))
    for record in records[at:]:
        state.apply(record)
    assert state == whole
    assert encode_state(state) == encode_state(whole)
