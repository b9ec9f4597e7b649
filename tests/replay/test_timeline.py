"""A history as spans: what belongs together is one."""

from __future__ import annotations

from msgspec import Raw

from wfkit.core.commands import (
    AwaitSignal,
    CancelTimer,
    Command,
    CompleteRun,
    FailRun,
    Failure,
    RetryPolicy,
    RunStep,
    StartChild,
    StartTimer,
    StopAwaiting,
)
from wfkit.core.entries import (
    AttemptFailed,
    AttemptStarted,
    Blocked,
    ChildEnded,
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
from wfkit.replay.timeline import Span, fold, spans

BROKEN = Failure("ConnectionError", "503")


def started(*commands: Command) -> Record:
    return record(RunStarted(t=0, id="r", workflow="w", args=Raw(b"[]"), seed="0" * 32), *commands)


def record(entry: Entry, *commands: Command) -> Record:
    return Record(entry, commands)


def note(entry: Entry) -> Record:
    """Return a record that is not an activation."""
    return Record(entry)


def step(n: int, name: str = "charge", *, compensation: bool = False) -> RunStep:
    return RunStep(n, name, Raw(b"[]"), f"key-{n}", RetryPolicy(max_attempts=3), compensation=compensation)


def times(span: Span) -> tuple[int, int | None]:
    return span.since, span.until


def test_a_step_with_its_attempts_is_one_span() -> None:
    """From the command to the outcome, with every failed attempt in it."""
    run, charge = spans(
        [
            started(step(1)),
            note(AttemptFailed(t=10, n=1, attempt=1, error=BROKEN, due=20)),
            note(AttemptStarted(t=20, n=1, attempt=2)),
            record(StepCompleted(t=30, n=1, value=Raw(b"7"), attempt=2), CompleteRun(Raw(b"7"))),
        ]
    )
    assert (run.kind, run.name, run.outcome, times(run)) == ("run", "w", "completed", (0, 30))
    assert (charge.kind, charge.outcome, times(charge)) == ("step", "completed", (0, 30))
    assert (charge.attempt, charge.attempts_max, charge.records) == (2, 3, [1, 2, 3, 4])
    assert [(tried.number, tried.failed, tried.due) for tried in charge.attempts] == [(1, 10, 20)]
    assert charge.error is None


def test_an_attempt_that_the_process_died_under_comes_on_top_of_those_that_there_may_be() -> None:
    """The policy does not count it."""
    died = note(AttemptFailed(t=10, n=1, attempt=1, error=BROKEN, due=20, died=True))
    _, charge = spans([started(step(1)), died])
    assert (charge.attempt, charge.attempts_max) == (2, 4)


def test_a_step_that_is_retried_says_when() -> None:
    """It goes on, and the last error stands in it."""
    _, charge = spans([started(step(1)), note(AttemptFailed(t=10, n=1, attempt=1, error=BROKEN, due=20))])
    assert (charge.outcome, charge.until, charge.due, charge.attempt, charge.error) == ("retrying", None, 20, 2, BROKEN)


def test_after_an_attempt_under_which_the_process_died_comes_the_next() -> None:
    """Each attempt has a number of its own, as in the engine; only the policy does not count it."""
    _, charge = spans([started(step(1)), note(AttemptFailed(t=10, n=1, attempt=1, error=BROKEN, due=10, died=True))])
    assert (charge.attempt, charge.attempts[0].died) == (2, True)


def test_a_step_that_failed_keeps_its_last_error() -> None:
    """As the last of its attempts."""
    run, charge = spans([started(step(1)), record(StepFailed(t=10, n=1, error=BROKEN, attempt=3), FailRun(BROKEN))])
    assert (run.outcome, run.error) == ("failed", BROKEN)
    assert (charge.outcome, charge.error, charge.attempt) == ("failed", BROKEN, 3)


def test_timers_waits_and_children_are_spans() -> None:
    """Each ends with what brought it, or with its cancellation."""
    told = spans(
        [
            started(StartTimer(1, 5_000_000), AwaitSignal(2, "packed"), StartChild(3, "other", "r/other-3", Raw(b"[]"))),
            record(
                SignalReceived(t=10, name="packed", payload=Raw(b'"box"'), arrived=10), StopAwaiting(2, took=2), CancelTimer(1)
            ),
            record(ChildEnded(t=20, n=3, status="failed", error=BROKEN)),
        ]
    )
    by_kind = {span.kind: span for span in told}
    assert (by_kind["timer"].name, by_kind["timer"].outcome, times(by_kind["timer"])) == ("5s", "cancelled", (0, 10))
    assert (by_kind["wait"].outcome, by_kind["wait"].value) == ("completed", Raw(b'"box"'))
    assert (by_kind["signal"].outcome, times(by_kind["signal"])) == ("completed", (10, 10))
    assert (by_kind["child"].name, by_kind["child"].outcome, by_kind["child"].error) == ("r/other-3", "failed", BROKEN)


def test_a_timer_that_fired_is_complete() -> None:
    """And nothing is due any more."""
    _, timer = spans([started(StartTimer(1, 10)), record(TimerFired(t=10, n=1))])
    assert (timer.outcome, times(timer), timer.due) == ("completed", (0, 10), None)


def test_a_signal_that_nobody_took_stays_buffered() -> None:
    """So does one that came before the wait, until the wait takes it."""
    early = note(SignalReceived(t=5, name="packed", payload=Raw(b"1"), arrived=5))
    _, signal = spans([started(), early])
    assert signal.outcome == "buffered"
    taken = spans([started(), early, record(TimerFired(t=6, n=9), AwaitSignal(1, "packed"), StopAwaiting(1, took=2))])
    assert [span.outcome for span in taken[1:]] == ["completed", "completed"]
    assert times(taken[2]) == (6, 6)


def test_a_blocked_time_is_a_span() -> None:
    """From the difference to the moment when the run went on."""
    blocked = Blocked(t=10, at=2, cause=BROKEN, code="WF021")
    _, span = spans([started(), note(blocked), note(Unblocked(t=30))])
    assert (span.kind, span.name, times(span), span.outcome) == ("blocked", "WF021", (10, 30), "completed")


def test_a_run_that_is_blocked_anew_is_not_blocked_twice() -> None:
    """Each reason ends where the next one begins; the same one, found by the code that was saved next, goes on."""
    first, second = Blocked(t=10, at=2, cause=BROKEN, code="WF021"), Blocked(t=20, at=2, cause=BROKEN, code="WF029")
    again = Blocked(t=15, at=2, cause=Failure("ConnectionError", "504"), code="WF021")
    _, *told = spans([started(), note(first), note(again), note(second), note(Unblocked(t=30))])
    assert [(span.name, times(span), span.records) for span in told] == [
        ("WF021", (10, 20), [2, 3, 4]),
        ("WF029", (20, 30), [4, 5]),
    ]
    assert told[0].error is again.cause


def test_what_is_open_at_the_end_of_the_run_ends_with_it() -> None:
    """Nothing goes on after its run."""
    told = spans([started(step(1), AwaitSignal(2, "packed")), note(RunTerminated(t=10, reason="enough"))])
    assert [(span.outcome, span.until) for span in told] == [("terminated", 10), ("cancelled", 10), ("cancelled", 10)]
    assert told[0].error is not None
    assert told[0].error.message == "enough"


def test_a_compensation_is_marked() -> None:
    """It belongs to the way back."""
    assert [span.compensation for span in spans([started(step(1), step(2, "refund", compensation=True))])] == [
        False,
        False,
        True,
    ]


def test_a_crowd_that_began_together_is_folded_with_its_counts() -> None:
    """The worst outcome stands for it; it lasts as long as one of it lasts."""
    history = [
        started(*(step(n, "sync") for n in range(1, 6)), step(6, "other")),
        record(StepCompleted(t=10, n=1, value=Raw(b"1"))),
        record(StepFailed(t=20, n=2, error=BROKEN), step(7, "sync")),
    ]
    folded = fold(spans(history), 5)
    assert [(span.name, span.outcome) for span in folded] == [
        ("w", "running"),
        ("sync ×5: 3 running, 1 completed, 1 failed", "failed"),
        ("other", "running"),
        ("sync", "running"),
    ]
    assert folded[1].until is None
    assert len(fold(spans(history), 6)) == 8
